//! The Kafka page over a real broker: topics, groups with their lag, messages with what is personal masked; by HTTP and in
//! a browser.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use millrace_broker::{Broker, BrokerSettings};
use millrace_connectors::kafka::producer::{Outgoing, Producer};
use millrace_connectors::kafka::{ClientSettings, Cluster, Place, topics};
use millrace_dashboard::testing::browser::{Browser, Tab};
use millrace_dashboard::{DashboardSettings, KafkaSettings};
use millrace_model::{Contracts, Timestamp};
use serde_json::{Value, json};

use crate::browser::{AUDIT, folder, no_problems, open, text};
use crate::http::get;
use crate::support::{Stage, now, until};

const PATIENCE: Duration = Duration::from_secs(30);
/// Page views in the topic.
const EVENTS: i64 = 120;

/// A broker with a shop's topics, some records, two groups; and a dashboard that shows it.
struct Shop {
    stage: Stage,
    client: ClientSettings,
    broker: Broker,
    _folder: tempfile::TempDir,
}

impl Shop {
    async fn open() -> Shop {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = BrokerSettings {
            data_dir: folder.path().join("broker"),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            ..BrokerSettings::default()
        };
        let broker = Broker::start(settings).await.expect("a broker");
        let client = ClientSettings::new(broker.address().to_string());
        let contracts: Vec<_> = Contracts::builtin().iter().cloned().collect();
        topics::ensure(&client, &contracts, None).await.expect("topics");
        let producing = client.clone();
        tokio::task::spawn_blocking(move || produce(&producing)).await.expect("produced");
        // The job has read half of partition 0, the sink all of it.
        for (group, offset) in [("millrace-metrics", EVENTS / 2), ("millrace-store", EVENTS)] {
            let group = Cluster::new(&client, group).expect("a client");
            group.commit(&[(Place::new("user_events", 0), offset)].into()).await.expect("committed");
        }
        let settings = DashboardSettings {
            kafka: Some(KafkaSettings { client: client.clone(), contracts }),
            spark_ui: Some("http://127.0.0.1:4040".into()),
            kafka_ui: Some("https://kafka.example/ui".into()),
            ..DashboardSettings::listen_on(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
        };
        Shop { stage: Stage::of(settings).await, client, broker, _folder: folder }
    }

    async fn get(&self, path: &str) -> String {
        let answer = get(self.stage.address(), path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.text()
    }

    async fn close(self) {
        self.stage.dashboard.shutdown().await;
        self.broker.shutdown().await.expect("the broker ends");
    }
}

fn produce(client: &ClientSettings) {
    let producer = Producer::new(client, None).expect("a producer");
    let send = |topic: &str, key: Option<&[u8]>, value: Option<&[u8]>, time: Timestamp| {
        producer.send(Outgoing { topic, partition: Some(0), key, value, time: Some(time) }, PATIENCE).expect("sent");
    };
    let start = now();
    for n in 0..EVENTS {
        // A second apart, the newest now.
        let time = Timestamp(start.0 - (EVENTS - n) * 1_000_000);
        let visitor = format!("visitor-{n:06}");
        let event = json!({
            "event_id": format!("e-{n}"), "event_type": "page_viewed", "event_time": time, "anonymous_id": visitor,
            "path": format!("/products/{n}"), "ip": "203.0.113.77",
        });
        send("user_events", Some(visitor.as_bytes()), Some(event.to_string().as_bytes()), time);
    }
    send("transactions", Some(b"order-1"), Some(b"\xff\x00 no JSON <script>alert(1)</script>"), start);
    send("job_progress", Some(b"trending"), None, start);
    producer.flush(PATIENCE).expect("acknowledged");
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_groups_and_messages() {
    let shop = Shop::open().await;
    let html = shop.get("/kafka").await;
    for wanted in ["millrace-metrics", "job metrics", "store sink", "user_events", "In sync", "Answers", "Kafka UI"] {
        assert!(html.contains(wanted), "{wanted}: {html}");
    }
    // Ages of unread records may come with a later look.
    let group = until(async || {
        let look: Value = get(shop.stage.address(), "/api/kafka").await.json();
        let group = look["groups"].as_array()?.iter().find(|group| group["name"] == "millrace-metrics")?.clone();
        group["lag_seconds"].is_number().then_some(group)
    })
    .await;
    assert_eq!(group["lag_records"], json!(EVENTS / 2));
    let seconds = group["lag_seconds"].as_f64().expect("a number");
    assert!((EVENTS as f64 / 2.0..EVENTS as f64).contains(&seconds), "the first unread is a minute old: {seconds}");
    let look = get(shop.stage.address(), "/api/kafka").await.json();
    let of = |list: &str, name: &str| {
        look[list].as_array().and_then(|all| all.iter().find(|one| one["name"] == name)).cloned().expect("it is there")
    };
    let (topic, store) = (of("topics", "user_events"), of("groups", "millrace-store"));
    assert_eq!(
        (&topic["role"], &topic["records"], &topic["under_replicated"]),
        (&json!("source"), &json!(EVENTS), &json!(0))
    );
    assert_eq!((&store["lag_records"], &store["lag_seconds"]), (&json!(0), &json!(0.0)));
    assert_eq!(look["trouble"], json!([]), "{look}");

    let html = shop.get("/kafka?topic=user_events").await;
    assert!(html.contains("millrace-store") && html.contains("End offset"), "{html}");
    assert!(shop.get("/kafka?topic=user_events&view=config").await.contains("retention.ms"));
    assert!(shop.get("/kafka?group=millrace-metrics").await.contains("First unread"));
    assert!(shop.get("/kafka?topic=nowhere").await.contains("There is no topic of this name"));
    assert!(shop.get("/kafka?group=nowhere").await.contains("There is no group of this name"));

    let html = shop.get("/kafka?topic=user_events&view=messages&count=20").await;
    assert_eq!(html.matches("<li class=\"letter\"").count(), 20);
    assert!(html.contains("/products/119") && html.contains("visi…0119"), "{html}");
    for secret in ["visitor-000119", "203.0.113.77"] {
        assert!(!html.contains(secret), "{secret}");
    }
    let html = shop.get("/kafka?topic=transactions&view=messages").await;
    assert!(html.contains("\\xff") && html.contains("&lt;script&gt;") && !html.contains("<script>alert"), "{html}");
    assert!(shop.get("/kafka?topic=job_progress&view=messages").await.contains("no value"));
    // The link of the API's description, from an offset, searched.
    let path = "/api/kafka/messages?topic=user_events&partition=0&from=offset&at=40&q=%2Fproducts%2F41&count=5";
    let found = get(shop.stage.address(), path).await.json();
    assert_eq!((&found["messages"][0]["offset"], found["messages"].as_array().map(Vec::len)), (&json!(41), Some(1)));
    let hidden = "/api/kafka/messages?topic=user_events&q=visitor-000041";
    assert_eq!(get(shop.stage.address(), hidden).await.json()["messages"], json!([]), "masked data is not searched");
    for (query, told) in [
        ("topic=user_events&from=offset", "write the offset"),
        ("topic=user_events&partition=99", "no such partition"),
        ("topic=nowhere", "there is no topic nowhere"),
        ("", "say which topic"),
    ] {
        let answer = get(shop.stage.address(), &format!("/api/kafka/messages?{query}")).await;
        assert!(answer.status == 400 && answer.text().contains(told), "{query}: {}", answer.text());
    }
    // Looking leaves no trace.
    let look = get(shop.stage.address(), "/api/kafka").await.json();
    let names: Vec<&str> =
        look["groups"].as_array().expect("groups").iter().filter_map(|g| g["name"].as_str()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(shop.get("/health").await.contains("http://127.0.0.1:4040"));
    assert!(Cluster::new(&shop.client, "millrace-lake").is_ok());
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_is_away_is_told() {
    let shop = Shop::open().await;
    shop.get("/kafka").await;
    let address = shop.stage.address();
    shop.broker.shutdown().await.expect("the broker ends");
    let html = until(async || {
        let html = get(address, "/kafka").await.text();
        html.contains("Kafka: read the").then_some(html)
    })
    .await;
    assert!(html.contains("user_events"), "what was known stays");
    shop.stage.dashboard.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_cluster_the_page_says_so() {
    let stage = Stage::with(0, Default::default()).await;
    assert!(get(stage.address(), "/kafka").await.text().contains("No cluster to show"));
    assert_eq!(get(stage.address(), "/api/kafka").await.text(), "null");
    stage.dashboard.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "slow suite: needs chromium"]
async fn kafka_pages_in_a_browser() {
    let shop = Shop::open().await;
    let browser = Browser::launch().await.expect("a browser");
    for (size, width, height) in [("desktop", 1440, 900), ("phone", 390, 844)] {
        for (theme, dark) in [("light", false), ("dark", true)] {
            let tab = browser.tab(width, height).await.expect("a tab");
            tab.prefers(dark, true).await.expect("the choice");
            for (name, query) in [
                ("kafka", ""),
                ("kafka-topic", "?topic=user_events"),
                ("kafka-settings", "?topic=user_events&view=config"),
                ("kafka-messages", "?topic=user_events&view=messages&count=20"),
                ("kafka-group", "?group=millrace-metrics"),
            ] {
                open(&tab, &shop.stage, &format!("/kafka{query}")).await;
                look_at(&tab, &format!("{name}-{size}-{theme}"), width).await;
            }
            no_problems(&tab, size);
        }
    }
    let tab = browser.tab(1440, 900).await.expect("a tab");
    tab.prefers(false, true).await.expect("the choice");
    // From the navigation to a topic to its messages, by links; then by keyboard.
    open(&tab, &shop.stage, "/").await;
    press(&tab, "nav.rail a[href='/kafka']").await;
    tab.wait_for("document.querySelector('[data-section=groups] tr')", 10_000).await.expect("groups");
    tab.wait_for(
        "/^[12] min|^6\\d s/.test(document.querySelector('[data-section=groups] td:nth-of-type(3)').textContent)",
        10_000,
    )
    .await
    .expect("lag in seconds");
    let lag = text(&tab, "[data-section=groups] tr:first-child td:nth-of-type(2)").await;
    assert_eq!(lag, (EVENTS / 2).to_string());
    press(&tab, "[data-section=topics] a[href*=user_events]").await;
    tab.wait_for("document.querySelectorAll('[data-section=partitions] tr').length === 4", 10_000)
        .await
        .expect("partitions");
    press(&tab, "a[href*='view=messages']").await;
    tab.wait_for("document.querySelectorAll('.messages > li').length === 50", 10_000).await.expect("messages");
    tab.wait_for("document.getElementById('connection').dataset.state === 'live'", 10_000).await.expect("live");
    tab.eval("window.same = true; document.getElementById('q').focus()").await.expect("focus");
    for letter in ["s", "/", "1", "7"] {
        tab.press(letter).await.expect("a key");
    }
    tab.press("Enter").await.expect("a key");
    tab.wait_for(
        "document.querySelectorAll('.messages > li').length === 1 && location.search.includes('q=s%2F17')",
        10_000,
    )
    .await
    .expect("it is found");
    tab.eval("document.querySelector('.messages summary').focus()").await.expect("focus");
    tab.press("Enter").await.expect("a key");
    tab.wait_for("document.querySelector('.messages details').open", 2_000).await.expect("it opens");
    let shown = text(&tab, ".messages pre").await;
    assert!(shown.contains("\"anonymous_id\": \"visi…0017\""), "{shown}");
    assert_eq!(tab.eval("window.same").await.expect("the mark"), json!(true), "it was not reloaded");
    tab.screenshot(&folder().join("kafka-message-open.png"), false).await.expect("a picture");
    // New records show by themselves.
    open(&tab, &shop.stage, "/kafka?topic=user_events").await;
    let client = shop.client.clone();
    tokio::task::spawn_blocking(move || produce(&client)).await.expect("produced");
    let end = format!(
        "document.querySelector('[data-section=partitions] td:nth-of-type(6)').textContent === '{}'",
        2 * EVENTS
    );
    tab.wait_for(&end, 10_000).await.expect("the end moves");
    no_problems(&tab, "kafka");
    shop.close().await;
}

/// Follows a link by keyboard.
async fn press(tab: &Tab, selector: &str) {
    tab.eval(&format!("document.querySelector(\"{selector}\").focus()")).await.expect("focus");
    tab.press("Enter").await.expect("a key");
}

async fn look_at(tab: &Tab, name: &str, width: u32) {
    let wide = tab.eval("document.documentElement.scrollWidth").await.expect("a width");
    assert!(wide.as_u64() <= Some(width.into()), "{name} is {wide} wide");
    assert_eq!(tab.eval(AUDIT).await.expect("the audit"), json!([]), "{name}");
    tab.screenshot(&folder().join(format!("{name}.png")), false).await.expect("a picture");
    tab.screenshot(&folder().join(format!("{name}-whole.png")), true).await.expect("a picture");
}
