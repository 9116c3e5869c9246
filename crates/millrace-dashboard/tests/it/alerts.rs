//! The alert centre: one list, masked, with buttons that write what `millrace alerts` writes; in the API and in a browser.

use millrace_connectors::alerts::Tables;
use millrace_dashboard::testing::alerts::{fired, keep};
use millrace_dashboard::testing::browser::{Browser, Tab};
use serde_json::{Value, json};

use crate::browser::{AUDIT, folder, no_problems, open, text};
use crate::http::{get, post};
use crate::support::{Stage, now, until};

/// The group about this entity, as the API has it.
async fn group(stage: &Stage, entity: &str) -> Value {
    let told = get(stage.address(), "/v1/alerts").await.json();
    let groups = told["groups"].as_array().expect("groups").clone();
    groups.into_iter().find(|group| group["entity"] == entity).unwrap_or_else(|| panic!("no {entity}: {told}"))
}

fn newest(group: &Value) -> &str {
    group["occurrences"][0]["id"].as_str().expect("an id")
}

#[tokio::test]
async fn alerts_are_listed_gathered_and_masked() {
    let stage = Stage::set().await;
    let told = get(stage.address(), "/v1/alerts").await.json();
    let groups = told["groups"].as_array().expect("groups");
    let seen: Vec<(&str, &str, i64)> = groups
        .iter()
        .map(|g| {
            (
                g["entity"].as_str().unwrap_or(""),
                g["standing"].as_str().unwrap_or(""),
                g["alerts"].as_i64().unwrap_or(0),
            )
        })
        .collect();
    let expected = [
        ("card…44b2", "open", 3),
        ("p-1007", "open", 2),
        ("devi…77d0", "open", 1),
        ("p-1011", "acknowledged", 1),
        ("visi…0841", "snoozed", 1),
    ];
    assert_eq!(seen, expected, "open first, then the newest; what is older than a day is not asked for");
    assert_eq!(told["by_standing"], json!([["open", 5], ["snoozed", 1], ["acknowledged", 1], ["over", 1]]));
    assert_eq!(told["undelivered"], json!([["failed", 1], ["waiting", 2]]));
    assert_eq!((&groups[0]["severity"], &groups[0]["title"]), (&json!("critical"), &json!("velocity: card…44b2")));
    let deliveries = &groups[0]["occurrences"][0]["deliveries"];
    assert_eq!(deliveries.as_array().map(Vec::len), Some(3));
    assert!(deliveries.to_string().contains("550: no such mailbox"));
    assert_eq!(groups[1]["occurrences"][1]["standing"], "over", "the time before is its history");
    for (query, entities) in [
        ("since=all", 6),
        ("since=1h", 3),
        ("state=over", 1),
        ("state=snoozed", 1),
        ("severity=high", 3),
        ("route=stock", 2),
        ("q=44B2", 1),
        ("q=out%20of%20stock", 1),
        ("q=%25", 0),
        ("route=stock&state=open&severity=high", 1),
    ] {
        let told = get(stage.address(), &format!("/v1/alerts?{query}")).await.json();
        assert_eq!(told["groups"].as_array().map(Vec::len), Some(entities), "{query}");
        assert_eq!(told["matching"].as_u64(), Some(entities as u64), "{query}");
    }
    for (query, told) in [("state=new", "open, snoozed"), ("severity=bad", "critical, high"), ("since=ever", "1h, 24h")]
    {
        let answer = get(stage.address(), &format!("/v1/alerts?{query}")).await;
        assert!(answer.status == 400 && answer.text().contains(told), "{query}: {}", answer.text());
    }
    for path in ["/alerts", "/alerts?since=all", "/v1/alerts?since=all"] {
        let text = get(stage.address(), path).await.text();
        for whole in ["card_7f3e9a1c44b2", "device_91ab34ce77d0", "visitor-000841", "user-000112"] {
            assert!(!text.contains(whole), "{path} shows {whole}");
        }
    }
    stage.dashboard.shutdown().await;
}

#[tokio::test]
async fn what_people_say_is_kept_and_taken_back() {
    let stage = Stage::set().await;
    let card = group(&stage, "card…44b2").await;
    // One of three, then all of the entity, then all of them back.
    let path = |id: &str, act: &str| format!("/v1/alerts/{id}/{act}");
    let answer = post(stage.address(), &path(newest(&card), "ack"), &json!({"by": " Ada "})).await;
    assert_eq!((answer.status, answer.json()), (200, json!({"acknowledged": 1, "by": "Ada"})));
    let card = group(&stage, "card…44b2").await;
    assert_eq!((&card["open"], &card["occurrences"][0]["acked_by"]), (&json!(2), &json!("Ada")));
    let answer = post(stage.address(), &path(newest(&card), "ack"), &json!({"entity": true})).await;
    assert_eq!(answer.json(), json!({"acknowledged": 2, "by": "page"}), "what was acknowledged stays with who did");
    assert_eq!(group(&stage, "card…44b2").await["standing"], "acknowledged");
    let answer = post(stage.address(), &path(newest(&card), "unack"), &json!({"entity": true})).await;
    assert_eq!(answer.json()["no_longer_acknowledged"], 3);
    assert_eq!(group(&stage, "card…44b2").await["open"], 3);
    // What was called off waits to be told again.
    let lamp = group(&stage, "p-1011").await;
    post(stage.address(), &path(newest(&lamp), "unack"), &json!({})).await;
    let lamp = group(&stage, "p-1011").await;
    assert_eq!(
        (&lamp["standing"], &lamp["occurrences"][0]["deliveries"][0]["state"]),
        (&json!("open"), &json!("waiting"))
    );
    // By the alert's own id, as `millrace alerts` says it.
    let answer = post(stage.address(), &path("stock%2Fp-1007", "snooze"), &json!({"for": "4h", "by": "Grace"})).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let chair = group(&stage, "p-1007").await;
    assert_eq!((&chair["standing"], &chair["snoozed_by"]), (&json!("snoozed"), &json!("Grace")));
    let until = answer.json()["snoozed_until"].as_str().map(str::to_owned).expect("a time");
    let until = millrace_model::Timestamp::parse(until.as_bytes()).expect("a time");
    assert!((until.0 - now().0 - 4 * 3_600_000_000).abs() < 60_000_000);
    post(stage.address(), &path(newest(&chair), "unsnooze"), &json!({})).await;
    assert_eq!(group(&stage, "p-1007").await["standing"], "open");
    for (id, act, body, status, told) in [
        ("nothing", "ack", json!({}), 404, "GET /v1/alerts"),
        ("12ab-0000000000000000", "ack", json!({}), 404, "no such alert"),
        (newest(&chair), "ack", json!({"bye": "x"}), 400, "unknown field"),
        (newest(&chair), "ack", json!({"by": "x".repeat(65)}), 400, "at most 64 characters"),
        (newest(&chair), "snooze", json!({"for": "soon"}), 400, "1h or 30m"),
        (newest(&chair), "snooze", json!({"for": "31d"}), 400, "at most 30d"),
        (newest(&chair), "ack", json!({"by": "x".repeat(20_000)}), 413, ""),
    ] {
        let answer = post(stage.address(), &path(id, act), &body).await;
        assert!(
            answer.status == status && answer.text().contains(told),
            "{act} {body:.60}: {} {}",
            answer.status,
            answer.text()
        );
    }
    assert_eq!(get(stage.address(), &path(newest(&chair), "ack")).await.status, 405, "looking answers nothing");
    stage.dashboard.shutdown().await;
}

#[tokio::test]
async fn hostile_alerts_are_only_text() {
    let stage = Stage::set().await;
    let hostile = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>";
    let mut alert =
        fired(now(), 0, hostile, hostile, hostile, "high", &json!({ hostile: hostile, "signal_id": hostile }));
    alert["title"] = json!(hostile);
    keep(stage.store(), &Tables::new().expect("tables").fired, &[alert]).await.expect("kept");
    let html = get(stage.address(), "/alerts").await.text();
    assert!(html.contains("&lt;img"), "it is shown");
    assert!(!html.contains("<script>alert") && !html.contains("<img"));
    stage.dashboard.shutdown().await;
}

async fn until_true(tab: &Tab, what: &str) {
    if let Err(error) = tab.wait_for(what, 10_000).await {
        let seen = "location.href + ' ' + document.getElementById('notice').textContent + ' ' + \
                    document.getElementById('spoken').textContent + ' ' + document.querySelector('[data-section=alerts]').textContent";
        panic!("{what}: {error}; the page is {:?}", tab.eval(seen).await);
    }
}

#[tokio::test]
#[ignore = "slow suite: needs chromium"]
async fn alerts_are_answered_in_a_browser() {
    let stage = Stage::set().await;
    let browser = Browser::launch().await.expect("a browser");
    // One tab: each holds a stream open, and a browser has six connections for one server.
    let tab = browser.tab(1440, 900).await.expect("a tab");
    for (size, width, height) in [("desktop", 1440, 900), ("narrow", 1000, 800), ("phone", 390, 844)] {
        for (theme, dark) in [("light", false), ("dark", true)] {
            tab.prefers(dark, true).await.expect("the choice");
            tab.resize(width, height).await.expect("a size");
            open(&tab, &stage, "/alerts").await;
            let wide = tab.eval("document.documentElement.scrollWidth").await.expect("a width");
            assert!(wide.as_u64() <= Some(width.into()), "{wide} wide on {width}");
            tab.screenshot(&folder().join(format!("alerts-{size}-{theme}.png")), false).await.expect("a picture");
            tab.eval("document.querySelector('.alert summary').click()").await.expect("it opens");
            assert_eq!(tab.eval(AUDIT).await.expect("the audit"), json!([]), "{size} {theme}");
            let covered = "[...document.querySelectorAll('.alert .acts button')].some(b => { const r = b.getBoundingClientRect(); \
                           const p = document.elementFromPoint(r.x + r.width / 2, r.y + r.height / 2); return p && p !== b; })";
            assert_eq!(tab.eval(covered).await.expect("a truth"), json!(false), "every button can be pressed");
            let crossed = "[...document.querySelectorAll('.alert')].some(a => { const b = a.querySelector('.acts')?.getBoundingClientRect(); \
                           const s = a.querySelector('.seen').getBoundingClientRect(); \
                           return b && b.width && s.right > b.left && s.bottom > b.top && s.top < b.bottom && s.left < b.right; })";
            assert_eq!(tab.eval(crossed).await.expect("a truth"), json!(false), "buttons lie beside the words");
            tab.screenshot(&folder().join(format!("alerts-{size}-{theme}-open.png")), true).await.expect("a picture");
            no_problems(&tab, &format!("{size} {theme}"));
        }
    }
    tab.resize(1440, 900).await.expect("a size");
    open(&tab, &stage, "/alerts").await;
    tab.eval("window.same = true").await.expect("a mark");
    // Who answers is asked once and kept.
    tab.eval("document.getElementById('who').focus()").await.expect("focus");
    for letter in ["A", "d", "a"] {
        tab.press(letter).await.expect("a key");
    }
    let button = |label: &str| {
        format!(
            "[...document.querySelectorAll('.alert:first-child .acts button')].find(b => b.textContent === '{label}')"
        )
    };
    tab.eval(&format!("{}.focus()", button("Acknowledge"))).await.expect("focus");
    tab.press("Enter").await.expect("a key");
    let of_card = "[...document.querySelectorAll('.alert')].find(a => a.textContent.includes('card…44b2'))";
    until_true(&tab, &format!("{of_card}.textContent.includes('acknowledged by Ada')")).await;
    // The pushed list may be there before the answer is.
    until_true(&tab, "document.getElementById('spoken').textContent === 'acknowledged'").await;
    assert!(!text(&tab, ".alert:first-child").await.contains("card…44b2"), "what is open comes first");
    assert_eq!(text(&tab, "[data-key=acknowledged] .value").await, "4");
    // Undo, by what took the button's place.
    tab.eval(&format!("{of_card}.querySelector('.acts button').click()")).await.expect("a click");
    until_true(&tab, &format!("{of_card} === document.querySelector('.alert:first-child')")).await;
    tab.eval("document.querySelector('.alert:first-child [aria-label=\"Snooze for 4 h\"]').click()")
        .await
        .expect("a click");
    until_true(&tab, &format!("{of_card}.textContent.includes('snoozed until')")).await;
    tab.eval(&format!("{of_card}.querySelector('[data-post$=unsnooze]').click()")).await.expect("a click");
    until_true(&tab, &format!("{of_card}.dataset.standing === 'open'")).await;
    // Somebody else fires one: it comes by itself, while the opened one stays open.
    tab.eval("document.querySelector('.alert summary').click()").await.expect("it opens");
    let row = json!({"product_id": "p-9", "product_name": "Oak bench", "available": 0});
    let alert = fired(now(), 0, "stock", "stock_levels", "p-9", "critical", &row);
    keep(stage.store(), &Tables::new().expect("tables").fired, &[alert]).await.expect("kept");
    until_true(&tab, "document.querySelector('.alert:first-child').textContent.includes('p-9')").await;
    assert_eq!(tab.eval(&format!("{of_card}.querySelector('details').open")).await.expect("a truth"), json!(true));
    // A filter by keyboard, and the link to the evidence.
    tab.eval("document.querySelector('a[href*=\"state=over\"]').focus()").await.expect("focus");
    tab.press("Enter").await.expect("a key");
    until_true(&tab, "location.search === '?state=over' && document.querySelectorAll('.alert').length === 1").await;
    assert_eq!(tab.eval("window.same").await.expect("the mark"), json!(true), "it was not reloaded");
    // The name is still there after a reload.
    open(&tab, &stage, "/alerts").await;
    assert_eq!(tab.eval("document.getElementById('who').value").await.expect("a name"), json!("Ada"));
    // A server that refuses is heard.
    tab.eval("document.querySelector('.alert .acts button').dataset.post = '/v1/alerts/gone/ack'; document.querySelector('.alert .acts button').click()")
        .await
        .expect("a click");
    until_true(&tab, "document.getElementById('notice').textContent.includes('no such alert')").await;
    stage.dashboard.shutdown().await;
}

#[tokio::test]
async fn a_store_that_is_away_is_told() {
    let stage = Stage::set().await;
    stage.store().clone().close().await;
    let html = until(async || {
        let html = get(stage.address(), "/alerts").await.text();
        html.contains("the alerts cannot be read").then_some(html)
    })
    .await;
    assert!(html.contains("Your name"), "the page itself stands");
    assert_eq!(get(stage.address(), "/v1/alerts").await.status, 503);
    stage.dashboard.shutdown().await;
}
