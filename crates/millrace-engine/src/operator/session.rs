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

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field};
use datafusion::common::{DataFusionError, Result};
use datafusion::physical_plan::PhysicalExpr;
use millrace_model::time::parse_interval;

use super::calls::{Grouping, States, evaluate, foreign};
use super::keys::KeyTable;
use super::open_sessions::{OpenSessions, Session};
use super::saved::{Saved, SavedBatch};
use super::window::{record_number_of, record_numbers, times_of, windows_column};
use super::{Give, NO_WATERMARK, Operator};

/// How long a session waits after an event.
pub(crate) enum Gap {
    /// Always as long; microseconds.
    Constant(i64),
    /// A text for each event, such as `10 minutes`.
    ByRow(Arc<dyn PhysicalExpr>),
}

/// The gaps of a batch.
enum Gaps {
    Constant(i64),
    ByRow(Vec<i64>),
}

impl Gaps {
    /// Microseconds; 0 for a row that makes no session (no gap, or none above 0).
    fn of_row(&self, row: usize) -> i64 {
        match self {
            Gaps::Constant(gap) => *gap,
            Gaps::ByRow(gaps) => gaps[row],
        }
    }
}

impl Gap {
    fn of(&self, batch: &RecordBatch) -> Result<Gaps> {
        let texts = match self {
            Gap::Constant(gap) => return Ok(Gaps::Constant(*gap)),
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
        Ok(Gaps::ByRow(gaps))
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
    open: OpenSessions,
    /// States by the session's slot.
    states: States,
}

impl SessionOperator {
    pub(crate) fn new(time: Arc<dyn PhysicalExpr>, gap: Gap, row_at: Option<usize>, grouping: Grouping) -> Self {
        let states = States::new(&grouping);
        let (keys, open) = (KeyTable::default(), OpenSessions::default());
        SessionOperator { time, gap, row_at, grouping, keys, open, states }
    }

    /// The result rows of these sessions.
    fn rows_of(&self, sessions: &[Session]) -> Result<RecordBatch> {
        let slots: Vec<u32> = sessions.iter().map(|session| session.slot).collect();
        let (starts, ends) = sessions.iter().map(|session| (session.start, session.end)).unzip();
        let window = windows_column(starts, ends);
        let keys = self.grouping.codec.decode(sessions.iter().map(|session| self.keys.key(session.key)))?;
        self.grouping.output(keys, Some(window), self.states.evaluate(&slots)?, slots.len())
    }

    /// The order of rows must not depend on how keys were numbered: by end, start, key.
    fn sort(&self, sessions: &mut [Session]) {
        sessions.sort_by(|a, b| {
            let times = (a.end, a.start).cmp(&(b.end, b.start));
            times.then_with(|| self.keys.key(a.key).cmp(self.keys.key(b.key)))
        });
    }
}

impl Operator for SessionOperator {
    fn push(&mut self, batch: &RecordBatch, watermark: i64) -> Result<Vec<i64>> {
        let times = times_of(&self.time, batch)?;
        let gaps = self.gap.of(batch)?;
        let evaluated = self.grouping.evaluate(batch)?;
        let numbers = record_numbers(batch, self.row_at);
        let (mut late, mut moved) = (Vec::new(), Vec::new());
        let (mut rows, mut slots) = (Vec::with_capacity(batch.num_rows()), Vec::with_capacity(batch.num_rows()));
        for row in 0..batch.num_rows() {
            let gap = gaps.of_row(row);
            if times.is_null(row) || gap <= 0 {
                continue;
            }
            let start = times.value(row);
            let end = start + gap;
            if watermark != NO_WATERMARK && end <= watermark {
                late.push(record_number_of(numbers, row));
                continue;
            }
            let key = self.keys.intern(evaluated.keys.key(row).as_ref());
            rows.push(row as u32);
            let states = &mut self.states;
            slots.push(self.open.place(key, start, end, |from, into, slots| {
                states.resize(slots);
                moved.push((from, into));
                states.merge_within(from, into)
            })?);
        }
        if !moved.is_empty() {
            // Rows of this batch that went to a session before it was merged away; merges may chain.
            let moves: std::collections::HashMap<u32, u32> = moved.into_iter().collect();
            for slot in &mut slots {
                while let Some(to) = moves.get(slot) {
                    *slot = *to;
                }
            }
        }
        self.states.resize(self.open.slots());
        self.states.update(&evaluated, &rows, &slots)?;
        Ok(late)
    }

    fn advance(&mut self, before: i64, after: i64, give: &mut Give<'_>) -> Result<()> {
        if after == NO_WATERMARK || after <= before {
            return Ok(());
        }
        let mut closed = self.open.close(after);
        if closed.is_empty() {
            return Ok(());
        }
        self.sort(&mut closed);
        let rows = self.rows_of(&closed)?;
        for session in closed {
            self.states.clear(session.slot);
            if !self.open.has(session.key) {
                self.keys.remove(session.key);
            }
        }
        give(rows)
    }

    fn whole(&self) -> Result<Option<RecordBatch>> {
        let mut all = self.open.all();
        self.sort(&mut all);
        self.rows_of(&all).map(Some)
    }

    fn groups(&self) -> usize {
        self.open.len()
    }

    fn bytes(&self) -> usize {
        self.keys.bytes() + self.states.bytes() + self.open.bytes()
    }

    fn save(&self) -> Result<SavedBatch> {
        let open = self.open.all();
        let slots: Vec<u32> = open.iter().map(|session| session.slot).collect();
        let keys = self.grouping.codec.decode(open.iter().map(|session| self.keys.key(session.key)))?;
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from_iter_values(open.iter().map(|session| session.start))),
            Arc::new(Int64Array::from_iter_values(open.iter().map(|session| session.end))),
        ];
        let mut fields: Vec<_> = ["start", "end"].map(|name| Arc::new(Field::new(name, DataType::Int64, false))).into();
        fields.extend(self.grouping.saved_key_fields());
        fields.extend(self.states.saved_fields(&self.grouping));
        columns.extend(keys);
        let mut saved = vec![Saved::Now(columns)];
        saved.extend(self.states.save(&slots)?);
        Ok(SavedBatch::new(fields, saved, slots.len()))
    }

    fn load(&mut self, saved: &RecordBatch) -> Result<()> {
        let key_count = self.grouping.key_types.len();
        let (starts, ends) = (saved.column(0).as_primitive::<Int64Type>(), saved.column(1).as_primitive::<Int64Type>());
        let keys = self.grouping.codec.encode(&saved.columns()[2..2 + key_count])?;
        self.keys = KeyTable::default();
        self.states = States::new(&self.grouping);
        self.open = OpenSessions::default();
        let mut slots = Vec::with_capacity(saved.num_rows());
        for row in 0..saved.num_rows() {
            let key = self.keys.intern(keys.key(row).as_ref());
            // Saved sessions of a key lie apart: none joins another.
            slots.push(self.open.place(key, starts.value(row), ends.value(row), |_, _, _| foreign())?);
        }
        self.states.resize(self.open.slots());
        self.states.load(&self.grouping, &slots, &saved.columns()[2 + key_count..])
    }
}
