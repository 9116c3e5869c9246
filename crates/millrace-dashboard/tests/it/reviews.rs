//! The analyst's side: the queue, what is said of a payment, and the lists, over HTTP and on the page.

use std::net::SocketAddr;

use millrace_dashboard::testing::browser::Browser;
use serde_json::{Value, json};

use crate::browser::{folder, no_problems, open, text};
use crate::http::{self, get};
use crate::support::{Stage, until};

/// A POST of JSON: status and body.
async fn post(address: SocketAddr, path: &str, body: &Value) -> (u16, Value) {
    let answer = http::post(address, path, body).await;
    (answer.status, answer.json())
}

fn ids(queue: &Value) -> Vec<&str> {
    let reviews = queue["reviews"].as_array().expect("reviews");
    reviews.iter().filter_map(|review| review["payment_id"].as_str()).collect()
}

#[tokio::test]
async fn a_queue_is_worked_off() {
    let stage = Stage::set().await;
    let at = stage.address();
    let queue = async |query: &str| get(at, &format!("/v1/fraud/reviews{query}")).await.json();
    let open = queue("").await;
    assert_eq!((&open["open"], ids(&open).len()), (&json!(19), 19));
    // After four hours somebody should have said what it is: the oldest five are late.
    let left: Vec<i64> =
        open["reviews"].as_array().expect("rows").iter().map(|row| row["seconds_left"].as_i64().expect("s")).collect();
    assert!(left.is_sorted() && left[0] < 0 && left[18] > 0, "{left:?}");
    let overdue = open["overdue"].as_i64().expect("a number");
    assert!(overdue >= 5, "{overdue}");
    assert_eq!(ids(&queue("?state=overdue").await).len() as i64, overdue);
    let by_score = queue("?order=score&limit=2").await;
    assert!(by_score["reviews"][0]["score"].as_f64() > Some(0.95), "{by_score}");
    let testing = queue("?rule=card_testing").await;
    assert!(
        !ids(&testing).is_empty()
            && testing["reviews"]
                .as_array()
                .expect("rows")
                .iter()
                .all(|row| row["reasons"].to_string().contains("card_testing"))
    );
    assert_eq!(ids(&queue("?assigned_to=bob").await).len(), 1);
    assert_eq!(ids(&queue("?assigned_to=nobody").await).len(), 17);
    assert!(!open.to_string().contains("tok_7f3e9a1c0001"), "a card is masked");
    let decided = queue("?state=decided").await;
    assert_eq!(ids(&decided).len(), 5);
    let takeover =
        decided["precision"].as_array().expect("rules").iter().find(|rule| rule["rule"] == "account_takeover");
    assert!(takeover.is_some_and(|rule| rule["fraud"] == 1 && rule["good"] == 0), "{decided}");
    assert_eq!(get(at, "/v1/fraud/reviews?state=shut").await.status, 400);

    // Said: a remark and an assignment stay when the verdict is given.
    let first = ids(&open)[0].to_owned();
    let path = |what: &str| format!("/v1/fraud/reviews/{first}/{what}");
    for (what, body) in [
        ("comment", json!({ "comment": "rang twice", "by": "cem" })),
        ("assign", json!({ "assigned_to": "cem", "by": "ann" })),
    ] {
        assert_eq!(post(at, &path(what), &body).await.0, 200, "{what}");
        until(async || queue("").await.to_string().contains("cem").then_some(())).await;
    }
    until(async || (ids(&queue("").await)[0] == first).then_some(())).await;
    let (status, row) = post(at, &path("verdict"), &json!({ "verdict": "legitimate", "by": "cem" })).await;
    assert_eq!(
        (status, &row["verdict"], &row["comment"], &row["assigned_to"], &row["decided_by"]),
        (200, &json!("good"), &json!("rang twice"), &json!("cem"), &json!("cem"))
    );
    until(async || (!ids(&queue("").await).contains(&&*first)).then_some(())).await;

    for (path, body, status, told) in [
        (path("verdict"), json!({ "verdict": "fraud" }), 400, "`by` is missing"),
        (path("verdict"), json!({ "by": "ann" }), 400, "`verdict` is missing"),
        (path("comment"), json!({ "comment": "x", "verdict": "fraud", "by": "ann" }), 400, "`verdict` is no field"),
        ("/v1/fraud/reviews/pay_none/verdict".into(), json!({ "verdict": "fraud", "by": "ann" }), 404, "was held"),
    ] {
        let (got, problem) = post(at, &path, &body).await;
        assert!(
            got == status && problem["detail"].as_str().is_some_and(|detail| detail.contains(told)),
            "{got} {problem}"
        );
    }
    stage.dashboard.shutdown().await;
}

#[tokio::test]
async fn somebody_is_listed_by_a_payment_and_taken_off_by_the_entry() {
    let stage = Stage::set().await;
    let at = stage.address();
    let lists = async |query: &str| get(at, &format!("/v1/fraud/lists{query}")).await.json();
    assert_eq!(lists("").await["matching"], 4);
    let queue = get(at, "/v1/fraud/reviews?assigned_to=bob").await.json();
    let payment = ids(&queue)[0].to_owned();
    let change = json!({ "payment_id": payment, "kind": "card", "list": "block", "reason": "the same hand", "expires": "30d", "by": "bob" });
    let (status, row) = post(at, "/v1/fraud/lists", &change).await;
    assert_eq!((status, &row["list"], &row["changed_by"]), (200, &json!("block"), &json!("bob")));
    assert!(row["entity"].as_str().is_some_and(|entity| entity.contains('…')), "{row}");
    let found = until(async || Some(lists("?q=same+hand").await).filter(|lists| lists["matching"] == 1)).await;
    assert_eq!(found["entries"][0]["id"], row["entry"]);
    // The queue says so too.
    let queue = get(at, "/v1/fraud/reviews?assigned_to=bob").await.json();
    assert_eq!(queue["reviews"][0]["entities"][0]["list"], "block");
    let off = json!({ "entry": row["entry"], "list": null, "by": "bob" });
    assert_eq!(post(at, "/v1/fraud/lists", &off).await.0, 200);
    until(async || (lists("?q=same+hand").await["matching"] == 0).then_some(())).await;
    for (body, status, told) in [
        (
            json!({ "payment_id": payment, "kind": "ip", "list": "block", "reason": "x", "by": "bob" }),
            400,
            "card, account or device",
        ),
        (json!({ "payment_id": "pay_none", "kind": "card", "list": "block", "by": "bob" }), 404, "was held"),
        (json!({ "entry": "0", "list": null, "by": "bob" }), 404, "no entry"),
        (json!({ "kind": "card", "entity": "c", "list": "block", "by": "bob" }), 400, "`reason` is missing"),
    ] {
        let (got, problem) = post(at, "/v1/fraud/lists", &body).await;
        assert!(
            got == status && problem["detail"].as_str().is_some_and(|detail| detail.contains(told)),
            "{got} {problem}"
        );
    }
    stage.dashboard.shutdown().await;
}

#[tokio::test]
async fn a_rule_is_tried_and_promoted() {
    let stage = Stage::set().await;
    let at = stage.address();
    let rules = async || get(at, "/v1/fraud/rules").await.json()["changed"].clone();
    assert_eq!(rules().await[0]["name"], "fast");
    let promote = json!({ "name": "fast", "state": "acts", "reason": "38 of 41", "by": "ann" });
    let (status, row) = post(at, "/v1/fraud/rules", &promote).await;
    assert_eq!((status, &row["when"]), (200, &json!("card_attempts_1m >= 2 and amount > 100")), "{row}");
    until(async || (rules().await.as_array()?.iter().all(|rule| rule["state"] != "shadow")).then_some(())).await;
    stage.dashboard.shutdown().await;
}

#[tokio::test]
async fn a_backtest_is_asked_for_and_told_one_at_a_time() {
    let stage = Stage::set().await;
    let at = stage.address();
    let path = "/v1/fraud/backtest";
    assert_eq!(get(at, path).await.json()["result"]["more"]["payments"], 11, "the newest one");
    let asked = json!({ "by": "ann", "name": "fast", "off": ["velocity"] });
    let (status, begun) = post(at, path, &asked).await;
    assert_eq!((status, &begun["state"], &begun["asked"]), (200, &json!("running"), &asked));
    let (status, problem) = post(at, path, &asked).await;
    assert!(status == 409 && problem["detail"].as_str().is_some_and(|why| why.contains("is running")), "{problem}");
    let html = get(at, "/fraud/rules").await.text();
    assert!(html.contains("Stop it") && html.contains("fast · without velocity"), "how far it is");
    until(async || (get(at, path).await.json()["state"] == "done").then_some(())).await;
    assert_eq!(post(at, path, &json!({ "off": [] })).await.0, 400);
    let (status, problem) = post(at, "/v1/fraud/backtest/stop", &json!({})).await;
    assert!(status == 400 && problem["detail"].as_str().is_some_and(|why| why.contains("who stops it")), "{problem}");
    stage.dashboard.shutdown().await;
}

#[tokio::test]
#[ignore = "slow suite: needs chromium"]
async fn a_rule_is_tried_on_the_past_on_the_page() {
    let stage = Stage::set().await;
    let browser = Browser::launch().await.expect("a browser");
    let tab = browser.tab(390, 844).await.expect("a tab");
    open(&tab, &stage, "/fraud/rules").await;
    tab.eval("document.getElementById('analyst').focus()").await.expect("focus");
    for letter in ["b", "o", "b"] {
        tab.press(letter).await.expect("a key");
    }
    let typed = "const f = document.querySelector('#backtest form'); f.elements.name.value = 'velocity'; \
                 f.elements.points.value = '9'; f.elements.off.value = 'promo_abuse'; f.requestSubmit()";
    tab.eval(&format!("(() => {{ {typed} }})()")).await.expect("asked");
    let running = "document.querySelector('.backtest')?.textContent.includes('velocity (+9.0) · without promo_abuse')";
    tab.wait_for(running, 5_000).await.expect("it is what was asked");
    tab.wait_for("document.querySelector('.backtest .bar')", 5_000).await.expect("how far it is");
    tab.screenshot(&folder().join("backtest-running.png"), true).await.expect("a picture");
    tab.wait_for("document.querySelectorAll('.backtest tbody tr').length > 10", 15_000).await.expect("what came of it");
    assert!(text(&tab, ".backtest").await.contains("for bob"));
    let wide = tab.eval("document.documentElement.scrollWidth").await.expect("a width");
    assert!(wide.as_u64() <= Some(390), "{wide}");
    no_problems(&tab, "backtest");
    stage.dashboard.shutdown().await;
}

#[tokio::test]
#[ignore = "slow suite: needs chromium"]
async fn a_payment_is_judged_and_its_card_blocked_on_the_page() {
    let stage = Stage::set().await;
    let browser = Browser::launch().await.expect("a browser");
    let tab = browser.tab(1440, 900).await.expect("a tab");
    open(&tab, &stage, "/fraud/review").await;
    let first = tab.eval("document.querySelector('.review').id").await.expect("an id");
    let first = first.as_str().expect("an id").to_owned();
    tab.eval("document.querySelector('.review summary').click()").await.expect("a click");
    let click = |what: &str| {
        format!("[...document.querySelectorAll('#{first} button')].find(b => b.textContent === '{what}').click()")
    };
    // Without a name nothing is said.
    tab.eval(&click("It was fraud")).await.expect("a click");
    tab.wait_for(&format!("document.querySelector('#{first} .said').textContent.includes('Write your name')"), 3_000)
        .await
        .expect("told");
    tab.eval("document.getElementById('analyst').focus()").await.expect("focus");
    for letter in ["a", "n", "n"] {
        tab.press(letter).await.expect("a key");
    }
    tab.eval(&format!("document.querySelector('#{first} [name=reason]').value = 'seen before'")).await.expect("typed");
    tab.eval(&click("Add to list")).await.expect("a click");
    tab.wait_for(&format!("document.querySelector('#{first} dl').textContent.includes('block')"), 5_000)
        .await
        .expect("it is marked");
    tab.screenshot(&folder().join("review-open.png"), true).await.expect("a picture");
    assert!(text(&tab, &format!("#{first} .said")).await.contains("Add to list, by ann"));
    tab.eval(&click("It was fraud")).await.expect("a click");
    tab.wait_for(&format!("!document.getElementById('{first}')"), 5_000).await.expect("it leaves the queue");
    // The name is known on the next page; what was listed is there, and is taken off.
    open(&tab, &stage, "/fraud/lists").await;
    assert_eq!(tab.eval("document.getElementById('analyst').value").await.expect("a name"), json!("ann"));
    tab.wait_for("document.querySelector('#entries tbody').textContent.includes('seen before')", 3_000)
        .await
        .expect("listed");
    let row = "[...document.querySelectorAll('#entries tr')].find(r => r.textContent.includes('seen before'))";
    tab.eval(&format!("{row}.querySelector('button').click()")).await.expect("a click");
    tab.wait_for(&format!("!{row}"), 5_000).await.expect("taken off");
    no_problems(&tab, "review");
    stage.dashboard.shutdown().await;
}
