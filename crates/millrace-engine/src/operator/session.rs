//! Session windows: events of one key with less than a gap between them.
//!
//! ```text
//!  key a   •──gap──┐      •──•───gap──┐          a row brings its own window [t, t + gap)
//!          └───────┘      └───────────┘          windows that touch become one session
//!  row             •──gap──┐                     may join two sessions into one
//!          └──────────────────────────┘
//!  watermark ──────────────────────────▶         past the end: the row of the session is given, once
//! ```
//!
//! Append mode only, as in Spark: an open session has no identity yet, its start may still move.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field};
use datafusion::common::{DataFusionError, Result};
use datafusion::physical_plan::PhysicalExpr;
use millrace_model::time::parse_interval;

use super::calls::{Grouping, States, evaluate};
use super::keys::{KeyTable, batch_of};
use super::window::{record_number_of, record_numbers, times_of, windows_column};
use super::{Give, NO_WATERMARK, Operator};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Session {
    start: i64,
    end: i64,
    /// Its group in the states.
    slot: u32,
}

/// How long a session waits after an event.
pub(crate) enum Gap {
    /// Always as long; microseconds.
    Constant(i64),
    /// A text for each event, such as `10 minutes`.
    ByRow(Arc<dyn PhysicalExpr>),
}

impl Gap {
    /// The gap of each row, microseconds; 0 for a row that makes no session (no gap, or none above 0).
    fn of(&self, batch: &RecordBatch) -> Result<Vec<i64>> {
        let texts = match self {
            Gap::Constant(gap) => return Ok(vec![*gap; batch.num_rows()]),
            Gap::ByRow(texts) => evaluate(texts, batch)?,
        };
        let texts = arrow_cast::cast(&texts, &DataType::Utf8)?;
        let mut known: Option<(&str, i64)> = None;
        let length = |text: Option<&'_ str>| -> Result<i64> {
            let Some(text) = text else { return Ok(0) };
            parse_interval(text).map_err(|error| DataFusionError::Execution(format!("session_window(): {error}")))
        };
        let mut gaps = Vec::with_capacity(texts.len());
        for text in texts.as_string::<i32>() {
            let gap = match (text, known) {
                (Some(text), Some((last, gap))) if text == last => gap,
                (text, _) => length(text)?,
            };
            known = text.map(|text| (text, gap));
            gaps.push(gap);
        }
        Ok(gaps)
    }
}

/// A session aggregate.
pub(crate) struct SessionOperator {
    time: Arc<dyn PhysicalExpr>,
    /// How long a session waits for its next event.
    gap: Gap,
    row_at: Option<usize>,
    grouping: Grouping,
    keys: KeyTable,
    /// Open sessions by key number, by start.
    sessions: Vec<Vec<Session>>,
    /// States by slot.
    states: States,
    slots: Slots,
    /// Earliest possible end of each session (a session may have grown since), with its key.
    ends: BinaryHeap<Reverse<(i64, u32, u32)>>,
}

impl SessionOperator {
    pub(crate) fn new(time: Arc<dyn PhysicalExpr>, gap: Gap, row_at: Option<usize>, grouping: Grouping) -> Self {
        let states = States::new(&grouping);
        SessionOperator {
            time,
            gap,
            row_at,
            grouping,
            keys: KeyTable::default(),
            sessions: Vec::new(),
            states,
            slots: Slots::default(),
            ends: BinaryHeap::new(),
        }
    }

    /// Puts a row's window among the sessions of its key; gives the slot it belongs to. Sessions it joins are merged into
    /// the first of them; `moved` tells where the rows of the others now belong.
    fn place(&mut self, key: u32, start: i64, end: i64, moved: &mut Vec<(u32, u32)>) -> Result<u32> {
        let open = &mut self.sessions[key as usize];
        // Sessions of a key lie apart, so those that touch the row's window are neighbours.
        let from = open.partition_point(|session| session.end < start);
        let to = from + open[from..].partition_point(|session| session.start <= end);
        if from == to {
            let slot = self.slots.take();
            open.insert(from, Session { start, end, slot });
            self.ends.push(Reverse((end, key, slot)));
            return Ok(slot);
        }
        let slot = open[from].slot;
        let joined = Session { start: start.min(open[from].start), end: end.max(open[to - 1].end), slot };
        self.states.resize(self.slots.given);
        for other in open.drain(from + 1..to) {
            self.states.merge_within(other.slot, slot)?;
            moved.push((other.slot, slot));
        }
        open[from] = joined;
        Ok(slot)
    }
}

/// Numbers for sessions' states, used again when a session has closed.
#[derive(Default)]
struct Slots {
    /// Numbers given out so far, in use or free.
    given: usize,
    free: Vec<u32>,
}

impl Slots {
    fn take(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.given += 1;
            u32::try_from(self.given - 1).expect("groups_max is far below 2^32")
        })
    }

    fn in_use(&self) -> usize {
        self.given - self.free.len()
    }
}

impl SessionOperator {
    /// The result rows of these sessions, each with the number of its key.
    fn rows_of(&self, mut sessions: Vec<(u32, Session)>) -> Result<RecordBatch> {
        // The order of rows must not depend on how keys were numbered: by end, start, key.
        sessions
            .sort_by(|(a, x), (b, y)| (x.end, x.start, self.keys.key(*a)).cmp(&(y.end, y.start, self.keys.key(*b))));
        let slots: Vec<u32> = sessions.iter().map(|(_, session)| session.slot).collect();
        let (starts, ends) = sessions.iter().map(|(_, session)| (session.start, session.end)).unzip();
        let window = windows_column(starts, ends);
        let keys = self.grouping.codec.decode(sessions.iter().map(|(key, _)| self.keys.key(*key)))?;
        self.grouping.output(keys, Some(window), self.states.evaluate(&slots)?, slots.len())
    }
}

impl Operator for SessionOperator {
    fn push(&mut self, batch: &RecordBatch, watermark: i64) -> Result<Vec<i64>> {
        let times = times_of(&self.time, batch)?;
        let gaps = self.gap.of(batch)?;
        let evaluated = self.grouping.evaluate(batch)?;
        let numbers = record_numbers(batch, self.row_at);
        let (mut late, mut rows, mut slots, mut moved) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for row in 0..batch.num_rows() {
            if times.is_null(row) || gaps[row] <= 0 {
                continue;
            }
            let start = times.value(row);
            let end = start + gaps[row];
            if watermark != NO_WATERMARK && end <= watermark {
                late.push(record_number_of(numbers, row));
                continue;
            }
            let key = self.keys.intern(evaluated.keys.key(row).as_ref());
            if self.sessions.len() <= key as usize {
                self.sessions.resize_with(key as usize + 1, Vec::new);
            }
            rows.push(row as u32);
            slots.push(self.place(key, start, end, &mut moved)?);
        }
        if !moved.is_empty() {
            // Rows of this batch that went to a session before it was merged away; merges may chain.
            let moves: std::collections::HashMap<u32, u32> = moved.iter().copied().collect();
            for slot in &mut slots {
                while let Some(to) = moves.get(slot) {
                    *slot = *to;
                }
            }
        }
        self.states.resize(self.slots.given);
        self.states.update(&evaluated, &rows, &slots)?;
        self.slots.free.extend(moved.into_iter().map(|(slot, _)| slot));
        Ok(late)
    }

    fn advance(&mut self, before: i64, after: i64, give: &mut Give<'_>) -> Result<()> {
        if after == NO_WATERMARK || after <= before {
            return Ok(());
        }
        let mut closed: Vec<(u32, Session)> = Vec::new();
        while let Some(Reverse((end, key, slot))) = self.ends.peek().copied() {
            if end > after {
                break;
            }
            self.ends.pop();
            let open = &mut self.sessions[key as usize];
            let Some(at) = open.iter().position(|session| session.slot == slot) else { continue };
            if open[at].end > after {
                self.ends.push(Reverse((open[at].end, key, slot)));
                continue;
            }
            closed.push((key, open.remove(at)));
        }
        if closed.is_empty() {
            return Ok(());
        }
        let rows = self.rows_of(closed.clone())?;
        for (key, session) in closed {
            self.states.clear(session.slot);
            self.slots.free.push(session.slot);
            if self.sessions[key as usize].is_empty() {
                self.keys.remove(key);
            }
        }
        give(rows)
    }

    fn whole(&self) -> Result<Option<RecordBatch>> {
        let keys = self.keys.numbers().into_iter();
        let all = keys.flat_map(|key| self.sessions[key as usize].iter().map(move |session| (key, *session)));
        self.rows_of(all.collect()).map(Some)
    }

    fn groups(&self) -> usize {
        self.slots.in_use()
    }

    fn bytes(&self) -> usize {
        self.keys.bytes() + self.states.bytes() + self.sessions.len() * 48 + self.ends.len() * 16
    }

    fn save(&self) -> Result<RecordBatch> {
        let mut open: Vec<(u32, Session)> = Vec::new();
        for key in self.keys.numbers() {
            open.extend(self.sessions[key as usize].iter().map(|session| (key, *session)));
        }
        let slots: Vec<u32> = open.iter().map(|(_, session)| session.slot).collect();
        let keys = self.grouping.codec.decode(open.iter().map(|(key, _)| self.keys.key(*key)))?;
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from_iter_values(open.iter().map(|(_, session)| session.start))),
            Arc::new(Int64Array::from_iter_values(open.iter().map(|(_, session)| session.end))),
        ];
        let mut fields: Vec<_> = ["start", "end"].map(|name| Arc::new(Field::new(name, DataType::Int64, false))).into();
        fields.extend(self.grouping.saved_key_fields());
        fields.extend(self.states.saved_fields(&self.grouping));
        columns.extend(keys);
        columns.extend(self.states.save(&slots)?);
        batch_of(&fields, columns, slots.len())
    }

    fn load(&mut self, saved: &RecordBatch) -> Result<()> {
        let key_count = self.grouping.key_types.len();
        let (starts, ends) = (saved.column(0).as_primitive::<Int64Type>(), saved.column(1).as_primitive::<Int64Type>());
        let keys = self.grouping.codec.encode(&saved.columns()[2..2 + key_count])?;
        self.keys = KeyTable::default();
        self.states = States::new(&self.grouping);
        self.slots = Slots::default();
        self.sessions.clear();
        self.ends.clear();
        let mut slots = Vec::with_capacity(saved.num_rows());
        for row in 0..saved.num_rows() {
            let key = self.keys.intern(keys.key(row).as_ref());
            if self.sessions.len() <= key as usize {
                self.sessions.resize_with(key as usize + 1, Vec::new);
            }
            let slot = self.slots.take();
            self.sessions[key as usize].push(Session { start: starts.value(row), end: ends.value(row), slot });
            self.ends.push(Reverse((ends.value(row), key, slot)));
            slots.push(slot);
        }
        for sessions in &mut self.sessions {
            sessions.sort_by_key(|session| session.start);
        }
        self.states.resize(self.slots.given);
        self.states.load(&self.grouping, &slots, &saved.columns()[2 + key_count..])
    }
}
