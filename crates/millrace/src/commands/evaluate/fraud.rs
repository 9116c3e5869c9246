//! `millrace evaluate fraud`: how much fraud the model finds, and how much it takes for fraud, on files of labelled payments.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use cpu_time::ThreadTime;
use millrace_intelligence::fraud::evaluate::{self, Evaluation, Labelled, Protocol};
use millrace_intelligence::fraud::metrics::{self, Scored};
use millrace_model::Timestamp;
use serde_json::{Value, json};

use super::payments::{self, Columns};
use super::{Form, Global};
use crate::commands::Invalid;

/// Options of `evaluate fraud`.
#[derive(Args, Debug)]
#[command(
    after_help = "Payments go through the scorer that runs live, in the order of time. A label comes --label-delay after
its payment and not before: features count known fraud only, the online model learns each label as it
comes (in the test, too), the trees are grown once, on what had come when the test begins. As in the
Fraud Detection Handbook, customers known to be defrauded are left out of the test.

Files are CSV with any delimiter, or Parquet, or a folder of them.

Examples:
  millrace evaluate fraud --transactions payments.csv --label-delay 7d
  millrace evaluate fraud --transactions days/ --train 2018-07-25..2018-07-31 --test 2018-08-08..2018-08-14
  millrace evaluate fraud --transactions p.parquet --customer-column card --format json"
)]
pub(crate) struct Options {
    /// Payments with their labels
    #[arg(long, value_name = "FILE|FOLDER")]
    transactions: PathBuf,
    /// How late labels come, whole days
    #[arg(long, alias = "labels-delay", value_name = "DURATION", default_value = "7d", value_parser = days)]
    label_delay: i64,
    /// Days whose defrauded customers are known when the test begins, FIRST..LAST [default: the 7 days before the delay]
    #[arg(long, value_name = "DAYS", value_parser = span)]
    train: Option<Span>,
    /// Days that are scored, FIRST..LAST [default: the last 7 days]
    #[arg(long, value_name = "DAYS", value_parser = span)]
    test: Option<Span>,
    /// Customers an analyst can look at in a day
    #[arg(long, value_name = "N", default_value_t = 100)]
    budget: u16,
    /// Score customers who are known to be defrauded, too
    #[arg(long)]
    known_customers: bool,
    /// Column of the time [default: TX_DATETIME, event_time, time …]
    #[arg(long, value_name = "NAME")]
    time_column: Option<String>,
    /// Column of the customer or card [default: CUSTOMER_ID, customer, card …]
    #[arg(long, value_name = "NAME")]
    customer_column: Option<String>,
    /// Column of the terminal or merchant [default: TERMINAL_ID, terminal, merchant …]
    #[arg(long, value_name = "NAME")]
    terminal_column: Option<String>,
    /// Column of the amount [default: TX_AMOUNT, amount …]
    #[arg(long, value_name = "NAME")]
    amount_column: Option<String>,
    /// Column of the label, 1 or 0 [default: TX_FRAUD, is_fraud, label …]
    #[arg(long, value_name = "NAME")]
    label_column: Option<String>,
    /// Form of the figures
    #[arg(long, value_enum, default_value_t = Form::Table)]
    format: Form,
}

const DAY_MICROS: i64 = 86_400_000_000;
/// Shares of the good payments that may be taken for fraud.
const FALSE_POSITIVES: [f64; 2] = [0.001, 0.005];

/// First and last day, counted from 1970.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Span {
    first: i64,
    last: i64,
}

fn days(text: &str) -> Result<i64, String> {
    let duration = millrace_model::time::parse_duration(text).map_err(|error| error.to_string())?;
    let days = duration.as_secs() / 86_400;
    match Duration::from_secs(days * 86_400) == duration {
        true => i64::try_from(days).map_err(|error| error.to_string()),
        false => Err("write whole days, for example 7d".into()),
    }
}

fn span(text: &str) -> Result<Span, String> {
    let (first, last) = text.split_once("..").unwrap_or((text, text));
    let day = |date: &str| {
        let time = Timestamp::parse(format!("{}T00:00:00Z", date.trim_start_matches('=')).as_bytes());
        time.map(|time| time.0.div_euclid(DAY_MICROS))
            .ok_or_else(|| format!("`{date}` is no day; write 2018-07-25..2018-07-31"))
    };
    let span = Span { first: day(first)?, last: day(last)? };
    if span.first > span.last { Err("the last day lies before the first".into()) } else { Ok(span) }
}

fn date(day: i64) -> String {
    Timestamp(day * DAY_MICROS).to_string().chars().take(10).collect()
}

/// Runs it.
pub(crate) fn run(_global: &Global, options: &Options) -> anyhow::Result<ExitCode> {
    let columns = Columns {
        time: options.time_column.clone(),
        customer: options.customer_column.clone(),
        terminal: options.terminal_column.clone(),
        amount: options.amount_column.clone(),
        label: options.label_column.clone(),
    };
    let read = payments::read(&options.transactions, &columns);
    let payments = crate::commands::runtime()?.block_on(read).map_err(|error| Invalid(format!("{error:#}")))?;
    let protocol = protocol(options, &payments)?;
    let bar = crate::progress::bar(payments.len() as u64, "scoring");
    let (mut spent, mut scored) = (Duration::ZERO, 0_u32);
    let result = evaluate::run(
        &payments,
        &protocol,
        &mut |scorer, id, payment| {
            let started = ThreadTime::now();
            let score = scorer.take(id, payment);
            spent += started.elapsed();
            scored += 1;
            score
        },
        &mut || bar.inc(1),
    );
    bar.finish_and_clear();
    let cost = spent / scored.max(1);
    let frauds = result.blended.iter().filter(|one| one.fraud).count();
    if frauds == 0 || frauds == result.blended.len() {
        let told = format!(
            "the test has {} payments, {frauds} of them fraudulent: there is nothing to find",
            result.blended.len()
        );
        return Err(Invalid(told)).context("choose other days with --test");
    }
    match options.format {
        Form::Table => print_table(options, &protocol, payments.len(), &result, cost),
        Form::Json => println!("{:#}", as_json(options, &protocol, payments.len(), &result, cost)),
    }
    Ok(ExitCode::SUCCESS)
}

fn protocol(options: &Options, payments: &[Labelled]) -> anyhow::Result<Protocol> {
    let newest = payments.last().map_or(0, |one| one.payment.time.div_euclid(DAY_MICROS));
    let test = options.test.unwrap_or(Span { first: newest - 6, last: newest });
    let before = test.first - options.label_delay;
    let train = options.train.unwrap_or(Span { first: before - 7, last: before - 1 });
    if train.last >= test.first {
        return Err(Invalid("the train must end before the test begins".into()).into());
    }
    let known_customers = options.known_customers;
    let (train, test) = (train.first..=train.last, test.first..=test.last);
    Ok(Protocol { delay_days: options.label_delay, train, test, known_customers })
}

/// A model and what it scored.
type Model<'a> = (&'static str, &'a [Scored]);

fn models(result: &Evaluation) -> [Model<'_>; 3] {
    [("online", &result.online), ("trees", &result.trees), ("blended", &result.blended)]
}

fn print_table(options: &Options, protocol: &Protocol, all: usize, result: &Evaluation, cost: Duration) {
    let frauds = result.blended.iter().filter(|one| one.fraud).count();
    let scored = result.blended.len();
    println!("payments  {}: {all}; labels come {} days late", options.transactions.display(), protocol.delay_days);
    println!(
        "before    {} payments; trees grown on the newest {} labels that had come",
        result.before, result.grown_on
    );
    println!(
        "test      {} to {}: {scored} payments, {frauds} fraudulent ({:.2} %); {} left out, their customers being known to be defrauded",
        date(*protocol.test.start()),
        date(*protocol.test.end()),
        100.0 * frauds as f64 / scored as f64,
        result.left_out
    );
    println!("cost      {:.1} µs of CPU a payment: features, both scores, reasons\n", cost.as_nanos() as f64 / 1e3);
    let models = models(result);
    let row = |name: String, of: &dyn Fn(&[Scored]) -> f64| {
        let cells: Vec<String> = models.iter().map(|(_, scored)| format!("{:>10.3}", of(scored))).collect();
        println!("{name:32}{}", cells.join(""));
    };
    println!("{:32}{}", "model", models.map(|(name, _)| format!("{name:>10}")).join(""));
    let budget = usize::from(options.budget);
    row("AUC".into(), &metrics::auc);
    row("average precision".into(), &metrics::average_precision);
    row(format!("card precision@{budget}"), &|scored| metrics::card_precision(scored, budget).0);
    for share in FALSE_POSITIVES {
        row(format!("recall at {} % false positives", share * 100.0), &|scored| metrics::recall_at(scored, share));
    }
    println!("\n{:12}{:>10}{:>10}{:>10}{:>20}", "day", "payments", "frauds", "AP", format!("card precision@{budget}"));
    for day in per_day(&result.blended, budget) {
        println!(
            "{:12}{:>10}{:>10}{:>10.3}{:>20.3}",
            date(day.day),
            day.payments,
            day.frauds,
            day.average_precision,
            day.cards
        );
    }
}

/// The figures of a day, by the blended score.
struct Day {
    day: i64,
    payments: usize,
    frauds: usize,
    average_precision: f64,
    cards: f64,
}

fn per_day(scored: &[Scored], budget: usize) -> Vec<Day> {
    let (_, by_day) = metrics::card_precision(scored, budget);
    let day = |(day, cards): (i64, f64)| {
        let of_day: Vec<Scored> = scored.iter().filter(|one| one.day == day).copied().collect();
        let frauds = of_day.iter().filter(|one| one.fraud).count();
        Day { day, payments: of_day.len(), frauds, average_precision: metrics::average_precision(&of_day), cards }
    };
    by_day.into_iter().map(day).collect()
}

fn as_json(options: &Options, protocol: &Protocol, all: usize, result: &Evaluation, cost: Duration) -> Value {
    let budget = usize::from(options.budget);
    let figures = |(name, scored): Model<'_>| {
        json!({
            "model": name, "auc": metrics::auc(scored), "average_precision": metrics::average_precision(scored),
            "card_precision": metrics::card_precision(scored, budget).0,
            "recall_at_0.1_percent": metrics::recall_at(scored, FALSE_POSITIVES[0]),
            "recall_at_0.5_percent": metrics::recall_at(scored, FALSE_POSITIVES[1]),
        })
    };
    let days: Vec<Value> = per_day(&result.blended, budget)
        .into_iter()
        .map(|day| {
            json!({
                "day": date(day.day), "payments": day.payments, "frauds": day.frauds,
                "average_precision": day.average_precision, "card_precision": day.cards,
            })
        })
        .collect();
    json!({
        "payments": all, "label_delay_days": protocol.delay_days, "before": result.before, "grown_on": result.grown_on,
        "test": {
            "first": date(*protocol.test.start()), "last": date(*protocol.test.end()), "payments": result.blended.len(),
            "frauds": result.blended.iter().filter(|one| one.fraud).count(), "left_out": result.left_out,
        },
        "budget": budget, "score_cpu_micros": cost.as_nanos() as f64 / 1e3,
        "models": models(result).map(figures), "days": days,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_read_as_people_write_them() {
        let day = |text: &str| span(text).map(|span| (date(span.first), date(span.last)));
        assert_eq!(day("2018-07-25..2018-07-31"), Ok(("2018-07-25".into(), "2018-07-31".into())));
        assert_eq!(day("2018-07-25..=2018-07-31"), Ok(("2018-07-25".into(), "2018-07-31".into())));
        assert_eq!(day("2018-07-25"), Ok(("2018-07-25".into(), "2018-07-25".into())));
        assert!(day("2018-07-31..2018-07-25").is_err() && day("July").is_err());
        assert_eq!((days("7d"), days("1w").ok(), days("36h").is_err()), (Ok(7), days("7d").ok(), true));
    }
}
