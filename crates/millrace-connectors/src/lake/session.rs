//! One run of the archiver from finding where it was to an error, a change of the topics or of its share, or the end it was
//! asked for.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use millrace_model::{Contract, ErrorKind, Timestamp};
use rdkafka::Message;
use rdkafka::message::BorrowedMessage;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::buffer::{Buffer, RawRecord, Records};
use super::merge::{self, Merged};
use super::retention::{self, Deleted};
use super::settings::{LAKE_GROUP, LakeSettings};
use super::start;
use super::storage::Storage;
use super::write::{Writer, written};
use crate::kafka::member::Member;
use crate::kafka::reader::{Reader, is_out_of_range};
use crate::kafka::{Cluster, Extent, Place};
use crate::retry::now;
use crate::shutdown::{Ending, Shutdown};
use crate::sink::watch::Due;
use crate::sink::{Ended, SinkError, SinkStats, Watch};

pub(super) type Contracts = HashMap<Arc<str>, Arc<Contract>>;

pub(super) struct Session<'a> {
    settings: &'a LakeSettings,
    stats: &'a SinkStats,
    contracts: Contracts,
    writer: Writer,
    reader: Reader,
    cluster: Cluster,
    watch: Watch,
    buffer: Buffer,
    /// Next offset of each partition that is in files and committed.
    archived: HashMap<Place, i64>,
    share: Option<watch::Receiver<Option<Vec<Place>>>>,
    merge_due: Due,
    /// A pass that is under way. It may outlive the session: files are merged by whoever likes, to the same end.
    merging: Option<JoinHandle<()>>,
}

/// What a session works with.
pub(super) struct Tools<'a> {
    pub(super) settings: &'a LakeSettings,
    pub(super) contracts: &'a [Contract],
    pub(super) storage: &'a Arc<Storage>,
    pub(super) stats: &'a SinkStats,
    pub(super) member: Option<&'a Member>,
}

impl<'a> Session<'a> {
    /// Finds where to go on, finishes what an interrupted batch left, and begins to read. With a member it takes the
    /// member's share, when the group has given one; `None`: it was asked to stop before.
    pub(super) async fn open(tools: &Tools<'a>, shutdown: &mut Shutdown) -> Result<Option<Self>, SinkError> {
        let Tools { settings, contracts, storage, stats, member } = *tools;
        let contracts: Contracts =
            contracts.iter().map(|contract| (Arc::from(contract.name.as_str()), Arc::new(contract.clone()))).collect();
        let mut topics: Vec<Arc<str>> = contracts.keys().cloned().collect();
        topics.sort();
        let (cluster, places, share) = match member {
            None => {
                let cluster = Cluster::new(&settings.client, LAKE_GROUP)?;
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
        let started = start::find(settings, storage, stats, &cluster, &places).await?;
        let writer = Writer::new(storage, &cluster, started.chain);
        if !started.again.is_empty() {
            tracing::info!(partitions = started.again.len(), "writes an interrupted batch again");
            let read = read_again(settings, &contracts, &started.again, share.as_ref(), shutdown).await?;
            let Some(records) = read else { return Ok(None) };
            written(writer.write_again(contracts.clone(), records, started.again)).await?;
        }
        let mut reader = Reader::new(&settings.client, LAKE_GROUP)?;
        reader.assign(started.at.clone())?;
        // Of a shared topic's new partitions the group tells.
        let topics = if share.is_some() { Vec::new() } else { topics };
        let watch = Watch::new(cluster.clone(), topics, places, stats.clone());
        let (buffer, archived) = (Buffer::default(), started.at);
        let merge_due = Due::every(u64::try_from(settings.merge.every.as_millis()).unwrap_or(u64::MAX), true);
        Ok(Some(Session {
            settings,
            stats,
            contracts,
            writer,
            reader,
            cluster,
            watch,
            buffer,
            archived,
            share,
            merge_due,
            merging: None,
        }))
    }

    /// Reads and writes until something ends it.
    pub(super) async fn run(&mut self, shutdown: &mut Shutdown) -> Result<Ended, SinkError> {
        let mut targets: Option<HashMap<Place, Extent>> = None;
        loop {
            match shutdown.asked() {
                Ending::Stop => return Ok(Ended::Asked),
                Ending::Drain if targets.is_none() => {
                    targets = Some(self.cluster.extents(self.watch.places()).await?);
                }
                Ending::Drain | Ending::None => {}
            }
            if share_changed(self.share.as_ref()) {
                return Ok(Ended::Changed);
            }
            let Some(reader_empty) = self.gather()? else {
                return Ok(Ended::Changed);
            };
            let (rows, bytes, age) = (self.buffer.rows(), self.buffer.bytes(), self.buffer.age());
            let at_end = targets.as_ref().is_some_and(|targets| self.has_reached(targets));
            if self.settings.limits.reached(rows, bytes, age, at_end) {
                self.flush().await?;
            }
            if at_end && self.buffer.rows() == 0 {
                return Ok(Ended::Asked);
            }
            let done = || if self.buffer.rows() == 0 { self.reader.positions() } else { self.archived.clone() };
            if self.watch.changed(&done).await {
                return Ok(Ended::Changed);
            }
            self.merge_when_due();
            if reader_empty {
                tokio::select! {
                    () = self.reader.ready() => {}
                    () = shutdown.at_least(if targets.is_some() { Ending::Stop } else { Ending::Drain }) => {}
                }
            }
        }
    }

    /// Takes what the reader has, up to the limits; whether it is empty now. `None`: its positions are no longer in the
    /// topics.
    fn gather(&mut self) -> Result<Option<bool>, SinkError> {
        let limits = self.settings.limits;
        while self.buffer.rows() < limits.rows_max && self.buffer.bytes() < limits.bytes_max {
            match self.reader.next() {
                Ok(Some(message)) => {
                    let Some((topic, _)) = self.contracts.get_key_value(message.topic()) else {
                        continue;
                    };
                    let place = Place { topic: Arc::clone(topic), partition: message.partition() };
                    self.buffer.push(&place, record(&message));
                }
                Ok(None) => return Ok(Some(true)),
                Err(error) if is_out_of_range(&error) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Some(false))
    }

    /// Deletes old days and merges old hours, beside reading and writing.
    fn merge_when_due(&mut self) {
        if self.merging.as_ref().is_some_and(|merging| !merging.is_finished()) || !self.merge_due.passed() {
            return;
        }
        let (storage, settings, archived) = (self.writer.storage(), self.settings.merge, self.archived.clone());
        let keep = self.settings.retention;
        self.merging = Some(tokio::spawn(async move {
            if let Some(keep) = keep {
                match retention::pass(&storage, keep, &archived, now()).await {
                    Ok(Deleted { files: 0, .. }) => {}
                    Ok(Deleted { files, bytes }) => tracing::info!(files, bytes, "deleted files of old days"),
                    Err(error) => tracing::warn!(%error, "old days not deleted; tried again later"),
                }
            }
            match merge::pass(&storage, settings, &archived, now()).await {
                Ok(merged) if merged == Merged::default() => {}
                Ok(Merged { files, into, left_over }) => tracing::info!(files, into, left_over, "merged files"),
                Err(error) => tracing::warn!(%error, "files not merged; tried again later"),
            }
        }));
    }

    fn has_reached(&self, targets: &HashMap<Place, Extent>) -> bool {
        let positions = self.reader.positions();
        targets.iter().all(|(place, extent)| positions.get(place).is_some_and(|at| *at >= extent.end))
    }

    /// Writes what is buffered to files, then commits. A failure in between is mended by the next session's start, here or
    /// elsewhere.
    async fn flush(&mut self) -> Result<(), SinkError> {
        let taken = self.buffer.take();
        let (rows, next) = written(self.writer.write(self.contracts.clone(), taken)).await?;
        self.writer.goes_on(&next);
        self.archived.extend(next);
        self.stats.read(rows);
        self.stats.wrote(rows, now());
        Ok(())
    }
}

fn record<'a>(message: &'a BorrowedMessage<'_>) -> RawRecord<'a> {
    RawRecord {
        offset: message.offset(),
        time: message.timestamp().to_millis().map(Timestamp::from_millis),
        key: message.key(),
        value: message.payload(),
    }
}

fn share_changed(share: Option<&watch::Receiver<Option<Vec<Place>>>>) -> bool {
    share.is_some_and(|share| share.has_changed().unwrap_or(true))
}

/// Reads the records of these ranges of offsets; `None`: it was asked to stop before.
async fn read_again(
    settings: &LakeSettings,
    contracts: &Contracts,
    ranges: &HashMap<Place, (i64, i64)>,
    share: Option<&watch::Receiver<Option<Vec<Place>>>>,
    shutdown: &Shutdown,
) -> Result<Option<BTreeMap<Place, Records>>, SinkError> {
    let mut reader = Reader::new(&settings.client, LAKE_GROUP)?;
    reader.assign(ranges.iter().map(|(place, (from, _))| (place.clone(), *from)).collect())?;
    let mut read: BTreeMap<Place, Records> = ranges.keys().map(|place| (place.clone(), Records::default())).collect();
    let mut open = ranges.len();
    while open > 0 {
        let next = reader.next().map_err(|error| match is_out_of_range(&error) {
            true => SinkError::new(ErrorKind::Unavailable, format!("lake: a batch to write again: {error}")),
            false => error.into(),
        });
        let Some(message) = next? else {
            if shutdown.asked() == Ending::Stop {
                return Ok(None);
            }
            if share_changed(share) {
                return Err(SinkError::new(
                    ErrorKind::Unavailable,
                    "lake: the share changed while a batch was read again",
                ));
            }
            reader.ready().await;
            continue;
        };
        let Some((topic, _)) = contracts.get_key_value(message.topic()) else { continue };
        let place = Place { topic: Arc::clone(topic), partition: message.partition() };
        let (Some((_, next)), Some(records)) = (ranges.get(&place), read.get_mut(&place)) else { continue };
        if message.offset() < *next {
            records.push(record(&message));
            // The claim ends behind a record, so the last one is there.
            open -= usize::from(message.offset() == *next - 1);
        }
    }
    Ok(Some(read))
}
