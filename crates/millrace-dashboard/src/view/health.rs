//! Health: how far every table has come, what was set aside and why, and how the dashboard itself delivers.

use std::collections::BTreeMap;

use millrace_model::Timestamp;
use millrace_model::time::MINUTE_MICROS;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Series, Unit};
use crate::cache::Cache;
use crate::history::{History, Sample};
use crate::raw::Raw;
use crate::row::{Read, Row, public_id};

/// Minutes of the chart of records.
const LEDGER_MINUTES: i64 = 60;

/// What the request asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct HealthParams {
    /// Dead letters of this source topic.
    pub(crate) topic: Option<String>,
    /// Dead letters with this code.
    pub(crate) code: Option<String>,
    /// Longest list.
    pub(crate) limit: usize,
}

/// One streaming table's progress.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Job {
    /// The table.
    pub(crate) table: String,
    /// The pipeline file.
    pub(crate) job: String,
    /// `embedded` or `spark`.
    pub(crate) backend: String,
    /// Epochs committed.
    pub(crate) epoch: i64,
    /// When it last told.
    pub(crate) time: Option<Timestamp>,
    /// Windows that end by then are final.
    pub(crate) watermark: Option<Timestamp>,
    /// Wall clock minus watermark, seconds.
    pub(crate) delay_seconds: Option<f64>,
    /// Records not read yet, over all source partitions. None: the ends are unknown.
    pub(crate) lag_records: Option<i64>,
    /// Records read.
    pub(crate) records_in: i64,
    /// Records counted in the result.
    pub(crate) records_counted: i64,
    /// Set aside as late.
    pub(crate) records_late: i64,
    /// Broken records.
    pub(crate) records_malformed: i64,
    /// Repeats dropped.
    pub(crate) records_duplicate: i64,
    /// Every record read is accounted for.
    pub(crate) balances: bool,
    /// Rows written.
    pub(crate) rows_out: i64,
    /// Open groups in the state.
    pub(crate) state_groups: i64,
    /// Bytes of state.
    pub(crate) state_bytes: i64,
    /// Duration of the last epoch, microseconds.
    pub(crate) epoch_micros: i64,
    /// Records a second, over the last samples.
    pub(crate) records_per_second: Option<f64>,
    /// Rows written a second, over the last samples.
    pub(crate) rows_per_second: Option<f64>,
    /// Phases of the last batch and their milliseconds, longest first, where the backend tells.
    pub(crate) phases: Vec<(String, i64)>,
    /// `ok`, `behind`, `stalled` (has not told for long), `stopped` (says why it stands still) or `unbalanced`.
    pub(crate) condition: &'static str,
    /// Why the job stands still, when it does.
    pub(crate) trouble: Option<String>,
    /// Recent watermark delay (seconds), oldest first.
    pub(crate) delay_history: Vec<f64>,
    /// Recent lag (records), oldest first.
    pub(crate) lag_history: Vec<f64>,
}

/// A record set aside.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct DeadLetter {
    /// Public name.
    pub(crate) id: String,
    /// `malformed` or `late`.
    pub(crate) kind: String,
    /// Machine-readable cause.
    pub(crate) code: String,
    /// In words.
    pub(crate) reason: String,
    /// The field it is about.
    pub(crate) field: String,
    /// Where it came from.
    pub(crate) topic: String,
    /// Source partition.
    pub(crate) partition: i64,
    /// Source offset.
    pub(crate) offset: i64,
    /// The table it was late for.
    pub(crate) table: String,
    /// When it was set aside.
    pub(crate) first_seen: Option<Timestamp>,
    /// Its event time, if it had one.
    pub(crate) event_time: Option<Timestamp>,
    /// The record's value, decoded and masked.
    pub(crate) value: Raw,
}

/// Dead letters of one topic and code.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct DeadCount {
    /// Source topic.
    pub(crate) topic: String,
    /// Cause.
    pub(crate) code: String,
    /// Recent ones held.
    pub(crate) count: usize,
}

/// The health page.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Health {
    /// Worst condition of any table.
    pub(crate) condition: &'static str,
    /// Tables, by job and name.
    pub(crate) jobs: Vec<Job>,
    /// Recent dead letters, newest first.
    pub(crate) dead_letters: Vec<DeadLetter>,
    /// Dead letters that match, beyond the limit too.
    pub(crate) dead_matching: usize,
    /// Dead letters by topic and cause, most first.
    pub(crate) dead_counts: Vec<DeadCount>,
    /// Records by source stream and minute.
    pub(crate) ledger: Series,
}

/// A table that is this far behind the wall clock, or has not told for so long, is remarked on.
const BEHIND_SECONDS: f64 = 60.0;
const STALLED_SECONDS: f64 = 30.0;
/// What is unread and takes no longer than this at the table's pace is on its way, not left behind: a table that waits
/// half a day for late records by its own statement has an old watermark, and is on time.
const UNREAD_SECONDS: f64 = 10.0;

/// Conditions, worst first.
pub(crate) const CONDITIONS: [(&str, &str); 5] = [
    ("unbalanced", "Books do not balance"),
    ("stopped", "Stands still"),
    ("stalled", "Stalled"),
    ("behind", "Behind"),
    ("ok", "On time"),
];

/// Computes the health page.
pub(crate) fn health(cache: &Cache, history: &History, params: &HealthParams, now: Timestamp) -> Health {
    let mut jobs: Vec<Job> = cache.rows("job_progress").map(|row| job(row, history, now)).collect();
    jobs.sort_by(|a, b| (&a.job, &a.table).cmp(&(&b.job, &b.table)));
    let condition = CONDITIONS.iter().find(|(name, _)| jobs.iter().any(|job| job.condition == *name));
    let mut dead: Vec<&Row> = cache.rows("dead_letters").collect();
    let dead_counts = dead_counts(&dead);
    dead.retain(|row| params.topic.as_deref().is_none_or(|topic| row.text("topic") == topic));
    dead.retain(|row| params.code.as_deref().is_none_or(|code| row.text("code") == code));
    dead.sort_by(|a, b| {
        b.text("first_seen").cmp(a.text("first_seen")).then_with(|| b.int("offset").cmp(&a.int("offset")))
    });
    Health {
        condition: condition.map_or("waiting", |(name, _)| name),
        jobs,
        dead_matching: dead.len(),
        dead_letters: dead.into_iter().take(params.limit).map(dead_letter).collect(),
        dead_counts,
        ledger: ledger(cache),
    }
}

/// Records of the sources not read yet; none when an end is unknown or there is no source.
pub(crate) fn lag_records(row: &Row) -> Option<i64> {
    let sources = row.get("sources").and_then(Value::as_array).filter(|sources| !sources.is_empty())?;
    sources.iter().map(|source| Some(source["end_offset"].as_i64()? - source["offset"].as_i64()?)).sum()
}

/// Wall clock minus watermark, seconds.
pub(crate) fn delay_seconds(row: &Row, now: Timestamp) -> Option<f64> {
    row.time("watermark").map(|watermark| (now.0 - watermark.0) as f64 / 1e6)
}

fn job(row: &Row, history: &History, now: Timestamp) -> Job {
    let table = row.text("table");
    let samples: Vec<&Sample> = history.of(table).collect();
    let records_in = row.int("records_in");
    let parts = ["records_counted", "records_late", "records_malformed", "records_duplicate"];
    let [counted, late, malformed, duplicate] = parts.map(|column| row.int(column));
    let balances = records_in == counted + late + malformed + duplicate;
    let delay = delay_seconds(row, now);
    let silent = row.time("time").map_or(f64::INFINITY, |time| (now.0 - time.0) as f64 / 1e6);
    let lag = lag_records(row);
    let rate_of = |of: fn(&Sample) -> i64| {
        let (first, last) = samples.first().zip(samples.last())?;
        let seconds = (last.at.0 - first.at.0) as f64 / 1e6;
        (seconds > 1.0).then(|| (of(last) - of(first)) as f64 / seconds)
    };
    let rate = rate_of(|sample| sample.records_in);
    let unread_seconds = lag.map_or(f64::INFINITY, |lag| match rate {
        _ if lag <= 0 => 0.0,
        Some(rate) if rate > 0.0 => lag as f64 / rate,
        _ => f64::INFINITY,
    });
    let trouble = Some(row.text("trouble")).filter(|why| !why.is_empty()).map(str::to_owned);
    let condition = if !balances {
        "unbalanced"
    } else if trouble.is_some() {
        "stopped"
    } else if silent > STALLED_SECONDS && lag != Some(0) {
        "stalled"
    } else if delay.is_some_and(|delay| delay > BEHIND_SECONDS) && unread_seconds > UNREAD_SECONDS {
        "behind"
    } else {
        "ok"
    };
    Job {
        table: table.to_owned(),
        job: row.text("job").to_owned(),
        backend: row.text("backend").to_owned(),
        epoch: row.int("epoch"),
        time: row.time("time"),
        watermark: row.time("watermark"),
        delay_seconds: delay,
        lag_records: lag,
        records_in,
        records_counted: counted,
        records_late: late,
        records_malformed: malformed,
        records_duplicate: duplicate,
        balances,
        trouble,
        rows_out: row.int("rows_out"),
        state_groups: row.int("state_groups"),
        state_bytes: row.int("state_bytes"),
        epoch_micros: row.int("epoch_micros"),
        records_per_second: rate,
        rows_per_second: rate_of(|sample| sample.rows_out),
        phases: phases(row),
        condition,
        delay_history: samples.iter().filter_map(|sample| sample.delay_seconds).collect(),
        lag_history: samples.iter().filter_map(|sample| sample.lag_records).map(|lag| lag as f64).collect(),
    }
}

fn phases(row: &Row) -> Vec<(String, i64)> {
    let told = row.get("phases_ms").and_then(Value::as_object).into_iter().flatten();
    let mut phases: Vec<(String, i64)> = told.filter_map(|(name, ms)| Some((name.clone(), ms.as_i64()?))).collect();
    phases.sort_by_key(|(_, ms)| -ms);
    phases
}

/// How far the job that is furthest behind is, seconds. Of a job the table that waits least for late records counts:
/// how long the others wait is their statement's will.
pub(crate) fn furthest_behind(jobs: &[Job]) -> Option<f64> {
    let mut least: BTreeMap<&str, f64> = BTreeMap::new();
    for (job, delay) in jobs.iter().filter_map(|job| Some((job.job.as_str(), job.delay_seconds?))) {
        least.entry(job).and_modify(|least| *least = least.min(delay)).or_insert(delay);
    }
    least.into_values().max_by(f64::total_cmp)
}

fn dead_counts(rows: &[&Row]) -> Vec<DeadCount> {
    let mut sums: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for row in rows {
        *sums.entry((row.text("topic"), row.text("code"))).or_default() += 1;
    }
    let count =
        |((topic, code), count): ((&str, &str), usize)| DeadCount { topic: topic.into(), code: code.into(), count };
    let mut counts: Vec<DeadCount> = sums.into_iter().map(count).collect();
    counts.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| (&a.topic, &a.code).cmp(&(&b.topic, &b.code))));
    counts
}

fn dead_letter(row: &Row) -> DeadLetter {
    DeadLetter {
        id: public_id(row.text("dead_letter_id")),
        kind: row.text("kind").to_owned(),
        code: row.text("code").to_owned(),
        reason: row.text("reason").to_owned(),
        field: row.text("field").to_owned(),
        topic: row.text("topic").to_owned(),
        partition: row.int("partition"),
        offset: row.int("offset"),
        table: row.text("table").to_owned(),
        first_seen: row.time("first_seen"),
        event_time: row.time("event_time"),
        value: Raw::of(row.get("value_base64").and_then(Value::as_str)),
    }
}

fn ledger(cache: &Cache) -> Series {
    let mut series = Series::new(vec![
        ("minute", "Minute", Unit::Time),
        ("user_events", "user_events", Unit::Count),
        ("transactions", "transactions", Unit::Count),
        ("inventory_updates", "inventory_updates", Unit::Count),
    ]);
    let since = cache.clock("ledger").0.saturating_sub(LEDGER_MINUTES * MINUTE_MICROS);
    let mut minutes: BTreeMap<Timestamp, [i64; 3]> = BTreeMap::new();
    for (start, _, row) in cache.windows("ledger").filter(|(start, ..)| start.0 > since) {
        let stream = ["user_events", "transactions", "inventory_updates"].iter().position(|s| *s == row.text("stream"));
        if let Some(stream) = stream {
            minutes.entry(start).or_default()[stream] += row.int("records");
        }
    }
    for (minute, counts) in minutes {
        series.rows.push(vec![json!(minute), json!(counts[0]), json!(counts[1]), json!(counts[2])]);
    }
    series
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::fixture::{at, cache_of, json_rows};

    fn progress(table: &str, told: i64, watermark: i64, late: i64, end: Option<i64>) -> Value {
        json!({
            "table": table, "job": "metrics", "time": at(told), "watermark": at(watermark), "records_in": 10,
            "records_counted": 9, "records_late": late, "records_malformed": 0, "records_duplicate": 0,
            "sources": [{"topic": "t", "partition": 0, "offset": 10, "end_offset": end}]
        })
    }

    #[test]
    fn conditions() {
        let mut stopped = progress("stopped", 900, 890, 1, Some(11));
        stopped["trouble"] = json!("stopped: division by zero");
        let rows = vec![
            progress("fine", 1_000, 990, 1, Some(10)),
            progress("behind", 1_000, 100, 1, Some(500)),
            progress("replayed", 1_000, 100, 1, Some(10)),
            progress("silent", 900, 890, 1, Some(11)),
            progress("lost_one", 1_000, 990, 0, Some(10)),
            progress("unknown_end", 1_000, 990, 1, None),
            stopped,
        ];
        let cache = cache_of(vec![("job_progress", json_rows(rows))]);
        let page = health(&cache, &History::default(), &HealthParams::default(), Timestamp(1_000_000_000));
        let told: Vec<_> = page.jobs.iter().map(|job| (job.table.as_str(), job.condition, job.lag_records)).collect();
        assert_eq!(
            told,
            [
                ("behind", "behind", Some(490)),
                ("fine", "ok", Some(0)),
                ("lost_one", "unbalanced", Some(0)),
                ("replayed", "ok", Some(0)),
                ("silent", "stalled", Some(1)),
                ("stopped", "stopped", Some(1)),
                ("unknown_end", "ok", None),
            ]
        );
        assert_eq!(page.condition, "unbalanced");
        assert_eq!(furthest_behind(&page.jobs), Some(10.0), "one job: its table that waits least");
    }

    #[test]
    fn a_table_that_waits_for_late_records_is_on_time() {
        let mut history = History::default();
        let mut condition = |second: i64, records: i64, unread: i64| {
            let mut row = progress("hourly", second, 100, 0, Some(10 + unread));
            row["records_in"] = json!(records);
            row["records_counted"] = json!(records);
            let cache = cache_of(vec![("job_progress", json_rows(vec![row]))]);
            let now = Timestamp(second * 1_000_000);
            history.sample(&cache, now);
            health(&cache, &history, &HealthParams::default(), now).condition
        };
        assert_eq!(condition(1_000, 10, 40), "behind", "nobody knows its pace yet");
        assert_eq!(condition(1_010, 210, 40), "ok", "forty at twenty a second");
        assert_eq!(condition(1_020, 410, 4_000), "behind", "four thousand at twenty a second");
    }
}
