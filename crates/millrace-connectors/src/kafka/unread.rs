//! Since when a group has been behind: the Kafka timestamps of the first records it has not read. Only a look at the
//! record itself tells; a group's offset has no time.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use millrace_model::Timestamp;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Message, Offset};

use super::cluster::{Place, by_place, list};
use super::{ClientSettings, Context, KafkaError};

/// Records looked at in one go.
pub const RECORDS_MAX: usize = 512;
/// Longest time one go takes, milliseconds; what was not found by then is found the next time.
pub const LOOK_MS_MAX: u64 = 3_000;
/// Times remembered: a record's time never changes.
const MEMORY_MAX: usize = 16_384;
/// Bytes asked for of a partition: one record is wanted, Kafka sends at least a whole batch.
const FETCH_BYTES: &str = "4096";
/// How long a poll waits.
const POLL: Duration = Duration::from_millis(50);
/// Name of the client; nothing is ever committed to it.
const GROUP: &str = "millrace-inspect";

/// A group's place in a partition.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Unread {
    /// The partition.
    pub place: Place,
    /// Offset of the first record that was not read.
    pub offset: i64,
    /// End of the partition.
    pub end: i64,
}

/// Looks up times of records, and remembers them.
pub struct FirstUnread {
    settings: ClientSettings,
    known: HashMap<(Place, i64), Timestamp>,
}

/// Times by place and offset; none: only markers of transactions are there.
pub type Times = HashMap<(Place, i64), Option<Timestamp>>;

impl FirstUnread {
    /// Nothing is asked yet.
    pub fn new(settings: &ClientSettings) -> Self {
        FirstUnread { settings: settings.clone(), known: HashMap::new() }
    }

    /// The time of the first committed record at or after each of these offsets; none when there is no record, only
    /// markers of transactions. Places that were not found in time are left out.
    ///
    /// # Errors
    /// `Invalid`: the settings.
    pub async fn times(&mut self, wanted: &[Unread]) -> Result<Times, KafkaError> {
        if self.known.len() > MEMORY_MAX {
            self.known.clear();
        }
        let rounds = rounds(wanted.iter().filter(|unread| !self.known.contains_key(&key(unread))).take(RECORDS_MAX));
        let mut times: Times = HashMap::new();
        if !rounds.is_empty() {
            let settings = self.settings.clone();
            let found = super::cluster::blocking(move || look(&settings, rounds)).await?;
            // Where there was no record yet, there may be one the next time.
            self.known.extend(found.iter().filter_map(|(at, time)| Some((at.clone(), (*time)?))));
            times = found;
        }
        for at in wanted.iter().map(key) {
            if let Some(time) = self.known.get(&at) {
                times.insert(at, Some(*time));
            }
        }
        Ok(times)
    }
}

fn key(unread: &Unread) -> (Place, i64) {
    (unread.place.clone(), unread.offset)
}

/// A partition is read at one offset at a time: the others wait for another round.
fn rounds<'a>(wanted: impl Iterator<Item = &'a Unread>) -> Vec<HashMap<Place, Unread>> {
    let mut rounds: Vec<HashMap<Place, Unread>> = Vec::new();
    for unread in wanted {
        let same = |round: &HashMap<Place, Unread>| {
            round.get(&unread.place).is_some_and(|known| known.offset == unread.offset)
        };
        if rounds.iter().any(same) {
            continue;
        }
        match rounds.iter_mut().find(|round| !round.contains_key(&unread.place)) {
            Some(round) => drop(round.insert(unread.place.clone(), unread.clone())),
            None => rounds.push(HashMap::from([(unread.place.clone(), unread.clone())])),
        }
    }
    rounds
}

fn consumer(settings: &ClientSettings) -> Result<BaseConsumer<Context>, KafkaError> {
    let mut config = settings.consumer(GROUP);
    config.set("fetch.message.max.bytes", FETCH_BYTES).set("queued.max.messages.kbytes", "1024");
    // What retention has deleted is not unread any more: the first that is left is.
    config.set("fetch.wait.max.ms", "50").set("auto.offset.reset", "earliest");
    config
        .create_with_context(Context::default())
        .map_err(|e| KafkaError::of(format_args!("make consumer `{GROUP}`"), &e))
}

/// Each round has a consumer of its own, which is assigned partitions once: librdkafka (2.12) aborts the process when a
/// partition is taken away a second time before it has stopped after the first.
fn look(settings: &ClientSettings, rounds: Vec<HashMap<Place, Unread>>) -> Result<Times, KafkaError> {
    let until = Instant::now() + Duration::from_millis(LOOK_MS_MAX);
    let mut found = HashMap::new();
    for open in rounds {
        if Instant::now() >= until {
            break;
        }
        if let Err(error) = look_once(&consumer(settings)?, open, until, &mut found) {
            tracing::debug!(%error, "ages of unread records are not known");
        }
    }
    Ok(found)
}

fn look_once(
    consumer: &BaseConsumer<Context>,
    mut open: HashMap<Place, Unread>,
    until: Instant,
    found: &mut Times,
) -> Result<(), KafkaError> {
    let assigned = list(open.iter().map(|(place, unread)| (place, Offset::Offset(unread.offset))))?;
    consumer.assign(&assigned).map_err(|e| KafkaError::of("assign partitions", &e))?;
    while !open.is_empty() && Instant::now() < until {
        match consumer.poll(POLL) {
            Some(Ok(message)) => {
                let place = Place::new(message.topic(), message.partition());
                let time = message.timestamp().to_millis().map(Timestamp::from_millis);
                if let Some(unread) = open.remove(&place) {
                    found.insert(key(&unread), time);
                }
            }
            // The library tries again by itself.
            Some(Err(_)) => {}
            None => {
                // Behind markers the position moves without a record.
                let positions = consumer.position().map(|list| by_place(&list)).unwrap_or_default();
                let ended = |unread: &Unread| positions.get(&unread.place).is_some_and(|at| *at >= unread.end);
                found.extend(open.values().filter(|unread| ended(unread)).map(|unread| (key(unread), None)));
                open.retain(|_, unread| !ended(unread));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_looked_at_once_a_round() {
        let at = |partition: i32, offset: i64| Unread { place: Place::new("t", partition), offset, end: 100 };
        let wanted = [at(0, 5), at(1, 5), at(0, 7), at(0, 5), at(0, 9)];
        let sizes: Vec<usize> = rounds(wanted.iter()).iter().map(HashMap::len).collect();
        assert_eq!(sizes, [2, 1, 1]);
        assert!(rounds([].iter()).is_empty());
    }
}
