//! `millrace evaluate recommend`: hit rate, reciprocal rank, gain, coverage and latency on files of clicks.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use cpu_time::ThreadTime;
use millrace_intelligence::recommend::evaluate::{self, FileClick, Protocol, Quality};
use millrace_intelligence::recommend::{Placement, Recommender, Settings};
use serde_json::{Value, json};

use super::clicks::{self, Columns};
use super::{Form, Global};
use crate::commands::Invalid;

/// Options of `evaluate recommend`.
#[derive(Args, Debug)]
#[command(
    after_help = "After every click but a session's last, the recommender that runs live is asked what comes next;
all items it knows are ranked, and the answer is cut. An event whose item may not be answered
counts as a miss. Figures of different conventions cannot be compared: each comes with its own.

Files are CSV with any delimiter, or Parquet, with columns of session, item and time (epoch seconds
or milliseconds, RFC 3339, or a date), found by their usual names.

Examples:
  millrace evaluate recommend --train train.txt --test valid.txt
  millrace evaluate recommend --train train.parquet --test test.parquet --mode learn
  millrace evaluate recommend --train a.csv --test b.csv --item-column sku --format json"
)]
pub(crate) struct Options {
    /// Clicks to learn before
    #[arg(long, value_name = "FILE")]
    train: PathBuf,
    /// Clicks to predict
    #[arg(long, value_name = "FILE")]
    test: PathBuf,
    /// Whether clicks of the test are learnt after they were predicted
    #[arg(long, value_enum, default_value_t = Mode::Both)]
    mode: Mode,
    /// Whether the item just clicked may be answered
    #[arg(long, value_enum, default_value_t = Allow::Both)]
    current: Allow,
    /// Whether other items of the session may be answered
    #[arg(long, value_enum, default_value_t = Allow::Allowed)]
    repeats: Allow,
    /// Weights of the scores: fitted to the newest sessions of the train file, as the product fits them, or as they come
    #[arg(long, value_enum, default_value_t = Weights::Fitted)]
    weights: Weights,
    /// Items in an answer
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=200))]
    count: u16,
    /// Column of the session [default: SessionId, session_id, session …]
    #[arg(long, value_name = "NAME")]
    session_column: Option<String>,
    /// Column of the item [default: ItemId, item_id, item, product_id …]
    #[arg(long, value_name = "NAME")]
    item_column: Option<String>,
    /// Column of the time [default: Time, timestamp, event_time …]
    #[arg(long, value_name = "NAME")]
    time_column: Option<String>,
    /// Form of the figures
    #[arg(long, value_enum, default_value_t = Form::Table)]
    format: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// Nothing of the test is learnt
    Static,
    /// Predict, then learn, click by click, as in production
    Learn,
    /// One after the other
    Both,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Allow {
    /// It may; the figure of most papers
    Allowed,
    /// It may not; what a shop shows
    LeftOut,
    /// One after the other
    Both,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Weights {
    /// Fitted; the test file is not looked at
    Fitted,
    /// The defaults
    Default,
}

/// Newest sessions of the train file that weights are fitted to.
const FIT_SESSIONS: usize = 1_000;

impl Mode {
    fn each(self) -> &'static [bool] {
        match self {
            Mode::Static => &[false],
            Mode::Learn => &[true],
            Mode::Both => &[false, true],
        }
    }
}

impl Allow {
    fn each(self) -> &'static [bool] {
        match self {
            Allow::Allowed => &[true],
            Allow::LeftOut => &[false],
            Allow::Both => &[false, true],
        }
    }
}

/// What a file holds.
struct Told {
    path: PathBuf,
    clicks: usize,
    sessions: usize,
    items: usize,
    without: usize,
    from: String,
    to: String,
}

/// Runs it.
pub(crate) fn run(_global: &Global, options: &Options) -> anyhow::Result<ExitCode> {
    let columns = Columns {
        session: options.session_column.clone(),
        item: options.item_column.clone(),
        time: options.time_column.clone(),
    };
    let (train, test) = crate::commands::runtime()?.block_on(async {
        anyhow::Ok((read(&options.train, &columns).await?, read(&options.test, &columns).await?))
    })?;
    let ((train, told_train), (test, told_test)) = (train, test);
    let (learnt, update) = learnt(&train)?;
    let mut results = Vec::new();
    for repeats_allowed in options.repeats.each() {
        let mut recommender = learnt.clone();
        if options.weights == Weights::Fitted {
            fit(&mut recommender, *repeats_allowed, options.count);
        }
        for learn in options.mode.each() {
            for current_allowed in options.current.each() {
                let protocol = Protocol {
                    count: usize::from(options.count),
                    current_allowed: *current_allowed,
                    repeats_allowed: *repeats_allowed,
                    learn: *learn,
                };
                results.push((protocol, evaluated(&recommender, &test, protocol)?));
            }
        }
    }
    match options.format {
        Form::Table => print_table(&told_train, &told_test, &learning(options, update), &results),
        Form::Json => println!("{:#}", as_json(&told_train, &told_test, options, update, &results)),
    }
    Ok(ExitCode::SUCCESS)
}

async fn read(path: &Path, columns: &Columns) -> anyhow::Result<(Vec<FileClick>, Told)> {
    let (clicks, without) = clicks::read(path, columns).await.map_err(|error| Invalid(format!("{error:#}")))?;
    let different =
        |name: fn(&FileClick) -> &str| clicks.iter().map(name).collect::<std::collections::HashSet<_>>().len();
    let time = |click: Option<&FileClick>| click.map_or_else(String::new, |click| click.time.to_string());
    let told = Told {
        path: path.to_owned(),
        clicks: clicks.len(),
        sessions: different(|click| &click.session),
        items: different(|click| &click.item),
        without,
        from: time(clicks.first()),
        to: time(clicks.last()),
    };
    Ok((clicks, told))
}

/// A recommender that has learnt the clicks; and the CPU time of one, on the mean.
fn learnt(train: &[FileClick]) -> anyhow::Result<(Recommender, Duration)> {
    let mut recommender = Recommender::new(Settings::default()).map_err(|error| Invalid(error.to_string()))?;
    let bar = crate::progress::bar(train.len() as u64, "learning");
    let started = ThreadTime::now();
    for click in train {
        evaluate::learn(&mut recommender, click);
        bar.inc(1);
    }
    let spent = started.elapsed();
    bar.finish_and_clear();
    Ok((recommender, spent / u32::try_from(train.len()).unwrap_or(u32::MAX).max(1)))
}

fn fit(recommender: &mut Recommender, repeats_allowed: bool, count: u16) {
    let bar = crate::progress::counter("fitting");
    let placement = Placement { repeats_allowed, count: usize::from(count), ..Placement::default() };
    recommender.fit(&placement, FIT_SESSIONS, || bar.inc(1));
    bar.finish_and_clear();
}

fn evaluated(learnt: &Recommender, test: &[FileClick], protocol: Protocol) -> anyhow::Result<Quality> {
    let mut recommender = learnt.clone();
    recommender.set(evaluate::settings_for(learnt.settings().clone(), protocol))?;
    let bar = crate::progress::bar(test.len() as u64, if protocol.learn { "learn as go" } else { "predicting" });
    let started = ThreadTime::now();
    let clock = || u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
    let quality = evaluate::evaluate(&mut recommender, test, protocol, clock, || bar.inc(1))?;
    bar.finish_and_clear();
    Ok(quality)
}

fn mode(protocol: &Protocol) -> &'static str {
    if protocol.learn { "learn as you go" } else { "static" }
}

fn allowed(is: bool) -> &'static str {
    if is { "allowed" } else { "left out" }
}

fn micros(nanoseconds: Option<u64>) -> String {
    nanoseconds.map_or_else(|| "-".into(), |n| format!("{:.1}", n as f64 / 1e3))
}

fn learning(options: &Options, update: Duration) -> String {
    let weights = match options.weights {
        Weights::Fitted => format!("fitted to the {FIT_SESSIONS} newest sessions of the train file"),
        Weights::Default => "as they come".into(),
    };
    format!("{:.2} µs of CPU a click of the train file; weights {weights}", update.as_nanos() as f64 / 1e3)
}

const PERCENTILES: [(&str, f64); 5] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)];

fn print_table(train: &Told, test: &Told, learning: &str, results: &[(Protocol, Quality)]) {
    for (name, told) in [("train", train), ("test", test)] {
        let Told { clicks, sessions, items, without, from, to, .. } = told;
        let without =
            if *without > 0 { format!(", {without} rows without session or item left out") } else { String::new() };
        let path = told.path.display();
        println!("{name:6} {path}: {clicks} clicks, {sessions} sessions, {items} items, {from} to {to}{without}");
    }
    println!("learnt {learning}");
    println!(
        "asked  after every click but a session's last; all {} known items ranked; what may not be answered is a miss",
        train.items
    );
    let row = |name: &str, of: &dyn Fn(&(Protocol, Quality)) -> String| {
        let cells: Vec<String> = results.iter().map(|result| format!("{:>16}", of(result))).collect();
        println!("{name:22}{}", cells.join(""));
    };
    println!();
    row("mode", &|result| mode(&result.0).into());
    row("current item", &|result| allowed(result.0.current_allowed).into());
    row("repeats", &|result| allowed(result.0.repeats_allowed).into());
    let at = results.first().map_or(0, |result| result.0.count);
    row(&format!("HR@{at}"), &|result| format!("{:.4}", result.1.hit_rate));
    row(&format!("MRR@{at}"), &|result| format!("{:.4}", result.1.reciprocal_rank));
    row(&format!("NDCG@{at}"), &|result| format!("{:.4}", result.1.gain));
    row(&format!("coverage@{at}"), &|result| format!("{:.4}", result.1.coverage));
    row("events", &|result| result.1.events.to_string());
    row("  of the current item", &|result| result.1.current.to_string());
    row("  of a repeat", &|result| result.1.repeats.to_string());
    row("  of an unknown item", &|result| result.1.unknown.to_string());
    for (name, share) in PERCENTILES {
        row(&format!("answer, CPU µs, {name}"), &|result| micros(result.1.percentile(share)));
    }
}

fn as_json(train: &Told, test: &Told, options: &Options, update: Duration, results: &[(Protocol, Quality)]) -> Value {
    let file = |told: &Told| {
        json!({
            "file": told.path.display().to_string(), "clicks": told.clicks, "sessions": told.sessions, "items": told.items,
            "rows_left_out": told.without, "from": told.from, "to": told.to,
        })
    };
    let results: Vec<Value> = results
        .iter()
        .map(|(protocol, quality)| {
            let latency: serde_json::Map<String, Value> = PERCENTILES
                .iter()
                .map(|(name, share)| ((*name).to_owned(), json!(quality.percentile(*share).map(|n| n as f64 / 1e3))))
                .collect();
            json!({
                "mode": if protocol.learn { "learn" } else { "static" },
                "count": protocol.count,
                "current_item": allowed(protocol.current_allowed),
                "repeats": allowed(protocol.repeats_allowed),
                "hit_rate": quality.hit_rate, "mrr": quality.reciprocal_rank, "ndcg": quality.gain,
                "coverage": quality.coverage,
                "events": quality.events, "sessions": quality.sessions,
                "events_of_current_item": quality.current, "events_of_repeat": quality.repeats,
                "events_of_unknown_item": quality.unknown,
                "answer_cpu_micros": latency,
            })
        })
        .collect();
    json!({
        "train": file(train), "test": file(test), "update_cpu_micros": update.as_nanos() as f64 / 1e3,
        "weights": if options.weights == Weights::Fitted { "fitted" } else { "default" },
        "convention": "predicted after every click but a session's last; all known items ranked; what may not be answered is a miss",
        "results": results,
    })
}
