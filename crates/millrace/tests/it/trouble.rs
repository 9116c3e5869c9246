//! Jobs that stand still: for want of memory, or as their statement fails on the data. The others go on, Health says why, and
//! nothing is lost when the cause is gone.

use std::path::{Path, PathBuf};

use millrace_model::Timestamp;
use serde_json::{Value, json};

use crate::support::{Up, said, wait_for};

const VISITORS: i64 = 40_000;
/// Names of visitors have so many characters: what a job keeps to tell repeats is little beside them.
const NAME_LENGTH: usize = 1_000;
const STEP_MICROS: i64 = 2_000;

const VISITORS_SQL: &str = "-- Views of each visitor.\nCREATE STREAMING TABLE visitors\n\
    TBLPROPERTIES ('output_mode' = 'update', 'key' = 'anonymous_id')\n\
    AS SELECT anonymous_id, count(*) AS views FROM STREAM user_events GROUP BY anonymous_id;\n";
const KINDS_SQL: &str = "-- Events of each kind.\nCREATE STREAMING TABLE kinds\n\
    TBLPROPERTIES ('output_mode' = 'update', 'key' = 'event_type')\n\
    AS SELECT event_type, count(*) AS events FROM STREAM user_events GROUP BY event_type;\n";

/// One of an event by the length of its path after the slash, which may be nothing.
fn shares(divide: &str) -> String {
    format!(
        "-- Shares.\nCREATE STREAMING TABLE shares TBLPROPERTIES ('output_mode' = 'append', 'key' = 'event_id')\n\
         AS SELECT event_id, {divide}(1, length(path) - 1) AS share FROM STREAM user_events WHERE path LIKE '/b%' OR path = '/';\n"
    )
}

fn settings(dir: &Path, state_bytes_max: usize) -> String {
    let path = dir.join("millrace.toml");
    let pipelines = dir.join("pipelines");
    let text =
        format!("pipelines = {pipelines:?}\n[engine]\nstate_bytes_max = {state_bytes_max}\n[lake]\nenabled = false\n");
    std::fs::write(&path, text).expect("settings");
    path.display().to_string()
}

/// The product's folder and settings.
struct Place {
    data: PathBuf,
    config: String,
}

impl Place {
    fn query(&self, sql: &str) -> Vec<Value> {
        let out = said(&self.data, &["--config", &self.config, "query", "--format", "json", sql]);
        out.lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect()
    }

    fn progress(&self, table: &str) -> Option<Value> {
        self.query("SELECT * FROM job_progress").into_iter().find(|row| row["table"] == table)
    }

    fn trouble(&self, table: &str) -> Option<String> {
        self.progress(table)?["trouble"].as_str().map(str::to_owned)
    }
}

#[test]
fn a_job_that_stands_still_says_why_and_holds_up_no_other() {
    let dir = tempfile::tempdir().expect("a folder");
    let pipelines = dir.path().join("pipelines");
    std::fs::create_dir(&pipelines).expect("a folder");
    let write = |name: &str, text: &str| std::fs::write(pipelines.join(name), text).expect("written");
    write("visitors.sql", VISITORS_SQL);
    write("kinds.sql", KINDS_SQL);
    write("shares.sql", &shares("").replace("(1, length(path) - 1)", "1 / (length(path) - 1)"));
    let place = Place { data: dir.path().join("data"), config: settings(dir.path(), 24 << 20) };
    let up = Up::start(&place.data, &["--config", &place.config, "--no-simulate"]);
    let begin = Timestamp::from_system_time(std::time::SystemTime::now()).0 - VISITORS * STEP_MICROS;
    let views: Vec<String> = (0..VISITORS)
        .map(|at| {
            let path = if at == VISITORS / 2 { "/" } else { "/shop" };
            json!({
                "event_id": format!("e-{at}"), "event_type": "page_viewed", "anonymous_id": format!("{at:0>NAME_LENGTH$}"), "path": path,
                "event_time": Timestamp(begin + at * STEP_MICROS).to_string(),
            })
            .to_string()
        })
        .collect();
    up.produce("user_events", views.iter().map(|view| Some(view.as_bytes())));

    let why = wait_for("it says that it waits", || place.trouble("visitors"));
    assert!(why.starts_with("waits for memory") && why.contains("may take 24 (engine.state_bytes_max)"), "{why}");
    let why = wait_for("it says that it has stopped", || place.trouble("shares"));
    assert!(why.starts_with("stopped: ") && why.contains("shares"), "{why}");
    wait_for("the other has counted everything", || {
        (place.query("SELECT events FROM kinds").first()?["events"] == VISITORS).then_some(())
    });
    assert_eq!(place.trouble("kinds"), None);
    let counted = place.progress("visitors").expect("a row")["records_in"].as_i64().expect("a count");
    assert!((1..VISITORS).contains(&counted), "{counted}");
    let page = wait_for("the page says so", || {
        let (_, page) = up.get("/health");
        ["waits for memory", "stopped: ", "Stands still"].iter().all(|text| page.contains(text)).then_some(page)
    });
    assert!(page.contains("engine.state_bytes_max"));
    let (_, metrics) = up.get("/metrics");
    for (table, value) in [("visitors", 1), ("shares", 1), ("kinds", 0)] {
        let line = format!("millrace_table_stands_still{{table=\"{table}\",job_name=\"{table}\"}} {value}");
        assert!(metrics.contains(&line), "{line}\n{metrics}");
    }
    let (_, (_, log)) = up.stop_or_not();
    assert!(log.contains("waits for memory"), "{log}");

    write("shares.sql", &shares("try_divide"));
    settings(dir.path(), 1 << 30);
    let up = Up::start(&place.data, &["--config", &place.config, "--no-simulate"]);
    wait_for("all visitors", || {
        (place.query("SELECT sum(views) AS views FROM visitors").first()?["views"] == VISITORS).then_some(())
    });
    wait_for("the share of the one there is", || {
        (place.query("SELECT count(*) AS n FROM shares").first()?["n"] == 1).then_some(())
    });
    wait_for("all is well", || {
        ["visitors", "shares", "kinds"].iter().all(|table| place.trouble(table).is_none()).then_some(())
    });
    up.stop();
}
