//! Decoding beside arrow-json on the same records: `cargo bench -p millrace-codec`. One thread; the best of the rounds counts,
//! and the two take turns, so that a busy machine slows both.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_schema::Schema;
use millrace_codec::{DecodeLimits, Decoder, Needed};
use millrace_model::{Contract, Contracts, Timestamp};
use millrace_simulate::{Disorder, Shop, ShopSettings, Topic};

const RECORDS: usize = 200_000;
const BATCH: usize = 8_192;
const ROUNDS: usize = 7;

/// The topics of the shop, every column and a few of them.
const CASES: [(Topic, &[&str]); 3] = [
    (Topic::UserEvents, &["event_time", "event_type", "session_id"]),
    (Topic::Transactions, &["event_time", "event_type", "amount_minor"]),
    (Topic::InventoryUpdates, &["event_time", "product_id", "quantity"]),
];

fn main() {
    let contracts = Contracts::builtin();
    let records = records();
    println!("{:<18} {:>8} {:>8} {:>12} {:>12} {:>6}", "topic", "bytes", "columns", "records/s", "arrow-json", "ratio");
    for (topic, few) in CASES {
        let contract = contracts.get(topic.name()).expect("shipped");
        let own: Vec<&[u8]> = records.iter().filter(|(of, _)| *of == topic).map(|(_, value)| &value[..]).collect();
        let bytes = own.iter().map(|value| value.len()).sum::<usize>() / own.len();
        let all: Vec<String> = contract.columns.iter().map(|column| column.name.clone()).collect();
        let few: Vec<String> = few.iter().map(|name| (*name).to_owned()).collect();
        for columns in [all, few] {
            let (mut ours, mut theirs) = (Duration::MAX, Duration::MAX);
            for _ in 0..ROUNDS {
                ours = ours.min(time(|| decode(contract, &columns, &own)));
                theirs = theirs.min(time(|| arrow_json(contract, &columns, &own)));
            }
            let rate = |spent: Duration| own.len() as f64 / spent.as_secs_f64();
            println!(
                "{:<18} {bytes:>8} {:>8} {:>12.0} {:>12.0} {:>6.1}",
                topic.name(),
                columns.len(),
                rate(ours),
                rate(theirs),
                theirs.as_secs_f64() / ours.as_secs_f64()
            );
        }
    }
}

fn records() -> Vec<(Topic, bytes::Bytes)> {
    let start = Timestamp::parse(b"2026-01-01T08:00:00Z").expect("a time");
    let mut settings = ShopSettings::new(7, start, 2_000.0);
    settings.disorder = Disorder::none();
    let mut shop = Shop::new(settings).expect("settings in range");
    let (mut records, mut until) = (Vec::new(), start);
    while records.len() < RECORDS {
        until = Timestamp(until.0 + 1_000_000);
        shop.advance(until, &mut records);
    }
    records.into_iter().map(|record| (record.topic, record.value)).collect()
}

fn time(work: impl FnOnce() -> usize) -> Duration {
    let started = Instant::now();
    assert!(black_box(work()) > 0);
    started.elapsed()
}

fn decode(contract: &Contract, columns: &[String], records: &[&[u8]]) -> usize {
    let mut decoder = Decoder::new(contract, &Needed::Columns(columns.to_vec()), DecodeLimits::default());
    let mut rows = 0;
    for batch in records.chunks(BATCH) {
        for record in batch {
            decoder.push(Some(record), None).expect("a good record");
        }
        rows += black_box(decoder.finish()).num_rows();
    }
    rows
}

fn arrow_json(contract: &Contract, columns: &[String], records: &[&[u8]]) -> usize {
    let full = contract.arrow_schema();
    let wanted = full.fields().iter().filter(|field| columns.contains(field.name())).cloned().collect::<Vec<_>>();
    let reader = arrow_json::ReaderBuilder::new(Arc::new(Schema::new(wanted))).with_batch_size(BATCH);
    let mut decoder = reader.build_decoder().expect("a schema");
    let mut rows = 0;
    for batch in records.chunks(BATCH) {
        for record in batch {
            decoder.decode(record).expect("a good record");
        }
        rows += decoder.flush().expect("rows").map_or(0, |batch| black_box(batch).num_rows());
    }
    rows
}
