//! The records of an epoch, wherever they come from: by topic, partition and offset.

use millrace_connectors::kafka::rdkafka::Message;
use millrace_connectors::kafka::rdkafka::message::BorrowedMessage;
use millrace_engine::job::{DecodedSpan, SourceBatch};

use super::input::{Input, Place, source_record};
use super::output::{Received, received};
use super::shared::Slice;

/// Consecutive records of one partition.
pub(super) enum Run<'a> {
    /// Of the job's own consumer; there is one at least.
    Own(Vec<BorrowedMessage<'a>>),
    /// Of the reader of this topic.
    Shared(&'a str, Slice),
}

impl Run<'_> {
    fn topic(&self) -> &str {
        match self {
            Run::Own(messages) => messages[0].topic(),
            Run::Shared(topic, _) => topic,
        }
    }

    fn partition(&self) -> i32 {
        match self {
            Run::Own(messages) => messages[0].partition(),
            Run::Shared(_, slice) => slice.chunk.partition(),
        }
    }

    fn len(&self) -> usize {
        match self {
            Run::Own(messages) => messages.len(),
            Run::Shared(_, slice) => slice.len(),
        }
    }

    /// First and last offset.
    fn offsets(&self) -> (i64, i64) {
        match self {
            Run::Own(messages) => (messages[0].offset(), messages[messages.len() - 1].offset()),
            Run::Shared(_, slice) => (slice.chunk.offset(slice.from), slice.chunk.offset(slice.to - 1)),
        }
    }
}

/// An epoch's records. A topic's come all from the job's own consumer or all from a reader.
pub(super) struct Taken<'a>(Vec<Run<'a>>);

impl<'a> Taken<'a> {
    /// Runs of one partition must come in the order of their offsets.
    pub(super) fn new(mut runs: Vec<Run<'a>>) -> Self {
        runs.sort_by(|a, b| (a.topic(), a.partition()).cmp(&(b.topic(), b.partition())));
        Taken(runs)
    }

    /// How many records.
    pub(super) fn len(&self) -> usize {
        self.0.iter().map(Run::len).sum()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn by_topic(&self) -> impl Iterator<Item = &[Run<'a>]> {
        self.0.chunk_by(|a, b| a.topic() == b.topic())
    }

    /// First and last offset taken from each partition.
    pub(super) fn ranges(&self) -> Vec<(Place, i64, i64)> {
        let same = |a: &Run<'_>, b: &Run<'_>| a.partition() == b.partition() && a.topic() == b.topic();
        let range = |runs: &[Run<'_>]| {
            let (first, last) = (runs[0].offsets().0, runs[runs.len() - 1].offsets().1);
            ((runs[0].topic().to_owned(), runs[0].partition()), first, last)
        };
        self.0.chunk_by(same).map(range).collect()
    }

    /// As the engine takes them.
    pub(super) fn batches<'b>(&'b self, input: &'b Input) -> Vec<SourceBatch<'b>> {
        let batch = |runs: &'b [Run<'a>]| {
            let mut batch = SourceBatch::new(input.source(runs[0].topic()), Vec::new());
            for run in runs {
                match run {
                    Run::Own(messages) => batch.records.extend(messages.iter().map(source_record)),
                    Run::Shared(_, Slice { chunk, from, to }) => {
                        batch.records.extend(chunk.source_records(*from..*to));
                        let span = DecodedSpan { records: chunk.decoded(), from: *from, len: to - from };
                        batch.decoded.push(span);
                    }
                }
            }
            batch
        };
        self.by_topic().map(batch).collect()
    }

    /// A record as it was received, by the place of its batch and its place there.
    pub(super) fn received(&self, batch: usize, record: usize) -> Option<Received<'_>> {
        let mut before = 0;
        for run in self.by_topic().nth(batch)? {
            if record < before + run.len() {
                let at = record - before;
                return Some(match run {
                    Run::Own(messages) => received(&messages[at]),
                    Run::Shared(topic, slice) => slice.chunk.received(topic, slice.from + at),
                });
            }
            before += run.len();
        }
        None
    }
}
