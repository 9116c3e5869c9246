//! A contract with a column of every kind, for the tests of this module.

use std::collections::BTreeMap;

use millrace_model::contract::TopicSettings;
use millrace_model::{Column, ColumnType, Contract, Role};

/// `sample (window_start, store_id, orders, share, open, lines)` with this key.
pub(crate) fn contract(key: &[&str]) -> Contract {
    let column = |name: &str, column_type: ColumnType| Column {
        name: name.into(),
        column_type,
        required: true,
        nullable: true,
        not_empty: false,
        description: String::new(),
    };
    Contract {
        name: "sample".into(),
        description: String::new(),
        role: Role::Result,
        columns: vec![
            column("window_start", ColumnType::Timestamp),
            column("store_id", ColumnType::Text),
            column("orders", ColumnType::Integer),
            column("share", ColumnType::Number),
            column("open", ColumnType::Boolean),
            column("lines", ColumnType::List(Box::new(ColumnType::Integer))),
        ],
        key: key.iter().map(|name| (*name).to_owned()).collect(),
        event_time: None,
        watermark_delay_micros: 0,
        deduplicate_by: Vec::new(),
        topic: TopicSettings { partitions: 1, config: BTreeMap::new() },
    }
}
