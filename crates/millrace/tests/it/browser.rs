//! The running product in a real browser: tiles move without a reload, an alert arrives and its evidence opens.
//!
//! Pictures go to the folder `MILLRACE_SCREENSHOTS`, or to the target's temporary folder.

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use millrace_dashboard::testing::browser::Browser;
use millrace_model::Timestamp;
use serde_json::json;

use crate::support::Up;

fn folder() -> PathBuf {
    std::env::var_os("MILLRACE_SCREENSHOTS")
        .map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("screenshots"), PathBuf::from)
}

/// Someone tries out cards from one device, now.
fn card_testing(device: &str) -> Vec<Vec<u8>> {
    let now = Timestamp::from_system_time(SystemTime::now()).0;
    let payment = |n: i64| {
        json!({
            "event_id": format!("{device}-{n}"), "event_type": "payment_declined",
            "event_time": Timestamp(now + n * 1_000).to_string(), "payment_id": format!("payment-{device}-{n}"),
            "order_id": format!("order-{device}-{n}"), "user_id": "u-1", "device_id": device, "ip": "203.0.113.9",
            "card_token": format!("tok_{device}_{n}"), "card_bin": "411111", "amount_minor": 199, "currency": "EUR",
            "decline_code": "do_not_honor",
        })
    };
    (0..9).map(|n| payment(n).to_string().into_bytes()).collect()
}

#[test]
#[ignore = "slow suite: needs chromium"]
fn browser_sees_the_shop_move_and_an_alert_arrive() {
    let dir = tempfile::tempdir().expect("a folder");
    let started = Instant::now();
    let up = Up::start(dir.path(), &[]);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let browser = Browser::launch().await.expect("a browser");
        for (name, width, height) in [("desktop", 1440, 900), ("phone", 390, 844)] {
            let tab = browser.tab(width, height).await.expect("a tab");
            tab.goto(&format!("http://{}/", up.page)).await.expect("the page");
            tab.eval("window.same = true").await.expect("a mark");
            let shown = "document.querySelector('[data-key=gross_today] .value')?.textContent.includes('€')";
            tab.wait_for(shown, 30_000).await.expect("revenue is shown");
            let text = "[...document.querySelectorAll('[data-key] .value')].map(v => v.textContent).join(' ')";
            let first = tab.eval(text).await.expect("tiles");
            tab.wait_for(&format!("{text} !== {first}"), 30_000).await.expect("tiles change");
            println!("{name}: tiles have changed {:.1?} after the start of the process", started.elapsed());
            assert_eq!(tab.eval("window.same").await.expect("the mark"), json!(true), "it was not reloaded");

            tab.goto(&format!("http://{}/fraud", up.page)).await.expect("the page");
            tab.wait_for("document.getElementById('connection').dataset.state === 'live'", 10_000).await.expect("live");
            let device = format!("device-{name}-{}", std::process::id());
            let payments = card_testing(&device);
            let sent = Instant::now();
            tokio::task::block_in_place(|| up.produce("transactions", payments.iter().map(|p| Some(p.as_slice()))));
            let evidence = format!(
                "[...document.querySelectorAll('.attack')].find(a => a.textContent.includes('payment-{device}-8'))"
            );
            tab.wait_for(&format!("{evidence} != null"), 20_000).await.expect("the alert arrives");
            println!("{name}: the alert was on the page {:.2?} after its payments were sent", sent.elapsed());
            tab.eval(&format!("{evidence}.querySelector('summary').click()")).await.expect("a click");
            tab.wait_for(&format!("{evidence}.querySelector('details').open"), 2_000)
                .await
                .expect("the evidence opens");
            tab.screenshot(&folder().join(format!("product-fraud-{name}.png")), false).await.expect("a picture");

            tab.goto(&format!("http://{}/", up.page)).await.expect("the page");
            tab.wait_for("document.querySelector('#revenue .plot svg')", 15_000).await.expect("the chart");
            tokio::time::sleep(Duration::from_secs(2)).await;
            tab.screenshot(&folder().join(format!("product-overview-{name}.png")), false).await.expect("a picture");
            assert!(tab.problems().is_empty(), "{name}: {:#?}", tab.problems());
        }
    });
}
