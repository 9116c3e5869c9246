//! Dead letters on the page and in the API: listed, one whole and masked, repaired and sent again by who is handed in.

use std::sync::{Arc, Mutex};

use millrace_dashboard::service::{Mend, Mends, RedriveWanted, Redriven, Refused, RepairWanted, Repaired};
use millrace_dashboard::testing::browser::Browser;
use serde_json::{Value, json};

use crate::browser::{AUDIT, folder, no_problems, open, text};
use crate::http::{Answer, get, post};
use crate::support::Stage;

/// Remembers what it was asked to do.
#[derive(Default)]
struct Desk {
    repairs: Mutex<Vec<RepairWanted>>,
    redrives: Mutex<Vec<RedriveWanted>>,
}

impl Mends for Desk {
    fn repair(&self, wanted: &RepairWanted) -> Result<Repaired, Refused> {
        if let Mend::Patch(Value::Object(_)) = wanted.mend {
            return Err(Refused::Invalid("not a JSON patch".into()));
        }
        self.repairs.lock().expect("kept").push(wanted.clone());
        let value = match &wanted.mend {
            Mend::Value(value) => value.clone(),
            Mend::Patch(patch) => patch.to_string().into_bytes(),
        };
        let shown =
            wanted.dry_run.then(|| (wanted.ids[0].clone(), Some(b"before".to_vec()), value)).into_iter().collect();
        Ok(Repaired {
            kept: wanted.ids.len() as u64,
            shown,
            refused: vec![("t/0/9".into(), "its value is not JSON".into())],
        })
    }

    fn redrive(&self, wanted: &RedriveWanted) -> Result<Redriven, Refused> {
        self.redrives.lock().expect("kept").push(wanted.clone());
        let stayed = vec![("late: counted elsewhere already (--late sends them)".into(), 1)];
        Ok(Redriven { sent: wanted.ids.len() as u64 - 1, stayed })
    }
}

async fn mended() -> (Stage, Arc<Desk>) {
    let desk = Arc::new(Desk::default());
    (Stage::set().await.mended_by(desk.clone()).await, desk)
}

/// A letter with this cause, as the API lists it.
async fn letter(stage: &Stage, code: &str) -> String {
    let told = get(stage.address(), &format!("/v1/dead-letters?code={code}&limit=1")).await.json();
    told["letters"][0]["id"].as_str().unwrap_or_else(|| panic!("no {code}: {told}")).to_owned()
}

async fn whole(stage: &Stage, id: &str) -> Answer {
    get(stage.address(), &format!("/v1/dead-letters/{}", id.replace('/', "%2F"))).await
}

#[tokio::test]
async fn letters_are_listed_counted_and_shown_masked() {
    let stage = Stage::set().await;
    let all = get(stage.address(), "/v1/dead-letters?limit=1000").await.json();
    let letters = all["letters"].as_array().expect("letters");
    assert_eq!(all["matching"].as_u64(), Some(letters.len() as u64));
    assert_eq!(all["by_state"][0], json!(["open", letters.len()]));
    let of = |name: &str, value: &str| letters.iter().filter(|letter| letter[name] == value).count();
    for (list, name) in [("by_topic", "topic"), ("by_kind", "kind"), ("by_code", "code")] {
        for pair in all[list].as_array().expect("numbers") {
            let value = pair[0].as_str().expect("a name");
            assert_eq!(pair[1].as_u64(), Some(of(name, value) as u64), "{list} {value}");
            let filtered = get(stage.address(), &format!("/v1/dead-letters?{name}={value}&limit=1000")).await.json();
            assert_eq!(filtered["matching"], pair[1], "{name}={value}");
        }
    }
    let about = get(stage.address(), "/v1/dead-letters?q=EVENT_TIME&limit=1000").await.json();
    assert_eq!(about["matching"].as_u64(), Some(of("code", "missing_field") as u64));
    assert_eq!(get(stage.address(), "/v1/dead-letters?state=sent").await.json()["matching"], 0);
    for (query, told) in [("state=lost", "open or sent"), ("since=yesterday", "neither a time")] {
        let answer = get(stage.address(), &format!("/v1/dead-letters?{query}")).await;
        assert!(answer.status == 400 && answer.text().contains(told), "{query}: {}", answer.text());
    }
    let id = letter(&stage, "missing_field").await;
    let one = whole(&stage, &id).await.json();
    assert_eq!((&one["id"], &one["state"], &one["field"]), (&json!(id), &json!("open"), &json!("event_time")));
    let expected = "\"anonymous_id\":\"vi⟦1⟧a9\",\"ip\":\"20⟦2⟧77\"";
    assert!(one["editable"].as_str().is_some_and(|text| text.contains(expected)), "{one}");
    let broken = whole(&stage, &letter(&stage, "not_utf8").await).await.json();
    assert_eq!(broken["editable"], Value::Null, "bytes that are no text are not edited as text");
    assert!(broken["value"]["hex"].as_str().is_some_and(|hex| hex.contains("ff fe 00")), "{broken}");
    assert_eq!(whole(&stage, "t/0/1").await.status, 404);
    for path in
        [format!("/dead-letters?id={}", id.replace('/', "%2F")), "/dead-letters".into(), "/v1/dead-letters".into()]
    {
        let text = get(stage.address(), &path).await.text();
        assert!(!text.contains("visitor-0c1f22a9") && !text.contains("203.0.113.77"), "{path}");
        assert!(!text.contains("<script>alert"), "{path}");
    }
    let html = get(stage.address(), &format!("/dead-letters?id={}", id.replace('/', "%2F"))).await.text();
    assert!(html.contains("Keep as repair") && html.contains("As received") && html.contains("view=messages"));
    // Nobody here can repair or send.
    let answer = post(stage.address(), "/v1/dead-letters/redrive", &json!({"ids": [id]})).await;
    assert!(answer.status == 503 && answer.text().contains("millrace dead-letters"), "{}", answer.text());
    stage.dashboard.shutdown().await;
}

#[tokio::test]
async fn repairs_and_redrives_reach_who_does_them() {
    let (stage, desk) = mended().await;
    let id = letter(&stage, "wrong_type").await;
    let one = whole(&stage, &id).await.json();
    let edited = one["editable"].as_str().expect("a text").replace("\"two\"", "2");
    let body = json!({"ids": [id], "value": edited, "dry_run": true, "by": "ada"});
    let answer = post(stage.address(), "/v1/dead-letters/repair", &body).await.json();
    assert_eq!((&answer["repaired"], &answer["dry_run"]), (&json!(1), &json!(true)));
    let lines = answer["lines"].to_string();
    assert!(lines.contains("before → ") && lines.contains("us*******41") && !lines.contains("user-000841"), "{lines}");
    let wanted = desk.repairs.lock().expect("kept").pop().expect("asked");
    let value = br#"{"event_id":"e-4","quantity":2,"user_id":"user-000841"}"#;
    assert_eq!(wanted.mend, Mend::Value(value.to_vec()), "what was hidden is back");
    assert_eq!((wanted.by.as_str(), wanted.dry_run, wanted.unchecked), ("ada", true, false));
    let patch = json!([{"op": "replace", "path": "/quantity", "value": 2}]);
    let body = json!({"filter": {"code": "wrong_type", "since": "7d"}, "patch": patch, "unchecked": true});
    let answer = post(stage.address(), "/v1/dead-letters/repair", &body).await.json();
    assert!(answer["told"].as_str().is_some_and(|told| told.contains("repaired; nothing is sent")), "{answer}");
    let wanted = desk.repairs.lock().expect("kept").pop().expect("asked");
    assert!(wanted.ids.len() > 1 && wanted.unchecked && wanted.by == "page" && wanted.mend == Mend::Patch(patch));
    let body = json!({"ids": wanted.ids, "late": true, "force": true, "by": "ada"});
    let answer = post(stage.address(), "/v1/dead-letters/redrive", &body).await.json();
    assert_eq!(answer["sent"].as_u64(), Some(wanted.ids.len() as u64 - 1));
    assert_eq!(answer["lines"], json!(["1 left: late: counted elsewhere already (--late sends them)"]));
    let sent = desk.redrives.lock().expect("kept").pop().expect("asked");
    assert!(sent.late && sent.force && !sent.unchecked && !sent.dry_run && sent.ids == wanted.ids);
    for (path, body, status, told) in [
        ("repair", json!({"ids": [id]}), 400, "either `value`"),
        ("repair", json!({"ids": [id], "value": "⟦7⟧"}), 400, "stands for nothing"),
        ("repair", json!({"ids": [id], "patch": {}}), 400, "not a JSON patch"),
        ("repair", json!({"filter": {"code": "wrong_type"}, "value": "x"}), 400, "for one letter"),
        ("redrive", json!({}), 400, "which letters?"),
        ("redrive", json!({"filter": {}}), 400, "which letters?"),
        ("redrive", json!({"ids": ["t/0/1"]}), 404, "no dead letter is like that"),
        ("redrive", json!({"filter": {"topik": "x"}}), 400, "unknown field"),
        ("redrive", json!({"ids": [id], "by": "x".repeat(300_000)}), 413, ""),
    ] {
        let answer = post(stage.address(), &format!("/v1/dead-letters/{path}"), &body).await;
        assert!(
            answer.status == status && answer.text().contains(told),
            "{path} {told}: {} {}",
            answer.status,
            answer.text()
        );
    }
    stage.dashboard.shutdown().await;
}

#[tokio::test]
#[ignore = "slow suite: needs chromium"]
async fn a_letter_is_repaired_in_a_browser() {
    let (stage, desk) = mended().await;
    let id = letter(&stage, "wrong_type").await;
    let one = format!("/dead-letters?id={}", id.replace('/', "%2F"));
    let browser = Browser::launch().await.expect("a browser");
    for (size, width, height) in [("desktop", 1440, 900), ("phone", 390, 844)] {
        for (theme, dark) in [("light", false), ("dark", true)] {
            let tab = browser.tab(width, height).await.expect("a tab");
            tab.prefers(dark, true).await.expect("the choice");
            for (name, path) in [("letters", "/dead-letters?code=wrong_type"), ("letter", &one)] {
                open(&tab, &stage, path).await;
                tab.eval("document.querySelectorAll('.many summary').forEach(s => s.click())").await.expect("it opens");
                let wide = tab.eval("document.documentElement.scrollWidth").await.expect("a width");
                assert!(wide.as_u64() <= Some(width.into()), "{name} is {wide} wide on {width}");
                assert_eq!(tab.eval(AUDIT).await.expect("the audit"), json!([]), "{name} {size} {theme}");
                let file = folder().join(format!("{name}-{size}-{theme}.png"));
                tab.screenshot(&file, true).await.expect("a picture");
            }
            no_problems(&tab, &format!("{size} {theme}"));
        }
    }
    let tab = browser.tab(1440, 900).await.expect("a tab");
    // From Health to the list to the letter, by links.
    open(&tab, &stage, "/health").await;
    tab.eval("document.querySelector('a[href=\"/dead-letters\"]').click()").await.expect("a click");
    tab.wait_for("document.querySelectorAll('.of-many').length > 3", 10_000).await.expect("the list");
    assert_eq!(text(&tab, "nav.rail [aria-current] .full").await, "Health");
    open(&tab, &stage, &one).await;
    // What is typed stays while the page is pushed to, and goes out with what was hidden in it.
    let field = "document.getElementById('letter-value')";
    tab.eval(&format!("{field}.value = {field}.value.replace('\"two\"', '2'); {field}.dispatchEvent(new Event('input', {{bubbles: true}}))"))
        .await
        .expect("typed");
    let press = |label: &str| {
        format!("[...document.querySelectorAll('.letter-form button')].find(b => b.textContent === '{label}').click()")
    };
    tab.eval(&press("Check")).await.expect("a click");
    let said = "document.querySelector('[aria-label=\"Repair this letter\"] [data-result]').textContent";
    tab.wait_for(&format!("{said}.includes('1 would be repaired')"), 5_000).await.expect("it is said");
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    assert!(
        tab.eval(&format!("{field}.value"))
            .await
            .expect("a text")
            .as_str()
            .is_some_and(|text| text.contains("\"quantity\":2"))
    );
    tab.screenshot(&folder().join("letter-checked.png"), true).await.expect("a picture");
    tab.eval(&press("Keep as repair")).await.expect("a click");
    tab.wait_for(&format!("{said}.includes('nothing is sent before')"), 5_000).await.expect("it is said");
    tab.eval("document.querySelector('[name=late]').click()").await.expect("a tick");
    tab.eval(&press("Send again")).await.expect("a click");
    tab.wait_for("document.querySelector('[aria-label=\"Send this letter again\"] [data-result]').textContent.includes('sent again')", 5_000)
        .await
        .expect("it is said");
    let repairs = desk.repairs.lock().expect("kept").clone();
    assert_eq!(repairs.iter().map(|wanted| wanted.dry_run).collect::<Vec<_>>(), [true, false]);
    assert!(
        matches!(&repairs[1].mend, Mend::Value(value) if value.ends_with(b"\"quantity\":2,\"user_id\":\"user-000841\"}"))
    );
    assert!(desk.redrives.lock().expect("kept")[0].late);
    // A patch that is none is told before anything is asked.
    open(&tab, &stage, "/dead-letters?code=wrong_type").await;
    tab.eval("document.querySelector('.many summary').click(); document.getElementById('many-patch').value = '[{'")
        .await
        .expect("typed");
    tab.eval(&press("Try")).await.expect("a click");
    tab.wait_for("document.getElementById('notice').textContent.includes('JSON patch')", 5_000)
        .await
        .expect("it is said");
    stage.dashboard.shutdown().await;
}
