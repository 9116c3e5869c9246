//! Values on their way into the database: a parameter of a query, a cell of a row.

use millrace_model::{ColumnType, Timestamp};

/// A value bound to `$1`, `$2` … or to a column. Never part of an SQL text.
#[derive(Clone, PartialEq, Debug)]
pub enum Param {
    /// Text; for a list, struct or map column its JSON text.
    Text(String),
    /// BIGINT.
    Integer(i64),
    /// DOUBLE PRECISION.
    Number(f64),
    /// BOOLEAN.
    Boolean(bool),
    /// TIMESTAMPTZ on PostgreSQL, RFC 3339 text on SQLite.
    Time(Timestamp),
    /// NULL of any type.
    Null,
}

/// How a column is stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SqlType {
    /// UTF-8 text.
    Text,
    /// Signed 64-bit integer.
    Integer,
    /// Double.
    Number,
    /// Boolean.
    Boolean,
    /// Point in time, microseconds, UTC.
    Time,
    /// List, struct or map.
    Json,
}

impl SqlType {
    /// How values of a contract's column are stored.
    pub fn of(column_type: &ColumnType) -> Self {
        match column_type {
            ColumnType::Text => SqlType::Text,
            ColumnType::Integer => SqlType::Integer,
            ColumnType::Number => SqlType::Number,
            ColumnType::Boolean => SqlType::Boolean,
            ColumnType::Timestamp => SqlType::Time,
            ColumnType::List(_) | ColumnType::Struct(_) | ColumnType::Map(_) => SqlType::Json,
        }
    }

    /// The name both databases take. SQLite knows no TIMESTAMPTZ and no JSONB: such columns get numeric affinity there,
    /// which leaves RFC 3339 texts and texts that start with `[` or `{` as they are.
    pub fn name(self) -> &'static str {
        match self {
            SqlType::Text => "TEXT",
            SqlType::Integer => "BIGINT",
            SqlType::Number => "DOUBLE PRECISION",
            SqlType::Boolean => "BOOLEAN",
            SqlType::Time => "TIMESTAMPTZ",
            SqlType::Json => "JSONB",
        }
    }

    /// The type of this declared name, as either database reports it.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "text" | "character varying" => SqlType::Text,
            "bigint" | "integer" | "smallint" => SqlType::Integer,
            "double precision" | "real" => SqlType::Number,
            "boolean" => SqlType::Boolean,
            "timestamptz" | "timestamp with time zone" => SqlType::Time,
            "jsonb" | "json" => SqlType::Json,
            _ => return None,
        })
    }

    /// Whether a column of this type takes the value. NULL fits everywhere.
    pub fn takes(self, value: &Param) -> bool {
        matches!(
            (self, value),
            (_, Param::Null)
                | (SqlType::Text | SqlType::Json, Param::Text(_))
                | (SqlType::Integer, Param::Integer(_))
                | (SqlType::Number, Param::Number(_))
                | (SqlType::Boolean, Param::Boolean(_))
                | (SqlType::Time, Param::Time(_))
        )
    }
}

/// An identifier, quoted so that no name can end it.
pub fn quoted(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_round() {
        for sql_type in
            [SqlType::Text, SqlType::Integer, SqlType::Number, SqlType::Boolean, SqlType::Time, SqlType::Json]
        {
            assert_eq!(SqlType::from_name(sql_type.name()), Some(sql_type));
        }
    }

    #[test]
    fn identifiers_cannot_break_out() {
        assert_eq!(quoted("offset"), r#""offset""#);
        assert_eq!(quoted(r#"a"; DROP TABLE b; --"#), r#""a""; DROP TABLE b; --""#);
    }
}
