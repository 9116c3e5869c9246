//! Records of a topic for somebody to look at: some of them, as they are, within limits. No group, no commits.
//!
//! ```text
//! newest    …[────4n────][──n──] end      back in growing steps until enough are found
//! from …    at ──────────▶                 forward until every partition has given enough
//! ```

use std::collections::HashMap;
use std::time::{Duration, Instant};

use millrace_model::{ErrorKind, Timestamp};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{BorrowedMessage, Headers};
use rdkafka::{Message, Offset};

use super::cluster::{Extent, Place, blocking, by_place, list};
use super::settings::request_timeout;
use super::{ClientSettings, Context, KafkaError};

/// Name of the client; nothing is ever committed to it.
const GROUP: &str = "millrace-browse";
/// How long a poll waits.
const POLL: Duration = Duration::from_millis(50);
/// How much further back each step goes than the one before.
const STEP_GROWTH: i64 = 4;

/// Where to look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum From {
    /// At the end: the newest records.
    Newest,
    /// At the first record.
    Oldest,
    /// At this offset.
    Offset(i64),
    /// At the first record of this time or later, by Kafka's timestamps.
    Time(Timestamp),
}

/// How much may be read for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BrowseLimits {
    /// Records that are looked for.
    pub wanted: usize,
    /// Records read in all.
    pub records_max: usize,
    /// Bytes of keys and values read in all.
    pub bytes_max: usize,
    /// Time it may take.
    pub time_max: Duration,
}

/// A record as it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// Topic and partition.
    pub place: Place,
    /// Offset.
    pub offset: i64,
    /// Kafka timestamp, if the record has one.
    pub time: Option<Timestamp>,
    /// Key as received.
    pub key: Option<Vec<u8>>,
    /// Value as received.
    pub value: Option<Vec<u8>>,
    /// Names and values, in order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// Why a search ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stopped {
    /// There are no more records on this side.
    Ended,
    /// As many as wanted were found.
    Enough,
    /// A limit on records or bytes was reached.
    Limit,
    /// The time was over.
    Time,
}

/// What was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Browsed {
    /// The records; newest first when the newest were asked for, else oldest first.
    pub records: Vec<Found>,
    /// Records read.
    pub read: usize,
    /// Bytes of their keys and values.
    pub bytes: usize,
    /// Why it ended.
    pub stopped: Stopped,
}

/// Looks for records that `fits` accepts in these partitions.
///
/// # Errors
/// `Unavailable`: the cluster is away, or a partition has no leader. `Invalid`: the settings.
pub async fn browse(
    settings: &ClientSettings,
    places: Vec<Place>,
    from: From,
    limits: BrowseLimits,
    fits: impl Fn(&Found) -> bool + Send + 'static,
) -> Result<Browsed, KafkaError> {
    settings.check()?;
    let mut config = settings.consumer(GROUP);
    config
        .set("queued.max.messages.kbytes", "4096")
        .set("fetch.wait.max.ms", "50")
        .set("auto.offset.reset", "earliest");
    let consumer: BaseConsumer<Context> = config
        .create_with_context(Context::default())
        .map_err(|e| KafkaError::of(format_args!("make consumer `{GROUP}`"), &e))?;
    blocking(move || {
        let until = Instant::now() + limits.time_max;
        let extents = extents(&consumer, &places)?;
        let mut search = Search { consumer, limits, until, fits, found: Vec::new(), read: 0, bytes: 0 };
        let stopped = match from {
            From::Newest => search.backward(&extents)?,
            from => search.forward(starts(&search.consumer, &extents, from)?, &extents)?,
        };
        Ok(search.done(from, stopped))
    })
    .await
}

fn ask(consumer: &BaseConsumer<Context>, places: &[Place], which: Offset) -> Result<HashMap<Place, i64>, KafkaError> {
    let asked = list(places.iter().map(|place| (place, which)))?;
    let answer = consumer.offsets_for_times(asked, request_timeout());
    let answer = answer.map_err(|e| KafkaError::of("read the ends of the partitions", &e))?;
    for element in answer.elements() {
        if let Err(error) = element.error() {
            let what = format_args!("read partition {} of topic `{}`", element.partition(), element.topic());
            return Err(KafkaError::of(what, &error));
        }
    }
    Ok(by_place(&answer))
}

fn extents(consumer: &BaseConsumer<Context>, places: &[Place]) -> Result<HashMap<Place, Extent>, KafkaError> {
    let (lows, ends) = (ask(consumer, places, Offset::Beginning)?, ask(consumer, places, Offset::End)?);
    let extent = |place: &Place| {
        let (low, end) = (lows.get(place).copied()?, ends.get(place).copied()?);
        Some((place.clone(), Extent { low, end: end.max(low) }))
    };
    Ok(places.iter().filter_map(extent).collect())
}

fn starts(
    consumer: &BaseConsumer<Context>,
    extents: &HashMap<Place, Extent>,
    from: From,
) -> Result<HashMap<Place, i64>, KafkaError> {
    let places: Vec<Place> = extents.keys().cloned().collect();
    let at = |place: &Place| extents.get(place).copied().unwrap_or(Extent { low: 0, end: 0 });
    let start = |place: &Place, at_time: Option<i64>| match from {
        From::Oldest => at(place).low,
        From::Offset(offset) => offset.clamp(at(place).low, at(place).end),
        // No record of that time or later: nothing to show.
        From::Time(_) | From::Newest => at_time.unwrap_or(at(place).end),
    };
    let times = match from {
        From::Time(time) => ask(consumer, &places, Offset::Offset(time.0.max(0) / 1_000))?,
        _ => HashMap::new(),
    };
    Ok(places.iter().map(|place| (place.clone(), start(place, times.get(place).copied()))).collect())
}

struct Search<F> {
    consumer: BaseConsumer<Context>,
    limits: BrowseLimits,
    until: Instant,
    fits: F,
    found: Vec<Found>,
    read: usize,
    bytes: usize,
}

impl<F: Fn(&Found) -> bool> Search<F> {
    /// From the end backwards, in growing steps.
    fn backward(&mut self, extents: &HashMap<Place, Extent>) -> Result<Stopped, KafkaError> {
        let mut ends: HashMap<Place, i64> = extents.iter().map(|(place, extent)| (place.clone(), extent.end)).collect();
        let mut step = i64::try_from(self.limits.wanted).unwrap_or(i64::MAX).max(1);
        loop {
            let low = |place: &Place| extents.get(place).map_or(0, |extent| extent.low);
            let spans: HashMap<Place, Extent> = ends
                .iter()
                .filter(|(place, end)| **end > low(place))
                .map(|(place, end)| (place.clone(), Extent { low: low(place).max(end - step), end: *end }))
                .collect();
            if spans.is_empty() {
                return Ok(Stopped::Ended);
            }
            let stopped = self.read(&spans, false)?;
            if stopped != Stopped::Ended {
                return Ok(stopped);
            }
            if self.found.len() >= self.limits.wanted {
                return Ok(Stopped::Enough);
            }
            // What is left of the records allowed is shared among the partitions.
            let left = self.limits.records_max.saturating_sub(self.read) / spans.len().max(1);
            if left == 0 {
                return Ok(Stopped::Limit);
            }
            ends = spans.into_iter().map(|(place, span)| (place, span.low)).collect();
            step = step.saturating_mul(STEP_GROWTH).min(i64::try_from(left).unwrap_or(i64::MAX));
        }
    }

    /// From these offsets on.
    fn forward(
        &mut self,
        starts: HashMap<Place, i64>,
        extents: &HashMap<Place, Extent>,
    ) -> Result<Stopped, KafkaError> {
        let span = |(place, low): (Place, i64)| {
            let end = extents.get(&place).map_or(low, |extent| extent.end);
            (low < end).then_some((place, Extent { low, end }))
        };
        let spans: HashMap<Place, Extent> = starts.into_iter().filter_map(span).collect();
        self.read(&spans, true)
    }

    /// Reads these spans: each to its last record, or until enough of it are found.
    fn read(&mut self, spans: &HashMap<Place, Extent>, until_enough: bool) -> Result<Stopped, KafkaError> {
        // Partitions are not assigned only to be taken away at once: librdkafka (2.12) aborts the process when one is taken
        // away a second time before it has stopped after the first.
        if Instant::now() >= self.until {
            return Ok(Stopped::Time);
        }
        let assigned = list(spans.iter().map(|(place, span)| (place, Offset::Offset(span.low))))?;
        self.consumer.assign(&assigned).map_err(|e| KafkaError::of("assign partitions", &e))?;
        let mut open: HashMap<Place, i64> = spans.iter().map(|(place, span)| (place.clone(), span.end)).collect();
        let mut fitting: HashMap<Place, usize> = HashMap::new();
        while !open.is_empty() {
            if Instant::now() >= self.until {
                return Ok(Stopped::Time);
            }
            match self.consumer.poll(POLL) {
                Some(Ok(message)) => {
                    let place = Place::new(message.topic(), message.partition());
                    let Some(end) = open.get(&place).copied() else { continue };
                    if message.offset() >= end - 1 {
                        open.remove(&place);
                    }
                    if message.offset() >= end {
                        continue;
                    }
                    let record = owned(place, &message);
                    self.read += 1;
                    self.bytes += [&record.key, &record.value].into_iter().flatten().map(Vec::len).sum::<usize>();
                    if (self.fits)(&record) {
                        // Enough of this partition: the others may hold older ones.
                        let found = fitting.entry(record.place.clone()).or_insert(0);
                        *found += 1;
                        if until_enough && *found >= self.limits.wanted {
                            open.remove(&record.place);
                        }
                        self.found.push(record);
                    }
                    if self.read >= self.limits.records_max || self.bytes >= self.limits.bytes_max {
                        return Ok(Stopped::Limit);
                    }
                }
                Some(Err(error)) => {
                    let error = KafkaError::of("read records", &error);
                    if millrace_model::Classified::kind(&error) != ErrorKind::Unavailable {
                        return Err(error);
                    }
                }
                None => {
                    // Behind markers of transactions the position moves without a record.
                    let positions = self.consumer.position().map(|list| by_place(&list)).unwrap_or_default();
                    open.retain(|place, end| positions.get(place).is_none_or(|at| at < end));
                }
            }
        }
        let enough = until_enough && self.found.len() >= self.limits.wanted;
        Ok(if enough { Stopped::Enough } else { Stopped::Ended })
    }

    fn done(mut self, from: From, stopped: Stopped) -> Browsed {
        let order = |record: &Found| (record.time, record.offset, record.place.partition);
        self.found.sort_by_key(order);
        if from == From::Newest {
            self.found.reverse();
        }
        self.found.truncate(self.limits.wanted);
        Browsed { records: self.found, read: self.read, bytes: self.bytes, stopped }
    }
}

fn owned(place: Place, message: &BorrowedMessage<'_>) -> Found {
    let headers = message.headers().into_iter().flat_map(Headers::iter);
    Found {
        place,
        offset: message.offset(),
        time: message.timestamp().to_millis().map(Timestamp::from_millis),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: headers.map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec))).collect(),
    }
}
