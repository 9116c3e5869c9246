//! Where a backfill begins: what lake, topics, committed offsets and state say, and what is read from where.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace_connectors::kafka::rdkafka::{Message, Offset};
use millrace_connectors::kafka::{self, ClientSettings};
use millrace_connectors::lake::{LakePart, LakePartition, LakeRange, LakeReader, LakeSpan};
use millrace_engine::Job;
use millrace_engine::state::{EpochEntry, StateDir};
use millrace_model::recovery::{RecoveryDecision, decide};

use super::super::input::{Committed, Input, Place};
use super::super::output::Output;
use super::super::{JobError, JobRunSettings, recovery, topic_of};
use super::BackfillSettings;
use super::decide::{PlaceFacts, PlaceRead, decide as decide_place};
use super::reading::ReadLane;
use super::since::Since;
use crate::history::records::{Columns, PastPlace};
use crate::history::{HOLE_OFFSETS_MIN, LakeFeed};

/// What is read from where.
pub(super) struct Begin {
    /// What is read of each partition the lake has.
    pub(super) reads: BTreeMap<Place, PlaceRead>,
    /// Partitions that are read from the lake, with their columns of times.
    pub(super) lanes: Vec<ReadLane>,
    /// What of the past is read.
    pub(super) span: LakeSpan,
    /// Where the topics ended.
    pub(super) ends: BTreeMap<Place, i64>,
    /// Where the job has come to in every partition.
    pub(super) positions: BTreeMap<Place, i64>,
    /// Topics that only Kafka has: results, of this job or another.
    pub(super) from_kafka: BTreeSet<String>,
    /// Epochs since the last snapshot, to be run again.
    pub(super) entries: Vec<EpochEntry>,
    /// It goes on after this epoch; `None`: from the beginning.
    pub(super) resumed: Option<u64>,
}

struct Topic {
    parts: BTreeMap<i32, LakePart>,
    archived: BTreeMap<i32, i64>,
}

/// Longest wait for the first record after the lake's, of all partitions.
const MORE_WAIT_MAX: Duration = Duration::from_secs(10);

/// Finds it, and brings the job's state there.
///
/// # Errors
/// `Refused` with what to do; Kafka, the lake, the state.
pub(super) fn begin(
    job: &mut Job,
    input: &mut Input,
    output: &Output,
    state: &mut StateDir,
    engine: &JobRunSettings,
    settings: &BackfillSettings,
    columns: &Columns,
) -> Result<Begin, JobError> {
    let places = input.places()?;
    for (topic, partition) in &places {
        let source = input.source(topic).to_owned();
        job.set_partitions(&source, [*partition]);
    }
    let mut committed = input.committed(&places)?;
    let (entries, resumed) = recover(job, state, &mut committed, settings)?;
    let lake = Arc::new(LakeReader::open(&settings.lake)?);
    let own: BTreeSet<String> = job.results().map(|contract| contract.name.clone()).collect();
    let topics: BTreeSet<String> = places.iter().map(|(topic, _)| topic.clone()).filter(|t| !own.contains(t)).collect();
    let note = Since::of(&engine.state_root, job.name());
    let since = if resumed.is_some() { note.go_on(settings.since)? } else { settings.since };
    let span = LakeSpan { since, until: None };
    let known = engine.runtime.block_on(look(&lake, &engine.kafka, &places, &topics, span))?;
    let (lows, ends) = (input.offsets(&places, Offset::Beginning)?, input.offsets(&places, Offset::End)?);
    let of = |offsets: &BTreeMap<Place, i64>, place: &Place| offsets.get(place).copied().unwrap_or(0);
    let names: BTreeMap<String, String> =
        job.sources().map(|(source, origin)| (topic_of(source, origin).to_owned(), source.to_owned())).collect();
    let mut begin = Begin {
        reads: BTreeMap::new(),
        lanes: Vec::new(),
        span,
        ends: ends.clone(),
        positions: BTreeMap::new(),
        from_kafka: BTreeSet::new(),
        entries,
        resumed,
    };
    for place in &places {
        let (topic, partition) = place;
        let committed = committed.get(place).map(|committed| committed.offset);
        let (low, end) = (of(&lows, place), of(&ends, place));
        let Some(known) = known.get(topic) else {
            let start = if own.contains(topic) { end } else { low };
            if !own.contains(topic) && committed.unwrap_or(0) < low && !settings.allow_gaps {
                return Err(JobError::Refused(format!(
                    "the lake has no `{topic}`, and the topic's partition {partition} begins at offset {low} by now: what \
                     was before is gone. Backfill a file that makes `{topic}` itself, or pass over what is missing with \
                     --allow-gaps"
                )));
            }
            begin.from_kafka.insert(topic.clone());
            begin.positions.insert(place.clone(), committed.unwrap_or(start).max(low));
            continue;
        };
        let part = known.parts.get(partition).cloned().unwrap_or_default();
        let facts =
            PlaceFacts { first: part.first(), archived: known.archived.get(partition).copied(), low, end, committed };
        let least_hole = if since.is_some() || settings.allow_gaps { i64::MAX } else { HOLE_OFFSETS_MIN };
        let holes = |from, end| part.holes(from, end, least_hole);
        let read = decide_place(&facts, holes, settings.allow_gaps).map_err(|why| {
            JobError::Refused(format!(
                "topic `{topic}` partition {partition}: {why}. Restore what is missing, or pass over it with --allow-gaps"
            ))
        })?;
        begin.positions.insert(place.clone(), read.from);
        begin.reads.insert(place.clone(), read);
        let recorded = recorded_from(place, &names[topic], &read, &begin.entries);
        let range = LakeRange { from: recorded.unwrap_or(read.from), end: read.end, span, least_hole };
        let (topic, columns) = (Arc::from(topic.as_str()), columns.get(&names[topic]).cloned().unwrap_or_default());
        let partition = LakePartition::new(lake.clone(), topic, *partition, part, &range, columns);
        let at = PastPlace { topic: place.0.clone(), partition: place.1, source: names[&place.0].clone() };
        let feed = LakeFeed { partition, runtime: engine.runtime.clone() };
        begin.lanes.push(ReadLane { at, feed, more: None, has_recorded: recorded.is_some() });
    }
    let more = more(input, &begin)?;
    for lane in &mut begin.lanes {
        lane.more = more.get(&(lane.at.topic.clone(), lane.at.partition)).copied();
    }
    if resumed.is_none() {
        // From here on the job is at its beginning, whatever it was before: the state follows the offsets.
        note.begin(since)?;
        output.begin()?.commit(input.group()?, &begin.positions, 0, None)?;
        state.forget_after(0)?;
    }
    Ok(begin)
}

/// Loads the state the committed offsets belong to; gives the epochs since, and the epoch it goes on after.
fn recover(
    job: &mut Job,
    state: &mut StateDir,
    committed: &mut BTreeMap<Place, Committed>,
    settings: &BackfillSettings,
) -> Result<(Vec<EpochEntry>, Option<u64>), JobError> {
    if settings.recompute {
        committed.clear();
    }
    match decide(&recovery::facts(committed, state.facts())) {
        RecoveryDecision::StartFresh => Ok((Vec::new(), None)),
        RecoveryDecision::Refuse(why) => Err(JobError::Refused(format!("{why}; or say --recompute"))),
        RecoveryDecision::Resume { snapshot, replay_to } => {
            state.forget_after(replay_to)?;
            if let Some(snapshot) = snapshot {
                state.load(job, snapshot)?;
            }
            Ok((state.entries(snapshot.unwrap_or(0), replay_to)?, Some(replay_to)))
        }
    }
}

/// What the lake has of these topics. One that it knows nothing of is left out.
async fn look(
    lake: &LakeReader,
    kafka: &ClientSettings,
    places: &[Place],
    topics: &BTreeSet<String>,
    span: LakeSpan,
) -> Result<BTreeMap<String, Topic>, JobError> {
    let asked: Vec<kafka::Place> = places
        .iter()
        .filter(|(topic, _)| topics.contains(topic))
        .map(|(topic, partition)| kafka::Place::new(topic.as_str(), *partition))
        .collect();
    // Before the files: what is archived by now is among them.
    let archived = lake.archived(kafka, &asked).await?;
    let mut known = BTreeMap::new();
    for topic in topics {
        let of_topic = archived.iter().filter(|(place, _)| *place.topic == **topic);
        let archived: BTreeMap<i32, i64> = of_topic.map(|(place, end)| (place.partition, *end)).collect();
        let parts = lake.parts(topic, span).await?;
        if !parts.is_empty() && archived.is_empty() {
            return Err(JobError::Refused(format!(
                "the lake has files of `{topic}`, but neither its claims nor group {} say up to where it has everything: \
                 let `millrace lake` run once",
                millrace_connectors::lake::LAKE_GROUP
            )));
        }
        if !archived.is_empty() {
            known.insert(topic.clone(), Topic { parts, archived });
        }
    }
    Ok(known)
}

/// When the first records after the lake's arrived, for partitions that have any.
fn more(input: &mut Input, begin: &Begin) -> Result<BTreeMap<Place, i64>, JobError> {
    let open = begin.reads.iter().filter(|(place, read)| begin.ends.get(*place).is_some_and(|end| *end > read.live));
    let starts: BTreeMap<Place, i64> = open.map(|(place, read)| (place.clone(), read.live)).collect();
    let mut found = BTreeMap::new();
    if starts.is_empty() {
        return Ok(found);
    }
    input.assign(starts.clone())?;
    let began = Instant::now();
    while found.len() < starts.len() && began.elapsed() < MORE_WAIT_MAX {
        for message in input.take_any(Duration::from_millis(100))? {
            let time = message.timestamp().to_millis().map_or(i64::MIN, |millis| millis.saturating_mul(1_000));
            found.entry((message.topic().to_owned(), message.partition())).or_insert(time);
        }
        // Behind the last record there may be transaction markers alone.
        let positions = input.positions();
        if starts.keys().all(|place| found.contains_key(place) || positions.get(place) >= begin.ends.get(place)) {
            break;
        }
    }
    input.assign(BTreeMap::new())?;
    Ok(found)
}

/// Offset of a partition from which logged epochs are read again from the lake; `None`: there are none, or they went beyond
/// the lake's end and are read from Kafka.
fn recorded_from(place: &Place, source: &str, read: &PlaceRead, entries: &[EpochEntry]) -> Option<i64> {
    let ranges = entries.iter().flat_map(|entry| &entry.ranges);
    let mut ranges = ranges.filter(|range| range.source == source && range.partition == place.1).peekable();
    let from = ranges.peek().map(|range| range.from)?;
    ranges.all(|range| range.to <= read.end).then_some(from)
}
