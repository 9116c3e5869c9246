//! Our own end, the server's end, and an orderly stop, while records flow.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use millrace_model::{Contract, Contracts, Role};
use millrace_spark::{SparkEvent, SparkJob, SparkSettings, SparkTrigger, run};

use crate::glue;
use crate::servers::Spark;
use crate::support::{Kafka, Outgoing, settings, wait_for};

const CONTRACT: &str = r#"{
  "$id": "clicks", "description": "Clicks", "type": "object", "required": ["id", "page"],
  "properties": { "id": { "type": "string" }, "page": { "type": "string" } },
  "x-millrace": { "role": "source", "key": ["id"], "topic": { "partitions": 2 } }
}"#;
const SQL: &str = "CREATE STREAMING TABLE seen TBLPROPERTIES ('output_mode' = 'append', 'key' = 'id')
AS SELECT id, page FROM STREAM clicks";
/// Where the client finds what it is to do.
const DIR: &str = "MILLRACE_SPARK_TEST_DIR";
/// Spark on a busy machine.
const MOST: Duration = Duration::from_secs(240);

fn job() -> SparkJob {
    job_of("clicks", "seen", SQL)
}

/// A job that makes `table` of `source`, both with the columns of the contract above.
fn job_of(source: &str, table: &str, sql: &str) -> SparkJob {
    let mut contract = Contract::parse(CONTRACT).expect("a contract");
    contract.name = source.into();
    let mut result = contract.clone();
    (result.name, result.role) = (table.into(), Role::Result);
    let mut contracts = Contracts::default();
    contracts.insert(contract);
    contracts.insert(result);
    glue::job(source, sql, &contracts, "")
}

/// Not a test: the process that the tests below start, kill and stop.
#[test]
#[ignore = "starts Spark: runs as the client of the other tests"]
fn client() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let dir = Path::new(&dir);
    let read = |name: &str| std::fs::read_to_string(dir.join(name)).expect("a file");
    let mut settings =
        SparkSettings::new(read("spark"), dir.join("checkpoints").display().to_string(), dir.join("sessions"));
    settings.kafka = BTreeMap::from([("bootstrap.servers".to_owned(), read("kafka"))]);
    settings.trigger = SparkTrigger::Every(Duration::from_secs(1));
    settings.poll_interval = Duration::from_millis(200);
    let mut log = std::fs::File::options().create(true).append(true).open(dir.join("events")).expect("a file");
    let stop = || dir.join("stop").exists();
    let mut last_run = String::new();
    run(&job(), &settings, &stop, &mut |event| {
        let line = match event {
            SparkEvent::Connected { session, .. } => format!("connected {session}"),
            SparkEvent::Started { taken_over, .. } => format!("started taken_over={taken_over}"),
            SparkEvent::Progress(progress) => {
                last_run = progress.run_id.clone();
                format!("batch {} run {last_run} in {}", progress.batch, progress.counts().records_in)
            }
            SparkEvent::Retrying { error, .. } => format!("retrying {}", error.to_string().replace('\n', " ")),
            SparkEvent::Finished { .. } => "finished".to_owned(),
        };
        writeln!(log, "{line}").expect("written");
    })
    .expect("an orderly end");
    writeln!(log, "stopped").expect("written");
}

fn start_client(dir: &Path) -> Child {
    Command::new(std::env::current_exe().expect("this program"))
        .args(["supervision::client", "--exact", "--ignored"])
        .env(DIR, dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("the client starts")
}

struct Clicks<'a> {
    kafka: &'a Kafka,
    sent: usize,
}

impl Clicks<'_> {
    fn send(&mut self, count: usize) {
        let ids: Vec<String> = (self.sent..self.sent + count).map(|number| format!("c{number}")).collect();
        let values: Vec<String> = ids.iter().map(|id| format!(r#"{{"id":"{id}","page":"/"}}"#)).collect();
        let records = ids.iter().zip(&values).map(|(id, value)| Outgoing {
            key: Some(id.as_bytes()),
            value: Some(value.as_bytes()),
            ..Outgoing::default()
        });
        self.kafka.produce("clicks", records);
        self.sent += count;
    }

    /// Waits until everything sent has come out; gives the rows, and those without repeats.
    fn arrived(&self) -> (usize, usize) {
        wait_for("all clicks have come out", MOST, || {
            let rows = self.kafka.read("seen");
            let mut keys: Vec<_> = rows.iter().map(|(key, _)| key.clone()).collect();
            keys.sort();
            keys.dedup();
            (keys.len() == self.sent).then_some((rows.len(), keys.len()))
        })
    }
}

#[test]
#[ignore = "starts Spark"]
fn a_killed_client_takes_its_queries_over_and_a_killed_server_is_started_from_the_checkpoint() {
    let mut spark = Spark::start();
    let kafka = Kafka::at(&spark.bootstrap_servers());
    kafka.create([("clicks", 2), ("seen", 1)]);
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::write(dir.path().join("spark"), spark.url()).expect("written");
    std::fs::write(dir.path().join("kafka"), &kafka.servers).expect("written");
    let events = || -> Vec<String> {
        let text = std::fs::read_to_string(dir.path().join("events")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    };
    let event = |what: &str, wanted: &dyn Fn(&[String]) -> Option<String>| wait_for(what, MOST, || wanted(&events()));
    let run_of = |line: &str| line.split(' ').nth(3).map(str::to_owned);
    let last_batch = |lines: &[String]| lines.iter().rev().find(|line| line.starts_with("batch")).cloned();

    // Ours is killed; the query goes on without us, and the next start takes it over.
    let mut clicks = Clicks { kafka: &kafka, sent: 0 };
    clicks.send(500);
    let mut client = start_client(dir.path());
    let first = event("a first batch", &last_batch);
    client.kill().expect("killed");
    client.wait().expect("ended");
    clicks.send(500);
    assert_eq!(clicks.arrived(), (1_000, 1_000), "the query runs on without us");
    let mut client = start_client(dir.path());
    event("taken over", &|lines| lines.iter().find(|line| *line == "started taken_over=true").cloned());
    clicks.send(500);
    assert_eq!(clicks.arrived(), (1_500, 1_500));
    let second = event("told of", &|lines| last_batch(lines).filter(|line| line != &first));
    assert_eq!(run_of(&first), run_of(&second), "the same run of the query");
    // A run that is taken over is told of again from its first batch on; no batch is left out, no idle time is a batch.
    wait_for("every record is told of once", MOST, || {
        let batches: BTreeMap<String, u64> = events()
            .iter()
            .filter_map(|line| line.strip_prefix("batch ")?.rsplit_once(" in "))
            .map(|(batch, records)| (batch.to_owned(), records.parse().expect("a number")))
            .collect();
        (batches.values().sum::<u64>() == 1_500).then_some(())
    });
    let sessions: Vec<String> = events().into_iter().filter(|line| line.starts_with("connected")).collect();
    assert_eq!((sessions.len(), &sessions[0]), (2, &sessions[1]), "the same session");

    // The server is killed in the middle of it.
    clicks.send(2_000);
    spark.kill();
    event("the loss is noticed", &|lines| lines.iter().find(|line| line.starts_with("retrying")).cloned());
    clicks.send(500);
    spark.start_again();
    let (rows, distinct) = clicks.arrived();
    assert_eq!(distinct, 4_000);
    println!("after the server's end: {rows} rows of {distinct} keys");
    assert!(client.try_wait().expect("a status").is_none(), "the client lives on: {:?}", events());

    // An orderly stop leaves nothing behind.
    std::fs::write(dir.path().join("stop"), "").expect("written");
    let status = wait_for("the client ends", MOST, || client.try_wait().expect("a status"));
    assert!(status.success(), "{:?}", events());
    assert_eq!(events().last().map(String::as_str), Some("stopped"));
    assert!(!dir.path().join("sessions/clicks.json").exists(), "the session is released");
    clicks.send(10);
    std::thread::park_timeout(Duration::from_secs(5));
    assert_eq!(kafka.read("seen").len(), rows, "nothing runs on");
}

/// A record no batch gets past: the query is started again as often as it may fail, then the job ends with Spark's words.
pub(crate) fn a_query_that_fails_is_started_again_and_given_up_in_the_end(spark: &Spark) {
    let kafka = Kafka::at(&spark.bootstrap_servers());
    kafka.create([("visits", 1), ("pages", 1)]);
    let send = |id: &str, page: &str| {
        let value = format!(r#"{{"id":"{id}","page":"{page}"}}"#);
        kafka.produce("visits", [Outgoing { value: Some(value.as_bytes()), ..Outgoing::default() }]);
    };
    send("good", "7");
    let sql = "CREATE STREAMING TABLE pages TBLPROPERTIES ('output_mode' = 'append', 'key' = 'id')
AS SELECT id, CAST(CAST(page AS BIGINT) + 1 AS STRING) AS page FROM STREAM visits";
    let dir = tempfile::tempdir().expect("a folder");
    let mut settings = settings(spark, &kafka, dir.path());
    settings.trigger = SparkTrigger::Every(Duration::from_millis(500));
    settings.failures_max = 3;
    let (mut starts, mut retries) = (0, Vec::new());
    let result = run(&job_of("visits", "pages", sql), &settings, &|| false, &mut |event| match event {
        SparkEvent::Started { .. } => starts += 1,
        SparkEvent::Progress(_) if starts == 1 => send("bad", "seven"),
        SparkEvent::Retrying { error, .. } => retries.push(error),
        _ => {}
    });
    let error = result.expect_err("no batch gets past that record");
    println!("{error}");
    assert_eq!((starts, retries.len()), (3, 2), "{retries:?}");
    for error in retries.iter().chain([&error]) {
        assert_eq!((error.job.as_deref(), error.table.as_deref()), (Some("visits"), Some("pages")));
        assert!(error.to_string().contains("CAST_INVALID_INPUT"), "{error}");
    }
    assert_eq!(kafka.read("pages").len(), 1, "the good record has come out once");
}
