//! One run of the archiver from finding where it was to an error, a change of the topics, or the end it was asked for.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use millrace_model::{Contract, ErrorKind, Timestamp};
use rdkafka::Message;
use tokio::task::spawn_blocking;

use super::buffer::{Buffer, RawRecord, Records};
use super::encode;
use super::files::Files;
use super::layout::FileName;
use super::recovery::{Facts, Recovery, decide};
use super::settings::{LAKE_GROUP, LakeSettings};
use crate::kafka::reader::{Reader, is_out_of_range};
use crate::kafka::{Cluster, Extent, Place};
use crate::retry::now;
use crate::shutdown::{Ending, Shutdown};
use crate::sink::{Ended, SinkError, SinkStats, Watch};

pub(super) struct Session<'a> {
    settings: &'a LakeSettings,
    files: &'a Arc<Files>,
    stats: &'a SinkStats,
    contracts: HashMap<Arc<str>, Arc<Contract>>,
    reader: Reader,
    cluster: Cluster,
    watch: Watch,
    buffer: Buffer,
    /// Next offset of each partition that is in files and committed.
    archived: HashMap<Place, i64>,
}

impl<'a> Session<'a> {
    /// Finds where to go on, deletes what an interrupted batch left, and begins to read.
    pub(super) async fn open(
        settings: &'a LakeSettings,
        contracts: &[Contract],
        files: &'a Arc<Files>,
        stats: &'a SinkStats,
    ) -> Result<Self, SinkError> {
        let contracts: HashMap<Arc<str>, Arc<Contract>> =
            contracts.iter().map(|contract| (Arc::from(contract.name.as_str()), Arc::new(contract.clone()))).collect();
        let mut topics: Vec<Arc<str>> = contracts.keys().cloned().collect();
        topics.sort();
        let mut reader = Reader::new(&settings.client, LAKE_GROUP)?;
        let cluster = Cluster::new(&settings.client, LAKE_GROUP)?;
        let places = cluster.places(&topics).await?;
        let archived = recover(settings, files, stats, &cluster, &topics, &places).await?;
        reader.assign(archived.clone())?;
        let watch = Watch::new(cluster.clone(), topics, places, stats.clone());
        Ok(Session { settings, files, stats, contracts, reader, cluster, watch, buffer: Buffer::default(), archived })
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
                    let record = RawRecord {
                        offset: message.offset(),
                        time: message.timestamp().to_millis().map(Timestamp::from_millis),
                        key: message.key(),
                        value: message.payload(),
                    };
                    self.buffer.push(&place, record);
                }
                Ok(None) => return Ok(Some(true)),
                Err(error) if is_out_of_range(&error) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Some(false))
    }

    fn has_reached(&self, targets: &HashMap<Place, Extent>) -> bool {
        let positions = self.reader.positions();
        targets.iter().all(|(place, extent)| positions.get(place).is_some_and(|at| *at >= extent.end))
    }

    /// Writes what is buffered to files, then commits. A failure in between is mended by the next session's start.
    async fn flush(&mut self) -> Result<(), SinkError> {
        let (files, cluster) = (Arc::clone(self.files), self.cluster.clone());
        let (contracts, taken) = (self.contracts.clone(), self.buffer.take());
        // A task of its own, which holds the folder's lock: when this session is dropped in mid-flush, no other can
        // begin before the last file is written and its offsets are committed.
        let flushed = tokio::spawn(async move { write_and_commit(&files, &cluster, &contracts, taken).await }).await;
        let (rows, next) = flushed.map_err(|e| SinkError::new(ErrorKind::Internal, format!("write files: {e}")))??;
        self.archived.extend(next);
        self.stats.read(rows);
        self.stats.wrote(rows, now());
        Ok(())
    }
}

/// Makes the files durable, then commits; how many rows, and the next offsets.
async fn write_and_commit(
    files: &Files,
    cluster: &Cluster,
    contracts: &HashMap<Arc<str>, Arc<Contract>>,
    taken: BTreeMap<Place, Records>,
) -> Result<(u64, HashMap<Place, i64>), SinkError> {
    let mut written = 0;
    let mut next = HashMap::new();
    for (place, records) in taken {
        let Some(contract) = contracts.get(&place.topic).map(Arc::clone) else {
            continue;
        };
        if let Some(offset) = records.next_offset() {
            next.insert(place.clone(), offset);
        }
        let rows = records.len();
        let made = spawn_blocking(move || encode::files(&contract, &place, &records)).await;
        let made = made.map_err(|e| SinkError::new(ErrorKind::Internal, format!("make files: {e}")))??;
        let in_files: usize = made.iter().map(|file| file.rows).sum();
        if in_files != rows {
            let text = format!("{rows} records became {in_files} rows; nothing was committed");
            return Err(SinkError::new(ErrorKind::Internal, text));
        }
        for file in made {
            files.put(file).await?;
        }
        written += rows as u64;
    }
    cluster.commit(&next).await?;
    Ok((written, next))
}

/// Where each partition goes on. Nothing is deleted unless every partition can go on.
async fn recover(
    settings: &LakeSettings,
    files: &Files,
    stats: &SinkStats,
    cluster: &Cluster,
    topics: &[Arc<str>],
    places: &[Place],
) -> Result<HashMap<Place, i64>, SinkError> {
    let extents = cluster.extents(places).await?;
    let committed = cluster.committed(places).await?;
    let mut listed = HashMap::new();
    for topic in topics {
        listed.insert(Arc::clone(topic), files.list(topic).await?);
    }
    let mut starts = HashMap::new();
    let mut begun = HashMap::new();
    let mut to_delete = Vec::new();
    for place in places {
        let (Some(extent), Some(listed)) = (extents.get(place), listed.get(&place.topic)) else {
            let text = format!("topic `{}` partition {} has no end", place.topic, place.partition);
            return Err(SinkError::new(ErrorKind::Unavailable, text));
        };
        let own: Vec<FileName> = listed.keys().filter(|name| name.partition == place.partition).cloned().collect();
        let batch_rows_max = settings.limits.rows_max;
        let facts = Facts { committed: committed.get(place).copied(), extent: *extent, files: &own, batch_rows_max };
        match decide(&facts) {
            Recovery::Begin { at } => {
                begun.insert(place.clone(), at);
                starts.insert(place.clone(), at);
            }
            Recovery::Resume { at, left_over, missed } => {
                if missed > 0 {
                    let Place { topic, partition } = place;
                    tracing::warn!(
                        topic = &**topic,
                        partition,
                        missed,
                        "records were deleted before they were archived"
                    );
                    stats.missed(missed.unsigned_abs());
                }
                to_delete.extend(left_over.iter().filter_map(|name| listed.get(name)).flatten().cloned());
                starts.insert(place.clone(), at);
            }
            Recovery::Refuse(why) => {
                let text =
                    format!("topic `{}` partition {} of group {LAKE_GROUP}: {why}", place.topic, place.partition);
                return Err(SinkError::new(ErrorKind::Invalid, text));
            }
        }
    }
    for path in &to_delete {
        files.delete(path).await?;
    }
    let mut staged = 0;
    for topic in topics {
        staged += files.delete_staged(topic)?;
    }
    if !to_delete.is_empty() || staged > 0 {
        tracing::info!(files = to_delete.len(), staged, "deleted what an interrupted batch left; it is read again");
    }
    // Before the first file: from now on a missing offset means that it was lost.
    cluster.commit(&begun).await?;
    Ok(starts)
}
