//! The pages in a real browser; slow, so only on demand: `cargo test --profile quick -p millrace-dashboard -- --ignored`.
//!
//! Pictures go to the folder `MILLRACE_SCREENSHOTS`, or to the target's temporary folder.

use std::path::PathBuf;
use std::time::Duration;

use millrace_dashboard::testing::browser::{Browser, Tab};
use serde_json::{Value, json};

use crate::support::{Stage, now};

const PAGES: [(&str, &str); 11] = [
    ("overview", "/"),
    ("fraud", "/fraud"),
    ("review", "/fraud/review"),
    ("lists", "/fraud/lists"),
    ("rules", "/fraud/rules"),
    ("scoreboard", "/fraud/scoreboard"),
    ("alerts", "/alerts"),
    ("stock", "/stock"),
    ("sessions", "/sessions"),
    ("recommendations", "/recommendations"),
    ("health", "/health"),
];

/// Checks that hold on every page: names for what can be pressed, readable colours, nothing twice.
pub(crate) const AUDIT: &str = include_str!("audit.js");

pub(crate) fn folder() -> PathBuf {
    std::env::var_os("MILLRACE_SCREENSHOTS")
        .map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("screenshots"), PathBuf::from)
}

/// Lets the shop move for a while.
async fn live(stage: &mut Stage, ticks: usize) {
    for _ in 0..ticks {
        stage.tick().await;
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

pub(crate) async fn open(tab: &Tab, stage: &Stage, path: &str) {
    tab.goto(&format!("http://{}{path}", stage.address())).await.expect("the page");
    let live = "document.getElementById('connection').dataset.state === 'live'";
    tab.wait_for(live, 10_000).await.expect("the stream is live");
}

pub(crate) async fn text(tab: &Tab, selector: &str) -> String {
    let found = tab.eval(&format!("document.querySelector({})?.textContent ?? ''", json!(selector))).await;
    found.expect("a text").as_str().unwrap_or_default().to_owned()
}

async fn click(tab: &Tab, selector: &str) {
    tab.eval(&format!("document.querySelector({}).click()", json!(selector))).await.expect("a click");
}

pub(crate) fn no_problems(tab: &Tab, what: &str) {
    let problems = tab.problems();
    assert!(problems.is_empty(), "{what}: {problems:#?}");
}

#[tokio::test]
#[ignore = "slow suite: needs chromium"]
async fn every_page_at_both_widths_light_and_dark() {
    let mut stage = Stage::with(47, Default::default()).await;
    let browser = Browser::launch().await.expect("a browser");
    for (size, width, height) in [("desktop", 1440, 900), ("phone", 390, 844)] {
        for (theme, dark) in [("light", false), ("dark", true)] {
            let tab = browser.tab(width, height).await.expect("a tab");
            tab.prefers(dark, true).await.expect("the choice");
            for (name, path) in PAGES {
                open(&tab, &stage, path).await;
                live(&mut stage, 5).await;
                // Charts are drawn when they come into view: for once, everything is.
                let drawn = "[...document.querySelectorAll('.chart.drawn .plot')].every(p => p.querySelector('svg'))";
                tab.resize(width, 6_000).await.expect("a size");
                tab.wait_for(drawn, 15_000).await.expect("the charts");
                tab.resize(width, height).await.expect("a size");
                live(&mut stage, 3).await;
                let wide = tab.eval("document.documentElement.scrollWidth").await.expect("a width");
                assert!(wide.as_u64() <= Some(width.into()), "{name} is {wide} wide on {width}");
                let found = tab.eval(AUDIT).await.expect("the audit");
                assert_eq!(found, json!([]), "{name} {size} {theme}");
                let file = |part: &str| folder().join(format!("{name}-{size}-{theme}{part}.png"));
                tab.screenshot(&file(""), false).await.expect("a picture");
                tab.screenshot(&file("-whole"), true).await.expect("a picture");
            }
            no_problems(&tab, &format!("{size} {theme}"));
        }
    }
    stage.dashboard.shutdown().await;
}

#[tokio::test]
#[ignore = "slow suite: needs chromium"]
async fn an_empty_store_says_what_it_waits_for() {
    let mut stage = Stage::with(0, Default::default()).await;
    let browser = Browser::launch().await.expect("a browser");
    let tab = browser.tab(1440, 900).await.expect("a tab");
    tab.prefers(false, true).await.expect("the choice");
    for (name, path) in PAGES {
        open(&tab, &stage, path).await;
        assert_eq!(tab.eval(AUDIT).await.expect("the audit"), json!([]), "{name}");
        let said = tab.eval("[...document.querySelectorAll('.empty')].some(e => e.offsetHeight > 0)").await;
        assert_eq!(said.expect("a truth"), json!(true), "{name} says what it waits for");
        tab.screenshot(&folder().join(format!("{name}-empty.png")), false).await.expect("a picture");
    }
    // The first rows fill the page that was open.
    open(&tab, &stage, "/").await;
    live(&mut stage, 8).await;
    tab.wait_for("document.querySelector('#pulse .lane path')?.getAttribute('d').length > 0", 5_000)
        .await
        .expect("the pulse begins");
    tab.screenshot(&folder().join("overview-first-seconds.png"), false).await.expect("a picture");
    no_problems(&tab, "empty");
    stage.dashboard.shutdown().await;
}

#[tokio::test]
#[ignore = "slow suite: needs chromium"]
async fn tiles_change_without_a_reload() {
    let mut stage = Stage::set().await;
    let browser = Browser::launch().await.expect("a browser");
    let tab = browser.tab(1440, 900).await.expect("a tab");
    open(&tab, &stage, "/").await;
    tab.eval("window.same = true").await.expect("a mark");
    tab.wait_for("document.querySelector('#pulse .lane path')?.getAttribute('d').length > 100", 5_000)
        .await
        .expect("pulse");
    let (events, net) = (text(&tab, "[data-mark=c1] strong").await, text(&tab, "[data-key=net_today] .value").await);
    assert!(net.contains('€') && events.ends_with("/s"), "{net} {events}");
    let pulse = tab.eval("document.querySelector('#pulse .lane path').getAttribute('d')").await.expect("a path");
    // The next order may be some seconds away.
    let mut ticks = 0;
    while text(&tab, "[data-key=net_today] .value").await == net {
        live(&mut stage, 4).await;
        ticks += 1;
        assert!(ticks < 60, "the tile does not change");
    }
    let moved = format!("document.querySelector('#pulse .lane path').getAttribute('d') !== {pulse}");
    tab.wait_for(&moved, 5_000).await.expect("the pulse moves");
    assert_eq!(tab.eval("window.same").await.expect("the mark"), json!(true), "it was not reloaded");
    let fresh = text(&tab, "[data-key=net_today] .fresh").await;
    assert!(fresh.ends_with("s ago"), "{fresh}");
    // What the server writes and what the page shows agree.
    let shown = tab.eval("Number(document.querySelector('[data-key=gross_today] data').value)").await.expect("a value");
    let told = crate::http::get(stage.address(), "/api/overview").await.json();
    assert_eq!(shown.as_f64(), told["kpis"][1]["value"].as_f64());
    no_problems(&tab, "overview");
    stage.dashboard.shutdown().await;
}

#[tokio::test]
#[ignore = "slow suite: needs chromium"]
async fn a_signal_arrives_opens_and_grows() {
    let stage = Stage::set().await;
    let browser = Browser::launch().await.expect("a browser");
    let tab = browser.tab(1440, 900).await.expect("a tab");
    open(&tab, &stage, "/fraud").await;
    stage.push("fraud_signals", vec![crate::api::signal("card_token_7f3e9a1c44b2", 6)]).await;
    let first = ".attack:first-child";
    let arrived = format!("document.querySelector('{first}').textContent.includes('6 payment attempts')");
    tab.wait_for(&arrived, 3_000).await.expect("it arrives");
    tab.wait_for("document.querySelector('.chart .plot svg')", 15_000).await.expect("the chart");
    tab.wait_for("document.getElementById('spoken').textContent.includes('Velocity')", 2_000)
        .await
        .expect("it is said");
    // By keyboard: focus the line, open it.
    tab.eval(&format!("document.querySelector('{first} summary').focus()")).await.expect("focus");
    tab.press("Enter").await.expect("a key");
    tab.wait_for(&format!("document.querySelector('{first} details').open"), 2_000).await.expect("it opens");
    assert!(text(&tab, &format!("{first} .ids")).await.contains("pay-0005"));
    // The attack grows: the same line, still open, focus still on it.
    stage.push("fraud_signals", vec![crate::api::signal("card_token_7f3e9a1c44b2", 14)]).await;
    tab.wait_for(&format!("document.querySelector('{first} .ids').textContent.includes('pay-0013')"), 3_000)
        .await
        .expect("it grows");
    let kept = format!(
        "document.querySelector('{first} details').open && document.activeElement === document.querySelector('{first} summary')"
    );
    assert_eq!(tab.eval(&kept).await.expect("a truth"), json!(true));
    tab.screenshot(&folder().join("fraud-evidence.png"), false).await.expect("a picture");
    // The overview's link to it opens it.
    let id = tab.eval(&format!("document.querySelector('{first}').id")).await.expect("an id");
    open(&tab, &stage, &format!("/fraud#{}", id.as_str().expect("an id"))).await;
    tab.wait_for("document.querySelector('.attack details[open]')", 3_000).await.expect("it is open");
    no_problems(&tab, "fraud");
    stage.dashboard.shutdown().await;
}

#[tokio::test]
#[ignore = "slow suite: needs chromium"]
async fn filters_are_in_the_address_and_need_no_reload() {
    let stage = Stage::set().await;
    let browser = Browser::launch().await.expect("a browser");
    let tab = browser.tab(1440, 900).await.expect("a tab");
    open(&tab, &stage, "/stock").await;
    tab.eval("window.same = true").await.expect("a mark");
    tab.eval("document.getElementById('q').focus()").await.expect("focus");
    for letter in ["o", "a", "k"] {
        tab.press(letter).await.expect("a key");
    }
    tab.wait_for("document.querySelectorAll('[data-section=items] tr').length === 1", 5_000)
        .await
        .expect("one is found");
    tab.wait_for("location.search === '?q=oak' && document.activeElement.id === 'q'", 2_000)
        .await
        .expect("the address");
    // The stream follows the filter: a change of another product does not show, one of this does.
    let level = |id: &str, name: &str, available: i64| {
        json!({"product_id": id, "product_name": name, "category": "Chairs", "status": "in_stock", "on_hand": available,
               "reserved": 0, "available": available, "reorder_point": 1, "last_change": now()})
    };
    stage.push("stock_levels", vec![level("p-1", "Elm bench", 5), level("p-2", "Oak bench", 77)]).await;
    tab.wait_for("document.querySelectorAll('[data-section=items] tr').length === 2", 5_000)
        .await
        .expect("the new one");
    assert!(text(&tab, "[data-section=items]").await.contains("Oak bench"));
    click(&tab, "nav.choice a[href*='status=oversold']").await;
    tab.wait_for(
        "location.search.includes('status=oversold') && document.querySelector('.empty').offsetHeight > 0",
        5_000,
    )
    .await
    .expect("nothing is left, and it says so");
    tab.eval("history.back()").await.expect("back");
    tab.wait_for(
        "location.search === '?q=oak' && document.querySelectorAll('[data-section=items] tr').length === 2",
        5_000,
    )
    .await
    .expect("back again");
    assert_eq!(tab.eval("window.same").await.expect("the mark"), json!(true));
    no_problems(&tab, "stock");
    stage.dashboard.shutdown().await;
}

#[tokio::test]
#[ignore = "slow suite: needs chromium"]
async fn keyboard_charts_tables_theme_and_pause() {
    let mut stage = Stage::set().await;
    let browser = Browser::launch().await.expect("a browser");
    let tab = browser.tab(1440, 900).await.expect("a tab");
    tab.prefers(false, false).await.expect("the choice");
    open(&tab, &stage, "/").await;
    // The first stop is the way past the navigation.
    tab.press("Tab").await.expect("a key");
    assert_eq!(text(&tab, ":focus").await, "Skip to content");
    tab.press("Enter").await.expect("a key");
    tab.wait_for("document.activeElement.id === 'main'", 2_000).await.expect("the main part");
    // Every chart is reached, and walked through by arrows.
    tab.wait_for("document.querySelector('#revenue .plot svg')", 10_000).await.expect("the chart");
    let mut stops = Vec::new();
    for _ in 0..60 {
        tab.press("Tab").await.expect("a key");
        let stop = tab.eval("document.activeElement.closest('figure')?.dataset.chart ?? ''").await.expect("a name");
        stops.push(stop.as_str().unwrap_or_default().to_owned());
    }
    assert!(stops.contains(&"revenue".to_owned()) && stops.contains(&"pulse".to_owned()), "{stops:?}");
    tab.eval("document.querySelector('#revenue .plot').focus()").await.expect("focus");
    tab.press("ArrowLeft").await.expect("a key");
    tab.press("ArrowLeft").await.expect("a key");
    let said = text(&tab, "#revenue [data-spoken]").await;
    assert!(said.contains("Revenue €") && said.contains("Orders"), "{said}");
    // The table twin.
    click(&tab, "[data-twin-of=revenue]").await;
    let rows = tab.eval("document.querySelectorAll('#revenue .twin tbody tr').length").await.expect("a number");
    assert!(rows.as_u64() > Some(40), "{rows}");
    assert_eq!(tab.eval("document.querySelector('#revenue .plot').offsetHeight").await.expect("a height"), json!(0));
    tab.screenshot(&folder().join("overview-twin.png"), false).await.expect("a picture");
    click(&tab, "[data-twin-of=revenue]").await;
    // The theme, kept over a reload.
    click(&tab, "#theme").await;
    open(&tab, &stage, "/").await;
    assert_eq!(tab.eval("document.documentElement.dataset.theme").await.expect("a theme"), json!("dark"));
    // Pause holds everything still; going on brings the newest.
    tab.press("p").await.expect("a key");
    tab.wait_for("document.getElementById('connection').dataset.state === 'paused'", 2_000).await.expect("paused");
    let as_of = "document.querySelector('[data-as-of]').dataset.asOf";
    let held = tab.eval(as_of).await.expect("a time");
    live(&mut stage, 12).await;
    assert_eq!(tab.eval(as_of).await.expect("a time"), held);
    tab.press("p").await.expect("a key");
    let moved = format!("{as_of} !== {held}");
    tab.wait_for(&moved, 5_000).await.expect("it goes on");
    no_problems(&tab, "overview");
    stage.dashboard.shutdown().await;
}

#[tokio::test]
#[ignore = "slow suite: needs chromium"]
async fn a_lost_connection_is_told_and_found_again() {
    let mut stage = Stage::set().await;
    let browser = Browser::launch().await.expect("a browser");
    let tab = browser.tab(390, 844).await.expect("a tab");
    open(&tab, &stage, "/").await;
    let address = stage.address();
    stage = stage.restart(None).await;
    tab.wait_for(
        "document.getElementById('connection-text').textContent.startsWith('connection lost, trying again')",
        10_000,
    )
    .await
    .expect("it is told");
    tab.screenshot(&folder().join("overview-lost-phone.png"), false).await.expect("a picture");
    stage = stage.restart(Some(address)).await;
    tab.wait_for("document.getElementById('connection').dataset.state === 'live'", 20_000).await.expect("found again");
    stage.dashboard.shutdown().await;
}

#[tokio::test]
#[ignore = "slow suite: needs chromium"]
async fn pages_read_without_scripts() {
    let stage = Stage::set().await;
    let browser = Browser::launch().await.expect("a browser");
    let tab = browser.tab(1440, 900).await.expect("a tab");
    tab.scripts(false).await.expect("scripts off");
    for (name, path) in PAGES {
        tab.goto(&format!("http://{}{path}", stage.address())).await.expect("the page");
        // Evaluating still works; the page's own scripts did not run.
        let without = tab.eval("document.documentElement.dataset.js === undefined").await.expect("a truth");
        assert_eq!(without, Value::Bool(true));
        assert!(text(&tab, "main").await.len() > 500, "{name}");
        tab.screenshot(&folder().join(format!("{name}-without-scripts.png")), false).await.expect("a picture");
    }
    let rows = tab.eval("getComputedStyle(document.querySelector('#ledger .twin')).display").await.expect("a style");
    assert_eq!(rows, json!("block"), "the chart's table stands in for the chart");
    stage.dashboard.shutdown().await;
}
