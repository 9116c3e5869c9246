//! How fast Spark takes records through the decoding that agrees with the codec's: `cargo bench -p millrace-spark`.

use millrace_model::{Role, Timestamp};
use millrace_simulate::{Disorder, Shop, ShopSettings, Topic};
use millrace_spark::{SparkEvent, SparkTrigger, run};

use crate::servers::Spark;
use crate::support::{Kafka, Outgoing, settings};

#[path = "../tests/it/glue.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod glue;
#[path = "../tests/it/servers.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod servers;
#[path = "../tests/it/support.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod support;

const RECORDS: usize = 300_000;
const SQL: &str =
    "CREATE STREAMING TABLE ledger\nTBLPROPERTIES ('output_mode' = 'update', 'key' = 'window_start, stream')
AS SELECT window.start AS window_start, window.end AS window_end, event_type AS stream, count(*) AS records
FROM STREAM user_events WATERMARK event_time DELAY OF INTERVAL 10 SECONDS
GROUP BY window(event_time, '1 minute'), event_type";

fn main() {
    let spark = Spark::start();
    let kafka = Kafka::at(&spark.bootstrap_servers());
    let contracts = glue::contracts();
    assert!(contracts.get("user_events").is_some_and(|contract| contract.role == Role::Source));
    kafka.create([("user_events", 4), ("ledger", 1)]);
    let start = Timestamp::from_system_time(std::time::SystemTime::now()).floor(60_000_000);
    let mut settings_of_shop = ShopSettings::new(7, Timestamp(start.0 - 3_600_000_000), 5_000.0);
    settings_of_shop.disorder = Disorder::none();
    let mut shop = Shop::new(settings_of_shop.clone()).expect("settings in range");
    let mut records = Vec::new();
    let mut until = settings_of_shop.start;
    while records.len() < RECORDS {
        until = Timestamp(until.0 + 1_000_000);
        shop.advance(until, &mut records);
        records.retain(|record| record.topic == Topic::UserEvents);
    }
    let bytes: usize = records.iter().map(|record| record.value.len()).sum();
    kafka.produce(
        "user_events",
        records.iter().map(|record| Outgoing {
            key: Some(&record.key),
            value: Some(&record.value),
            time: Some(record.arrival),
            partition: None,
        }),
    );
    let dir = tempfile::tempdir().expect("a folder");
    let mut settings = settings(&spark, &kafka, dir.path());
    settings.trigger = SparkTrigger::AvailableNow;
    settings.records_per_batch_max = Some(50_000);
    run(&glue::job("speed", SQL, &contracts, ""), &settings, &|| false, &mut |event| {
        if let SparkEvent::Progress(progress) = event {
            let (records, seconds) = (progress.counts().records_in, progress.batch_micros as f64 / 1e6);
            println!(
                "batch {}: {records} records in {seconds:.1} s, {:.0} a second",
                progress.batch,
                records as f64 / seconds
            );
        }
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", spark.log()));
    println!("{} records of {} bytes on average", records.len(), bytes / records.len());
}
