//! The command line: help with examples, errors that say what to do and where, exit codes.

use crate::support::{run, said};

#[test]
fn every_command_has_help_with_examples() {
    let dir = tempfile::tempdir().expect("a folder");
    let commands = [
        "up",
        "simulate",
        "run",
        "backfill",
        "check",
        "explain",
        "query",
        "replay",
        "audit",
        "dead-letters",
        "search",
        "alerts",
    ];
    for command in commands {
        let help = said(dir.path(), &[command, "--help"]);
        assert!(help.contains("Usage: millrace") && help.contains("--data-dir"), "{command}: {help}");
        let example = format!("\n  millrace {command}");
        assert!(help.contains("Example") && help.contains(&example), "{command}: {help}");
    }
}

#[test]
fn the_shipped_pipelines_are_sound_and_explained() {
    let dir = tempfile::tempdir().expect("a folder");
    let checked = said(dir.path(), &["check"]);
    for job in ["fraud", "inventory", "metrics", "recommendations", "sessions"] {
        assert!(checked.contains(&format!("{job}: ok")), "{checked}");
    }
    let explained = said(dir.path(), &["explain"]);
    assert!(explained.contains("watermark on event_time, 10 s late at most"), "{explained}");
    assert!(explained.contains("session window, gap 1800 s"), "{explained}");
}

#[test]
fn mistakes_are_refused_with_their_place() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.to_str().expect("a name").to_owned()
    };
    let settings = file("millrace.toml", "[simulate]\nrat = 3\n");
    let unknown_column = file(
        "a.sql",
        "CREATE STREAMING TABLE t\nAS SELECT window.start AS s, count(*) AS n\nFROM STREAM user_events\nGROUP BY window(event_tim, '1 minute');\n",
    );
    let unknown_table = file("b.sql", "CREATE STREAMING TABLE t AS SELECT * FROM STREAM user_event;\n");
    let cases: [(&[&str], &[&str]); 4] = [
        (&["--config", &settings, "up"], &["2:1", "unknown setting `rat`", "did you mean `rate`?"]),
        (&["check", &unknown_column], &["a.sql:4:17", "event_tim", "event_time"]),
        (&["check", &unknown_table], &["b.sql:1:", "user_event", "user_events"]),
        (&["audit"], &["nothing to audit"]),
    ];
    for (arguments, expected) in cases {
        let nowhere = dir.path().join("nowhere");
        let output = run(&nowhere, arguments);
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {err}");
        for part in expected {
            assert!(err.contains(part), "{arguments:?} should say `{part}`: {err}");
        }
        assert!(!nowhere.exists(), "{arguments:?} left something behind");
    }
}

#[test]
fn saved_objects_are_of_the_tables_and_the_prefix_in_the_settings() {
    let dir = tempfile::tempdir().expect("a folder");
    let settings = dir.path().join("millrace.toml");
    let settings = settings.to_str().expect("a name");
    let titles = |text: &str| -> Vec<String> {
        let objects = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("a line is JSON"));
        objects.map(|object| object["attributes"]["title"].as_str().expect("a title").to_owned()).collect()
    };
    std::fs::write(settings, "").expect("written");
    let all = titles(&said(dir.path(), &["--config", settings, "search", "saved-objects"]));
    for title in ["millrace-store_metrics-2*", "millrace-fraud_alerts", "Millrace: Revenue by minute", "Millrace"] {
        assert!(all.iter().any(|found| found == title), "{title}: {all:?}");
    }

    let some = "[sink.elasticsearch]\nindex_prefix = \"shop-\"\ntables = [\"stock_levels\"]\n";
    std::fs::write(settings, some).expect("written");
    let output = run(dir.path(), &["--config", settings, "search", "saved-objects"]);
    assert_eq!(
        titles(&String::from_utf8_lossy(&output.stdout)),
        ["shop-stock_levels", "Millrace shop-: Least stock now", "Millrace shop-"]
    );
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("left out: Revenue by minute: no table `vitals` is written"), "{said}");

    std::fs::write(settings, "[sink.elasticsearch]\ntables = [\"stock_level\"]\n").expect("written");
    let output = run(dir.path(), &["--config", settings, "search", "saved-objects"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains("`stock_levels`"), "{said}");
}
