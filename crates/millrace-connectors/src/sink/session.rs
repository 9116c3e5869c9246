//! One run of the sink from opening its reader to an error, a change of the topics, or the end it was asked for.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace_model::time::DAY_MICROS;
use millrace_model::{Contract, ErrorKind, Timestamp};
use rdkafka::Message;
use rdkafka::message::BorrowedMessage;
use tokio::task::JoinHandle;

use super::history::{self, HISTORY};
use super::letters::Letters;
use super::row::{Misfit, row};
use super::settings::{
    EXTENTS_MS, Gathered, HISTORY_DAYS, PLACES_MS, PUBLISH_MS, STORE_GROUP, SWEEP_MS, StoreSinkSettings,
};
use super::{SinkError, SinkStats};
use crate::kafka::cluster::{StartDecision, start_at};
use crate::kafka::reader::{Reader, is_out_of_range};
use crate::kafka::{Extent, KafkaError, Place};
use crate::retry::now;
use crate::shutdown::{Ending, Shutdown};
use crate::store::{Param, Store, Table};

/// A record that was read.
#[derive(Clone, Debug)]
pub(super) struct Taken {
    pub(super) place: Place,
    pub(super) offset: i64,
    pub(super) time: Option<Timestamp>,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    /// Its row, or why it is none; `None`: only its offset counts.
    pub(super) row: Option<Result<Vec<Param>, Misfit>>,
}

/// Why a session ended without an error.
pub(super) enum Ended {
    /// The sink was asked to end.
    Asked,
    /// Topics or positions are not what they were: begin again.
    Changed,
}

pub(super) struct Session<'a> {
    pub(super) settings: &'a StoreSinkSettings,
    pub(super) store: &'a Store,
    pub(super) stats: &'a SinkStats,
    pub(super) tables: HashMap<Arc<str>, Arc<Table>>,
    pub(super) history: Arc<Table>,
    /// Next offset of each partition as the store has it.
    pub(super) stored: HashMap<Place, Option<i64>>,
    pub(super) letters: Letters,
    topics: Vec<Arc<str>>,
    places: Vec<Place>,
    reader: Reader,
}

type Asked<T> = Option<JoinHandle<Result<T, KafkaError>>>;

impl<'a> Session<'a> {
    /// Finds where to go on and begins to read there.
    pub(super) async fn open(
        settings: &'a StoreSinkSettings,
        contracts: &[Contract],
        store: &'a Store,
        stats: &'a SinkStats,
    ) -> Result<Self, SinkError> {
        let mut tables = HashMap::new();
        for contract in contracts {
            tables.insert(Arc::from(contract.name.as_str()), Arc::new(Table::of(contract)?));
        }
        let mut topics: Vec<Arc<str>> = tables.keys().cloned().collect();
        topics.sort();
        let mut reader = Reader::new(&settings.client, STORE_GROUP)?;
        let places = reader.cluster().places(&topics).await?;
        let extents = reader.cluster().extents(&places).await?;
        let mut stored: HashMap<Place, Option<i64>> = places.iter().map(|place| (place.clone(), None)).collect();
        for (topic, partition, next) in store.offsets(STORE_GROUP).await? {
            stored.insert(Place::new(topic, partition), Some(next));
        }
        let mut starts = HashMap::new();
        for place in &places {
            let next = stored.get(place).copied().flatten();
            starts.insert(place.clone(), start(place, next, extents.get(place).copied(), stats)?);
        }
        reader.assign(starts)?;
        let history = history::table()?;
        let letters = Letters::default();
        Ok(Session { settings, store, stats, tables, history, stored, letters, topics, places, reader })
    }

    /// Reads and writes until something ends it.
    pub(super) async fn run(&mut self, shutdown: &mut Shutdown) -> Result<Ended, SinkError> {
        let limits = self.settings.limits;
        let mut taken: Vec<Taken> = Vec::new();
        let mut gathered = Gathered::default();
        let mut first = Instant::now();
        let mut targets: Option<HashMap<Place, Extent>> = None;
        let mut chores = Chores::new();
        loop {
            match shutdown.asked() {
                Ending::Stop => return Ok(Ended::Asked),
                Ending::Drain if targets.is_none() => {
                    targets = Some(self.reader.cluster().extents(&self.places).await?)
                }
                Ending::Drain | Ending::None => {}
            }
            gathered.reader_empty = false;
            while taken.len() < limits.rows_max && gathered.bytes < limits.bytes_max {
                let record = match self.reader.next() {
                    Ok(Some(message)) => self.take(&message),
                    Ok(None) => {
                        gathered.reader_empty = true;
                        break;
                    }
                    Err(error) if is_out_of_range(&error) => return Ok(Ended::Changed),
                    Err(error) => return Err(error.into()),
                };
                if taken.is_empty() {
                    first = Instant::now();
                }
                gathered.bytes += record.value.as_ref().map_or(0, Vec::len);
                taken.push(record);
            }
            gathered.rows = taken.len();
            gathered.age = first.elapsed();
            if limits.reached(gathered, targets.is_some()) {
                if !self.write(&taken, shutdown).await? {
                    return Ok(Ended::Asked);
                }
                self.stats.read(taken.len() as u64);
                taken.clear();
                gathered.bytes = 0;
            }
            if taken.is_empty() && targets.as_ref().is_some_and(|targets| self.has_reached(targets)) {
                // What tools see of the lag; the truth is in the store already.
                if let Err(error) = self.reader.cluster().commit(&self.reader.positions()).await {
                    tracing::debug!(%error, "lag not published");
                }
                return Ok(Ended::Asked);
            }
            if self.chores(&mut chores, taken.is_empty()).await {
                return Ok(Ended::Changed);
            }
            if gathered.reader_empty {
                tokio::select! {
                    () = self.reader.ready() => {}
                    () = shutdown.at_least(if targets.is_some() { Ending::Stop } else { Ending::Drain }) => {}
                    () = tokio::time::sleep(limits.wait().saturating_sub(gathered.age)), if !taken.is_empty() => {}
                }
            }
        }
    }

    fn take(&self, message: &BorrowedMessage<'_>) -> Taken {
        let (topic, partition, offset) = (message.topic(), message.partition(), message.offset());
        let known = self.tables.get_key_value(topic);
        Taken {
            place: Place { topic: known.map_or_else(|| Arc::from(topic), |(name, _)| Arc::clone(name)), partition },
            offset,
            time: message.timestamp().to_millis().map(Timestamp::from_millis),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            row: known.map(|(_, table)| row(table, message.payload(), partition, offset)),
        }
    }

    fn has_reached(&self, targets: &HashMap<Place, Extent>) -> bool {
        let positions = self.reader.positions();
        targets.iter().all(|(place, extent)| positions.get(place).is_some_and(|at| *at >= extent.end))
    }

    /// What is done beside reading and writing, none of which may hold it up. `true`: there are other partitions now.
    async fn chores(&self, chores: &mut Chores, written: bool) -> bool {
        let cluster = self.reader.cluster();
        if let Some(extents) = finished(&mut chores.extents).await {
            let positions = self.reader.positions();
            let behind = |(place, extent): (&Place, &Extent)| extent.end - positions.get(place).copied().unwrap_or(0);
            let lag: i64 = extents.iter().map(behind).filter(|records| *records > 0).sum();
            self.stats.lags(lag.unsigned_abs());
        }
        if chores.extents_due.passed() && chores.extents.is_none() {
            let (cluster, places) = (cluster.clone(), self.places.clone());
            chores.extents = Some(tokio::spawn(async move { cluster.extents(&places).await }));
        }
        if let Some(places) = finished(&mut chores.places).await
            && places != self.places
        {
            tracing::info!(partitions = places.len(), "the topics have other partitions now");
            return true;
        }
        if chores.places_due.passed() && chores.places.is_none() {
            let (cluster, topics) = (cluster.clone(), self.topics.clone());
            chores.places = Some(tokio::spawn(async move { cluster.places(&topics).await }));
        }
        finished(&mut chores.publish).await;
        if written && chores.publish_due.passed() && chores.publish.is_none() {
            let positions = self.reader.positions();
            chores.publish = Some(tokio::spawn(async move { cluster.commit(&positions).await }));
        }
        if written && chores.sweep_due.passed() {
            let before = Timestamp(now().0 - HISTORY_DAYS * DAY_MICROS);
            if let Err(error) = self.store.delete_before(HISTORY, "minute", before).await {
                tracing::debug!(%error, "old progress not deleted");
            }
        }
        false
    }
}

/// The answer to a question, when it has come. Questions nobody could answer are asked again at their next time.
async fn finished<T>(asked: &mut Asked<T>) -> Option<T> {
    if !asked.as_ref().is_some_and(JoinHandle::is_finished) {
        return None;
    }
    match asked.take()?.await {
        Ok(Ok(answer)) => Some(answer),
        Ok(Err(error)) => {
            tracing::debug!(%error, "no answer from the cluster");
            None
        }
        Err(_) => None,
    }
}

/// Questions that are under way, and when the next are due.
struct Chores {
    extents: Asked<HashMap<Place, Extent>>,
    extents_due: Due,
    places: Asked<Vec<Place>>,
    places_due: Due,
    publish: Asked<()>,
    publish_due: Due,
    sweep_due: Due,
}

impl Chores {
    fn new() -> Self {
        Chores {
            extents: None,
            extents_due: Due::every(EXTENTS_MS, true),
            places: None,
            places_due: Due::every(PLACES_MS, false),
            publish: None,
            publish_due: Due::every(PUBLISH_MS, false),
            sweep_due: Due::every(SWEEP_MS, true),
        }
    }
}

/// Something that is due again and again.
struct Due {
    every: Duration,
    next: Instant,
}

impl Due {
    fn every(millis: u64, at_once: bool) -> Self {
        let every = Duration::from_millis(millis);
        Due { every, next: if at_once { Instant::now() } else { Instant::now() + every } }
    }

    fn passed(&mut self) -> bool {
        let passed = Instant::now() >= self.next;
        if passed {
            self.next = Instant::now() + self.every;
        }
        passed
    }
}

/// Where to start in a partition, from what the store and the cluster say.
fn start(place: &Place, stored: Option<i64>, extent: Option<Extent>, stats: &SinkStats) -> Result<i64, SinkError> {
    let Place { topic, partition } = place;
    let Some(extent) = extent else {
        return Err(SinkError::new(
            ErrorKind::Unavailable,
            format!("topic `{topic}` partition {partition} has no end"),
        ));
    };
    match start_at(stored, extent) {
        StartDecision::At(at) => Ok(at),
        StartDecision::Gap { at, missed } => {
            tracing::warn!(topic = &**topic, partition, missed, "records were deleted before they were read");
            stats.missed(missed.unsigned_abs());
            Ok(at)
        }
        StartDecision::Ahead { stored, end } => Err(SinkError::new(
            ErrorKind::Invalid,
            format!(
                "topic `{topic}` partition {partition} ends at offset {end}, but the store has read up to {stored}: the \
                 topic is not the one that was read; restore its data, or read it from its start with DELETE FROM \
                 sink_offsets WHERE topic = '{topic}' on the store"
            ),
        )),
    }
}
