//! PostgreSQL, the search server, the S3 server, the SMTP server and Millrace itself, broker and all, are killed at random
//! under load, each on its own data again after a while. Then every target holds exactly what it holds of an undisturbed run.
//!
//! ```text
//!  an hour of a shop ──▶ Millrace (broker, jobs, sinks) ──▶ PostgreSQL · search · lake on S3 · e-mail      killed, all five
//!          └───────────▶ Millrace, left alone           ──▶ SQLite, topics, lake on disk                   the oracle
//! ```
//!
//! On request only; without `MILLRACE_CHAOS` it is a minute. On a quiet machine:
//! `MILLRACE_CHAOS=1 cargo test --profile quick --workspace --features spark --test it -- --ignored --nocapture chaos`, and
//! `MILLRACE_CHAOS_SEED`, `_MINUTES` (10), `_RATE` (5000 records a second). The seed says what is sold and what dies when.
//!
//! What is exact: event times are in the past, nothing is late (no partition is called idle; the oracle has the same setting),
//! a last record in every partition closes all windows, so the answer depends on the records alone. And what a message's
//! repeat is allowed by: an e-mail whose answer, or the note that it came, was lost with a part that died. Rules whose condition
//! may cease to hold are compared as `conditions` says.

mod books;
mod conditions;
mod parts;
mod shop;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use millrace_connectors::testing::Postgres;
use millrace_connectors::testing::objects::Objects;
use millrace_connectors::testing::search::Search;
use serde_json::Value;

use self::parts::{Mail, Millrace, Part};
use self::shop::Hour;
use crate::support::{Up, command, result_tables};

const SOURCES: [&str; 3] = ["user_events", "transactions", "inventory_updates"];
const PARTS: [&str; 5] = ["PostgreSQL", "the search server", "the S3 server", "the SMTP server", "Millrace"];
/// Between two deaths, milliseconds.
const CALM_MS: [u64; 2] = [1_500, 5_500];
/// How long a part is away, milliseconds; then it takes its time to start.
const AWAY_MS: [u64; 2] = [200, 5_000];
/// Longest wait for the books to balance when everything is up again, besides the time of the run itself.
const SETTLE_MAX: Duration = Duration::from_secs(300);
/// A death this long before a message's repeat may be its cause, seconds: a part's last word was still on its way.
const ECHO_SECONDS: f64 = 2.0;
/// Same for both runs. A silent partition is waited for: with a part's death the others would run ahead of it.
const EXACT: &str = "[engine]\nidle_timeout = '2h'\nsnapshot_interval = '5s'\n";

/// What a run is.
pub(crate) struct Plan {
    seed: u64,
    time: Duration,
    /// Source records a second.
    rate: f64,
}

impl Plan {
    fn of_environment() -> Self {
        let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<f64>().ok());
        let is_long = std::env::var_os("MILLRACE_CHAOS").is_some();
        let (minutes, rate) = if is_long { (10.0, 5_000.0) } else { (0.75, 300.0) };
        let minutes = number("MILLRACE_CHAOS_MINUTES").unwrap_or(minutes);
        Plan {
            seed: number("MILLRACE_CHAOS_SEED").map_or(20_261_130, |seed| seed as u64),
            time: Duration::from_secs_f64(minutes * 60.0),
            rate: number("MILLRACE_CHAOS_RATE").unwrap_or(rate),
        }
    }

    /// Who dies when and for how long: rounds in which each dies once, in an order of its own.
    fn deaths(&self) -> [Vec<(Duration, Duration)>; PARTS.len()] {
        let mut seed = self.seed;
        let mut dice = move |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        let (mut deaths, mut at) = ([const { Vec::new() }; PARTS.len()], Duration::ZERO);
        let mut round: Vec<usize> = Vec::new();
        loop {
            if round.is_empty() {
                round.extend(0..PARTS.len());
            }
            at += Duration::from_millis(CALM_MS[0] + dice(CALM_MS[1] - CALM_MS[0]));
            if at >= self.time {
                return deaths;
            }
            let part = round.swap_remove(dice(round.len() as u64) as usize);
            deaths[part].push((at, Duration::from_millis(AWAY_MS[0] + dice(AWAY_MS[1] - AWAY_MS[0]))));
        }
    }
}

/// A death that happened: which part, and from when to when it was away, seconds since 1970.
struct Death {
    part: &'static str,
    from: f64,
    to: f64,
}

fn seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64()
}

/// Kills a part when it is its turn, and starts it again. One that needs long to start is late for its next death.
fn strike(part: &mut dyn Part, name: &'static str, turns: &[(Duration, Duration)], died: &Mutex<Vec<Death>>) {
    let began = Instant::now();
    for (at, away) in turns {
        std::thread::sleep(at.saturating_sub(began.elapsed()));
        part.kill();
        let from = seconds();
        std::thread::sleep(*away);
        part.resume();
        died.lock().expect("no panic").push(Death { part: name, from, to: seconds() });
    }
}

/// What an undisturbed run of the same records gives.
struct Oracle {
    records: BTreeMap<&'static str, u64>,
    stored: books::Rows,
    last_rows: books::Rows,
    /// Of rules whose condition may cease: the rows where it holds at the end.
    settled: books::Rows,
    archived: BTreeMap<String, Value>,
}

impl Oracle {
    fn ask(hour: &Hour, tables: &[String], dir: &std::path::Path, patience: Duration) -> Self {
        std::fs::create_dir_all(dir).expect("a folder");
        let config = dir.join("millrace.toml").display().to_string();
        std::fs::write(&config, format!("{EXACT}[lake]\nflush_interval = '1s'\n")).expect("settings");
        let up = Up::start(dir, &["--config", &config, "--no-simulate"]);
        let records = hour.close(&up.kafka, hour.play(&up.kafka, Duration::ZERO));
        let of = |arguments: &[&str]| {
            let mut command = command(dir);
            command.args(["--config", &config]).args(arguments);
            command
        };
        balanced(|| of(&["audit", "--format", "json"]), patience);
        let query = |sql: &str| of(&["query", "--format", "json", sql]);
        let stored = books::stored(tables, query);
        let (last_rows, archived) = (books::last_rows(&up.kafka, tables), books::archived(&SOURCES, query));
        let settled = conditions::settled(dir, of);
        up.stop();
        Oracle { records, stored, last_rows, settled, archived }
    }
}

/// Ids of the alerts that these rows are: of every signal, and of every cart that a declined payment left.
fn alerts_of(rows: &books::Rows) -> BTreeSet<String> {
    let rows = |table: &str| -> Vec<Value> {
        rows[table].iter().map(|row| serde_json::from_str(row).expect("JSON")).collect()
    };
    let text = |row: &Value, column: &str| row[column].as_str().expect("a text").to_owned();
    let signals = rows("fraud_signals").into_iter().map(|row| format!("fraud/{}", text(&row, "signal_id")));
    let carts = rows("abandoned_carts").into_iter().filter(|row| row["reason"] == "payment declined");
    let carts = carts.map(|row| format!("carts/{}/{}", text(&row, "visitor_id"), text(&row, "session_start")));
    signals.chain(carts).collect()
}

/// Waits until the books balance; gives them.
fn balanced(audit: impl Fn() -> std::process::Command, patience: Duration) -> Value {
    let started = Instant::now();
    loop {
        let out = audit().output().expect("the program runs");
        let said = String::from_utf8_lossy(&out.stdout);
        if out.status.success() {
            let answer: Value = serde_json::from_str(&said).expect("an answer");
            assert!(answer["balanced"] == true && answer["lines"].as_array().is_some_and(|lines| lines.len() > 20));
            return answer;
        }
        let lines = serde_json::from_str::<Value>(&said).map(|answer| answer["lines"].clone()).unwrap_or_default();
        let wrong: Vec<&Value> =
            lines.as_array().into_iter().flatten().filter(|line| line["expected"] != line["found"]).collect();
        let complaint = String::from_utf8_lossy(&out.stderr);
        assert!(started.elapsed() < patience, "the books do not balance after {patience:?}: {wrong:#?} {complaint}");
        std::thread::sleep(Duration::from_secs(1));
    }
}

fn settings(store: &str, search: &str, mail: &Mail) -> String {
    let folder = mail.folder.display();
    format!(
        "{EXACT}[store]\nurl = '{store}'\n[sink.elasticsearch]\nurl = '{search}'\nreplicas = 0\n\
         [lake]\ndir = 's3://shop/lake'\nflush_interval = '1s'\n\
         [notify]\ndashboard_url = 'https://dash.example'\nage_max = '1000d'\n\
         [notify.channels.mail]\nkind = 'email'\nserver = '127.0.0.1:{}'\nca_file = '{folder}/ca.pem'\n\
         user = 'millrace'\npassword = 'file:{folder}/password'\nfrom = 'millrace@shop.example'\n\
         to = ['ops@shop.example']\n\
         [notify.routes.fraud]\ntable = 'fraud_signals'\nchannels = ['mail']\ngather = '500ms'\nevery = '1s'\n\
         [notify.routes.carts]\ntable = 'abandoned_carts'\nchannels = ['mail']\n\
         where = {{ reason = 'payment declined' }}\ngather = '500ms'\nevery = '1s'\n",
        mail.port
    )
}

#[test]
#[ignore = "on request: starts PostgreSQL 15, OpenSearch, an S3 server and an SMTP server, and kills them"]
fn chaos_loses_nothing_and_doubles_nothing() {
    let plan = Plan::of_environment();
    let deaths = plan.deaths();
    println!(
        "seed {}: {} records a second for {:?}, {} deaths; MILLRACE_CHAOS_SEED={0} repeats them",
        plan.seed,
        plan.rate,
        plan.time,
        deaths.iter().map(Vec::len).sum::<usize>()
    );
    let patience = SETTLE_MAX + plan.time;
    let dir = tempfile::tempdir().expect("a folder");
    let (hour, tables) = (Hour::new(&plan), result_tables());
    let began = Instant::now();
    let step = |what: &str| println!("[{:>4.0} s] {what}", began.elapsed().as_secs_f64());
    let mut oracle = Oracle::ask(&hour, &tables, &dir.path().join("oracle"), patience);
    step("the oracle has spoken");

    let mut postgres = Postgres::start_with(&["fsync=off"]).expect("PostgreSQL 15");
    let mut search = Search::start(&[]).expect("a search server");
    let mut objects = Objects::start().expect("an S3 server");
    objects.create_bucket("shop").expect("a bucket");
    let mut mail = Mail::start(&dir.path().join("mail"));
    std::fs::write(mail.folder.join("password"), "correct horse\n").expect("written");
    let (store, search_url) = (postgres.create_database("shop").expect("a database"), search.url());
    let settings = settings(&store, &search_url, &mail);
    let mut millrace = Millrace::start(&dir.path().join("shop"), &settings, objects.environment());
    let kafka = millrace.kafka();
    step("everything is started");

    let died = Mutex::new(Vec::new());
    let played = std::thread::scope(|scope| {
        let playing = scope.spawn(|| hour.play(&kafka, plan.time));
        let parts: [&mut dyn Part; PARTS.len()] = [&mut postgres, &mut search, &mut objects, &mut mail, &mut millrace];
        for ((part, name), turns) in parts.into_iter().zip(PARTS).zip(&deaths) {
            let died = &died;
            scope.spawn(move || strike(part, name, turns, died));
        }
        playing.join().expect("played")
    });
    let died = died.into_inner().expect("no panic");
    assert!(millrace.ended.is_empty(), "Millrace ended by itself: {:?}\n{}", millrace.ended, millrace.log());
    let records = hour.close(&kafka, played);
    assert_eq!(records, oracle.records, "the same records were played");
    step("the last record is in, everything is up");

    // Sends what is due, lets through what is on its way, stops.
    let answer = balanced(|| millrace.command(&["audit", "--format", "json"]), patience);
    step("the books balance");
    let last_rows = books::last_rows(&kafka, &tables);
    for name in conditions::allow(&mut oracle.last_rows, &last_rows, &oracle.settled) {
        oracle.stored.insert(name.clone(), last_rows[&name].clone());
    }
    books::same("the topics", &last_rows, &oracle.last_rows);
    step("the topics hold what the oracle said");
    let alerts = alerts_of(&last_rows);
    told(&store, alerts.len(), patience);
    millrace.stop();
    step("all are told, and Millrace has stopped by itself");

    for (topic, count) in &oracle.records {
        let found = &answer["facts"]["streams"][topic];
        assert_eq!(found["records"].as_u64(), Some(*count), "{topic}: {found}");
    }
    let query = |sql: &str| millrace.command(&["query", "--format", "json", sql]);
    books::same("PostgreSQL", &books::stored(&tables, query), &oracle.stored);
    let archived = books::archived(&SOURCES, query);
    for (topic, count) in &oracle.records {
        let has = &archived[*topic];
        assert_eq!((has["n"].as_u64(), has["places"].as_u64()), (Some(*count), Some(*count)), "lake: {topic}: {has}");
    }
    assert_eq!(archived, oracle.archived, "the lake");
    books::same("search", &books::documents(&search_url, &tables), &oracle.last_rows);
    let repeats = mails(&store, &mail, &alerts, &died);

    for name in PARTS {
        let away: Vec<f64> =
            died.iter().filter(|death| death.part == name).map(|death| death.to - death.from).collect();
        println!("{name}: killed {} times, away {:.0} s in all", away.len(), away.iter().sum::<f64>());
        assert!(!away.is_empty(), "{name} was never killed");
    }
    let rows = |rows: &books::Rows| rows.values().map(Vec::len).sum::<usize>();
    println!(
        "{} source records; {} rows in PostgreSQL and as many documents of {} tables; {} alerts, {repeats} e-mails came again",
        records.values().sum::<u64>(),
        rows(&oracle.stored),
        tables.len(),
        alerts.len(),
    );
    assert_eq!(rows(&oracle.stored), rows(&oracle.last_rows));
    step("every target holds what the oracle said");
}

/// Waits until as many alerts as there must be have fired, and all are told.
fn told(store: &str, alerts: usize, patience: Duration) {
    let started = Instant::now();
    loop {
        let fired = books::asked(store, "SELECT count(*) AS n FROM alerts_fired")[0]["n"].as_u64().expect("a count");
        let sql = "SELECT state, count(*) AS n FROM alert_deliveries WHERE state <> 'sent' GROUP BY state";
        let open = books::asked(store, sql);
        if fired >= alerts as u64 && open.is_empty() {
            return;
        }
        assert!(started.elapsed() < patience, "{fired} of {alerts} alerts have fired; not sent: {open:?}");
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// Holds the alerts and e-mails against what must have fired; how many e-mails came again.
fn mails(store: &str, mail: &Mail, alerts: &BTreeSet<String>, died: &[Death]) -> usize {
    let fired = books::asked(store, "SELECT alert_id, occurrence FROM alerts_fired");
    let ids: BTreeSet<String> = fired.iter().map(|row| row["alert_id"].as_str().expect("an id").to_owned()).collect();
    let unlike: Vec<&String> = ids.symmetric_difference(alerts).take(5).collect();
    assert!(
        unlike.is_empty() && fired.len() == alerts.len(),
        "{} alerts, not {}: {unlike:?}",
        fired.len(),
        alerts.len()
    );
    assert!(!alerts.is_empty(), "nothing to tell");
    // Every alert was told, in one message; every message came, and no other.
    let sql = "SELECT message_id, count(*) AS n FROM alert_deliveries GROUP BY message_id";
    let messages: BTreeMap<String, u64> = books::asked(store, sql)
        .into_iter()
        .map(|row| (row["message_id"].as_str().expect("sent").to_owned(), row["n"].as_u64().expect("a count")))
        .collect();
    let first = "SELECT count(*) AS n FROM alert_deliveries WHERE cause = 'fired'";
    assert_eq!(books::asked(store, first)[0]["n"].as_u64(), Some(alerts.len() as u64), "each alert once");
    let mails = books::mails(&mail.folder);
    assert!(mails.keys().eq(messages.keys()), "e-mails {:?}, messages {messages:?}", mails.keys());
    let mut repeats = 0;
    for (id, taken) in &mails {
        let count = messages[id];
        for one in taken {
            let says = count == 1 || one.subject.replace(',', "").contains(&format!("{count} alerts"));
            assert!(says, "{id} tells of {count}: {}", one.subject);
        }
        // Promised is at least once, with the same id: it comes again when the word that it had come was lost.
        for pair in taken.windows(2) {
            let parts = ["PostgreSQL", "the SMTP server", "Millrace"];
            let between = |death: &&Death| {
                parts.contains(&death.part) && death.from < pair[1].at && death.to > pair[0].at - ECHO_SECONDS
            };
            let cause = died.iter().find(between);
            let cause = cause.unwrap_or_else(|| panic!("{id} came twice, and nothing had died: {}", pair[1].subject));
            println!("e-mail {id} came again {:.1} s later: {} had died", pair[1].at - pair[0].at, cause.part);
            repeats += 1;
        }
    }
    repeats
}
