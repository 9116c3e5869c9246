//! Which watermark a source's view carries, and the statements' texts that fit it.
//!
//! Spark drops repeats by a call on the stream, which needs the watermark before it, and refuses a second watermark above
//! (`Redefining watermark is disallowed`). So a source whose contract asks for it gets its watermark in the view, and the
//! `WATERMARK … DELAY OF …` clauses of the statements that read it become spaces; places in the text stay what they were.
//! All other clauses go to Spark as written. When statements of a file ask for different delays of one such source, the
//! longest holds for all of them, as it does for the embedded backend's memory of repeats.

use std::collections::BTreeMap;

use millrace_model::ErrorKind;

use crate::error::SparkError;
use crate::job::{SparkJob, SparkQuery, SparkRead};

/// Column and delay, microseconds, of the watermark in a source's view.
pub(crate) type ViewWatermark = (String, i64);

/// The sources that drop repeats, with their watermarks.
///
/// # Errors
/// `Invalid` when statements disagree on the event-time column of one of them.
pub(crate) fn view_watermarks(job: &SparkJob) -> Result<BTreeMap<String, ViewWatermark>, SparkError> {
    let queries = job.views.iter().map(|view| &view.query).chain(job.tables.iter().map(|table| &table.query));
    let reads: Vec<&SparkRead> = queries.flat_map(|query| &query.reads).collect();
    let mut watermarks = BTreeMap::new();
    for source in &job.sources {
        let contract = &source.contract;
        let Some(event_time) = contract.event_time.as_ref().filter(|_| !contract.deduplicate_by.is_empty()) else {
            continue;
        };
        let mut found: Option<ViewWatermark> = None;
        for read in reads.iter().filter(|read| read.table == contract.name) {
            let (column, delay) = match &read.watermark {
                Some((column, delay)) => (column, *delay),
                None => (event_time, contract.watermark_delay_micros),
            };
            let longest = match found.take() {
                Some((other, _)) if other != *column => {
                    let text =
                        format!("statements take the watermark of `{}` from `{other}` and `{column}`", contract.name);
                    return Err(SparkError::new(
                        ErrorKind::Invalid,
                        text + "; a stream that drops repeats has one on Spark",
                    ));
                }
                Some((_, longest)) => delay.max(longest),
                None => delay,
            };
            found = Some((column.clone(), longest));
        }
        let default = || (event_time.clone(), contract.watermark_delay_micros);
        watermarks.insert(contract.name.clone(), found.unwrap_or_else(default));
    }
    Ok(watermarks)
}

/// The text of a query over views that carry these watermarks.
pub(crate) fn text_for(query: &SparkQuery, watermarks: &BTreeMap<String, ViewWatermark>) -> String {
    let mut text = query.sql.clone();
    let taken = query.reads.iter().filter(|read| watermarks.contains_key(&read.table));
    for clause in taken.filter_map(|read| read.clause_at.clone()) {
        if let Some(written) = query.sql.get(clause.clone()) {
            // Byte for byte, so the places of later clauses stay.
            let spaces: Vec<u8> = written.bytes().map(|byte| if byte == b'\n' { byte } else { b' ' }).collect();
            text.replace_range(clause, &String::from_utf8_lossy(&spaces));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use millrace_model::Contracts;

    use super::*;
    use crate::job::{SparkSource, SparkView};

    fn query(sql: &str, table: &str, delay: Option<i64>) -> SparkQuery {
        let name = sql.find(table).expect("named");
        let clause_at = sql.find("WATERMARK").map(|start| start..sql.find("SECONDS").expect("a unit") + 7);
        let watermark = delay.map(|delay| ("event_time".to_owned(), delay));
        let read = SparkRead { table: table.into(), name_at: name..name + table.len(), watermark, clause_at };
        SparkQuery { sql: sql.into(), reads: vec![read] }
    }

    fn job(queries: Vec<SparkQuery>) -> SparkJob {
        let source = |name: &str| SparkSource {
            contract: Contracts::builtin().get(name).expect("shipped").clone(),
            topic: name.into(),
        };
        let view = |query| SparkView { name: "v".into(), query };
        SparkJob {
            name: "test".into(),
            sources: vec![source("transactions"), source("dead_letters")],
            views: queries.into_iter().map(view).collect(),
            statics: Vec::new(),
            tables: Vec::new(),
        }
    }

    #[test]
    fn the_longest_delay_holds_and_clauses_become_spaces() {
        let long = query(
            "SELECT 'é' FROM STREAM transactions WATERMARK event_time\nDELAY OF INTERVAL 30 SECONDS x",
            "transactions",
            Some(30_000_000),
        );
        let bare = query("SELECT 1 FROM STREAM transactions", "transactions", None);
        let other = query(
            "SELECT 1 FROM dead_letters WATERMARK event_time DELAY OF INTERVAL 5 SECONDS",
            "dead_letters",
            Some(5),
        );
        let job = job(vec![long.clone(), bare.clone(), other.clone()]);
        let watermarks = view_watermarks(&job).expect("they agree");
        assert_eq!(watermarks, BTreeMap::from([("transactions".into(), ("event_time".into(), 30_000_000))]));
        let expected = format!("SELECT 'é' FROM STREAM transactions {}\n{} x", " ".repeat(20), " ".repeat(28));
        assert_eq!(text_for(&long, &watermarks), expected);
        assert_eq!(text_for(&bare, &watermarks), bare.sql);
        assert_eq!(text_for(&other, &watermarks), other.sql);
    }
}
