//! The saved objects against a real server: every field they name is one the server knows as that, and every chart, asked as
//! Dashboards asks, says what the documents hold.

use std::path::Path;

use millrace_connectors::http::{HttpClient, Method};
use millrace_connectors::kafka::producer::{Outgoing, Producer};
use millrace_connectors::kafka::topics;
use millrace_connectors::sink::SinkStats;
use millrace_connectors::sink::search::{self, SavedObjects, SearchSettings, SearchSinkSettings};
use millrace_connectors::testing::search::Search;
use millrace_connectors::{Ending, shutdown};
use millrace_model::{ColumnType, Contract, Contracts};
use serde_json::{Map, Value, json};

use crate::support::{PATIENCE, broker};

/// The tables the sink writes when the shipped pipelines run.
fn shipped() -> Vec<Contract> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contracts/results");
    let mut tables: Vec<Contract> = std::fs::read_dir(folder)
        .expect("the folder of contracts")
        .map(|entry| std::fs::read_to_string(entry.expect("an entry").path()).expect("a contract"))
        .map(|text| Contract::parse(&text).expect("a contract"))
        .collect();
    tables.push(Contracts::builtin().get("fraud_alerts").expect("it ships").clone());
    tables
}

/// Rows that charts are drawn of; what they leave out is filled in by [`row`].
fn rows() -> Vec<(&'static str, Value)> {
    let at = |second: u32| format!("2099-01-01T00:{:02}:{:02}Z", second / 60, second % 60);
    let mut rows = Vec::new();
    for (second, currency, gross, orders) in
        [(1, json!("EUR"), 250, 1), (59, json!("EUR"), 100, 1), (61, json!("GBP"), 70, 1)]
    {
        rows.push((
            "vitals",
            json!({ "window_start": at(second), "currency": currency, "gross_minor": gross, "orders": orders,
            "payments_declined": 2, "cart_adds": 3, "page_views": 10 }),
        ));
    }
    // A second in which nothing was paid has no currency.
    rows.push((
        "vitals",
        json!({ "window_start": at(62), "currency": null, "gross_minor": 0, "orders": 0,
        "payments_declined": 0, "cart_adds": 1, "page_views": 5 }),
    ));
    for (store, visitors) in [("a", 10), ("b", 4)] {
        rows.push(("store_metrics", json!({ "window_start": at(0), "store_id": store, "visitors": visitors })));
    }
    for (minute, category, gross) in [(0, "toys", 300), (60, "toys", 500), (0, "books", 900)] {
        rows.push((
            "category_metrics",
            json!({ "window_start": at(minute), "category": category, "gross_minor": gross }),
        ));
    }
    for (visitor, stage, channel) in
        [("v1", "cart", json!("web")), ("v2", "cart", Value::Null), ("v3", "purchase", json!("app"))]
    {
        rows.push(("sessions", json!({ "visitor_id": visitor, "stage": stage, "channel": channel })));
        if stage == "cart" {
            rows.push((
                "abandoned_carts",
                json!({ "visitor_id": visitor, "reason": "left at payment", "channel": channel }),
            ));
        }
    }
    for (id, rule, severity) in [("1", "velocity", "high"), ("2", "velocity", "high"), ("3", "card_testing", "medium")]
    {
        rows.push(("fraud_signals", json!({ "signal_id": id, "rule": rule, "severity": severity })));
    }
    for (id, decision) in [("p1", "block"), ("p2", "review"), ("p3", "review")] {
        rows.push(("fraud_alerts", json!({ "decision_id": id, "decision": decision, "event_time": at(30) })));
    }
    // Nothing sold lasts for ever: the last of the list.
    for (minute, product, hours, sold) in
        [(0, "p1", json!(4.5), 9), (60, "p1", json!(3.5), 12), (0, "p2", json!(0.5), 4), (0, "p3", Value::Null, 0)]
    {
        rows.push((
            "stock_cover",
            json!({ "window_start": at(minute), "product_id": product, "hours_of_cover": hours, "units_sold": sold }),
        ));
    }
    for (product, available, status) in [("p1", 40, "in_stock"), ("p2", -1, "oversold")] {
        rows.push((
            "stock_levels",
            json!({ "product_id": product, "available": available, "reorder_point": 5, "status": status }),
        ));
    }
    for (minute, records) in [(0, 100), (60, 40)] {
        rows.push(("ledger", json!({ "window_start": at(minute), "stream": "user_events", "records": records })));
    }
    rows
}

/// What each chart says of them: keys of the buckets from the outside in, then the measures.
const EXPECTED: &[(&str, &[&str])] = &[
    ("The shop in numbers", &["= 3, 10, 35, 6"]),
    ("Revenue", &["EUR = 350", "GBP = 70"]),
    ("Revenue by minute", &["00:00 EUR = 350", "00:01 GBP = 70"]),
    ("Orders and declined payments by minute", &["00:00 = 2, 4", "00:01 = 1, 2"]),
    ("Visitors within five minutes, by store", &["00:00 a = 10", "00:00 b = 4"]),
    ("Revenue of categories within five minutes", &["books = 900", "toys = 400"]),
    ("How far sessions came", &["cart __missing__ = 1", "cart web = 1", "purchase app = 1"]),
    ("Abandoned carts by reason", &["left at payment __missing__ = 1", "left at payment web = 1"]),
    ("Fraud signals by rule", &["velocity high = 2", "card_testing medium = 1"]),
    ("Payments and refunds held or blocked", &["00:00 review = 2", "00:00 block = 1"]),
    ("Stock that runs out soonest", &["p2 = 0.5, 4", "p1 = 3.5, 12", "p3 = none, 0"]),
    ("Least stock now", &["p2 oversold = -1, 5", "p1 in_stock = 40, 5"]),
    ("Records counted by stream", &["00:00 user_events = 100", "00:01 user_events = 40"]),
];

/// A row of a table: what is given, and something of the right type for the rest.
fn row(table: &Contract, given: &Value) -> Value {
    let value = |kind: &ColumnType| match kind {
        ColumnType::Text => json!("some"),
        ColumnType::Integer => json!(1),
        ColumnType::Number => json!(0.5),
        ColumnType::Boolean => json!(true),
        ColumnType::Timestamp => json!("2099-01-01T00:00:00Z"),
        ColumnType::List(_) => json!([]),
        ColumnType::Struct(_) | ColumnType::Map(_) => json!({}),
    };
    let column = |column: &millrace_model::Column| {
        let value = given.get(&column.name).cloned().unwrap_or_else(|| value(&column.column_type));
        (column.name.clone(), value)
    };
    Value::Object(table.columns.iter().map(column).collect())
}

/// The aggregations of a chart as Dashboards sends them: buckets within each other, the measures at each level, because buckets
/// are ordered by them.
fn request(measures: &[&Value], buckets: &[&Value]) -> Value {
    let mut level = Map::new();
    for measure in measures.iter().filter(|measure| measure["type"] != "count") {
        let kind = text(&measure["type"]);
        level.insert(text(&measure["id"]), json!({ kind: { "field": measure["params"]["field"] } }));
    }
    if let Some((bucket, within)) = buckets.split_first() {
        let params = &bucket["params"];
        let mut aggregation = if bucket["type"] == "date_histogram" {
            assert_eq!(params["interval"], "m");
            let count = &params["min_doc_count"];
            json!({ "date_histogram": { "field": params["field"], "calendar_interval": "1m", "min_doc_count": count } })
        } else {
            let by = measures.iter().find(|measure| measure["id"] == params["orderBy"]).expect("ordered by a measure");
            let by = if by["type"] == "count" { "_count".into() } else { text(&by["id"]) };
            json!({ "terms": { "field": params["field"], "size": params["size"], "order": { by: params["order"] } } })
        };
        if params["missingBucket"] == true {
            aggregation["terms"]["missing"] = "__missing__".into();
        }
        aggregation["aggs"] = request(measures, within);
        level.insert(text(&bucket["id"]), aggregation);
    }
    Value::Object(level)
}

/// The innermost buckets of an answer, a line each.
fn lines(answer: &Value, measures: &[&Value], buckets: &[&Value], path: &str) -> Vec<String> {
    let Some((bucket, within)) = buckets.split_first() else {
        let value = |measure: &&Value| {
            let of_count = measure["type"] == "count";
            let value = if of_count { &answer["doc_count"] } else { &answer[text(&measure["id"])]["value"] };
            value.as_f64().map_or("none".to_owned(), |value| value.to_string())
        };
        return vec![format!("{path}= {}", measures.iter().map(value).collect::<Vec<_>>().join(", "))];
    };
    let found = answer[text(&bucket["id"])]["buckets"].as_array().expect("buckets");
    let each = found.iter().flat_map(|one| {
        let key = match one["key_as_string"].as_str() {
            Some(time) => time[11..16].to_owned(),
            None => text(&one["key"]),
        };
        lines(one, measures, within, &format!("{path}{key} "))
    });
    each.collect()
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

async fn ask(look: &HttpClient, path: &str, body: &Value) -> Value {
    let headers = [("content-type", "application/json")];
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let answer = look.send(Method::POST, path, &headers, body, PATIENCE).await.expect("an answer");
    let said = String::from_utf8_lossy(&answer.body);
    assert_eq!(answer.status, 200, "{path}: {said}");
    serde_json::from_str(&said).expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "slow suite: starts OpenSearch"]
async fn the_server_knows_every_field_and_answers_every_chart() {
    let server = tokio::task::spawn_blocking(|| Search::start(&[])).await.expect("no panic").expect("a server");
    let broker = broker().await;
    let tables = shipped();
    topics::ensure(&broker.settings, &tables, None).await.expect("topics");
    let producer = Producer::new(&broker.settings, None).expect("a producer");
    let given = rows();
    let mut written = 0;
    for table in &tables {
        let mut of_table: Vec<&Value> =
            given.iter().filter(|(name, _)| *name == table.name).map(|(_, row)| row).collect();
        if of_table.is_empty() {
            // For its index to be there.
            of_table.push(&Value::Null);
        }
        for given in of_table {
            let value = row(table, given).to_string();
            let (topic, key, value) = (table.name.as_str(), Some(value.as_bytes()), Some(value.as_bytes()));
            producer.send(Outgoing { topic, partition: None, key, value, time: None }, PATIENCE).expect("sent");
            written += 1;
        }
    }
    producer.flush(PATIENCE).expect("acknowledged");

    let search = SearchSettings {
        url: server.url(),
        index_prefix: "shop-".into(),
        replicas: Some(0),
        ..SearchSettings::default()
    };
    let settings = SearchSinkSettings::new(broker.settings.clone(), search.clone());
    let (switch, shutdown) = shutdown();
    switch.ask(Ending::Drain);
    let sink = search::run(settings, tables.clone(), SinkStats::default(), shutdown);
    let report = tokio::time::timeout(PATIENCE * 4, sink).await.expect("in time").expect("drained");
    assert_eq!((report.rows_written, report.records_set_aside), (written, 0));
    let look = HttpClient::new(&server.url(), None).expect("an address");
    ask(&look, "/shop-*/_refresh", &Value::Null).await;

    let made = SavedObjects::of(&search, &tables);
    assert_eq!(made.left_out, Vec::<String>::new());
    let within = |value: &Value| -> Value { serde_json::from_str(&text(value)).expect("JSON in it") };
    let of_kind = |kind: &'static str| made.objects.iter().filter(move |object| object["type"] == kind);

    // Each index pattern has the fields that the server would tell Dashboards of.
    for pattern in of_kind("index-pattern") {
        let title = text(&pattern["attributes"]["title"]);
        let known = ask(&look, &format!("/{title}/_field_caps?fields=*"), &Value::Null).await;
        let mut known: Vec<(String, String)> = (known["fields"].as_object().expect("fields").iter())
            .filter(|(name, _)| !name.starts_with('_'))
            .map(|(name, kinds)| {
                let kinds: Vec<(&String, &Value)> = kinds.as_object().expect("types").iter().collect();
                assert_eq!(kinds.len(), 1, "{title}: {name} is one thing in one index, and another in another");
                let (kind, can) = kinds[0];
                assert!(
                    kind == "object" || can["searchable"] == true && can["aggregatable"] == true,
                    "{title}: {name}"
                );
                (name.clone(), kind.clone())
            })
            .filter(|(_, kind)| kind != "object")
            .collect();
        let fields = within(&pattern["attributes"]["fields"]);
        let mut named: Vec<(String, String)> = (fields.as_array().expect("fields").iter())
            .map(|field| (text(&field["name"]), text(&field["esTypes"][0])))
            .filter(|(name, _)| !name.starts_with('_'))
            .collect();
        known.sort();
        named.sort();
        assert_eq!(named, known, "{title}");
    }

    let mut said = Vec::new();
    for chart in of_kind("visualization") {
        let pattern = of_kind("index-pattern").find(|pattern| pattern["id"] == chart["references"][0]["id"]);
        let attributes = &pattern.expect("its index pattern")["attributes"];
        let state = within(&chart["attributes"]["visState"]);
        let aggregations = state["aggs"].as_array().expect("aggregations");
        let (measures, buckets): (Vec<&Value>, Vec<&Value>) =
            aggregations.iter().partition(|one| one["schema"] == "metric");
        let mut body = json!({ "size": 0, "aggs": request(&measures, &buckets) });
        if let Some(time) = attributes["timeFieldName"].as_str() {
            let range = json!({ "gte": "2098-12-31T23:30:00.000Z", "lte": "2099-01-01T00:30:00.000Z",
                "format": "strict_date_optional_time" });
            body["query"] = json!({ "bool": { "filter": [{ "range": { time: range } }] } });
        }
        let answer = ask(&look, &format!("/{}/_search", text(&attributes["title"])), &body).await;
        let title = text(&chart["attributes"]["title"]);
        let title = title.strip_prefix("Millrace shop-: ").expect("whose it is").to_owned();
        said.push((title, lines(&answer["aggregations"], &measures, &buckets, "")));
    }
    let expected: Vec<(String, Vec<String>)> = (EXPECTED.iter())
        .map(|(title, lines)| ((*title).to_owned(), lines.iter().map(|line| (*line).to_owned()).collect()))
        .collect();
    assert_eq!(said, expected);
}
