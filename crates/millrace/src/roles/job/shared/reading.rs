//! The thread of a topic's reader: takes records from the client, decodes them, puts them into the window.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use millrace_connectors::kafka::rdkafka::Message;
use millrace_connectors::kafka::rdkafka::message::BorrowedMessage;
use millrace_connectors::kafka::{ClientSettings, KafkaError};
use millrace_engine::JobSettings;
use millrace_engine::job::TopicDecoder;
use millrace_model::ErrorKind;

use super::super::input::{EpochBounds, Input, Place};
use super::super::output::received;
use super::chunk::Chunk;
use super::{Reader, State};

/// Most records, and bytes, that are decoded before the jobs see the first of them.
const AT_ONCE: EpochBounds = EpochBounds { records_max: 4_096, bytes_max: 2 << 20 };
/// Longest wait for records before it is looked whether anybody still wants them.
const LOOK: Duration = Duration::from_millis(100);
/// A reader without jobs ends after this time: a job that starts again finds it.
const ALONE_MAX: Duration = Duration::from_secs(1);

/// Starts to read at these offsets.
///
/// # Errors
/// The client's settings; the system gives no more threads.
pub(super) fn start(
    reader: &Arc<Reader>,
    next: &BTreeMap<i32, i64>,
    settings: &JobSettings,
    kafka: &ClientSettings,
    group: &str,
) -> Result<(), KafkaError> {
    let topic = reader.wanted.topic.clone();
    let mut input = Input::new(kafka, group, &[(topic.clone(), topic.clone())])?;
    input.assign(next.iter().map(|(partition, offset)| ((topic.clone(), *partition), *offset)).collect())?;
    let decoder = TopicDecoder::new(&reader.wanted.contract, &reader.wanted.columns, settings);
    let reader = Arc::clone(reader);
    std::thread::Builder::new()
        .name(format!("read-{topic}"))
        .spawn(move || {
            let read = AssertUnwindSafe(|| read(&reader, &mut input, decoder));
            // Jobs must not wait for a reader that is no more.
            let panicked = |_| Err(KafkaError::new(ErrorKind::Internal, "the reader panicked; the log says where"));
            reader.end(catch_unwind(read).unwrap_or_else(panicked).err());
        })
        .map_err(|error| KafkaError::new(ErrorKind::Unavailable, format!("start a thread: {error}")))?;
    Ok(())
}

/// Reads until nobody wants anything any more.
fn read(reader: &Reader, input: &mut Input, mut decoder: TopicDecoder) -> Result<(), KafkaError> {
    let mut alone: Option<Instant> = None;
    loop {
        if !wait_for_room(reader, &mut alone) {
            return Ok(());
        }
        let now = Instant::now();
        let messages = input.take(now + LOOK, now, AT_ONCE)?;
        let mut last: BTreeMap<i32, i64> = BTreeMap::new();
        let chunk = |of_place: &[BorrowedMessage<'_>]| {
            last.extend(of_place.last().map(|message| (message.partition(), message.offset())));
            Arc::new(Chunk::of(of_place.iter().map(received), &mut decoder))
        };
        let chunks: Vec<Arc<Chunk>> = messages.chunk_by(|a, b| a.partition() == b.partition()).map(chunk).collect();
        let topic = &reader.wanted.topic;
        let noted: Vec<(Place, i64)> =
            last.into_iter().map(|(partition, offset)| ((topic.clone(), partition), offset)).collect();
        drop(messages);
        input.note(&noted);
        let positions = input.positions().into_iter().map(|((_, partition), next)| (partition, next)).collect();
        let mut state = reader.state();
        let any = !chunks.is_empty();
        state.window.add(chunks, Some(positions), Instant::now());
        if any {
            state.bells.values().for_each(|bell| bell.ring());
        }
    }
}

/// Waits while the window is full; false when it is over, for no job is left.
fn wait_for_room(reader: &Reader, alone: &mut Option<Instant>) -> bool {
    let mut state = reader.state();
    loop {
        let now = Instant::now();
        if is_over(&mut state, alone, now) {
            return false;
        }
        if !state.window.is_full(now) {
            return true;
        }
        state = reader.taken.wait_timeout(state, LOOK).unwrap_or_else(PoisonError::into_inner).0;
    }
}

fn is_over(state: &mut State, alone: &mut Option<Instant>, now: Instant) -> bool {
    if !state.window.is_alone() {
        *alone = None;
        return false;
    }
    let since = *alone.get_or_insert(now);
    state.over = now.duration_since(since) > ALONE_MAX;
    state.over
}
