//! An hour of a shop's life, all of it in the past, that is played in minutes: the same records however fast it is played.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use millrace_connectors::kafka::ClientSettings;
use millrace_connectors::kafka::producer::{Outgoing, Producer};
use millrace_model::{Contracts, Role, Timestamp};
use millrace_simulate::{Delivery, Disorder, Record, Shop, ShopSettings};

use super::Plan;

const MINUTE_MICROS: i64 = 60_000_000;
/// Event time of the whole: longer than a session's gap of thirty minutes, so that sessions close meanwhile.
const HOUR_MINUTES: i64 = 60;
/// Event time from the last record to the one that closes everything.
const CLOSING_MINUTES: i64 = 90;
/// How often the player catches up with the clock.
const BEAT: Duration = Duration::from_millis(100);
/// Longest wait of the player for a broker that is away.
const AWAY_MAX: Duration = Duration::from_secs(300);

/// What was played: records by topic, and when all windows are over.
pub(super) struct Played {
    pub(super) records: BTreeMap<&'static str, u64>,
    pub(super) end: Timestamp,
}

/// The hour of one seed.
pub(super) struct Hour {
    settings: ShopSettings,
    contracts: Contracts,
}

impl Hour {
    pub(super) fn new(plan: &Plan) -> Self {
        let now = Timestamp::from_system_time(SystemTime::now());
        let start = Timestamp(now.0 - (HOUR_MINUTES + CLOSING_MINUTES + 60) * MINUTE_MICROS).floor(MINUTE_MICROS);
        let seconds_of_hour = (HOUR_MINUTES * 60) as f64;
        let mut settings = ShopSettings::new(plan.seed, start, plan.rate * plan.time.as_secs_f64() / seconds_of_hour);
        settings.campaign_interval_scale = 0.2;
        // What is late depends on the moment live, so nothing is.
        settings.disorder = Disorder { late: 0.0, malformed: 0.002, duplicates: 0.005, ..Disorder::default() };
        Hour { settings, contracts: Contracts::builtin() }
    }

    /// Produces the hour within this time (zero: as fast as it is taken). One idempotent producer that waits for a broker
    /// that is away: what was sent twice because an acknowledgement was lost, the broker knows by its sequence number.
    pub(super) fn play(&self, servers: &str, within: Duration) -> Played {
        let producer = Producer::new(&ClientSettings::new(servers.to_owned()), None).expect("a producer");
        let mut shop = Shop::new(self.settings.clone()).expect("settings in range");
        let (start, length) = (self.settings.start.0, HOUR_MINUTES * MINUTE_MICROS);
        let (mut records, mut last) = (BTreeMap::new(), start);
        let (mut batch, mut until, began): (Vec<Record>, i64, Instant) = (Vec::new(), start, Instant::now());
        while until < start + length {
            let share = match within.is_zero() {
                true => (until - start) as f64 / length as f64 + 0.01,
                false => began.elapsed().as_secs_f64() / within.as_secs_f64(),
            };
            until = start + ((length as f64 * share) as i64).min(length);
            shop.advance(Timestamp(until), &mut batch);
            for record in batch.drain(..) {
                let topic = record.topic.name();
                if self.contracts.get(topic).is_none_or(|contract| contract.role != Role::Source) {
                    continue;
                }
                assert!(record.delivery != Delivery::Late);
                let (key, value) = (Some(&record.key[..]), Some(&record.value[..]));
                let outgoing = Outgoing { topic, partition: None, key, value, time: Some(record.arrival) };
                producer.send(outgoing, AWAY_MAX).expect("room");
                *records.entry(topic).or_default() += 1;
                last = last.max(record.event_time.0);
            }
            if !within.is_zero() {
                std::thread::sleep(BEAT);
            }
        }
        producer.flush(AWAY_MAX).expect("acknowledged");
        Played { records, end: Timestamp(last + CLOSING_MINUTES * MINUTE_MICROS) }
    }

    /// The last record of every partition: it closes every window. How many records of each topic there are then.
    pub(super) fn close(&self, servers: &str, played: Played) -> BTreeMap<&'static str, u64> {
        crate::backfill::closing(servers, &self.contracts, played.end);
        let mut records = played.records;
        for (topic, count) in &mut records {
            *count += u64::from(self.contracts.get(topic).expect("a source").topic.partitions);
        }
        records
    }
}
