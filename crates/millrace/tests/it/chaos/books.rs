//! What each target holds, so that it can be held against what an undisturbed run of the same records gave.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace_connectors::http::{HttpClient, Method};
use millrace_connectors::kafka::rdkafka::Message;
use millrace_connectors::kafka::reader::Reader;
use millrace_connectors::kafka::{ClientSettings, Cluster};
use millrace_connectors::store::Store;
use serde_json::{Value, json};

use crate::support::PATIENCE;

/// Documents in one answer of the search server.
const PAGE_DOCUMENTS: usize = 1_000;

/// Rows or documents by table, as texts in their order.
pub(super) type Rows = BTreeMap<String, Vec<String>>;

/// Output of a command that must succeed.
pub(super) fn said(mut command: Command) -> String {
    let Output { status, stdout, stderr } = command.output().expect("the program runs");
    let out = String::from_utf8_lossy(&stdout).into_owned();
    assert!(status.success(), "{command:?}: {status}\n{out}\n{}", String::from_utf8_lossy(&stderr));
    out
}

/// Rows of results as `millrace query` gives them.
pub(super) fn stored(tables: &[String], query: impl Fn(&str) -> Command) -> Rows {
    let rows = |table: &String| {
        let out = said(query(&format!("SELECT * FROM {table}")));
        (table.clone(), sorted(out.lines().map(str::to_owned)))
    };
    tables.iter().map(rows).collect()
}

/// What the lake has of a source topic: rows, different places, different records, and how many break their contract.
pub(super) fn archived(topics: &[&str], query: impl Fn(&str) -> Command) -> BTreeMap<String, Value> {
    let of = |topic: &&str| {
        let sql = format!(
            "SELECT count(*) AS n, count(DISTINCT concat(_partition, '/', _offset)) AS places, \
             count(DISTINCT event_id) AS events, count(_error) AS malformed FROM {topic}"
        );
        ((*topic).to_owned(), serde_json::from_str(&said(query(&sql))).expect("a row"))
    };
    topics.iter().map(of).collect()
}

/// The last row of every key in these topics: what a target that keeps one row a key must hold.
pub(super) fn last_rows(servers: &str, tables: &[String]) -> Rows {
    let settings = ClientSettings::new(servers.to_owned());
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let cluster = Cluster::new(&settings, "chaos").expect("a client");
    let topics: Vec<Arc<str>> = tables.iter().map(|table| table.as_str().into()).collect();
    let places = runtime.block_on(cluster.places(&topics)).expect("partitions");
    let ends = runtime.block_on(cluster.extents(&places)).expect("extents");
    let mut reader = Reader::new(&settings, "chaos").expect("a reader");
    reader.assign(ends.iter().map(|(place, extent)| (place.clone(), extent.low)).collect()).expect("assigned");
    let mut last: BTreeMap<String, HashMap<Vec<u8>, Value>> =
        tables.iter().map(|table| (table.clone(), HashMap::new())).collect();
    loop {
        while let Some(message) = reader.next().expect("records") {
            let rows = last.get_mut(message.topic()).expect("one of them");
            let key = message.key().unwrap_or_default().to_vec();
            match message.payload() {
                Some(row) => rows.insert(key, serde_json::from_slice(row).expect("JSON")),
                None => rows.remove(&key),
            };
        }
        let positions = reader.positions();
        if ends.iter().all(|(place, extent)| positions.get(place).is_some_and(|at| *at >= extent.end)) {
            return last
                .into_iter()
                .map(|(table, rows)| (table, sorted(rows.values().map(Value::to_string))))
                .collect();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Documents of the search server's indices of these tables.
pub(super) fn documents(url: &str, tables: &[String]) -> Rows {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let client = HttpClient::new(url, None).expect("an address");
    let ask = |method: Method, path: &str, body: &Value| {
        let headers = [("content-type", "application/json")];
        let began = Instant::now();
        let answer = loop {
            let sent = client.send(method.clone(), path, &headers, body.to_string().into_bytes(), PATIENCE);
            let answer = runtime.block_on(sent).expect("an answer");
            // The server's memory is full for a moment: it says that it is, and takes the same request later.
            if answer.status != 429 || began.elapsed() > PATIENCE {
                break answer;
            }
            std::thread::sleep(Duration::from_millis(500));
        };
        assert!(answer.status < 300, "{path}: {} {}", answer.status, String::from_utf8_lossy(&answer.body));
        serde_json::from_slice::<Value>(&answer.body).expect("JSON")
    };
    let of = |table: &String| {
        // A table's one index, or those of its days.
        let indices = format!("millrace-{table},millrace-{table}-2*");
        let options = "ignore_unavailable=true&allow_no_indices=true";
        ask(Method::POST, &format!("/{indices}/_refresh?{options}"), &json!({}));
        let first = json!({ "size": PAGE_DOCUMENTS, "sort": ["_doc"] });
        let mut page = ask(Method::POST, &format!("/{indices}/_search?scroll=5m&{options}"), &first);
        let mut rows = Vec::new();
        // No index, no scroll.
        while let Some(scroll) = page["_scroll_id"].as_str().map(str::to_owned) {
            let hits = page["hits"]["hits"].as_array().expect("hits");
            rows.extend(hits.iter().map(|hit| hit["_source"].to_string()));
            if hits.is_empty() {
                ask(Method::DELETE, "/_search/scroll", &json!({ "scroll_id": scroll }));
                break;
            }
            page = ask(Method::POST, "/_search/scroll", &json!({ "scroll": "5m", "scroll_id": scroll }));
        }
        (table.clone(), sorted(rows.into_iter()))
    };
    tables.iter().map(of).collect()
}

/// One e-mail the server took.
pub(super) struct Taken {
    /// When, seconds since 1970.
    pub(super) at: f64,
    pub(super) subject: String,
}

/// The e-mails by their `Message-ID`, each as often as it came.
pub(super) fn mails(folder: &Path) -> BTreeMap<String, Vec<Taken>> {
    let mut mails: BTreeMap<String, Vec<Taken>> = BTreeMap::new();
    for file in std::fs::read_dir(folder).expect("a folder").flatten() {
        if !file.file_name().to_string_lossy().starts_with("message-") {
            continue;
        }
        let kept: Value = serde_json::from_slice(&std::fs::read(file.path()).expect("read")).expect("JSON");
        let text = |name: &str| kept[name].as_str().expect("a text").to_owned();
        let id = text("id").trim_matches(['<', '>']).split('@').next().expect("an id").to_owned();
        let taken = Taken { at: kept["at"].as_f64().expect("a time"), subject: text("subject") };
        mails.entry(id).or_default().push(taken);
    }
    mails.values_mut().for_each(|taken| taken.sort_by(|a, b| a.at.total_cmp(&b.at)));
    mails
}

/// Rows of the store's own tables.
pub(super) fn asked(url: &str, sql: &str) -> Vec<Value> {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let rows = runtime.block_on(async { Store::open(url).await?.query(sql, &[]).await });
    rows.expect("the store answers").into_iter().map(Value::Object).collect()
}

fn sorted(rows: impl Iterator<Item = String>) -> Vec<String> {
    let mut rows: Vec<String> = rows.collect();
    rows.sort_unstable();
    rows
}

/// Both must hold the same; says what is missing and what is too much.
pub(super) fn same(what: &str, found: &Rows, expected: &Rows) {
    for (table, expected) in expected {
        let found = &found[table];
        if found == expected {
            continue;
        }
        let count = |rows: &[String]| {
            rows.iter().fold(HashMap::new(), |mut of: HashMap<String, i64>, row| {
                *of.entry(row.clone()).or_default() += 1;
                of
            })
        };
        let (has, wants) = (count(found), count(expected));
        let more = |a: &HashMap<String, i64>, b: &HashMap<String, i64>| -> Vec<String> {
            let rows = a.iter().filter(|(row, n)| b.get(*row).copied().unwrap_or(0) < **n);
            rows.map(|(row, _)| row.chars().take(600).collect()).collect()
        };
        let (missing, extra) = (more(&wants, &has), more(&has, &wants));
        panic!(
            "{what}: {table} has {} rows, not {}; {} are missing, {} are others: missing {:#?}, instead {:#?}",
            found.len(),
            expected.len(),
            missing.len(),
            extra.len(),
            &missing[..missing.len().min(3)],
            &extra[..extra.len().min(3)],
        );
    }
}
