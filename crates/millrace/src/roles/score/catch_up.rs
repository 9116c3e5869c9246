//! While it catches up, the role takes the streams in as their events happened, not as fast as each is read.
//!
//! A topic of few records is read to its end before one of many: a payment of the past would be judged without the visit it
//! followed. So records wait until every partition that is still behind has come as far as they are; one that is far ahead
//! is paused.

use std::collections::{BTreeMap, HashMap, VecDeque};

use millrace_connectors::kafka::reader::Reader;
use millrace_connectors::kafka::{Extent, KafkaError, Place};

use super::records::Record;
use super::{Gathered, read};

/// Records of a partition that wait: at some 500 bytes each, 2 MB.
const WAITING_MAX: usize = 4_000;

#[derive(Default)]
struct Partition {
    /// Offset and record, none when it breaks its contract.
    waiting: VecDeque<(i64, Option<Record>)>,
    /// The latest event time read, microseconds.
    latest: Option<i64>,
    is_paused: bool,
    /// Everything that was there at the start has been read.
    is_read: bool,
}

/// Records on their way through it.
pub(super) struct CatchUp {
    extents: HashMap<Place, Extent>,
    partitions: BTreeMap<Place, Partition>,
}

impl CatchUp {
    /// One that ends when everything these extents hold has been taken in.
    pub(super) fn new(extents: HashMap<Place, Extent>) -> Self {
        let partitions = extents.keys().map(|place| (place.clone(), Partition::default())).collect();
        CatchUp { extents, partitions }
    }

    /// Reads on and gathers what may be taken in; whether nothing more is there to read now.
    pub(super) fn fill(&mut self, gathered: &mut Gathered, reader: &Reader, most: usize) -> Result<bool, KafkaError> {
        let mut is_empty = false;
        for _ in 0..most {
            let Some(message) = reader.next()? else {
                is_empty = true;
                break;
            };
            let (place, offset, record) = read(&message);
            let partition = self.partitions.entry(place.clone()).or_default();
            partition.take(offset, record);
            if partition.waiting.len() >= WAITING_MAX && !partition.is_paused {
                partition.is_paused = true;
                reader.pause(&place)?;
            }
        }
        for (place, position) in reader.positions() {
            let is_read = self.extents.get(&place).is_none_or(|extent| position >= extent.end);
            self.partitions.entry(place).or_default().is_read = is_read;
        }
        self.release(gathered, most);
        for (place, partition) in &mut self.partitions {
            if partition.is_paused && partition.waiting.len() < WAITING_MAX / 2 {
                partition.is_paused = false;
                reader.resume(place)?;
            }
        }
        Ok(is_empty && gathered.is_empty())
    }

    /// Gathers what no partition is behind.
    fn release(&mut self, gathered: &mut Gathered, most: usize) {
        let behind = self.partitions.values().filter(|partition| !partition.is_read);
        // The one furthest behind holds nothing back of its own: there is always one that may be read on.
        let until = behind.map(|partition| partition.latest.unwrap_or(i64::MIN)).min().unwrap_or(i64::MAX);
        for (place, partition) in &mut self.partitions {
            let is_due =
                |(_, record): &(i64, Option<Record>)| record.as_ref().is_none_or(|record| record.time() <= until);
            while gathered.count < most && partition.waiting.front().is_some_and(is_due) {
                let Some((offset, record)) = partition.waiting.pop_front() else { break };
                gathered.push(place.clone(), offset, record);
            }
        }
    }

    /// Whether everything has been taken in.
    pub(super) fn is_over(&self) -> bool {
        self.partitions.values().all(|partition| partition.is_read && partition.waiting.is_empty())
    }

    /// Where each partition goes on: behind what was gathered, not behind what was read.
    pub(super) fn positions(&self, reader: &Reader) -> HashMap<Place, i64> {
        let mut positions = reader.positions();
        for (place, partition) in &self.partitions {
            if let Some((offset, _)) = partition.waiting.front() {
                positions.insert(place.clone(), *offset);
            }
        }
        positions
    }
}

impl Partition {
    fn take(&mut self, offset: i64, record: Option<Record>) {
        self.latest = self.latest.max(record.as_ref().map(Record::time));
        self.waiting.push_back((offset, record));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn visit(second: u32, offset: i64) -> Option<Record> {
        let event = json!({ "event_id": format!("v{offset}"), "event_type": "page_viewed", "anonymous_id": "a",
            "event_time": format!("2026-01-01T10:00:{second:02}Z") });
        Record::read("user_events", 0, offset, event.to_string().as_bytes(), None)
    }

    fn payment(second: u32, offset: i64) -> Option<Record> {
        let event = json!({ "event_id": format!("p{offset}"), "event_type": "payment_authorized", "order_id": "o",
            "event_time": format!("2026-01-01T10:00:{second:02}Z"), "payment_id": "p", "amount_minor": 500 });
        Record::read("transactions", 0, offset, event.to_string().as_bytes(), None)
    }

    #[test]
    fn a_payment_waits_for_the_visits_before_it() {
        let (visits, payments) = (Place::new("user_events", 0), Place::new("transactions", 0));
        let extent = Extent { low: 0, end: 4 };
        let mut catching = CatchUp::new(HashMap::from([(visits.clone(), extent), (payments.clone(), extent)]));
        let release = |catching: &mut CatchUp| {
            let mut gathered = Gathered::default();
            catching.release(&mut gathered, 100);
            gathered.ends
        };
        for (second, offset) in [(5, 0), (20, 1), (30, 2)] {
            catching.partitions.get_mut(&payments).expect("known").take(offset, payment(second, offset));
        }
        assert!(release(&mut catching).is_empty(), "nothing is known of the visits");
        catching.partitions.get_mut(&visits).expect("known").take(0, visit(10, 0));
        assert_eq!(release(&mut catching), BTreeMap::from([(visits.clone(), 1), (payments.clone(), 1)]));
        // One that is late, one that cannot be read.
        catching.partitions.get_mut(&visits).expect("known").take(1, visit(3, 1));
        catching.partitions.get_mut(&visits).expect("known").take(2, None);
        assert_eq!(release(&mut catching), BTreeMap::from([(visits.clone(), 3)]));
        catching.partitions.get_mut(&visits).expect("known").is_read = true;
        assert!(!catching.is_over());
        assert_eq!(release(&mut catching), BTreeMap::from([(payments.clone(), 3)]));
        catching.partitions.get_mut(&payments).expect("known").is_read = true;
        assert!(catching.is_over());
    }
}
