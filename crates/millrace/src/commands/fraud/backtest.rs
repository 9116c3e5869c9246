//! `millrace fraud backtest`: the past judged again, by the settings that run and by others beside them.
//!
//! ```text
//!  lake: user_events, transactions ┐
//!  topics: fraud_verdicts, _lists ─┼─▶ batches as live (fraud_batches), else by event time ─▶ judge (live) ─┬▶ what differs
//!                                  └──────────────────────────────────────────────────────▶ judge (other) ┘
//! ```
//!
//! It goes through the code that runs live, and in live order: with unchanged settings the rows are those of `fraud_decisions`, to
//! the byte. The table says how many are.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use millrace_connectors::kafka::{ClientSettings, Cluster};
use millrace_connectors::lake::{self, LakeRecord};
use millrace_intelligence::fraud::live::scoreboard::{Answer, Decided, Report, Scoreboard};
use millrace_intelligence::fraud::live::{Decision, Judge, JudgeSettings, Judged, Reason, Rule};
use millrace_model::Timestamp;
use serde::Serialize;
use serde_json::json;

use super::super::role::ClusterOptions;
use super::{Form, Invalid, Kafka};
use crate::roles::score::records::{Batch, DECISIONS, LISTS, MODELS, RULES, Record, SAID, TOPICS, VERDICTS, row, take};
use crate::roles::score::{BatchRow, read_batches};
use crate::settings::Settings;
use crate::topic_scan::scan;

/// Records of the past that fit into memory, at some 500 bytes each.
const RECORDS_MAX: usize = 20_000_000;
/// In whose name it asks.
const GROUP: &str = "millrace-backtest";

/// Options of `backtest`.
#[derive(Args, Debug)]
#[command(
    after_help = "Conditions are FEATURE >= NUMBER, joined by `and`; `millrace fraud features` lists what there is. 7 points are
enough for a review of a payment nothing else speaks against. What happened before the span is judged too,
so that the memory is as it was; only decisions of the span are counted.

Examples:
  millrace fraud backtest                                         the rules that run, on all there is
  millrace fraud backtest --review-at 0.2 --from 2026-01-01T00:00:00Z
  millrace fraud backtest --rule fast='card_attempts_1m >= 2' --points 8 --off velocity"
)]
pub(super) struct Options {
    /// Decisions from this time on
    #[arg(long, value_name = "TIME", value_parser = time)]
    from: Option<Timestamp>,
    /// Decisions before this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    to: Option<Timestamp>,
    /// A rule beside those that run, or instead of one of that name
    #[arg(long, value_name = "NAME=CONDITIONS")]
    rule: Vec<String>,
    /// What each rule given adds to the logarithm of the odds
    #[arg(long, value_name = "POINTS", default_value_t = 8.0)]
    points: f32,
    /// A rule that does not run
    #[arg(long, value_name = "NAME")]
    off: Vec<String>,
    /// Score from which on somebody looks at a payment
    #[arg(long, value_name = "SCORE")]
    review_at: Option<f32>,
    /// Score from which on a payment is refused
    #[arg(long, value_name = "SCORE")]
    block_at: Option<f32>,
    /// Folder of the lake [default: of the settings]
    #[arg(long, value_name = "DIR")]
    lake: Option<PathBuf>,
    /// Take records in by event time, not in the order in which they were taken live
    #[arg(long)]
    by_event_time: bool,
    /// Form of the answer
    #[arg(long, value_enum, default_value_t)]
    format: Form,
    #[command(flatten)]
    cluster: ClusterOptions,
}

fn time(text: &str) -> Result<Timestamp, String> {
    let day = if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.to_owned() };
    Timestamp::parse(day.as_bytes()).ok_or_else(|| format!("`{text}` is no time; write 2026-01-31T12:00:00Z"))
}

impl Options {
    /// The settings to try, from those that run.
    fn other(&self, live: &JudgeSettings) -> anyhow::Result<JudgeSettings> {
        let mut other = live.clone();
        for rule in &self.rule {
            let (name, when) = rule
                .split_once('=')
                .ok_or_else(|| Invalid(format!("`{rule}` is no rule; write NAME='FEATURE >= NUMBER and …'")))?;
            let rule =
                Rule { when: when.into(), points: self.points, description: "on trial".into(), ..Rule::default() };
            other.fixed.insert(name.trim().into());
            other.rules.insert(name.trim().into(), rule);
        }
        for name in &self.off {
            other.fixed.insert(name.clone());
            other.rules.entry(name.clone()).or_default().off = true;
        }
        other.review_at = self.review_at.unwrap_or(other.review_at);
        other.block_at = self.block_at.unwrap_or(other.block_at);
        Ok(other)
    }
}

/// What the topics say of the past.
#[derive(Default)]
struct Past {
    batches: Vec<BatchRow>,
    /// What people said: verdicts and changes of lists.
    said: Vec<Record>,
    /// The live rows by decision.
    decisions: HashMap<String, Vec<u8>>,
    /// Rows of `fraud_decisions`: as many as decisions when each was written once.
    rows: usize,
    answers: Vec<Answer>,
    /// Payments said to be fraudulent, by verdict or chargeback.
    frauds: HashSet<String>,
}

/// One version, and what it did in the span.
struct Version {
    judge: Judge,
    board: Scoreboard,
    held: BTreeMap<String, i64>,
    judged: usize,
    as_live: usize,
}

/// What a version came to.
#[derive(Serialize)]
struct Outcome {
    judged: usize,
    held: usize,
    held_fraud: usize,
    known_fraud: usize,
    precision_of_known: f64,
    recall_of_known: f64,
    money_saved_minor: i64,
    held_others: usize,
    held_others_minor: i64,
    truth: Option<Report>,
}

/// Runs it.
pub(super) async fn run(settings: &mut Settings, options: &Options) -> anyhow::Result<()> {
    let live = settings.score.judge();
    let other = options.other(&live)?;
    let judge = |settings: JudgeSettings| Judge::new(settings).map_err(Invalid);
    let version =
        |judge: Judge| Version { judge, board: Scoreboard::default(), held: BTreeMap::new(), judged: 0, as_live: 0 };
    let (mut live, mut other) = (version(judge(live)?), version(judge(other)?));
    let folder = match options.lake.clone().or_else(|| settings.lake.dir.clone()) {
        Some(folder) => folder,
        None => settings.data_dir()?.join("lake"),
    };
    let kafka = Kafka::open(settings, &options.cluster).await?;
    let past = past(&kafka.client).await;
    kafka.close().await?;
    let mut past = past?;
    let until = options.to;
    let records = records(&folder, until).await?;
    for answer in &past.answers {
        live.board.answer(answer);
        other.board.answer(answer);
    }
    let said = std::mem::take(&mut past.said);
    let total = records.len() + said.len();
    let in_live_order = !options.by_event_time && !past.batches.is_empty();
    let ordered = order(records, said, if in_live_order { &past.batches } else { &[] });
    let bar = crate::progress::bar(total as u64, "judging");
    let mut taken = 0;
    for batch in ordered {
        for record in batch.in_order() {
            bar.inc(1);
            taken += 1;
            let time = record.time();
            let counts = options.from.is_none_or(|from| time >= from.0) && options.to.is_none_or(|to| time < to.0);
            live.take(record.clone(), &past, counts)?;
            other.take(record, &past, counts)?;
        }
    }
    bar.finish_and_clear();
    show(options, &past, &live, &other, in_live_order, (taken, total))
}

async fn past(kafka: &ClientSettings) -> anyhow::Result<Past> {
    let mut past = Past { batches: read_batches(kafka, &Cluster::new(kafka, GROUP)?, 0).await?, ..Past::default() };
    let topics = [VERDICTS, LISTS, RULES, MODELS, DECISIONS, "answer_key", "transactions"];
    scan(kafka, &topics, |record| {
        let value = record.value.unwrap_or_default();
        match record.topic {
            VERDICTS => {
                past.said.extend(Record::read(VERDICTS, record.partition, record.offset, value, None));
                if let Ok(told) = serde_json::from_slice::<serde_json::Value>(value)
                    && let Some(payment) = told["payment_id"].as_str()
                {
                    match told["verdict"].as_str() {
                        Some("fraud") => drop(past.frauds.insert(payment.into())),
                        Some("good") => drop(past.frauds.remove(payment)),
                        _ => {}
                    }
                }
            }
            LISTS | RULES | MODELS => {
                past.said.extend(Record::read(record.topic, record.partition, record.offset, value, None))
            }
            DECISIONS => {
                past.rows += 1;
                past.decisions.insert(String::from_utf8_lossy(record.key).into_owned(), value.to_vec());
            }
            "answer_key" => past.answers.extend(serde_json::from_slice::<Answer>(value)),
            _ => {
                const CHARGEBACK: &[u8] = b"chargeback_received";
                if value.windows(CHARGEBACK.len()).any(|part| part == CHARGEBACK)
                    && let Ok(told) = serde_json::from_slice::<serde_json::Value>(value)
                    && let Some(payment) = told["payment_id"].as_str()
                {
                    past.frauds.insert(payment.into());
                }
            }
        }
    })
    .await?;
    Ok(past)
}

async fn records(
    folder: &std::path::Path,
    until: Option<Timestamp>,
) -> anyhow::Result<Vec<(String, i32, i64, Record)>> {
    let mut records = Vec::new();
    for topic in TOPICS.iter().filter(|topic| !SAID.contains(topic)) {
        let mut take = |record: LakeRecord<'_>| {
            let read =
                Record::read(topic, record.partition, record.offset, record.value.unwrap_or_default(), record.time);
            if let Some(read) = read.filter(|_| records.len() <= RECORDS_MAX) {
                records.push(((*topic).to_owned(), record.partition, record.offset, read));
            }
        };
        lake::read(folder, topic, until, &mut take)
            .await
            .with_context(|| format!("cannot read the lake in {}", folder.display()))?;
    }
    if records.len() > RECORDS_MAX {
        return Err(Invalid(format!("the lake holds more than {RECORDS_MAX} records of that time; give --to")).into());
    }
    if records.is_empty() {
        let text =
            format!("the lake in {} holds no payments; `millrace up` archives them once a minute", folder.display());
        return Err(Invalid(text).into());
    }
    Ok(records)
}

/// The records batch by batch: as live, or all at once.
fn order(records: Vec<(String, i32, i64, Record)>, said: Vec<Record>, batches: &[BatchRow]) -> Vec<Batch> {
    if batches.is_empty() {
        let mut all = Batch::default();
        records.into_iter().map(|(_, _, _, record)| record).chain(said).for_each(|record| all.push(record));
        return vec![all];
    }
    let mut places: HashMap<(String, i32), BTreeMap<i64, Record>> = HashMap::new();
    for (topic, partition, offset, record) in records {
        places.entry((topic, partition)).or_default().insert(offset, record);
    }
    for record in said {
        places.entry((record.topic().to_owned(), record.partition())).or_default().insert(record.offset(), record);
    }
    let mut ordered = Vec::new();
    for row in batches {
        let mut batch = Batch::default();
        for range in &row.ranges {
            let Some(records) = places.get_mut(&(range.topic.clone(), range.partition)) else { continue };
            while let Some(first) = records.first_entry().filter(|first| *first.key() < range.to) {
                batch.push(first.remove());
            }
        }
        if !batch.is_empty() {
            ordered.push(batch);
        }
    }
    ordered
}

impl Version {
    fn take(&mut self, record: Record, past: &Past, counts: bool) -> anyhow::Result<()> {
        let Some((transaction, judgement)) = take(&mut self.judge, record).filter(|_| counts) else { return Ok(()) };
        let row = row(&transaction, &judgement);
        self.judged += 1;
        let value = serde_json::to_vec(&row).context("encode a decision")?;
        self.as_live += usize::from(past.decisions.get(row.decision_id) == Some(&value));
        if judgement.decision != Decision::Approve {
            self.held.insert(row.decision_id.to_owned(), transaction.amount_minor.unwrap_or(0));
        }
        self.board.decided(Decided {
            id: row.decision_id.to_owned(),
            refund: judgement.kind == Judged::Refund,
            time: judgement.time,
            user: transaction.user_id.clone(),
            score: f64::from(judgement.score),
            flagged: judgement.decision != Decision::Approve,
            amount_minor: transaction.amount_minor.unwrap_or(0),
            evidence: judgement
                .evidence
                .iter()
                .filter_map(|event| Some(event.payment_id.as_deref()?.to_owned()))
                .collect(),
            shadow: judgement.reasons.iter().filter_map(Reason::shadow).collect(),
        });
        Ok(())
    }

    fn outcome(&self, past: &Past) -> Outcome {
        let (frauds, others): (Vec<_>, Vec<_>) = self.held.iter().partition(|(id, _)| past.frauds.contains(*id));
        let part = |some: usize, all: usize| if all == 0 { 0.0 } else { some as f64 / all as f64 };
        Outcome {
            judged: self.judged,
            held: self.held.len(),
            held_fraud: frauds.len(),
            known_fraud: past.frauds.len(),
            precision_of_known: part(frauds.len(), self.held.len()),
            recall_of_known: part(frauds.len(), past.frauds.len()),
            money_saved_minor: frauds.iter().map(|(_, amount)| **amount).sum(),
            held_others: others.len(),
            held_others_minor: others.iter().map(|(_, amount)| **amount).sum(),
            truth: (!past.answers.is_empty()).then(|| self.board.report()),
        }
    }
}

fn show(
    options: &Options,
    past: &Past,
    live: &Version,
    other: &Version,
    in_live_order: bool,
    (taken, total): (usize, usize),
) -> anyhow::Result<()> {
    let only = |a: &Version, b: &Version| -> Vec<String> {
        a.held.keys().filter(|id| !b.held.contains_key(*id)).cloned().collect()
    };
    let (more, less) = (only(other, live), only(live, other));
    let (before, after) = (live.outcome(past), other.outcome(past));
    if options.format == Form::Json {
        let answer = json!({ "records": total, "taken": taken, "in_live_order": in_live_order, "as_live": live.as_live,
            "live_decisions": past.decisions.len(), "live_rows": past.rows, "live": before, "other": after, "held_more": more, "held_less": less });
        println!("{}", serde_json::to_string_pretty(&answer)?);
        return Ok(());
    }
    let order = if in_live_order { "the order in which they were taken live" } else { "the order of event time" };
    println!("{taken} of {total} records, in {order}");
    println!("{} of {} decisions are those of fraud_decisions, to the byte\n", live.as_live, live.judged);
    println!("{:<34} {:>14} {:>14}", "", "as it runs", "on trial");
    let line = |name: &str, a: String, b: String| println!("{name:<34} {a:>14} {b:>14}");
    let count = |name: &str, of: fn(&Outcome) -> usize| line(name, of(&before).to_string(), of(&after).to_string());
    let share =
        |name: &str, of: fn(&Outcome) -> f64| line(name, format!("{:.4}", of(&before)), format!("{:.4}", of(&after)));
    let money = |name: &str, of: fn(&Outcome) -> i64| {
        line(name, format!("{:.2}", of(&before) as f64 / 100.0), format!("{:.2}", of(&after) as f64 / 100.0));
    };
    count("judged", |of| of.judged);
    count("held (review or block)", |of| of.held);
    count("of these known to be fraud", |of| of.held_fraud);
    share("precision, by known labels", |of| of.precision_of_known);
    share("recall of known fraud", |of| of.recall_of_known);
    money("money saved", |of| of.money_saved_minor);
    count("others held", |of| of.held_others);
    money("money of the others", |of| of.held_others_minor);
    if before.truth.is_some() {
        let truth = |of: &Outcome, read: fn(&Report) -> f64| of.truth.as_ref().map_or(0.0, read);
        line(
            "precision, by the answer key",
            format!("{:.4}", truth(&before, |truth| truth.precision)),
            format!("{:.4}", truth(&after, |truth| truth.precision)),
        );
        line(
            "recall, by the answer key",
            format!("{:.4}", truth(&before, |truth| truth.recall)),
            format!("{:.4}", truth(&after, |truth| truth.recall)),
        );
        line(
            "good payments hurt",
            format!("{:.4} %", truth(&before, |truth| truth.false_positive_rate * 100.0)),
            format!("{:.4} %", truth(&after, |truth| truth.false_positive_rate * 100.0)),
        );
    }
    println!("\n{} held on trial only, {} as it runs only", more.len(), less.len());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(arguments: &[&str]) -> Options {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            options: Options,
        }
        <Line as clap::Parser>::parse_from([&["x"], arguments].concat()).options
    }

    #[test]
    fn what_is_on_trial_is_put_over_what_runs() {
        let live = JudgeSettings::default();
        assert_eq!(options(&[]).other(&live).expect("settings"), live);
        let other = options(&["--rule", "a=amount > 5", "--points", "3", "--off", "velocity", "--review-at", "0.25"]);
        let other = other.other(&live).expect("settings");
        assert_eq!((other.rules["a"].when.as_str(), other.rules["a"].points), ("amount > 5", 3.0));
        assert!(other.rules["velocity"].off && other.review_at == 0.25 && other.block_at == live.block_at);
        assert!(options(&["--rule", "amount"]).other(&live).is_err());
    }

    #[test]
    fn batches_hold_what_they_held_live() {
        let record = |offset: i64| {
            let value = format!(
                r#"{{"event_id":"e{offset}","event_type":"order_placed","event_time":"2026-01-01T00:00:00Z","order_id":"o"}}"#
            );
            let record = Record::read("transactions", 1, offset, value.as_bytes(), None).expect("a record");
            ("transactions".to_owned(), 1, offset, record)
        };
        let range = |from, to| crate::roles::score::Range { topic: "transactions".into(), partition: 1, from, to };
        let row = |batch, range| BatchRow { batch, time: Timestamp(0), ranges: vec![range] };
        let batches = [row(1, range(0, 2)), row(2, range(2, 5))];
        let offsets: Vec<Vec<i64>> = order([4, 0, 1, 2, 9].map(record).into(), Vec::new(), &batches)
            .into_iter()
            .map(|batch| batch.in_order().iter().map(Record::offset).collect())
            .collect();
        assert_eq!(offsets, [vec![0, 1], vec![2, 4]], "9 was not judged live");
    }
}
