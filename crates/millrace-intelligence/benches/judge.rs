//! What a payment costs the judge, in thread-CPU time: a question, with reasons and evidence, and a record taken in with all it
//! changes. Two hours of the labelled shop go before. Prints quantiles; asserts nothing: `cargo bench -p millrace-intelligence --bench judge`.

use std::time::Duration;

use cpu_time::ThreadTime;
use millrace_intelligence::fraud::live::{Judge, JudgeSettings, Origin, Transaction, UserEvent};
use millrace_model::Timestamp;
use millrace_model::time::HOUR_MICROS;
use millrace_simulate::{Delivery, Shop, ShopSettings, Topic};

fn main() {
    // `cargo test --benches` asks whether there is anything to test.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let start = Timestamp::parse(b"2026-11-22T08:00:00Z").expect("a time");
    let mut shop = Shop::new(ShopSettings::new(7, start, 100.0)).expect("settings in range");
    let mut records = Vec::new();
    shop.advance(Timestamp(start.0 + 2 * HOUR_MICROS), &mut records);
    records.retain(|record| record.delivery != Delivery::Malformed);
    let mut judge = Judge::new(JudgeSettings::default()).expect("settings");
    let (mut looked, mut taken, mut held) = (Vec::new(), Vec::new(), Vec::new());
    for (at, record) in records.iter().enumerate() {
        let origin = Origin { topic: record.topic.name(), partition: 0, offset: at as i64 };
        match record.topic {
            Topic::UserEvents => {
                let event: UserEvent = serde_json::from_slice(&record.value).expect("an event");
                judge.user_event(&event, record.event_time.0, origin);
            }
            Topic::Transactions => {
                let transaction: Transaction = serde_json::from_slice(&record.value).expect("a transaction");
                if !matches!(transaction.event_type.as_str(), "payment_authorized" | "payment_declined") {
                    judge.transaction(&transaction, record.event_time.0, origin);
                    continue;
                }
                let began = ThreadTime::now();
                let judgement = judge.look(&transaction, record.event_time.0);
                let took = began.elapsed();
                if judgement.evidence.is_empty() {
                    looked.push(took)
                } else {
                    held.push(took)
                }
                let began = ThreadTime::now();
                judge.transaction(&transaction, record.event_time.0, origin);
                taken.push(began.elapsed());
            }
            _ => {}
        }
    }
    println!("{:<34} {:>8} {:>10} {:>10} {:>10}", "", "payments", "p50", "p99", "worst");
    for (what, times) in [
        ("a question, approved", &mut looked),
        ("a question, held, with evidence", &mut held),
        ("taken in", &mut taken),
    ] {
        times.sort_unstable();
        let at =
            |share: f64| times.get(((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1))).copied();
        let shown = |time: Option<Duration>| format!("{:.1} µs", time.unwrap_or_default().as_secs_f64() * 1e6);
        println!("{what:<34} {:>8} {:>10} {:>10} {:>10}", times.len(), shown(at(0.5)), shown(at(0.99)), shown(at(1.0)));
    }
    let mut bytes = Vec::new();
    judge.snapshot(&mut bytes);
    let (entities, visits, waiting) = judge.size();
    println!(
        "{entities} entities, {visits} visits, {waiting} payments waiting for a label: {} kB as kept",
        bytes.len() / 1024
    );
}
