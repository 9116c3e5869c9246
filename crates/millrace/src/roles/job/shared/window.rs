//! What a topic's reader keeps for the jobs that read it, and how far each of them has come. No I/O, no waiting.
//!
//! ```text
//!   dropped │ kept: at least KEPT_BYTES, for jobs that come            │ not read yet
//!  ─────────┼──────────────●──────────────────●────────────────────────┼──────────────▶ offsets
//!           │           job b              job a                       │
//!         start                                                       end
//! ```
//!
//! A job that is behind the start reads for itself until it is not. One that has only just come holds the start back for a
//! moment, if it is near; one that does not move while others wait is let go, and reads for itself.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::chunk::Chunk;

/// Most bytes of records, decoded ones with them, that wait for the slowest job.
pub(super) const WAITING_BYTES_MAX: usize = 24 << 20;
/// Bytes that all jobs have taken and that are kept for one that is a little behind.
const KEPT_BYTES: usize = 4 << 20;
/// How long a job that has come holds the others back, and how many records it may be behind to do so.
const COMING: Duration = Duration::from_secs(2);
const COMING_RECORDS_MAX: i64 = 200_000;
/// A job that takes nothing for so long, while others wait for it, is let go.
pub(super) const STILL: Duration = Duration::from_secs(5);

/// How far a job has come: the number of the next chunk, and the next record in it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
struct At {
    chunk: u64,
    record: usize,
}

/// A job that reads the topic.
struct Cursor {
    /// `None`: it reads for itself.
    at: Option<At>,
    /// Since when it could have taken something, or has been coming.
    since: Instant,
    /// It is waited for until it has come.
    near: bool,
}

/// Consecutive records of one partition.
pub(crate) struct Slice {
    pub(crate) chunk: Arc<Chunk>,
    pub(crate) from: usize,
    pub(crate) to: usize,
}

impl Slice {
    /// How many records; there is one at least.
    pub(crate) fn len(&self) -> usize {
        self.to - self.from
    }

    /// Bytes of their keys and values.
    pub(crate) fn bytes(&self) -> usize {
        self.chunk.bytes_of(self.from..self.to)
    }
}

/// The window over a topic.
pub(super) struct Window {
    chunks: VecDeque<Arc<Chunk>>,
    /// Number of the first chunk.
    first: u64,
    bytes: usize,
    /// First offset of the window in each partition.
    starts: BTreeMap<i32, i64>,
    /// Where the client stands: behind the last record, and the markers of transactions.
    positions: BTreeMap<i32, i64>,
    cursors: BTreeMap<u64, Cursor>,
}

impl Window {
    /// An empty window before these offsets.
    pub(super) fn new(starts: BTreeMap<i32, i64>) -> Self {
        let positions = starts.clone();
        Window { chunks: VecDeque::new(), first: 0, bytes: 0, starts, positions, cursors: BTreeMap::new() }
    }

    fn end(&self) -> At {
        At { chunk: self.first + self.chunks.len() as u64, record: 0 }
    }

    /// A job comes; it reads for itself until it [joins](Self::join).
    pub(super) fn come(&mut self, id: u64, next: &BTreeMap<i32, i64>, now: Instant) {
        let behind: i64 =
            next.iter().map(|(p, next)| self.starts.get(p).map_or(0, |start| (start - next).max(0))).sum();
        self.cursors.insert(id, Cursor { at: None, since: now, near: behind <= COMING_RECORDS_MAX });
    }

    pub(super) fn leave(&mut self, id: u64) {
        self.cursors.remove(&id);
    }

    pub(super) fn is_alone(&self) -> bool {
        self.cursors.is_empty()
    }

    /// Has this job joined, and not been let go since?
    pub(super) fn has_joined(&self, id: u64) -> bool {
        self.cursors.get(&id).is_some_and(|cursor| cursor.at.is_some())
    }

    /// Joins a job whose next offsets are these, if the window reaches back to them.
    pub(super) fn join(&mut self, id: u64, next: &BTreeMap<i32, i64>, now: Instant) -> bool {
        let reaches = |(partition, next): (&i32, &i64)| self.starts.get(partition).is_some_and(|start| start <= next);
        if !next.iter().all(reaches) {
            return false;
        }
        let at = Some(At { chunk: self.first, record: 0 });
        self.cursors.insert(id, Cursor { at, since: now, near: false });
        true
    }

    /// Adds records, and where the client stands behind them.
    pub(super) fn add(&mut self, chunks: Vec<Arc<Chunk>>, positions: Option<BTreeMap<i32, i64>>, now: Instant) {
        let end = self.end();
        for cursor in self.cursors.values_mut().filter(|cursor| cursor.at == Some(end)) {
            cursor.since = now;
        }
        for chunk in chunks.into_iter().filter(|chunk| chunk.len() > 0) {
            self.bytes += chunk.memory();
            self.chunks.push_back(chunk);
        }
        self.positions.extend(positions.into_iter().flatten());
    }

    /// Is there no room for more? Drops what nobody needs first, and lets jobs go that stand still.
    pub(super) fn is_full(&mut self, now: Instant) -> bool {
        self.drop_taken(now);
        if self.bytes < WAITING_BYTES_MAX {
            return false;
        }
        let first = self.first;
        for cursor in self.cursors.values_mut() {
            if cursor.at.is_some_and(|at| at.chunk == first) && now.duration_since(cursor.since) > STILL {
                (cursor.at, cursor.near) = (None, false);
            }
        }
        self.drop_taken(now);
        self.bytes >= WAITING_BYTES_MAX
    }

    fn drop_taken(&mut self, now: Instant) {
        let comes = |cursor: &Cursor| cursor.at.is_none() && cursor.near && now.duration_since(cursor.since) < COMING;
        if self.cursors.values().any(comes) {
            return;
        }
        let slowest = self.cursors.values().filter_map(|cursor| cursor.at).min().unwrap_or_else(|| self.end());
        while self.bytes > KEPT_BYTES && self.first < slowest.chunk {
            let Some(chunk) = self.chunks.pop_front() else { return };
            self.first += 1;
            self.bytes -= chunk.memory();
            self.starts.insert(chunk.partition(), chunk.end());
        }
    }

    /// What a job takes next, of one chunk: records from these offsets on, at most so many and so many bytes (one record at
    /// least).
    pub(super) fn take(
        &mut self,
        id: u64,
        next: &BTreeMap<i32, i64>,
        records_max: usize,
        bytes_max: usize,
        now: Instant,
    ) -> Option<Slice> {
        let cursor = self.cursors.get_mut(&id)?;
        let at = cursor.at.as_mut()?;
        loop {
            let chunk = self.chunks.get((at.chunk - self.first) as usize)?;
            let from = at.record.max(chunk.first_from(next.get(&chunk.partition()).copied().unwrap_or(0)));
            let mut to = chunk.len().min(from.saturating_add(records_max));
            if chunk.bytes_of(from..to.max(from)) > bytes_max {
                let mut bytes = 0;
                let fits = |record: &usize| {
                    bytes += chunk.bytes_of(*record..record + 1);
                    bytes <= bytes_max
                };
                to = (from + 1).max((from..to).take_while(fits).last().map_or(0, |last| last + 1));
            }
            *at = if to >= chunk.len() { At { chunk: at.chunk + 1, record: 0 } } else { At { record: to, ..*at } };
            cursor.since = now;
            if from < to {
                return Some(Slice { chunk: Arc::clone(chunk), from, to });
            }
        }
    }

    /// Where the client stands, for a job that has taken everything.
    pub(super) fn positions(&self, id: u64) -> Option<&BTreeMap<i32, i64>> {
        let end = self.end();
        self.cursors.get(&id).filter(|cursor| cursor.at == Some(end)).map(|_| &self.positions)
    }
}
