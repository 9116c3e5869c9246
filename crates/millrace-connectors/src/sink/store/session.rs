//! One run of the sink from opening its reader to an error, a change of the topics, or the end it was asked for.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace_model::{Contract, Timestamp};
use rdkafka::Message;
use rdkafka::message::BorrowedMessage;
use tokio::sync::watch;

use super::history;
use super::letters::Letters;
use super::retention::Sweep;
use super::row::{Misfit, row};
use super::settings::{BatchLimits, Gathered, PUBLISH_MS_MAX, STORE_GROUP, StoreSinkSettings};
use crate::kafka::member::Member;
use crate::kafka::reader::{Reader, is_out_of_range};
use crate::kafka::{Cluster, Extent, Place};
use crate::retry::now;
use crate::shutdown::{Ending, Shutdown};
use crate::sink::{Ended, SinkError, SinkStats, Watch, start};
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
    pub(super) row: Option<Result<Arc<Vec<Param>>, Misfit>>,
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
    reader: Reader,
    cluster: Cluster,
    watch: Watch,
    share: Option<watch::Receiver<Option<Vec<Place>>>>,
    sweep: Sweep,
}

impl<'a> Session<'a> {
    /// Finds where to go on and begins to read there. With a member it reads the member's share, when the group has given
    /// one; `None`: it was asked to stop before.
    pub(super) async fn open(
        settings: &'a StoreSinkSettings,
        contracts: &[Contract],
        store: &'a Store,
        stats: &'a SinkStats,
        member: Option<&Member>,
        shutdown: &mut Shutdown,
    ) -> Result<Option<Self>, SinkError> {
        let mut tables = HashMap::new();
        for contract in contracts {
            tables.insert(Arc::from(contract.name.as_str()), Arc::new(Table::of(contract)?));
        }
        let mut topics: Vec<Arc<str>> = tables.keys().cloned().collect();
        topics.sort();
        let mut reader = Reader::new(&settings.client, STORE_GROUP)?;
        let (cluster, places, share) = match member {
            None => {
                let cluster = Cluster::new(&settings.client, STORE_GROUP)?;
                let places = cluster.places(&topics).await?;
                (cluster, places, None)
            }
            Some(member) => {
                let mut share = member.share();
                let places = tokio::select! {
                    given = share.wait_for(Option::is_some) => given.ok().and_then(|given| given.clone()),
                    () = shutdown.at_least(Ending::Stop) => None,
                };
                let Some(places) = places else { return Ok(None) };
                (member.cluster(), places, Some(share))
            }
        };
        let extents = cluster.extents(&places).await?;
        let mut stored: HashMap<Place, Option<i64>> = places.iter().map(|place| (place.clone(), None)).collect();
        for (topic, partition, next) in store.offsets(STORE_GROUP).await? {
            // Offsets of partitions another sink has now are its own affair.
            if let Some(known) = stored.get_mut(&Place::new(topic, partition)) {
                *known = Some(next);
            }
        }
        let mut starts = HashMap::new();
        for place in &places {
            let next = stored.get(place).copied().flatten();
            let remedy = format!(
                "restore its data, or read it from its start: DELETE FROM sink_offsets WHERE topic = '{}' on the store",
                place.topic
            );
            starts.insert(place.clone(), start(place, next, extents.get(place).copied(), stats, &remedy)?);
        }
        reader.assign(starts)?;
        // Of a shared topic's new partitions the group tells.
        let topics = if share.is_some() { Vec::new() } else { topics };
        let watch = Watch::new(cluster.clone(), topics, places, stats.clone());
        let (history, letters) = (history::table()?, Letters::default());
        let sweep = Sweep::new(contracts, settings.retention);
        Ok(Some(Session {
            settings,
            store,
            stats,
            tables,
            history,
            stored,
            letters,
            reader,
            cluster,
            watch,
            share,
            sweep,
        }))
    }

    /// Reads and writes until something ends it.
    pub(super) async fn run(&mut self, shutdown: &mut Shutdown) -> Result<Ended, SinkError> {
        let limits = self.settings.limits;
        let mut batch = Batch::default();
        let mut targets: Option<HashMap<Place, Extent>> = None;
        loop {
            match shutdown.asked() {
                Ending::Stop => return Ok(Ended::Asked),
                Ending::Drain if targets.is_none() => {
                    targets = Some(self.cluster.extents(self.watch.places()).await?);
                }
                Ending::Drain | Ending::None => {}
            }
            if self.share_changed() || !self.gather(&mut batch, limits)? {
                return Ok(Ended::Changed);
            }
            if limits.reached(batch.gathered(), targets.is_some()) {
                if !self.write(&batch.taken, shutdown).await? {
                    return Ok(Ended::Asked);
                }
                self.stats.read(batch.taken.len() as u64);
                batch.clear();
            }
            if batch.taken.is_empty() && targets.as_ref().is_some_and(|targets| self.has_reached(targets)) {
                self.publish_last().await;
                return Ok(Ended::Asked);
            }
            if self.look_around(batch.taken.is_empty()).await {
                return Ok(Ended::Changed);
            }
            if batch.reader_empty {
                tokio::select! {
                    () = self.reader.ready() => {}
                    () = shutdown.at_least(if targets.is_some() { Ending::Stop } else { Ending::Drain }) => {}
                    () = tokio::time::sleep(limits.wait().saturating_sub(batch.age())), if !batch.taken.is_empty() => {}
                }
            }
        }
    }

    /// Takes what the reader has, up to the limits. `false`: its positions are no longer in the topics.
    fn gather(&self, batch: &mut Batch, limits: BatchLimits) -> Result<bool, SinkError> {
        batch.reader_empty = false;
        while batch.taken.len() < limits.rows_max && batch.bytes < limits.bytes_max {
            match self.reader.next() {
                Ok(Some(message)) => batch.push(self.take(&message)),
                Ok(None) => {
                    batch.reader_empty = true;
                    break;
                }
                Err(error) if is_out_of_range(&error) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
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
            row: known.map(|(_, table)| row(table, message.payload(), partition, offset).map(Arc::new)),
        }
    }

    fn share_changed(&self) -> bool {
        self.share.as_ref().is_some_and(|share| share.has_changed().unwrap_or(true))
    }

    fn has_reached(&self, targets: &HashMap<Place, Extent>) -> bool {
        let positions = self.reader.positions();
        targets.iter().all(|(place, extent)| positions.get(place).is_some_and(|at| *at >= extent.end))
    }

    /// What tools see of the lag at the end; the truth is in the store already, so nobody waits long for it.
    async fn publish_last(&self) {
        let positions = self.reader.positions();
        let commit = self.cluster.commit(&positions);
        match tokio::time::timeout(Duration::from_millis(PUBLISH_MS_MAX), commit).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "lag not published"),
            Err(_) => tracing::debug!("lag not published in time"),
        }
    }

    /// Lag, group, partitions, retention. `true`: the topics have other partitions now.
    async fn look_around(&mut self, all_written: bool) -> bool {
        // With everything written, the positions are exact: they have passed the markers of transactions too.
        let done = || match all_written {
            true => self.reader.positions(),
            false => self.stored.iter().filter_map(|(place, next)| Some((place.clone(), (*next)?))).collect(),
        };
        if self.watch.changed(&done).await {
            return true;
        }
        self.watch.publish(&done);
        if all_written {
            self.sweep.step(self.store, now()).await;
        }
        false
    }
}

/// Records that wait to be written.
#[derive(Default)]
struct Batch {
    taken: Vec<Taken>,
    bytes: usize,
    first: Option<Instant>,
    reader_empty: bool,
}

impl Batch {
    fn push(&mut self, taken: Taken) {
        self.first.get_or_insert_with(Instant::now);
        self.bytes += taken.value.as_ref().map_or(0, Vec::len);
        self.taken.push(taken);
    }

    fn age(&self) -> Duration {
        self.first.map_or(Duration::ZERO, |first| first.elapsed())
    }

    fn gathered(&self) -> Gathered {
        let (rows, bytes, reader_empty) = (self.taken.len(), self.bytes, self.reader_empty);
        Gathered { rows, bytes, age: self.age(), reader_empty }
    }

    fn clear(&mut self) {
        *self = Batch { taken: std::mem::take(&mut self.taken), ..Batch::default() };
        self.taken.clear();
    }
}
