//! `millrace fraud scoreboard`: the decisions against the simulated shop's answer key.

use clap::Args;
use millrace_connectors::kafka::{ClientSettings, KafkaError};
use millrace_intelligence::fraud::live::scoreboard::{Report, Scoreboard};

use super::super::role::ClusterOptions;
use super::{Form, Kafka};
use crate::roles::score::board::{ANSWERS, take};
use crate::roles::score::records::DECISIONS;
use crate::settings::Settings;
use crate::topic_scan::scan;

/// Options of `scoreboard`.
#[derive(Args, Debug)]
#[command(
    after_help = "The answer key is the simulated shop's: the scorer never reads it. A payment is found at once when it was held
itself, and found when that, or when a later alert names it as evidence. At budget: as many alerts as hurt
one good payment in a thousand."
)]
pub(super) struct Options {
    /// Form of the answer
    #[arg(long, value_enum, default_value_t)]
    format: Form,
    #[command(flatten)]
    cluster: ClusterOptions,
}

/// Shows it.
pub(super) async fn run(settings: &mut Settings, options: &Options) -> anyhow::Result<()> {
    let kafka = Kafka::open(settings, &options.cluster).await?;
    let board = read(&kafka.client, settings.score.review_at).await;
    kafka.close().await?;
    let report = board?.report();
    match options.format {
        Form::Json => println!("{}", serde_json::to_string_pretty(&report)?),
        Form::Table => print!("{}", table(&report)),
    }
    Ok(())
}

async fn read(kafka: &ClientSettings, review_at: f32) -> Result<Scoreboard, KafkaError> {
    let mut board = Scoreboard::default().reviewing_at(f64::from(review_at));
    scan(kafka, &[ANSWERS, DECISIONS], |record| take(&mut board, record.topic, record.value.unwrap_or_default()))
        .await?;
    Ok(board)
}

/// For people.
pub(super) fn table(report: &Report) -> String {
    let mut out = format!(
        "{} payments, {} fraudulent; {} good ones hurt ({:.4} %), precision {:.3}, recall {:.3}, {:.2} false alarms to a true one\n",
        report.payments,
        report.frauds,
        report.false_alarms,
        report.false_positive_rate * 100.0,
        report.precision,
        report.recall,
        report.false_alarms_per_true,
    );
    out += &format!("{} of {} good refunds held\n\n", report.refunds_hurt.0, report.refunds_hurt.1);
    out += &format!(
        "{:<22} {:>9} {:>7} {:>8} {:>6} {:>7} {:>9} {:>12} {:>8} {:>12}\n",
        "campaign",
        "runs",
        "frauds",
        "at once",
        "found",
        "recall",
        "at budget",
        "first alert",
        "seconds",
        "money found"
    );
    for campaign in &report.campaigns {
        let (middle, worst) = campaign.events_to_alert;
        out += &format!(
            "{:<22} {:>9} {:>7} {:>8} {:>6} {:>7.3} {:>9.3} {:>12} {:>8.1} {:>11.0}%\n",
            campaign.campaign,
            format!("{}/{}", campaign.runs_found, campaign.runs),
            campaign.frauds,
            campaign.found_at_once,
            campaign.found,
            campaign.recall,
            campaign.recall_at_budget,
            format!("{middle}, {worst}"),
            campaign.seconds_to_alert,
            campaign.money_minor.1 as f64 * 100.0 / campaign.money_minor.0.max(1) as f64,
        );
    }
    for shadow in &report.shadows {
        let ((frauds, good), (frauds_more, good_more)) = (shadow.truth, shadow.more_truth);
        out += &format!(
            "\nin the shadow: {} would have fired at {} payments ({frauds} fraudulent, {good} good) and held {} more ({frauds_more}, {good_more})\n",
            shadow.rule, shadow.fired, shadow.held_more
        );
    }
    out += "\ncalibration: score, share of fraud, payments\n";
    for (count, score, share) in report.calibration.iter().filter(|(count, _, _)| *count > 0) {
        out += &format!("{score:>6.3} {share:>6.3} {count:>8}\n");
    }
    out
}
