//! The whole cluster, started, broken, mended and taken down.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use millrace_cluster::process::{ProcessId, port_is_open};
use millrace_cluster::{Cluster, ClusterGuard, ClusterSettings, NodeStatus, Ports, kafka};

const TOPIC: &str = "clicks";
/// A record of 16 MiB less what the tool adds to it.
const LARGE_RECORD_BYTES: &str = "16777000";

/// Asks until it holds; the server's own commands take seconds each, so there is no pause between them.
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(180), "{what}: not within 180 s");
        std::thread::park_timeout(Duration::from_millis(200));
    }
}

fn produce(cluster: &Cluster, lines: &[&str]) {
    let servers = cluster.bootstrap_servers();
    let args = ["--bootstrap-server", &servers, "--topic", TOPIC, "--command-property", "acks=all"];
    let patient = ["--command-property", "delivery.timeout.ms=120000", "--message-send-max-retries", "1000"];
    cluster
        .tool(kafka::CONSOLE_PRODUCER, &[&args[..], &patient].concat(), &(lines.join("\n") + "\n"))
        .expect("the tool ends well");
}

/// The values of all records, sorted.
fn consume(cluster: &Cluster, records: usize) -> Vec<String> {
    let (servers, records) = (cluster.bootstrap_servers(), records.to_string());
    let args = ["--bootstrap-server", &servers, "--topic", TOPIC, "--from-beginning", "--max-messages", &records];
    let said = cluster
        .tool(kafka::CONSOLE_CONSUMER, &[&args[..], &["--timeout-ms", "90000"]].concat(), "")
        .expect("the tool ends well");
    let mut values: Vec<String> = said.lines().map(str::to_owned).collect();
    values.sort();
    values
}

fn topics(cluster: &Cluster, args: &[&str]) -> String {
    let servers = cluster.bootstrap_servers();
    cluster
        .tool(kafka::TOPICS, &[&["--bootstrap-server", &servers][..], args].concat(), "")
        .expect("the tool ends well")
}

/// In-sync copies of each partition.
fn in_sync(cluster: &Cluster) -> Vec<usize> {
    let said = topics(cluster, &["--describe", "--topic", TOPIC]);
    let lists = said.lines().filter_map(|line| line.split("Isr:").nth(1)?.split('\t').next());
    lists.map(|list| list.trim().split(',').filter(|id| !id.is_empty()).count()).collect()
}

/// The body that a server answers a GET with; `Err`: what it said instead, as a server does that has just begun.
fn get(url: &str, path: &str) -> Result<String, String> {
    let host = url.trim_start_matches("http://");
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(host)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = ask().map_err(|why| why.to_string())?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.split(' ').nth(1) == Some("200") => Ok(body.to_owned()),
        _ => Err(answer),
    }
}

/// Workers that the master takes for alive.
fn workers_alive(cluster: &Cluster) -> usize {
    let master = &cluster.file().node("spark-master").expect("there is a master").urls["web"];
    // A master answers 404 between opening its port and knowing its state.
    let Ok(page) = get(master, "/json/") else { return 0 };
    let state: serde_json::Value = serde_json::from_str(&page).expect("JSON");
    let workers = state["workers"].as_array().expect("a list of workers");
    workers.iter().filter(|worker| worker["state"] == "ALIVE").count()
}

fn sql(cluster: &Cluster, text: &str) -> String {
    let mut psql = Command::new("psql");
    psql.args(["--no-psqlrc", "--tuples-only", "--no-align", "--quiet", "-c", text])
        .arg(cluster.postgres_url().expect("there is PostgreSQL"));
    let output = psql.output().expect("psql is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn stopped(cluster: &Cluster) -> Vec<String> {
    cluster.status().into_iter().filter(|node| !node.is_running()).map(|node| node.name).collect()
}

fn processes(cluster: &Cluster) -> Vec<ProcessId> {
    let nodes: Vec<ProcessId> = cluster.status().iter().filter_map(|node| ProcessId::of(node.pid?)).collect();
    nodes.iter().copied().chain(nodes.iter().flat_map(|node| node.descendants())).collect()
}

fn report(what: &str, since: Instant, cluster: &Cluster) {
    let status = cluster.status();
    let each: Vec<String> = status.iter().map(|node| format!("{} {}", node.name, node.memory_kib / 1024)).collect();
    let whole: u64 = status.iter().map(|node| node.memory_kib / 1024).sum();
    println!("[{:>6.1} s] {what}; {whole} MiB: {}", since.elapsed().as_secs_f64(), each.join(", "));
}

#[test]
#[ignore = "starts Kafka, Spark and PostgreSQL"]
fn a_cluster_starts_survives_kills_keeps_its_data_and_goes() {
    let begun = Instant::now();
    let open = std::fs::Permissions::from_mode(0o755);
    let folder = tempfile::Builder::new().prefix("millrace-cluster-").permissions(open).tempdir().unwrap();
    let settings = ClusterSettings { ports: Ports::Free, ..ClusterSettings::new(folder.path().join("cluster")) };
    let mut tell = |step| println!("[{:>6.1} s] {step}", begun.elapsed().as_secs_f64());
    let mut cluster = ClusterGuard::up(&settings, &mut tell).unwrap();
    report("all up", begun, &cluster);
    assert_eq!(stopped(&cluster), Vec::<String>::new());
    let closed = |node: &NodeStatus| node.port.is_some() && !node.port_open;
    eventually("all ports open", || {
        let status = cluster.status();
        status.iter().filter(|node| closed(node)).for_each(|node| println!("closed: {node:?}"));
        !status.iter().any(closed)
    });
    assert!(cluster.status().iter().all(|node| node.memory_kib > 1024), "{:?}", cluster.status());
    let text = std::fs::read_to_string(settings.dir.join("cluster.json")).unwrap();
    assert!(text.contains("\"spark-connect\"") && text.contains("\"started_ticks\""), "{text}");

    // Kafka: three copies, a large record, and a broker that dies while records come.
    topics(&cluster, &["--create", "--topic", TOPIC, "--partitions", "3", "--replication-factor", "3"]);
    eventually("three in sync", || in_sync(&cluster) == [3, 3, 3]);
    produce(&cluster, &["1", "2", "3"]);
    cluster.kill("kafka-2").unwrap();
    assert_eq!(stopped(&cluster), ["kafka-2"]);
    produce(&cluster, &["4", "5", "6"]);
    report("produced without kafka-2", begun, &cluster);
    eventually("two in sync", || in_sync(&cluster) == [2, 2, 2]);
    assert!(cluster.quorum().unwrap().leader_id > 0);
    cluster.start("kafka-2", &mut tell).unwrap();
    eventually("three in sync again", || in_sync(&cluster) == [3, 3, 3]);
    report("three in sync again", begun, &cluster);
    assert_eq!(consume(&cluster, 6), ["1", "2", "3", "4", "5", "6"]);
    large_record(&cluster);

    // Spark: its port, one worker, an executor that can be killed and comes again.
    assert!(port_is_open(cluster.file().port("spark-connect", "connect").unwrap()));
    eventually("one worker alive", || workers_alive(&cluster) == 1);
    eventually("an executor", || !cluster.executors().is_empty());
    let (name, process) = cluster.executors().remove(0);
    assert_eq!(name, "spark-executor-0");
    cluster.kill(&name).unwrap();
    eventually("another executor", || cluster.executors().iter().any(|(_, other)| *other != process));
    cluster.kill("spark-master").unwrap();
    cluster.start("spark-master", &mut tell).unwrap();
    eventually("the worker is with the new master", || workers_alive(&cluster) == 1);
    for (node, page) in cluster.pages() {
        // The first page of the queries sends on to this one.
        let path = if node == "spark-connect" { "/jobs/" } else { "/" };
        eventually("a page", || get(&page, path).is_ok_and(|body| body.contains("<html")));
    }
    report("another executor", begun, &cluster);

    // PostgreSQL: killed, its data is there.
    assert_eq!(sql(&cluster, "CREATE TABLE t AS SELECT 42 AS n; SELECT n FROM t"), "42");
    cluster.kill("postgres").unwrap();
    assert_eq!(stopped(&cluster), ["postgres"]);
    cluster.start("postgres", &mut tell).unwrap();
    assert_eq!(sql(&cluster, "SELECT n FROM t"), "42");

    // Everything killed at once, then up again: another value, as another command would have.
    let names: Vec<String> = cluster.status().into_iter().map(|node| node.name).rev().collect();
    for name in names.iter().filter(|name| !name.starts_with("spark-executor")) {
        cluster.kill(name).unwrap();
    }
    assert_eq!(stopped(&cluster).len(), 7);
    let again = Instant::now();
    let cluster_again = Cluster::up(&settings, &mut tell).unwrap();
    println!("up again after {:.1} s", again.elapsed().as_secs_f64());
    assert_eq!(sql(&cluster_again, "SELECT n FROM t"), "42");
    assert_eq!(consume(&cluster_again, 6).len(), 6);
    eventually("one worker alive again", || workers_alive(&cluster_again) == 1);
    report("up again", begun, &cluster_again);

    // Down, by another value still: no process of it is left.
    let all = processes(&cluster_again);
    assert!(all.len() >= 7, "{all:?}");
    let down = Instant::now();
    Cluster::open(&settings.dir).unwrap().down().unwrap();
    println!("down after {:.1} s", down.elapsed().as_secs_f64());
    eventually("all gone", || all.iter().all(|process| !process.is_alive()));
    assert_eq!(stopped(&cluster_again).len(), 7);
    Cluster::open(&settings.dir).unwrap().delete().unwrap();
    assert!(!settings.dir.exists());
    assert!(Cluster::open(Path::new(&settings.dir)).is_err());
}

fn large_record(cluster: &Cluster) {
    let servers = format!("bootstrap.servers={}", cluster.bootstrap_servers());
    let args = ["--topic", TOPIC, "--num-records", "1", "--throughput", "-1", "--record-size", LARGE_RECORD_BYTES];
    let properties = ["--command-property", &servers, "max.request.size=17825792", "acks=all"];
    let said = cluster.tool(kafka::PRODUCER_PERF, &[&args[..], &properties].concat(), "").expect("the tool ends well");
    assert!(said.starts_with("1 records sent"), "{said}");
    let (servers, args) = (cluster.bootstrap_servers(), ["--topic", TOPIC, "--time", "-1"]);
    let said = cluster
        .tool(kafka::GET_OFFSETS, &[&["--bootstrap-server", &servers][..], &args].concat(), "")
        .expect("the tool ends well");
    let records: u32 = said
        .lines()
        .map(|line| line.rsplit(':').next().and_then(|count| count.parse::<u32>().ok()).expect("a count"))
        .sum();
    assert_eq!(records, 7, "{said}");
}
