//! The cells of a row, read from a record's bytes in one pass: no map of the record is made, and a field that fits its column
//! becomes what the database takes at once. One that does not is kept as it is, for the reason that is told.

use std::fmt;

use millrace_model::Timestamp;
use serde::Deserializer;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserialize, DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use crate::store::{Param, SqlType, TableColumn};

/// What a record says of a column.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Cell {
    /// What the database takes.
    Fits(Param),
    /// Anything else, null too.
    Other(Value),
}

/// What a record says of each column, in their order; `None`: nothing. Of a field that is there twice the last counts.
///
/// # Errors
/// It is no JSON, or no object.
pub(super) fn cells(columns: &[TableColumn], record: &[u8]) -> Result<Vec<Option<Cell>>, serde_json::Error> {
    let mut json = serde_json::Deserializer::from_slice(record);
    let cells = json.deserialize_map(Fields(columns))?;
    json.end()?;
    Ok(cells)
}

struct Fields<'a>(&'a [TableColumn]);

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = Vec<Option<Cell>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self::Value, A::Error> {
        let mut cells: Vec<Option<Cell>> = vec![None; self.0.len()];
        // Fields mostly stand in the order of the columns.
        let mut next = 0;
        while let Some(found) = fields.next_key_seed(Name { columns: self.0, next })? {
            match found {
                None => {
                    fields.next_value::<IgnoredAny>()?;
                }
                Some(at) => {
                    cells[at] = Some(fields.next_value_seed(OfColumn(self.0[at].sql_type))?);
                    next = at + 1;
                }
            }
        }
        Ok(cells)
    }
}

/// The column of a field's name.
struct Name<'a> {
    columns: &'a [TableColumn],
    next: usize,
}

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, name: D) -> Result<Self::Value, D::Error> {
        name.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        match self.columns.get(self.next) {
            Some(column) if column.name == name => Ok(Some(self.next)),
            _ => Ok(self.columns.iter().position(|column| column.name == name)),
        }
    }
}

struct OfColumn(SqlType);

impl<'de> DeserializeSeed<'de> for OfColumn {
    type Value = Cell;

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<Cell, D::Error> {
        value.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for OfColumn {
    type Value = Cell;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Cell, E> {
        Ok(Cell::Other(Value::Null))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Cell, E> {
        Ok(match self.0 {
            SqlType::Boolean => Cell::Fits(Param::Boolean(value)),
            _ => Cell::Other(value.into()),
        })
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Cell, E> {
        Ok(match self.0 {
            SqlType::Integer => Cell::Fits(Param::Integer(value)),
            SqlType::Number => Cell::Fits(Param::Number(value as f64)),
            _ => Cell::Other(value.into()),
        })
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Cell, E> {
        match i64::try_from(value) {
            Ok(value) => self.visit_i64(value),
            Err(_) if self.0 == SqlType::Number => Ok(Cell::Fits(Param::Number(value as f64))),
            Err(_) => Ok(Cell::Other(value.into())),
        }
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Cell, E> {
        Ok(match self.0 {
            // SQLite keeps no negative zero, and nobody wants to read one: both stores hold the same.
            SqlType::Number => Cell::Fits(Param::Number(value + 0.0)),
            _ => Cell::Other(value.into()),
        })
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Cell, E> {
        let fitting = match self.0 {
            SqlType::Text if !value.contains('\0') => Some(Param::Text(value.to_owned())),
            SqlType::Time => Timestamp::parse(value.as_bytes()).map(Param::Time),
            _ => None,
        };
        Ok(fitting.map_or_else(|| Cell::Other(value.into()), Cell::Fits))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Cell, A::Error> {
        Value::deserialize(SeqAccessDeserializer::new(items)).map(Cell::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Cell, A::Error> {
        Value::deserialize(MapAccessDeserializer::new(fields)).map(Cell::Other)
    }
}
