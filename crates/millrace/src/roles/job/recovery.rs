//! Brings a job back to where its committed offsets are: snapshot, then the logged epochs since, read again from Kafka.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use millrace_connectors::kafka::KafkaError;
use millrace_connectors::kafka::rdkafka::message::BorrowedMessage;
use millrace_connectors::kafka::rdkafka::{Message, Offset};
use millrace_engine::Job;
use millrace_engine::job::Advance;
use millrace_engine::state::{EpochEntry, StateDir};
use millrace_model::ErrorKind;
use millrace_model::recovery::{RecoveryDecision, RecoveryFacts, decide};

use super::input::{Committed, Input, Place, batches};
use super::output::{Output, epoch_of};
use super::takeover::Given;
use super::{JobError, JobRunSettings, takeover};

/// A record that was there before the crash must come within this time.
const RECORD_WAIT_MAX: Duration = Duration::from_secs(30);
/// Records read at a time while replaying.
const STEP: Duration = Duration::from_millis(100);

/// Restores the job and starts its consumer. What comes back is empty unless the job was Spark's until now.
///
/// # Errors
/// `Internal` when it cannot go on without a person; what Kafka or the disk say.
pub(crate) fn restore(
    input: &mut Input,
    output: &Output,
    state: &mut StateDir,
    job: &mut Job,
    settings: &JobRunSettings,
) -> Result<Given, JobError> {
    let places = input.places()?;
    for (topic, partition) in &places {
        let source = input.source(topic).to_owned();
        job.set_partitions(&source, [*partition]);
    }
    let committed = input.committed(&places)?;
    let facts = facts(&committed, state.facts());
    // Offsets that are not ours may be Spark's.
    if facts.foreign_offsets
        && let Some(found) = takeover::find(settings, input, job)?
    {
        state.forget_after(0)?;
        let (starts, given) = takeover::take_over(found, input, job)?;
        state.snapshot(job)?;
        state.settle()?;
        output.begin()?.commit(input.group()?, &starts, job.epoch(), None)?;
        input.assign(starts)?;
        return Ok(given);
    }
    match decide(&facts) {
        RecoveryDecision::StartFresh => state.forget_after(0)?,
        RecoveryDecision::Resume { snapshot, replay_to } => {
            state.forget_after(replay_to)?;
            if let Some(snapshot) = snapshot {
                state.load(job, snapshot)?;
            }
            let from = snapshot.unwrap_or(0);
            let entries = state.entries(from, replay_to)?;
            refuse_gone(input, &places, job, &entries)?;
            tracing::info!(job = job.name(), snapshot = from, epochs = entries.len(), "restored; replaying epochs");
            replay(input, job, &entries)?;
        }
        RecoveryDecision::Refuse(why) => return Err(JobError::Refused(why)),
    }
    let earliest = input.offsets(&places, Offset::Beginning)?;
    let start = |place: Place| {
        let first = earliest.get(&place).copied().unwrap_or(0);
        let offset = committed.get(&place).map_or(first, |committed| committed.offset);
        (place, offset)
    };
    let starts: BTreeMap<Place, i64> = places.into_iter().map(start).collect();
    for (place, offset) in &starts {
        let first = earliest.get(place).copied().unwrap_or(0);
        if *offset < first {
            let (topic, partition) = place;
            return Err(JobError::Refused(format!(
                "records {offset} to {first} of {topic} partition {partition} were deleted before they were read; if the \
                 lake has them, `millrace backfill` goes on from there; else delete the job's consumer group and its state \
                 directory to recompute from what is left"
            )));
        }
    }
    input.assign(starts)?;
    Ok(Given::default())
}

/// Refuses to wait for records that are gone.
fn refuse_gone(input: &Input, places: &[Place], job: &Job, entries: &[EpochEntry]) -> Result<(), JobError> {
    let earliest = input.offsets(places, Offset::Beginning)?;
    let topics: BTreeMap<&str, &str> =
        job.sources().map(|(source, origin)| (source, super::topic_of(source, origin))).collect();
    for range in entries.iter().flat_map(|entry| &entry.ranges) {
        let topic = topics.get(range.source.as_str()).copied().unwrap_or_default();
        let first = earliest.get(&(topic.to_owned(), range.partition)).copied().unwrap_or(0);
        if range.from < first {
            return Err(JobError::Refused(format!(
                "records {} to {first} of {topic} partition {} were deleted, and the epochs since the last snapshot need \
                 them; `millrace backfill` reads them from the lake",
                range.from, range.partition
            )));
        }
    }
    Ok(())
}

/// Adds what Kafka says to what the disk says.
pub(super) fn facts(committed: &BTreeMap<Place, Committed>, disk: RecoveryFacts) -> RecoveryFacts {
    let epochs: Vec<_> = committed.values().map(|committed| epoch_of(&committed.metadata)).collect();
    let (committed_epoch, committed_mark) = epochs.iter().flatten().max().copied().unzip();
    RecoveryFacts {
        committed_epoch,
        committed_mark: committed_mark.flatten(),
        foreign_offsets: epochs.iter().any(Option::is_none),
        ..disk
    }
}

/// Runs the logged epochs again, without writing.
fn replay(input: &mut Input, job: &mut Job, entries: &[EpochEntry]) -> Result<(), JobError> {
    let topics: BTreeMap<String, String> =
        job.sources().map(|(source, origin)| (source.to_owned(), super::topic_of(source, origin).to_owned())).collect();
    let place = |source: &str, partition: i32| (topics.get(source).cloned().unwrap_or_default(), partition);
    let mut starts: BTreeMap<Place, i64> = BTreeMap::new();
    for range in entries.iter().flat_map(|entry| &entry.ranges) {
        starts.entry(place(&range.source, range.partition)).or_insert(range.from);
    }
    if starts.is_empty() {
        for entry in entries {
            job.run(&[], &Advance::Recorded(entry.watermarks.clone()))?;
        }
        return Ok(());
    }
    input.assign(starts)?;
    let mut waiting: BTreeMap<Place, VecDeque<BorrowedMessage<'_>>> = BTreeMap::new();
    for entry in entries {
        let mut messages = Vec::new();
        for range in &entry.ranges {
            let place = place(&range.source, range.partition);
            fill(input, &mut waiting, &place, range.to)?;
            let buffer = waiting.entry(place).or_default();
            while buffer.front().is_some_and(|message| message.offset() < range.to) {
                messages.extend(buffer.pop_front());
            }
        }
        messages.sort_by(|a, b| (a.topic(), a.partition(), a.offset()).cmp(&(b.topic(), b.partition(), b.offset())));
        job.run(&batches(input, &messages), &Advance::Recorded(entry.watermarks.clone()))?;
    }
    Ok(())
}

/// Reads on until the record before `to` of a partition has come.
pub(super) fn fill<'a>(
    input: &'a Input,
    waiting: &mut BTreeMap<Place, VecDeque<BorrowedMessage<'a>>>,
    place: &Place,
    to: i64,
) -> Result<(), JobError> {
    let start = Instant::now();
    loop {
        let last = waiting.get(place).and_then(|buffer| buffer.back()).map(Message::offset);
        if last.is_some_and(|last| last >= to - 1) {
            return Ok(());
        }
        if start.elapsed() > RECORD_WAIT_MAX {
            let (topic, partition) = place;
            let text = format!("record {} of {topic} partition {partition} does not come", to - 1);
            return Err(KafkaError::new(ErrorKind::Unavailable, text).into());
        }
        for message in input.take_any(STEP)? {
            waiting.entry((message.topic().to_owned(), message.partition())).or_default().push_back(message);
        }
    }
}
