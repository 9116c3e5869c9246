//! The Spark backend against a real Spark, with a real Kafka or the embedded broker. Everything here starts servers.

mod checking;
mod decoding;
mod glue;
mod pipelines;
mod servers;
mod supervision;
mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use servers::Spark;

/// Records a second of event time in the race, unless `MILLRACE_RACE_RATE` says: 75 minutes of it.
const RACE_RATE: f64 = 50.0;

/// A test that leaves the server running.
type Part = fn(&Spark);

/// One server for all tests that leave it running: its start and its first queries take most of a minute.
#[test]
#[ignore = "starts Spark, Kafka and the product; minutes"]
fn on_one_server() {
    let parts: [(&str, Part); 4] = [
        ("shipped pipelines pass, wrong ones are told of", checking::shipped_pipelines_pass_and_wrong_ones_are_told_of),
        ("both backends refuse the same records", decoding::both_refuse_the_same_records),
        (
            "a query that fails is started again and given up in the end",
            supervision::a_query_that_fails_is_started_again_and_given_up_in_the_end,
        ),
        ("every shipped pipeline gives the same rows", pipelines::every_shipped_pipeline_gives_the_same_rows),
    ];
    let spark = Spark::start();
    let mut failed = Vec::new();
    for (name, part) in parts {
        let started = Instant::now();
        let ok = catch_unwind(AssertUnwindSafe(|| part(&spark))).is_ok();
        println!("{name}: {} in {:.0} s", if ok { "ok" } else { "FAILED" }, started.elapsed().as_secs_f64());
        failed.extend((!ok).then_some(name));
    }
    assert!(failed.is_empty(), "{failed:?}");
}

#[test]
#[ignore = "on request: a race of the shipped pipelines on both backends; needs a quiet machine"]
fn the_shipped_pipelines_race() {
    let rate = std::env::var("MILLRACE_RACE_RATE").ok().and_then(|rate| rate.parse().ok()).unwrap_or(RACE_RATE);
    let cost = pipelines::race(&Spark::start(), rate);
    println!(
        "{} records: the whole product {:.1} CPU-s, Spark {:.1} CPU-s, {:.1} times as much",
        cost.records,
        cost.embedded,
        cost.spark,
        cost.spark / cost.embedded
    );
}
