//! The recommender in the running product, alone, and after a power cut.

use std::path::Path;
use std::process::{Child, Stdio};

use millrace_connectors::kafka::ClientSettings;
use millrace_connectors::kafka::producer::{Outgoing, Producer};
use serde_json::{Value, json};

use crate::support::{PATIENCE, Up, command, get, wait_for};

const SETTINGS: &str = "
[recommend]
snapshot_interval = '1s'
[recommend.placements.shelf]
kind = 'next'
blocked = ['pot']
[[recommend.comparisons]]
placement = 'next'
against = 'shelf'
share = 0.5
";

/// A moment of the test's day: the events are of just now.
fn at(second: i64) -> String {
    let now = millrace_model::Timestamp::from_system_time(std::time::SystemTime::now());
    millrace_model::Timestamp(now.0 - 60_000_000 + second * 1_000_000).to_string()
}

fn view(visitor: &str, product: &str, second: i64) -> Value {
    json!({ "event_id": format!("{visitor}-{product}-{second}"), "event_type": "product_viewed", "event_time": at(second),
        "anonymous_id": visitor, "session_id": format!("session of {visitor}"), "product_id": product, "category": "kitchen" })
}

fn stock(id: &str, product: &str, on_hand: i64) -> Value {
    json!({ "event_id": id, "event_type": "stock_counted", "event_time": at(30), "product_id": product,
        "on_hand_change": 0, "reserved_change": 0, "on_hand": on_hand, "reserved": 0 })
}

/// Produces events with the keys their contracts name: only so do a visitor's clicks stay in their order.
fn produce(up: &Up, topic: &str, events: &[Value]) {
    let key = match topic {
        "user_events" => "anonymous_id",
        "transactions" => "order_id",
        _ => "product_id",
    };
    let producer = Producer::new(&ClientSettings::new(up.kafka.clone()), None).expect("a producer");
    for event in events {
        let (key, value) = (event[key].as_str().expect("a key"), event.to_string());
        let (key, value) = (Some(key.as_bytes()), Some(value.as_bytes()));
        producer.send(Outgoing { topic, partition: None, key, value, time: None }, PATIENCE).expect("room");
    }
    producer.flush(PATIENCE).expect("acknowledged");
}

fn products(address: &str, query: &str) -> Vec<String> {
    let (status, body) = get(address, &format!("/v1/recommendations?{query}"));
    assert_eq!(status, 200, "{body}");
    let answer: Value = serde_json::from_str(&body).expect("JSON");
    let items = answer["items"].as_array().expect("items");
    items.iter().map(|item| item["product_id"].as_str().expect("a name").to_owned()).collect()
}

/// `millrace recommend` of its own; killed when dropped.
struct Alone {
    child: Child,
    address: String,
}

impl Alone {
    fn start(dir: &Path, kafka: &str) -> Self {
        let arguments = ["recommend", "--bootstrap-servers", kafka, "--listen", "127.0.0.1:0"];
        let log = dir.join("alone.log");
        let out = std::fs::File::create(&log).expect("a log");
        let child = command(dir).args(arguments).stdout(Stdio::from(out)).spawn().expect("started");
        let said = || std::fs::read_to_string(&log).expect("a log");
        let address =
            wait_for("the recommender answers", || Some(said().split("http://").nth(1)?.split_once('/')?.0.to_owned()));
        Alone { child, address }
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
#[ignore = "starts the product three times"]
fn recommendations_follow_the_streams_and_outlive_a_power_cut() {
    let dir = tempfile::tempdir().expect("a folder");
    let config = dir.path().join("settings.toml");
    std::fs::write(&config, SETTINGS).expect("settings");
    let config = config.to_str().expect("a path").to_owned();
    let options = ["--no-simulate", "--config", &config];
    let up = Up::start(dir.path(), &options);

    // Clicks are in the next answer.
    let visits = [("ann", ["tea", "cup"]), ("bob", ["tea", "cup"]), ("eve", ["tea", "pot"])];
    let clicks: Vec<Value> = visits
        .iter()
        .enumerate()
        .flat_map(|(at, (who, items))| [view(who, items[0], at as i64), view(who, items[1], 10 + at as i64)])
        .collect();
    produce(&up, "user_events", &clicks);
    let asked = "placement=similar&product=tea&count=2";
    wait_for("clicks are learnt", || (products(&up.page, asked) == ["cup", "pot"]).then_some(()));

    // What has no stock leaves, and comes back.
    produce(&up, "inventory_updates", &[stock("1", "cup", 0)]);
    wait_for("no stock", || (products(&up.page, asked) == ["pot"]).then_some(()));
    produce(&up, "inventory_updates", &[stock("2", "cup", 9)]);
    wait_for("stock again", || (products(&up.page, asked) == ["cup", "pot"]).then_some(()));

    // An order: bought together, and not shown to its buyer again.
    let order = json!({ "event_id": "o1", "event_type": "order_placed", "event_time": at(40), "order_id": "o1", "anonymous_id": "ann",
        "lines": [{ "product_id": "cup", "quantity": 1, "price_minor": 100 }, { "product_id": "jam", "quantity": 1, "price_minor": 100 }] });
    produce(&up, "transactions", &[order]);
    let together = "placement=bought_together&product=cup&count=1";
    wait_for("bought together", || (products(&up.page, together) == ["jam"]).then_some(()));
    assert!(!products(&up.page, "placement=similar&product=tea&visitor=ann").contains(&"cup".to_owned()));

    // A comparison: a visitor stays on one side; a click on what was shown is attributed to it.
    for visitor in 0..20 {
        let query = format!("placement=next&visitor=new-{visitor}&product=tea");
        let (_, first) = get(&up.page, &format!("/v1/recommendations?{query}"));
        let first: Value = serde_json::from_str(&first).expect("JSON");
        let shows_pot = first["items"].as_array().expect("items").iter().any(|item| item["product_id"] == "pot");
        assert_eq!(shows_pot, first["placement"] == "next", "`shelf` blocks the pot: {first}");
    }
    let clicked: Vec<Value> = (0..20)
        .map(|visitor| {
            let mut click = view(&format!("new-{visitor}"), "cup", 61);
            click["event_id"] = json!(format!("click-{visitor}"));
            click
        })
        .collect();
    produce(&up, "user_events", &clicked);
    let tallies = || -> Value {
        let (_, body) = get(&up.page, "/v1/recommendations/comparison");
        serde_json::from_str(&body).expect("JSON")
    };
    let told = wait_for("clicks are attributed", || {
        let told = tallies();
        let placements = told["placements"].as_array()?.clone();
        let sum: u64 = placements.iter().filter_map(|placement| placement["visitors_clicked"].as_u64()).sum();
        (sum >= 20).then_some(told)
    });
    let uplift = &told["comparisons"][0]["visitors_who_clicked"];
    assert!(
        uplift["from"].as_f64() <= uplift["uplift"].as_f64() && uplift["uplift"].as_f64() <= uplift["to"].as_f64(),
        "{told}"
    );

    // Alone, on the same cluster, it has learnt the same.
    let alone_dir = tempfile::tempdir().expect("a folder");
    let alone = Alone::start(alone_dir.path(), &up.kafka);
    wait_for("alone", || (products(&alone.address, asked) == products(&up.page, asked)).then_some(()));
    drop(alone);

    // A power cut: the kept state and what came after it give the same answers.
    wait_for("the state is kept", || dir.path().join("recommend/state").metadata().ok());
    produce(&up, "user_events", &[view("eve", "kettle", 51)]);
    let evidence = "placement=similar&product=tea&count=5&evidence=true";
    let answer = |address: &str| -> Value {
        let (_, body) = get(address, &format!("/v1/recommendations?{evidence}"));
        serde_json::from_str::<Value>(&body).expect("JSON")["items"].clone()
    };
    wait_for("the last clicks", || answer(&up.page).to_string().contains("kettle").then_some(()));
    let before = answer(&up.page);
    up.kill();
    let up = Up::start(dir.path(), &options);
    wait_for("the same answer", || (answer(&up.page) == before).then_some(()));
    up.stop();
    let up = Up::start(dir.path(), &options);
    assert_eq!(answer(&up.page), before, "kept at the end: there at once");
    up.stop();
}
