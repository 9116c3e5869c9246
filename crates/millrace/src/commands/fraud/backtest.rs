//! `millrace fraud backtest`: the past judged again, by the settings that run and by others beside them; `roles::score::backtest` does
//! it, here it is asked for and shown.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::Args;
use indicatif::ProgressBar;
use millrace_intelligence::fraud::live::Rule;
use millrace_intelligence::fraud::live::scoreboard::Report;
use millrace_model::Timestamp;
use millrace_model::time::parse_duration;

use super::super::role::ClusterOptions;
use super::super::time;
use super::{Form, Kafka};
use crate::progress;
use crate::roles::score::backtest::{self, Outcome, Span, Step, Told, Trial, Wanted, Watch};
use crate::settings::Settings;

/// Records of the past that fit into memory, at some 500 bytes each.
const RECORDS_MAX: usize = 20_000_000;
/// Points of a rule of which nothing else is said.
const POINTS: f32 = 8.0;

/// Options of `backtest`.
#[derive(Args, Debug)]
#[command(
    after_help = "Conditions are FEATURE >= NUMBER, joined by `and`; `millrace fraud features` lists what there is. 7 points are
enough for a review of a payment nothing else speaks against. What happened before the span is judged too,
so that the memory is as it was; only decisions of the span are counted.

Examples:
  millrace fraud backtest                                         the rules that run, on all there is
  millrace fraud backtest --review-at 0.2 --from 2026-01-01T00:00:00Z
  millrace fraud backtest --rule fast='card_attempts_1m >= 2' --points 8 --off velocity
  millrace fraud backtest --rule fast --from 2026-01-31 --memory 24h        one that is in the shadow, over a day"
)]
pub(super) struct Options {
    /// Decisions from this time on
    #[arg(long, value_name = "TIME", value_parser = time)]
    from: Option<Timestamp>,
    /// Decisions before this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    to: Option<Timestamp>,
    /// How much of what happened before --from is taken in first (24h, 30d) [default: all there is]
    #[arg(long, value_name = "TIME", value_parser = parse_duration, requires = "from")]
    memory: Option<Duration>,
    /// A rule beside those that run, or instead of one of that name; the name alone: as it is, and acting
    #[arg(long, value_name = "NAME=CONDITIONS")]
    rule: Vec<String>,
    /// What each rule given adds to the logarithm of the odds [default: 8, or as the rule has it]
    #[arg(long, value_name = "POINTS")]
    points: Option<f32>,
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

impl Options {
    fn trial(&self) -> Trial {
        let rule = |text: &String| {
            let (name, when) = text.split_once('=').unwrap_or((text, ""));
            let usual = if when.is_empty() { 0.0 } else { POINTS };
            let (when, description) = (when.trim().to_owned(), "on trial".to_owned());
            (
                name.trim().to_owned(),
                Rule { when, points: self.points.unwrap_or(usual), description, ..Rule::default() },
            )
        };
        Trial {
            rules: self.rule.iter().map(rule).collect(),
            off: self.off.iter().cloned().collect(),
            review_at: self.review_at,
            block_at: self.block_at,
        }
    }
}

/// Shows on a terminal how far it is.
struct Bars(Mutex<ProgressBar>);

impl Bars {
    fn now(&self) -> std::sync::MutexGuard<'_, ProgressBar> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch for Bars {
    fn begins(&self, step: Step, records: Option<u64>) {
        let bar = match records {
            Some(records) => progress::bar(records, step.words()),
            None => progress::counter(step.words()),
        };
        std::mem::replace(&mut *self.now(), bar).finish_and_clear();
    }

    fn goes_on(&self, records: u64) {
        self.now().inc(records);
    }
}

/// Runs it.
pub(super) async fn run(settings: &mut Settings, options: &Options) -> anyhow::Result<()> {
    let live = settings.score.judge();
    let lake = match options.lake.clone().or_else(|| settings.lake.dir.clone()) {
        Some(folder) => folder,
        None => settings.data_dir()?.join("lake"),
    };
    let wanted = Wanted {
        trial: options.trial(),
        span: Span { since: options.from, until: options.to, memory: options.memory },
        by_event_time: options.by_event_time,
        records_max: RECORDS_MAX,
    };
    let bars = Arc::new(Bars(Mutex::new(ProgressBar::hidden())));
    let watch: Arc<dyn Watch> = bars.clone();
    let kafka = Kafka::open(settings, &options.cluster).await?;
    let told = backtest::run(&kafka.client, &lake, &live, &wanted, &watch).await;
    bars.now().finish_and_clear();
    kafka.close().await?;
    show(options.format, &told?)
}

fn show(form: Form, told: &Told) -> anyhow::Result<()> {
    if form == Form::Json {
        println!("{}", serde_json::to_string_pretty(told)?);
        return Ok(());
    }
    let (before, after) = (&told.live, &told.other);
    let order = if told.in_live_order { "the order in which they were taken live" } else { "the order of event time" };
    println!("{} of {} records, in {order}", told.taken, told.records);
    println!("{} of {} decisions are those of fraud_decisions, to the byte\n", told.as_live, told.live.judged);
    println!("{:<34} {:>14} {:>14}", "", "as it runs", "on trial");
    let line = |name: &str, a: String, b: String| println!("{name:<34} {a:>14} {b:>14}");
    let count = |name: &str, of: fn(&Outcome) -> usize| line(name, of(before).to_string(), of(after).to_string());
    let share =
        |name: &str, of: fn(&Outcome) -> f64| line(name, format!("{:.4}", of(before)), format!("{:.4}", of(after)));
    let money = |name: &str, of: fn(&Outcome) -> i64| {
        line(name, format!("{:.2}", of(before) as f64 / 100.0), format!("{:.2}", of(after) as f64 / 100.0));
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
            format!("{:.4}", truth(before, |truth| truth.precision)),
            format!("{:.4}", truth(after, |truth| truth.precision)),
        );
        line(
            "recall, by the answer key",
            format!("{:.4}", truth(before, |truth| truth.recall)),
            format!("{:.4}", truth(after, |truth| truth.recall)),
        );
        line(
            "good payments hurt",
            format!("{:.4} %", truth(before, |truth| truth.false_positive_rate * 100.0)),
            format!("{:.4} %", truth(after, |truth| truth.false_positive_rate * 100.0)),
        );
        let hurt = |of: &Outcome| of.truth.as_ref().map_or(0, |truth| truth.false_alarms).to_string();
        line("  so many", hurt(before), hurt(after));
        let money = |of: &Outcome| of.truth.as_ref().map_or(0, |truth| truth.good_money_hurt_minor) as f64 / 100.0;
        line("  their money", format!("{:.2}", money(before)), format!("{:.2}", money(after)));
    }
    for (name, fired) in &after.fired {
        let live = before.fired.get(name).copied().unwrap_or_default();
        line(&format!("{name} fired"), live.payments.to_string(), fired.payments.to_string());
        line("  known to be fraud", live.known_fraud.to_string(), fired.known_fraud.to_string());
    }
    println!(
        "\n{} held on trial only, {} of them known to be fraud; {} as it runs only, {} of them known to be fraud",
        told.more.payments, told.more.known_fraud, told.less.payments, told.less.known_fraud
    );
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
    fn what_is_on_trial_is_what_was_given() {
        assert_eq!(options(&[]).trial(), Trial::default());
        let trial = options(&["--rule", "a=amount > 5", "--points", "3", "--off", "velocity", "--review-at", "0.25"]);
        let trial = trial.trial();
        assert_eq!((trial.rules["a"].when.as_str(), trial.rules["a"].points), ("amount > 5", 3.0));
        assert!(trial.off.contains("velocity") && trial.review_at == Some(0.25));
        assert_eq!(options(&["--rule", "a=amount > 5"]).trial().rules["a"].points, POINTS);
        // Of one that is known nothing is said: it is tried as it is.
        let known = &options(&["--rule", "fast"]).trial().rules["fast"];
        assert_eq!((known.when.as_str(), known.points), ("", 0.0));
    }
}
