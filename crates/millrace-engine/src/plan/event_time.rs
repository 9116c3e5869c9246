//! Which columns of a stream are event times, and how far behind the table's watermark their future values may be.
//!
//! ```text
//!  FROM STREAM c WATERMARK t         t: 0 behind              a row with t < W is late
//!  window(t, '1 minute') AS w        w: 0 behind              windows that end by W have been given
//!  c JOIN o ON o.t BETWEEN c.t AND   c.t: 10 minutes behind   an order may find a click as old as that
//!       c.t + INTERVAL 10 MINUTES    o.t: 0 behind
//! ```
//!
//! As in Spark the property goes with the column itself, its `window`, and the `window_time` of that; not with what else is
//! computed from it.

use datafusion::common::DFSchema;
use datafusion::logical_expr::Expr;

/// An event-time column: its future values are at least `watermark − lag`. Microseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct EventTime {
    pub(crate) lag: i64,
    /// A window; its time is the last microsecond before its end.
    pub(crate) window: bool,
}

/// What is known of the columns of a plan, one by one.
pub(crate) type EventTimes = Vec<Option<EventTime>>;

/// The event time an expression over these columns is.
pub(crate) fn event_time_of(expr: &Expr, schema: &DFSchema, times: &[Option<EventTime>]) -> Option<EventTime> {
    match expr {
        Expr::Alias(alias) => event_time_of(&alias.expr, schema, times),
        Expr::Column(column) => times.get(schema.maybe_index_of_column(column)?).copied().flatten(),
        Expr::ScalarFunction(call) if call.func.name() == "window_time" => {
            let time = event_time_of(call.args.first()?, schema, times)?;
            Some(EventTime { window: false, ..time })
        }
        // A tumbling window of each row.
        Expr::ScalarFunction(call) if call.func.name() == "window" && call.args.len() == 2 => {
            let time = event_time_of(call.args.first()?, schema, times)?;
            Some(EventTime { window: true, ..time })
        }
        _ => None,
    }
}

/// The event times of a plan whose columns are some of another's, by name.
pub(crate) fn by_name(schema: &DFSchema, from: &DFSchema, times: &[Option<EventTime>]) -> EventTimes {
    let of = |column: datafusion::common::Column| {
        let at = from.maybe_index_of_column(&column)?;
        times.get(at).copied().flatten()
    };
    schema.columns().into_iter().map(of).collect()
}

/// A watermark held back by a lag. The beginning and the end of time stay where they are.
pub(crate) fn held_back(watermark: i64, lag: i64) -> i64 {
    match watermark {
        i64::MIN | i64::MAX => watermark,
        moved => moved.saturating_sub(lag).max(i64::MIN + 1),
    }
}
