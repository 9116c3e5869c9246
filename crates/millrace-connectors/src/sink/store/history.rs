//! The progress history: of each streaming table the last progress of each minute, for trends that survive a restart.

use std::sync::Arc;

use millrace_model::contract::TopicSettings;
use millrace_model::progress::TableProgress;
use millrace_model::time::MINUTE_MICROS;
use millrace_model::{Column, ColumnType, Contract, Role};

use crate::store::{Param, StoreError, Table};

/// Topic the history is made of.
pub(super) const JOB_PROGRESS: &str = "job_progress";
/// Table of the history.
pub(super) const HISTORY: &str = "job_progress_history";

/// The table, as migration 1 makes it.
pub(super) fn table() -> Result<Arc<Table>, StoreError> {
    let column = |(name, column_type): (&str, ColumnType)| Column {
        name: name.into(),
        column_type,
        required: false,
        nullable: true,
        not_empty: false,
        description: String::new(),
    };
    let head = [
        ("minute", ColumnType::Timestamp),
        ("table", ColumnType::Text),
        ("job", ColumnType::Text),
        ("epoch", ColumnType::Integer),
        ("watermark", ColumnType::Timestamp),
    ];
    let counts = [
        "records_in",
        "records_counted",
        "records_late",
        "records_malformed",
        "records_duplicate",
        "rows_out",
        "records_behind",
        "state_groups",
        "state_bytes",
        "epoch_micros",
    ];
    let columns = head.into_iter().chain(counts.map(|name| (name, ColumnType::Integer))).map(column).collect();
    let contract = Contract {
        name: HISTORY.into(),
        description: String::new(),
        role: Role::System,
        columns,
        key: vec!["minute".into(), "table".into()],
        event_time: None,
        watermark_delay_micros: 0,
        deduplicate_by: Vec::new(),
        topic: TopicSettings { partitions: 1, config: std::collections::BTreeMap::new() },
    };
    Table::of(&contract).map(Arc::new)
}

/// The history's row of a progress record; `None` when it cannot be read as one.
pub(super) fn row(value: &[u8]) -> Option<Vec<Param>> {
    let progress: TableProgress = serde_json::from_slice(value).ok()?;
    let behind = |source: &millrace_model::progress::SourceProgress| Some((source.end_offset? - source.offset).max(0));
    let records_behind: Option<i64> = progress.sources.iter().map(behind).sum();
    let count = |count: u64| i64::try_from(count).map_or(Param::Null, Param::Integer);
    Some(vec![
        Param::Time(progress.time.floor(MINUTE_MICROS)),
        Param::Text(progress.table),
        Param::Text(progress.job),
        count(progress.epoch),
        progress.watermark.map_or(Param::Null, Param::Time),
        count(progress.counts.records_in),
        count(progress.counts.records_counted),
        count(progress.counts.records_late),
        count(progress.counts.records_malformed),
        count(progress.counts.records_duplicate),
        count(progress.rows_out),
        records_behind.map_or(Param::Null, Param::Integer),
        count(progress.state_groups),
        count(progress.state_bytes),
        count(progress.epoch_micros),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_model::Timestamp;

    #[test]
    fn a_minute_and_what_is_left_to_read() {
        let value = r#"{"table":"vitals","job":"metrics","backend":"embedded","epoch":7,"time":"1970-01-01T00:01:30Z",
            "watermark":null,"output_mode":"update","records_in":5,"records_counted":5,"records_late":0,
            "records_malformed":0,"records_duplicate":0,"rows_out":3,"state_groups":2,"state_bytes":100,
            "epoch_micros":900,"sources":[
              {"topic":"a","partition":0,"offset":5,"end_offset":8,"records_in":5,"records_counted":5,"records_late":0,
               "records_malformed":0,"records_duplicate":0},
              {"topic":"a","partition":1,"offset":9,"end_offset":9,"records_in":0,"records_counted":0,"records_late":0,
               "records_malformed":0,"records_duplicate":0}]}"#;
        let cells = row(value.as_bytes()).expect("progress");
        assert_eq!(cells.len(), table().expect("a table").columns().len());
        assert_eq!(cells[0], Param::Time(Timestamp(MINUTE_MICROS)));
        assert_eq!(cells[11], Param::Integer(3));
        assert_eq!(row(b"{}"), None);
    }
}
