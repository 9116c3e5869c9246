//! Records to columns: the shape of a contract, compiled once, applied to every record.
//!
//! Fields mostly come in the order of the record before, so each name is first compared with the ones that followed the last
//! time; any order works.
//! Columns that nobody needs are checked against their type and skipped.

mod keys;
mod verdict;

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{Schema, SchemaRef};
use millrace_model::dead_letter::MalformedCode;
use millrace_model::{Column, ColumnType, Contract, Timestamp};

use crate::columns::ColumnBuilder;
use crate::cursor::{Cursor, Next, RawStr, unescape};
use keys::{Keys, START};
pub use verdict::Malformed;
use verdict::{Fault, Outcome};

/// Which columns the reader wants.
#[derive(Clone, Debug)]
pub enum Needed {
    /// Every column of the contract.
    All,
    /// These, in the contract's order; unknown names are ignored.
    Columns(Vec<String>),
}

/// Bounds on one record.
#[derive(Clone, Copy, Debug)]
pub struct DecodeLimits {
    /// Longest value, bytes.
    pub value_bytes_max: usize,
    /// Deepest nesting of arrays and objects.
    pub depth_max: u32,
    /// How far an event time may lie after the record's own Kafka time, microseconds.
    pub future_micros_max: i64,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        DecodeLimits { value_bytes_max: 1 << 20, depth_max: 64, future_micros_max: 3_600_000_000 }
    }
}

/// Decodes records of one topic into record batches.
pub struct Decoder {
    object: ObjectShape,
    columns: Vec<ColumnBuilder>,
    schema: SchemaRef,
    rows: usize,
    limits: DecodeLimits,
    event_time_field: Option<usize>,
}

struct ObjectShape {
    fields: Vec<FieldShape>,
    /// A bit for each field.
    all: [u64; FIELDS_MAX / 64],
    keys: Keys,
}

struct FieldShape {
    name: Box<str>,
    shape: ValueShape,
    required: bool,
    nullable: bool,
    not_empty: bool,
    /// Index of its builder among the wanted ones.
    builder: Option<usize>,
}

enum ValueShape {
    Text,
    Integer,
    Number,
    Boolean,
    Timestamp,
    List(Box<ValueShape>),
    Struct(ObjectShape),
    Map(Box<ValueShape>),
}

/// Most fields an object shape may have: one bit each tells which have been seen.
const FIELDS_MAX: usize = 256;

impl Decoder {
    /// Compiles the shape of a contract. The batches have the needed columns, in the contract's order.
    ///
    /// # Panics
    /// When the contract has more than 256 columns in one object.
    pub fn new(contract: &Contract, needed: &Needed, limits: DecodeLimits) -> Self {
        let wanted = |name: &str| match needed {
            Needed::All => true,
            Needed::Columns(names) => names.iter().any(|n| n == name),
        };
        let full = contract.arrow_schema();
        let fields: Vec<_> = full.fields().iter().filter(|field| wanted(field.name())).cloned().collect();
        let schema = Arc::new(Schema::new(fields));
        let columns = schema.fields().iter().map(|field| ColumnBuilder::new(field.data_type())).collect();
        let object = ObjectShape::new(&contract.columns, wanted);
        let event_time_field =
            contract.event_time.as_ref().and_then(|name| object.fields.iter().position(|f| *f.name == **name));
        Decoder { object, columns, schema, rows: 0, limits, event_time_field }
    }

    /// The schema of the batches.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Rows since the last [`finish`](Self::finish).
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Appends one record. A malformed one leaves the columns as they were.
    ///
    /// # Errors
    /// Why the record breaks the contract.
    pub fn push(&mut self, value: Option<&[u8]>, record_time: Option<Timestamp>) -> Result<(), Malformed> {
        let mut event_time = None;
        match self.read(value, record_time, &mut event_time) {
            Ok(()) => {
                self.rows += 1;
                Ok(())
            }
            Err(fault) => {
                for column in &mut self.columns {
                    column.truncate(self.rows);
                }
                let field = (!fault.path.is_empty()).then_some(fault.path);
                Err(Malformed { code: fault.code, field, reason: fault.reason, event_time })
            }
        }
    }

    fn read(
        &mut self,
        value: Option<&[u8]>,
        record_time: Option<Timestamp>,
        event_time: &mut Option<Timestamp>,
    ) -> Outcome {
        let text = value.unwrap_or_default();
        if text.iter().all(u8::is_ascii_whitespace) {
            return Err(Fault::new(MalformedCode::Empty, "the record has no value"));
        }
        if text.len() > self.limits.value_bytes_max {
            let reason = format!("{} bytes; the limit is {}", text.len(), self.limits.value_bytes_max);
            return Err(Fault::new(MalformedCode::TooLarge, reason));
        }
        let mut cursor = Cursor::new(text, self.limits.depth_max);
        if !cursor.is_plain() {
            std::str::from_utf8(text).map_err(|error| {
                Fault::new(MalformedCode::NotUtf8, format!("invalid UTF-8 after byte {}", error.valid_up_to()))
            })?;
        }
        let next = cursor.peek()?;
        if next != Next::Object {
            // Broken JSON is the first thing wrong with broken JSON.
            cursor.skip()?;
            cursor.end()?;
            return Err(Fault::new(MalformedCode::NotAnObject, format!("{}, not an object", next.article())));
        }
        let observe = Observe { field: self.event_time_field, event_time };
        self.object.read(&mut cursor, Some(&mut self.columns), Some(observe))?;
        cursor.end()?;
        if let (Some(event), Some(record)) = (*event_time, record_time)
            && event.0.saturating_sub(record.0) > self.limits.future_micros_max
        {
            let reason = format!("event time {event} lies far after the record's time {record}");
            let name = self.event_time_field.map(|at| self.object.fields[at].name.to_string());
            return Err(Fault { code: MalformedCode::FutureTime, path: name.unwrap_or_default(), reason });
        }
        Ok(())
    }

    /// The rows pushed so far as a batch; the decoder is empty again.
    pub fn finish(&mut self) -> RecordBatch {
        let arrays: Vec<ArrayRef> = self.columns.iter_mut().map(ColumnBuilder::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        self.rows = 0;
        RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)
            .expect("every builder was pushed to once a row")
    }
}

/// Looks on for the event time at the top level.
struct Observe<'a> {
    field: Option<usize>,
    event_time: &'a mut Option<Timestamp>,
}

impl ObjectShape {
    fn new(columns: &[Column], wanted: impl Fn(&str) -> bool) -> Self {
        assert!(columns.len() <= FIELDS_MAX, "at most {FIELDS_MAX} fields in one object");
        let mut builders = 0;
        let fields = columns.iter().map(|column| {
            let builder = wanted(&column.name).then(|| {
                builders += 1;
                builders - 1
            });
            FieldShape {
                name: column.name.clone().into(),
                shape: ValueShape::new(&column.column_type),
                required: column.required,
                nullable: column.nullable,
                not_empty: column.not_empty,
                builder,
            }
        });
        let mut all = [0; FIELDS_MAX / 64];
        (0..columns.len()).for_each(|at| all[at / 64] |= 1 << (at % 64));
        ObjectShape { fields: fields.collect(), all, keys: Keys::new() }
    }

    fn find(&self, name: &[u8]) -> Option<usize> {
        self.fields.iter().position(|field| field.name.as_bytes() == name)
    }

    /// Reads a name that nobody guessed, and the field it stands for; `last` becomes this name.
    fn name(&mut self, cursor: &mut Cursor<'_>, last: &mut u16) -> Result<Option<usize>, Fault> {
        let raw = cursor.key()?;
        if raw.escaped {
            let mut name = Vec::new();
            unescape(raw, &mut name);
            *last = START;
            return Ok(self.find(&name));
        }
        let found = self.find(raw.bytes);
        *last = self.keys.learn(*last, raw.bytes, found);
        Ok(found)
    }

    /// Reads an object (`peek` said so) into the builders of its wanted fields; without builders it only checks.
    fn read(
        &mut self,
        cursor: &mut Cursor<'_>,
        mut columns: Option<&mut [ColumnBuilder]>,
        mut observe: Option<Observe<'_>>,
    ) -> Outcome {
        let mut seen = [0_u64; FIELDS_MAX / 64];
        let mut last = START;
        let mut more = cursor.enter()?;
        let mut guessed = if more { self.keys.guess(last, cursor) } else { None };
        while more {
            let found = match guessed {
                Some((name, found)) => {
                    last = name;
                    found
                }
                None => self.name(cursor, &mut last)?,
            };
            match found {
                None => cursor.skip()?,
                Some(at) => {
                    let field = &mut self.fields[at];
                    let bit = 1 << (at % 64);
                    if seen[at / 64] & bit != 0 {
                        return Err(Fault::new(MalformedCode::DuplicateField, "occurs twice").inside(&field.name));
                    }
                    seen[at / 64] |= bit;
                    let column = builder_of(field, &mut columns);
                    let watched = observe.as_mut().filter(|o| o.field == Some(at)).map(|o| &mut *o.event_time);
                    field.read(cursor, column, watched).map_err(|fault| fault.inside(&field.name))?;
                }
            }
            // Mostly a comma follows, and at once the name that followed the last time.
            guessed = self.keys.guess_behind_comma(last, cursor);
            if guessed.is_none() {
                more = cursor.another(b'}')?;
                guessed = if more { self.keys.guess(last, cursor) } else { None };
            }
        }
        if seen == self.all {
            return Ok(());
        }
        for (at, field) in self.fields.iter().enumerate() {
            if seen[at / 64] & (1 << (at % 64)) == 0 {
                if field.required {
                    return Err(Fault::new(MalformedCode::MissingField, "is missing").inside(&field.name));
                }
                if let Some(column) = builder_of(field, &mut columns) {
                    column.push_null();
                }
            }
        }
        Ok(())
    }
}

fn builder_of<'a>(field: &FieldShape, columns: &'a mut Option<&mut [ColumnBuilder]>) -> Option<&'a mut ColumnBuilder> {
    columns.as_deref_mut()?.get_mut(field.builder?)
}

impl FieldShape {
    fn read(
        &mut self,
        cursor: &mut Cursor<'_>,
        mut column: Option<&mut ColumnBuilder>,
        watched: Option<&mut Option<Timestamp>>,
    ) -> Outcome {
        let next = cursor.peek()?;
        if next == Next::Null {
            cursor.null()?;
            if !self.nullable {
                return Err(Fault::new(MalformedCode::NullField, "must not be null"));
            }
            if let Some(column) = column {
                column.push_null();
            }
            return Ok(());
        }
        if self.not_empty && next == Next::String {
            let raw = cursor.string()?;
            if raw.bytes.is_empty() {
                return Err(Fault::new(MalformedCode::NullField, "must not be empty"));
            }
            return self.shape.string(raw, &mut column, watched);
        }
        self.shape.read(cursor, next, column, watched)
    }
}

impl ValueShape {
    fn new(column_type: &ColumnType) -> Self {
        match column_type {
            ColumnType::Text => ValueShape::Text,
            ColumnType::Integer => ValueShape::Integer,
            ColumnType::Number => ValueShape::Number,
            ColumnType::Boolean => ValueShape::Boolean,
            ColumnType::Timestamp => ValueShape::Timestamp,
            ColumnType::List(item) => ValueShape::List(Box::new(ValueShape::new(item))),
            ColumnType::Struct(columns) => ValueShape::Struct(ObjectShape::new(columns, |_| true)),
            ColumnType::Map(value) => ValueShape::Map(Box::new(ValueShape::new(value))),
        }
    }

    fn expected(&self) -> &'static str {
        match self {
            ValueShape::Text => "a string",
            ValueShape::Integer => "an integer",
            ValueShape::Number => "a number",
            ValueShape::Boolean => "a boolean",
            ValueShape::Timestamp => "a time",
            ValueShape::List(_) => "an array",
            ValueShape::Struct(_) | ValueShape::Map(_) => "an object",
        }
    }

    fn string(
        &self,
        raw: RawStr<'_>,
        column: &mut Option<&mut ColumnBuilder>,
        watched: Option<&mut Option<Timestamp>>,
    ) -> Outcome {
        match self {
            ValueShape::Text => {
                if let Some(column) = column {
                    column.push_text(raw);
                }
            }
            ValueShape::Timestamp => {
                let time = Timestamp::parse(raw.bytes).ok_or_else(|| {
                    let text = String::from_utf8_lossy(&raw.bytes[..raw.bytes.len().min(40)]).into_owned();
                    Fault::new(MalformedCode::BadTime, format!("`{text}` is not an RFC 3339 time"))
                })?;
                if let Some(watched) = watched {
                    *watched = Some(time);
                }
                if let Some(column) = column {
                    column.push_integer(time.0);
                }
            }
            _ => return Err(self.mismatch("a string")),
        }
        Ok(())
    }

    fn mismatch(&self, found: &str) -> Fault {
        Fault::new(MalformedCode::WrongType, format!("expected {}, found {found}", self.expected()))
    }

    fn read(
        &mut self,
        cursor: &mut Cursor<'_>,
        next: Next,
        mut column: Option<&mut ColumnBuilder>,
        watched: Option<&mut Option<Timestamp>>,
    ) -> Outcome {
        if next == Next::String {
            let raw = cursor.string()?;
            return self.string(raw, &mut column, watched);
        }
        match (&mut *self, next) {
            (ValueShape::Integer, Next::Number) => {
                let raw = cursor.number()?;
                let value = if raw.integer { parse_integer(raw.bytes) } else { None };
                let value = value.ok_or_else(|| self.mismatch(&shown(raw.bytes)))?;
                if let Some(column) = column {
                    column.push_integer(value);
                }
                Ok(())
            }
            (ValueShape::Number, Next::Number) => {
                let raw = cursor.number()?;
                if let Some(column) = column {
                    let text = std::str::from_utf8(raw.bytes).expect("digits are ASCII");
                    column.push_number(text.parse().map_err(|_| self.mismatch(text))?);
                }
                Ok(())
            }
            (ValueShape::Boolean, Next::Boolean) => {
                let value = cursor.boolean()?;
                if let Some(column) = column {
                    column.push_boolean(value);
                }
                Ok(())
            }
            (ValueShape::List(item), Next::Array) => {
                let mut count = 0_usize;
                let mut more = cursor.enter()?;
                while more {
                    let builder = column.as_deref_mut().and_then(ColumnBuilder::item);
                    item.read_or_null(cursor, builder).map_err(|fault| fault.inside(&format!("[{count}]")))?;
                    count += 1;
                    more = cursor.another(b']')?;
                }
                close(column);
                Ok(())
            }
            (ValueShape::Struct(object), Next::Object) => {
                object.read(cursor, column.as_deref_mut().map(ColumnBuilder::fields), None)?;
                close(column);
                Ok(())
            }
            (ValueShape::Map(value), Next::Object) => {
                let mut more = cursor.enter()?;
                while more {
                    let key = cursor.key()?;
                    let (keys, values) = column.as_deref_mut().and_then(ColumnBuilder::entries).unzip();
                    if let Some(keys) = keys {
                        keys.push_text(key);
                    }
                    value
                        .read_or_null(cursor, values)
                        .map_err(|fault| fault.inside(&String::from_utf8_lossy(key.bytes)))?;
                    more = cursor.another(b'}')?;
                }
                close(column);
                Ok(())
            }
            (_, found) => {
                cursor.skip()?;
                Err(self.mismatch(found.article()))
            }
        }
    }

    fn read_or_null(&mut self, cursor: &mut Cursor<'_>, column: Option<&mut ColumnBuilder>) -> Outcome {
        let next = cursor.peek()?;
        if next != Next::Null {
            return self.read(cursor, next, column, None);
        }
        cursor.null()?;
        if let Some(column) = column {
            column.push_null();
        }
        Ok(())
    }
}

/// As Spark reads a LONG: digits only, within 64 bits.
fn parse_integer(digits: &[u8]) -> Option<i64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn shown(number: &[u8]) -> String {
    String::from_utf8_lossy(&number[..number.len().min(40)]).into_owned()
}

fn close(column: Option<&mut ColumnBuilder>) {
    if let Some(column) = column {
        column.close();
    }
}

#[cfg(test)]
mod tests;
