//! A contract: what a topic holds, how it is keyed and kept. One JSON Schema a topic, in `contracts/topics/`.
//!
//! The simulator, the decoder, both backends and the sinks take their types from here and nowhere else:
//!
//! ```text
//! contracts/topics/*.json ─▶ Contract ─┬▶ Arrow schema (decoder, engine, lake)
//!                                      ├▶ topic settings (broker or cluster)
//!                                      └▶ table columns (PostgreSQL, SQLite)
//! ```
//!
//! JSON Schema says the shape; the keyword block `x-millrace` says the rest (role, key, event time, topic settings).

mod arrow;
mod builtin;
mod schema;

use std::collections::BTreeMap;

pub use arrow::{ResultShape, result_contract};
pub use builtin::Contracts;
pub use schema::ContractError;

/// What a topic is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Comes from the shop; pipelines read it.
    Source,
    /// Made by a streaming table.
    Result,
    /// Made by the product about itself (dead letters, progress, the simulator's answers).
    System,
}

/// The type of a column, as JSON can say it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ColumnType {
    /// UTF-8 text.
    Text,
    /// Signed 64-bit integer.
    Integer,
    /// IEEE 754 double.
    Number,
    /// true or false.
    Boolean,
    /// RFC 3339 text; microseconds since 1970 UTC inside.
    Timestamp,
    /// Array of one type.
    List(Box<ColumnType>),
    /// Object with known fields.
    Struct(Vec<Column>),
    /// Object with any field names and one value type.
    Map(Box<ColumnType>),
}

/// One column of a contract.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Column {
    /// Name, as in the JSON and in SQL.
    pub name: String,
    /// Type of its values.
    pub column_type: ColumnType,
    /// The record is malformed without it. A required column that is not nullable must also not be null.
    pub required: bool,
    /// `null` is a legal value.
    pub nullable: bool,
    /// Empty text is malformed (`minLength` of 1 in the schema).
    pub not_empty: bool,
    /// For people.
    pub description: String,
}

/// What a topic holds and how it is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Contract {
    /// Topic = table = tile: one name everywhere.
    pub name: String,
    /// For people.
    pub description: String,
    /// What the topic is for.
    pub role: Role,
    /// Columns in the order of the schema.
    pub columns: Vec<Column>,
    /// Columns of the record key, and of a table's primary key.
    pub key: Vec<String>,
    /// Column of the event time.
    pub event_time: Option<String>,
    /// Watermark delay of a statement that states none, microseconds.
    pub watermark_delay_micros: i64,
    /// Columns whose repeat within the watermark delay is a duplicate.
    pub deduplicate_by: Vec<String>,
    /// Settings of the topic.
    pub topic: TopicSettings,
}

/// How a topic is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicSettings {
    /// Number of partitions.
    pub partitions: u32,
    /// Kafka topic configuration: `retention.ms`, `cleanup.policy` …
    pub config: BTreeMap<String, String>,
}

impl Contract {
    /// Reads a contract from the text of its JSON Schema.
    ///
    /// # Errors
    /// Not JSON, a construct that has no column type, or an `x-millrace` block that names unknown columns.
    pub fn parse(text: &str) -> Result<Self, ContractError> {
        schema::parse(text)
    }

    /// The text of its JSON Schema, pretty-printed, ending in a newline.
    pub fn to_json(&self) -> String {
        schema::write(self)
    }

    /// The column of this name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// True when the store has a table of it: of results, and of what the product says about itself, unless the topic alone is
    /// to hold it. Sources are in the lake.
    pub fn is_stored(&self) -> bool {
        self.role != Role::Source && !builtin::IN_TOPIC_ALONE.contains(&self.name.as_str())
    }

    /// The Arrow schema of all columns, in order.
    pub fn arrow_schema(&self) -> arrow_schema::Schema {
        arrow::schema(&self.columns)
    }
}
