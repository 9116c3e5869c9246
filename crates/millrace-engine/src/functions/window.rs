//! `window(…)`, `session_window(…)` and `window_time(…)`: event-time windows in a statement's text.
//!
//! Over a stream the first two are marks: the planner finds them in GROUP BY and puts an operator there. In a batch query a
//! tumbling `window` is an ordinary function. They are volatile to the optimizer, because a row can lie in many windows: a
//! mark is neither folded nor computed once for two places. (DataFusion's optimizer still pushes a HAVING on a window below
//! GROUP BY; the streaming planner takes aggregations out of its reach first.)

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{Array, ArrayRef, StructArray, TimestampMicrosecondArray};
use arrow_schema::{DataType, Field, FieldRef, Fields};
use datafusion::common::{Result, ScalarValue, exec_err, plan_datafusion_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use millrace_model::time::parse_interval;

use super::simple::{Simple, as_timestamp, mismatch, take_between, timestamp_type};

/// The sizes of a `window(…)` call, in microseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct WindowSizes {
    /// Length of a window.
    pub(crate) size: i64,
    /// Distance from one window's start to the next; equal to `size` when windows tumble.
    pub(crate) slide: i64,
    /// Offset of the starts from 1970-01-01 00:00 UTC.
    pub(crate) start: i64,
}

impl WindowSizes {
    /// From the constants after the time: size, slide, start.
    ///
    /// # Errors
    /// What is wrong with them, with Spark's error class.
    pub(crate) fn new(size: &str, slide: Option<&str>, start: Option<&str>) -> Result<Self> {
        let length = |text: &str| parse_interval(text).map_err(|error| plan_datafusion_err!("window(): {error}"));
        let size_micros = length(size)?;
        let slide_micros = slide.map_or(Ok(size_micros), length)?;
        let start_micros = start.map_or(Ok(0), |text| match text.trim().strip_prefix('-') {
            Some(text) => length(text).map(|micros| -micros),
            None => length(text),
        })?;
        if size_micros <= 0 || slide_micros <= 0 {
            return plan_err!(
                "[DATATYPE_MISMATCH.VALUE_OUT_OF_RANGE] window(): the size and the slide must be longer than 0"
            );
        }
        if slide_micros > size_micros {
            return plan_err!(
                "[DATATYPE_MISMATCH.PARAMETER_CONSTRAINT_VIOLATION] window(): the slide of {} is longer than the size of \
                 {size}, so some rows would be in no window; hint: make the slide at most the size",
                slide.unwrap_or_default()
            );
        }
        if start_micros.abs() >= slide_micros {
            return plan_err!(
                "[DATATYPE_MISMATCH.PARAMETER_CONSTRAINT_VIOLATION] window(): the start must be shorter than the slide"
            );
        }
        Ok(WindowSizes { size: size_micros, slide: slide_micros, start: start_micros })
    }

    /// The start of the latest window that holds this time.
    pub(crate) fn latest_start(&self, micros: i64) -> i64 {
        micros - (micros - self.start).rem_euclid(self.slide)
    }
}

/// STRUCT<start: TIMESTAMP, end: TIMESTAMP>.
pub(crate) fn window_type() -> DataType {
    DataType::Struct(window_fields())
}

fn window_fields() -> Fields {
    vec![Field::new("start", timestamp_type(), true), Field::new("end", timestamp_type(), true)].into()
}

/// The three functions.
pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let mark = |mark| Arc::new(ScalarUDF::new_from_impl(WindowMark { mark, signature: signature() }));
    vec![mark(Mark::Window), mark(Mark::Session), window_time().udf()]
}

fn signature() -> Signature {
    Signature::user_defined(Volatility::Volatile)
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Mark {
    Window,
    Session,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct WindowMark {
    mark: Mark,
    signature: Signature,
}

impl WindowMark {
    fn sizes(&self, constants: &[Option<&ScalarValue>]) -> Result<WindowSizes> {
        let text = |index: usize| match constants.get(index) {
            None => Ok(None),
            Some(Some(
                ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)) | ScalarValue::LargeUtf8(Some(text)),
            )) => Ok(Some(text.as_str())),
            Some(_) => plan_err!("window(): sizes must be texts, written out; hint: window(event_time, '5 minutes')"),
        };
        let size = text(1)?.unwrap_or_default();
        WindowSizes::new(size, text(2)?, text(3)?)
    }
}

impl ScalarUDFImpl for WindowMark {
    fn name(&self) -> &str {
        match self.mark {
            Mark::Window => "window",
            Mark::Session => "session_window",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let most = if self.mark == Mark::Window { 4 } else { 2 };
        take_between(self.name(), types, 2, most)?;
        let mut coerced = vec![DataType::Utf8; types.len()];
        // window(w, …) of another window takes that window's time, as Spark's direct form of window_time does.
        coerced[0] = if is_window(&types[0]) { types[0].clone() } else { as_timestamp(self.name(), &types[0])? };
        Ok(coerced)
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(window_type())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        if self.mark == Mark::Window && args.scalar_arguments.iter().skip(1).all(Option::is_some) {
            self.sizes(args.scalar_arguments)?;
        }
        Ok(Arc::new(Field::new(self.name(), window_type(), args.arg_fields[0].is_nullable())))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if self.mark == Mark::Session {
            return exec_err!(
                "session_window() stands outside GROUP BY; hint: it is a group of a streaming aggregation"
            );
        }
        let constant = |arg: &ColumnarValue| match arg {
            ColumnarValue::Scalar(value) => Some(value.clone()),
            ColumnarValue::Array(_) => None,
        };
        let constants: Vec<_> = args.args.iter().map(constant).collect();
        let sizes = self.sizes(&constants.iter().map(Option::as_ref).collect::<Vec<_>>())?;
        if sizes.slide != sizes.size {
            return exec_err!(
                "window() stands outside GROUP BY; hint: a sliding window is a group of a streaming aggregation, in a batch \
                 query use a tumbling one"
            );
        }
        let column = args.args[0].to_array(args.number_rows)?;
        let times = if is_window(column.data_type()) { last_moments(&column)? } else { column };
        let times = times.as_primitive::<TimestampMicrosecondType>();
        let starts: TimestampMicrosecondArray = times.unary(|micros| sizes.latest_start(micros));
        let ends: TimestampMicrosecondArray = starts.unary(|micros| micros + sizes.size);
        let columns: Vec<ArrayRef> =
            vec![Arc::new(starts.with_data_type(timestamp_type())), Arc::new(ends.with_data_type(timestamp_type()))];
        Ok(ColumnarValue::Array(Arc::new(StructArray::try_new(window_fields(), columns, times.nulls().cloned())?)))
    }
}

/// Whether the type is that of a window.
pub(crate) fn is_window(given: &DataType) -> bool {
    match given {
        DataType::Struct(fields) => {
            let is =
                |field: &FieldRef, name| field.name() == name && matches!(field.data_type(), DataType::Timestamp(_, _));
            fields.len() == 2 && is(&fields[0], "start") && is(&fields[1], "end")
        }
        _ => false,
    }
}

/// The time of a window for a further window: the last microsecond before its end.
fn window_time() -> Simple {
    Simple {
        name: "window_time",
        aliases: &[],
        coerce: |types| {
            take_between("window_time", types, 1, 1)?;
            if is_window(&types[0]) {
                return Ok(vec![window_type()]);
            }
            Err(mismatch("window_time", "a window", &types[0], "give it window or session_window"))
        },
        returns: |_| timestamp_type(),
        evaluate: |columns, _| last_moments(&columns[0]),
    }
}

fn last_moments(windows: &ArrayRef) -> Result<ArrayRef> {
    let windows = windows.as_struct();
    let ends = windows.column(1).as_primitive::<TimestampMicrosecondType>();
    let times: TimestampMicrosecondArray = ends.unary(|micros| micros - 1);
    let valid = arrow_buffer::NullBuffer::union(windows.nulls(), times.nulls());
    let (_, values, _) = times.into_parts();
    Ok(Arc::new(TimestampMicrosecondArray::try_new(values, valid)?.with_data_type(timestamp_type())))
}
