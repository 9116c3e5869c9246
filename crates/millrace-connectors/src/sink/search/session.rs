//! One run of the search sink, from its templates to an error, a change of the topics, or the end it was asked for.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use millrace_model::dead_letter::{DeadLetter, MalformedCode};
use millrace_model::retry::{RetryDecision, RetryPolicy, after_failure};
use millrace_model::{Classified, ErrorKind, Timestamp};
use rdkafka::Message;
use rdkafka::message::BorrowedMessage;
use serde_json::Value;

use super::bulk::{Document, Fate, body, fates};
use super::index::{Index, Target};
use super::retention::delete_past;
use super::server::Server;
use super::settings::{
    BULK_BYTES_MAX, BULK_DOCUMENTS_MAX, BULK_WAIT_MS_MAX, RETENTION_MS, SEARCH_GROUP, SearchSinkSettings,
};
use crate::http::{Method, kind_of_status};
use crate::kafka::producer::{Outgoing, Producer};
use crate::kafka::reader::{Reader, is_out_of_range};
use crate::kafka::{Cluster, Extent, Place};
use crate::retry::{jitter, now};
use crate::shutdown::{Ending, Shutdown};
use crate::sink::watch::Due;
use crate::sink::{Ended, SinkError, SinkStats, Watch, start};

/// `job` of this sink's dead letters.
const JOB: &str = "search";
/// `code` of a document the server refused.
const REFUSED: &str = "search_refused";
/// Longest wait for the broker to take a dead letter.
const LETTER_MAX: Duration = Duration::from_secs(10);

/// A record that was read.
struct Taken {
    place: Place,
    offset: i64,
    time: Option<Timestamp>,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    /// Its document, or code and reason why it is none.
    document: Result<Document, (String, String)>,
}

pub(super) struct Session<'a> {
    settings: &'a SearchSinkSettings,
    server: &'a Server,
    indices: HashMap<&'a str, &'a Index>,
    stats: &'a SinkStats,
    reader: Reader,
    cluster: Cluster,
    watch: Watch,
    /// Next offset of what is in the indices.
    done: HashMap<Place, i64>,
    letters: Option<Arc<Producer>>,
    retention_due: Due,
}

impl<'a> Session<'a> {
    /// Puts the templates, finds where to go on and begins to read there.
    pub(super) async fn open(
        settings: &'a SearchSinkSettings,
        server: &'a Server,
        indices: &'a [Arc<Index>],
        stats: &'a SinkStats,
    ) -> Result<Self, SinkError> {
        for index in indices {
            let path = format!("/_index_template/{}", index.name());
            let answer = server.ask(Method::PUT, &path, Some(&index.template(settings.search.replicas))).await?;
            server.succeeded("the template of an index", &answer)?;
        }
        let topics: Vec<Arc<str>> = indices.iter().map(|index| Arc::from(index.table.as_str())).collect();
        let mut reader = Reader::new(&settings.client, SEARCH_GROUP)?;
        let cluster = Cluster::new(&settings.client, SEARCH_GROUP)?;
        let places = cluster.places(&topics).await?;
        let extents = cluster.extents(&places).await?;
        let done = cluster.committed(&places).await?;
        let mut starts = HashMap::new();
        for place in &places {
            let next = done.get(place).copied();
            let remedy =
                "restore its data, or delete its indices and consumer group millrace-search, to write them anew";
            starts.insert(place.clone(), start(place, next, extents.get(place).copied(), stats, remedy)?);
        }
        reader.assign(starts)?;
        let watch = Watch::new(cluster.clone(), topics, places, stats.clone());
        let indices = indices.iter().map(|index| (index.table.as_str(), index.as_ref())).collect();
        let retention_due = Due::every(RETENTION_MS, true);
        Ok(Session { settings, server, indices, stats, reader, cluster, watch, done, letters: None, retention_due })
    }

    /// Reads, gathers and writes until the end it is asked for.
    pub(super) async fn run(&mut self, shutdown: &mut Shutdown) -> Result<Ended, SinkError> {
        let mut targets: Option<HashMap<Place, Extent>> = None;
        let (mut taken, mut bytes, mut first): (Vec<Taken>, usize, Option<Instant>) = (Vec::new(), 0, None);
        let wait = Duration::from_millis(BULK_WAIT_MS_MAX);
        loop {
            match shutdown.asked() {
                Ending::Stop => {
                    self.commit().await;
                    return Ok(Ended::Asked);
                }
                Ending::Drain if targets.is_none() => {
                    targets = Some(self.cluster.extents(self.watch.places()).await?);
                }
                Ending::Drain | Ending::None => {}
            }
            let mut reader_empty = false;
            while taken.len() < BULK_DOCUMENTS_MAX && bytes < BULK_BYTES_MAX && !reader_empty {
                match self.reader.next() {
                    Ok(Some(message)) => {
                        bytes += message.payload_len();
                        first.get_or_insert_with(Instant::now);
                        taken.push(self.take(&message));
                    }
                    Ok(None) => reader_empty = true,
                    Err(error) if is_out_of_range(&error) => return Ok(Ended::Changed),
                    Err(error) => return Err(error.into()),
                }
            }
            let old = first.is_some_and(|first| first.elapsed() >= wait || targets.is_some());
            if !taken.is_empty() && (!reader_empty || old) {
                if !self.write(&taken, shutdown).await? {
                    return Ok(Ended::Asked);
                }
                self.stats.read(taken.len() as u64);
                taken.clear();
                (bytes, first) = (0, None);
            }
            if taken.is_empty() && targets.as_ref().is_some_and(|targets| self.has_reached(targets)) {
                self.commit().await;
                return Ok(Ended::Asked);
            }
            if self.look_around(taken.is_empty()).await {
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

    fn take(&self, message: &BorrowedMessage<'_>) -> Taken {
        let (partition, offset) = (message.partition(), message.offset());
        let malformed = |code: MalformedCode, reason: &str| (code.name().to_owned(), reason.to_owned());
        let row = match message.payload().map(serde_json::from_slice) {
            None => Err(malformed(MalformedCode::Empty, "the record has no value")),
            Some(Ok(Value::Object(row))) => Ok(row),
            Some(Ok(_)) => Err(malformed(MalformedCode::NotAnObject, "the value is no JSON object")),
            Some(Err(error)) => Err(malformed(MalformedCode::NotJson, &error.to_string())),
        };
        let document = row.and_then(|row| {
            let index = self.indices.get(message.topic());
            let index = index.ok_or_else(|| malformed(MalformedCode::Empty, "its topic has no index"))?;
            let target = index.target(&row, partition, offset);
            let target = target.map_err(|why| (MalformedCode::BadTime.name().to_owned(), why))?;
            Ok(Document { target, version: offset + 1, row })
        });
        Taken {
            place: Place::new(message.topic(), partition),
            offset,
            time: message.timestamp().to_millis().map(Timestamp::from_millis),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            document,
        }
    }

    /// Writes until every document is in an index or in `dead_letters`. `false`: it was asked to stop before.
    async fn write(&mut self, taken: &[Taken], shutdown: &mut Shutdown) -> Result<bool, SinkError> {
        let policy = RetryPolicy::default();
        let mut refused: Vec<(&Taken, String, String)> = Vec::new();
        for one in taken {
            if let Err((code, reason)) = &one.document {
                refused.push((one, code.clone(), reason.clone()));
            }
        }
        let (mut versions, mut open) = last_versions(taken);
        let (mut failures, mut at_once) = (0, open.len().max(1));
        while !open.is_empty() {
            let now_tried = at_once.min(open.len());
            let (again, asked) = match self.bulk(&open[..now_tried]).await {
                Ok(Bulk::Fates(fates)) => {
                    let mut again = Vec::new();
                    let mut last = None;
                    for (one, fate) in open.drain(..now_tried).zip(fates) {
                        match fate {
                            Fate::Taken | Fate::Older => {}
                            Fate::Again(why) => {
                                last = Some(why);
                                again.push(one);
                            }
                            Fate::Refused(why) => {
                                refused.push((one, REFUSED.into(), why));
                                again.extend(versions.before(one));
                            }
                        }
                    }
                    again.append(&mut open);
                    open = again;
                    (last, None)
                }
                Ok(Bulk::TooLarge) if now_tried == 1 => {
                    let one = open.remove(0);
                    refused.push((
                        one,
                        REFUSED.into(),
                        "the server takes no request as large as this one document".into(),
                    ));
                    open.extend(versions.before(one));
                    (None, None)
                }
                Ok(Bulk::TooLarge) => {
                    at_once = now_tried / 2;
                    (None, None)
                }
                Ok(Bulk::Later(why, asked)) => {
                    // It may be too much at once for what the server may hold: then the same again would never be taken.
                    at_once = (now_tried / 2).max(1);
                    (Some(why), asked)
                }
                Err(error) if error.kind() == ErrorKind::Unavailable => (Some(error.to_string()), None),
                Err(error) => return Err(error),
            };
            let Some(why) = again else {
                failures = 0;
                continue;
            };
            failures += 1;
            let RetryDecision::After(pause) = after_failure(&policy, ErrorKind::Unavailable, failures, jitter()) else {
                return Err(SinkError::new(ErrorKind::Internal, why));
            };
            let pause = pause.max(asked.unwrap_or_default());
            tracing::warn!(
                error = why,
                documents = open.len(),
                wait_ms = pause.as_millis() as u64,
                "search sink waits"
            );
            self.stats.waits_for(&why);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = shutdown.at_least(Ending::Stop) => return Ok(false),
            }
        }
        self.set_aside(&refused).await?;
        for one in taken {
            self.done.insert(one.place.clone(), one.offset + 1);
        }
        self.stats.wrote((taken.len() - refused.len()) as u64, now());
        Ok(true)
    }

    async fn bulk(&self, open: &[&Taken]) -> Result<Bulk, SinkError> {
        let documents: Vec<&Document> = open.iter().filter_map(|one| one.document.as_ref().ok()).collect();
        let body = body(&documents).map_err(|error| SinkError::new(ErrorKind::Internal, error.to_string()))?;
        let answer = self.server.bulk(body).await?;
        match answer.status {
            413 => return Ok(Bulk::TooLarge),
            status if kind_of_status(status) == Some(ErrorKind::Unavailable) => {
                return Ok(Bulk::Later(self.server.said("a bulk request", &answer), answer.retry_after));
            }
            _ => self.server.succeeded("a bulk request", &answer)?,
        }
        let fates = fates(&answer.body, documents.len());
        Ok(Bulk::Fates(fates.map_err(|why| SinkError::new(ErrorKind::Unavailable, why))?))
    }

    /// Records that are no documents, complete, to `dead_letters`; acknowledged before the sink goes on.
    async fn set_aside(&mut self, refused: &[(&Taken, String, String)]) -> Result<(), SinkError> {
        if refused.is_empty() {
            return Ok(());
        }
        let mut texts = Vec::with_capacity(refused.len());
        for (taken, code, reason) in refused {
            let place = &taken.place;
            tracing::warn!(topic = &*place.topic, place.partition, taken.offset, reason, "document set aside");
            let letter = letter(taken, code, reason);
            let text = serde_json::to_vec(&letter).map_err(|e| SinkError::new(ErrorKind::Internal, e.to_string()))?;
            texts.push((letter.dead_letter_id, text));
            self.stats.set_aside();
        }
        let producer = match &self.letters {
            Some(producer) => Arc::clone(producer),
            None => Arc::clone(self.letters.insert(Arc::new(Producer::new(&self.settings.client, None)?))),
        };
        let sent = tokio::task::spawn_blocking(move || {
            for (id, text) in &texts {
                let (key, value) = (Some(id.as_bytes()), Some(text.as_slice()));
                producer
                    .send(Outgoing { topic: "dead_letters", partition: None, key, value, time: None }, LETTER_MAX)?;
            }
            producer.flush(LETTER_MAX)
        });
        let sent = sent.await.map_err(|error| SinkError::new(ErrorKind::Internal, error.to_string()))?;
        if sent.is_err() {
            // A producer that failed once reports that failure for ever.
            self.letters = None;
        }
        sent.map_err(SinkError::from)
    }

    fn has_reached(&self, targets: &HashMap<Place, Extent>) -> bool {
        let positions = self.reader.positions();
        targets.iter().all(|(place, extent)| positions.get(place).is_some_and(|at| *at >= extent.end))
    }

    /// Lag, group, partitions, retention. `true`: the topics have other partitions now.
    async fn look_around(&mut self, all_written: bool) -> bool {
        let done = || if all_written { self.reader.positions() } else { self.done.clone() };
        if self.watch.changed(&done).await {
            return true;
        }
        self.watch.publish(&done);
        if self.retention_due.passed() {
            match delete_past(self.server, self.indices.values().copied(), now()).await {
                Ok(false) => {}
                Ok(true) => self.retention_due = Due::every(RETENTION_MS, true),
                Err(error) => tracing::warn!(%error, "what is past its retention is not deleted"),
            }
        }
        false
    }

    /// The group's offsets say where the next start goes on; when they cannot be kept now, documents are written again.
    async fn commit(&self) {
        if let Err(error) = self.cluster.commit(&self.done).await {
            tracing::warn!(%error, "offsets of the search sink are not kept; the next start writes some documents again");
        }
    }
}

/// Versions of documents that a newer one of the same request replaces: nobody would see them.
struct Versions<'a>(HashMap<&'a Target, Vec<&'a Taken>>);

impl<'a> Versions<'a> {
    /// What is in the index when this one is refused.
    fn before(&mut self, refused: &Taken) -> Option<&'a Taken> {
        self.0.get_mut(&refused.document.as_ref().ok()?.target)?.pop()
    }
}

/// The last version of each document, in the order of the records, and those it replaces, the newest last.
fn last_versions(taken: &[Taken]) -> (Versions<'_>, Vec<&Taken>) {
    let mut versions: HashMap<&Target, Vec<&Taken>> = HashMap::new();
    for one in taken {
        if let Ok(document) = &one.document {
            versions.entry(&document.target).or_default().push(one);
        }
    }
    let mut last: Vec<&Taken> = versions.values_mut().filter_map(Vec::pop).collect();
    last.sort_unstable_by(|a, b| (&a.place, a.offset).cmp(&(&b.place, b.offset)));
    (Versions(versions), last)
}

/// What a `_bulk` came to.
enum Bulk {
    Fates(Vec<Fate>),
    TooLarge,
    Later(String, Option<Duration>),
}

fn letter(taken: &Taken, code: &str, reason: &str) -> DeadLetter {
    let Place { topic, partition } = &taken.place;
    DeadLetter {
        // With the sink's name: the store sink may have refused the same record.
        dead_letter_id: DeadLetter::id(topic, *partition, taken.offset, Some(JOB)),
        kind: "sink".into(),
        code: code.into(),
        reason: reason.into(),
        field: None,
        topic: topic.to_string(),
        partition: *partition,
        offset: taken.offset,
        record_time: taken.time,
        event_time: None,
        watermark: None,
        table: Some(topic.to_string()),
        job: JOB.into(),
        first_seen: now(),
        key_base64: taken.key.as_ref().map(|key| BASE64.encode(key)),
        value_base64: taken.value.as_ref().map(|value| BASE64.encode(value)),
        headers: None,
    }
}
