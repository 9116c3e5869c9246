//! `millrace fraud review` and `verdict`: what waits to be looked at, and what somebody says of it.

use std::time::SystemTime;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use millrace_connectors::store::{JsonRow, Param, Store};
use millrace_dashboard::service::Refused;
use millrace_model::Timestamp;
use serde_json::{Value, json};

use super::super::role::ClusterOptions;
use super::{Form, Invalid};
use crate::product::{cluster, store_url};
use crate::roles::notify::tables::text;
use crate::roles::score::said::Analysts;
use crate::settings::Settings;

/// Options of `review`.
#[derive(Args, Debug)]
pub(super) struct ReviewOptions {
    /// Also what has a verdict
    #[arg(long)]
    all: bool,
    /// Only what this person looks at
    #[arg(long, value_name = "NAME")]
    assigned_to: Option<String>,
    /// Only what has waited for longer than this
    #[arg(long, value_name = "TIME", value_parser = millrace_model::time::parse_duration)]
    older_than: Option<std::time::Duration>,
    /// Most rows
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: u32,
    /// Form of the answer
    #[arg(long, value_enum, default_value_t)]
    format: Form,
    #[command(flatten)]
    cluster: ClusterOptions,
}

/// What an analyst says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Said {
    /// It was fraud
    Fraud,
    /// It was in order
    Good,
}

/// Options of `verdict`.
#[derive(Args, Debug)]
pub(super) struct VerdictOptions {
    /// The payment or refund: `decision_id` of the alert
    payment: String,
    /// What it was; leave it out to assign or comment only
    #[arg(value_enum)]
    verdict: Option<Said>,
    /// Who looks at it
    #[arg(long, value_name = "NAME")]
    assign: Option<String>,
    /// Remark
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
    /// Who says it [default: the user's name]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    #[command(flatten)]
    cluster: ClusterOptions,
}

async fn store(settings: &mut Settings, cluster: &ClusterOptions) -> anyhow::Result<Store> {
    cluster.over(settings);
    let store = Store::open(&store_url(settings, &settings.data_dir()?)).await?;
    let contracts = millrace_model::Contracts::builtin();
    let tables: Vec<_> =
        ["fraud_alerts", "fraud_verdicts"].iter().filter_map(|name| contracts.get(name).cloned()).collect();
    store.ensure_tables(&tables).await?;
    Ok(store)
}

/// Shows what waits.
pub(super) async fn review(settings: &mut Settings, options: &ReviewOptions) -> anyhow::Result<()> {
    let store = store(settings, &options.cluster).await?;
    let sql = "SELECT a.decision_id, a.kind, a.decision, a.score, a.event_time, a.user_id, a.card_token, a.device_id, \
               a.amount_minor, a.currency, a.reasons, a.evidence, v.verdict, v.assigned_to, v.comment, v.decided_by \
               FROM fraud_alerts AS a LEFT JOIN fraud_verdicts AS v ON v.payment_id = a.decision_id \
               WHERE (v.verdict IS NULL OR $1 = 'all') AND (v.assigned_to = $2 OR $2 IS NULL) \
               AND (a.event_time < $3 OR $3 IS NULL) ORDER BY a.score DESC, a.event_time, a.decision_id LIMIT $4";
    let before = options.older_than.and_then(|older| SystemTime::now().checked_sub(older));
    let params = [
        Param::Text(if options.all { "all" } else { "open" }.into()),
        options.assigned_to.clone().map_or(Param::Null, Param::Text),
        before.map_or(Param::Null, |before| Param::Time(Timestamp::from_system_time(before))),
        Param::Integer(options.limit.into()),
    ];
    let rows = store.query(sql, &params).await?;
    for row in &rows {
        match options.format {
            Form::Json => println!("{}", Value::Object(row.clone())),
            Form::Table => println!("{}", line(row)),
        }
    }
    if options.format == Form::Table {
        println!("{} to review", rows.len());
    }
    store.close().await;
    Ok(())
}

fn line(row: &JsonRow) -> String {
    let number = |name: &str| row.get(name).and_then(Value::as_f64).unwrap_or(0.0);
    let names = row.get("reasons").and_then(Value::as_array).into_iter().flatten();
    let names: Vec<&str> = names.filter_map(|reason| reason["name"].as_str()).take(3).collect();
    let state = match (text(row, "verdict"), text(row, "assigned_to")) {
        (verdict, _) if !verdict.is_empty() => format!("{verdict}, says {}", text(row, "decided_by")),
        (_, who) if !who.is_empty() => format!("with {who}"),
        _ => "open".into(),
    };
    format!(
        "{}  {:.3} {:<7} {:<7} {:<28} {:>10.2} {}  {state:<12} {}",
        text(row, "event_time"),
        number("score"),
        text(row, "decision"),
        text(row, "kind"),
        text(row, "decision_id"),
        number("amount_minor") / 100.0,
        text(row, "currency"),
        names.join(", "),
    )
}

/// Takes a verdict to the topic; what was said before and is not said again stays.
pub(super) async fn verdict(settings: &mut Settings, options: &VerdictOptions) -> anyhow::Result<()> {
    if options.verdict.is_none() && options.assign.is_none() && options.comment.is_none() {
        return Err(Invalid("nothing is said: give fraud or good, --assign NAME or --comment TEXT".into()).into());
    }
    let store = store(settings, &options.cluster).await?;
    let sql = "SELECT verdict, assigned_to, comment FROM fraud_verdicts WHERE payment_id = $1";
    let before = store.query(sql, &[Param::Text(options.payment.clone())]).await?.pop().unwrap_or_default();
    store.close().await;
    let kept =
        |name: &str, said: Option<String>| said.or_else(|| Some(text(&before, name)).filter(|text| !text.is_empty()));
    let said = options.verdict.map(|said| if said == Said::Fraud { "fraud" } else { "good" }.to_owned());
    let told = json!({ "payment_id": options.payment, "verdict": kept("verdict", said),
        "assigned_to": kept("assigned_to", options.assign.clone()), "comment": kept("comment", options.comment.clone()),
        "decided_by": super::super::dead_letters::worker(options.by.as_deref()) });
    let kafka = cluster(settings, &settings.data_dir()?)?;
    let analysts = Analysts::new(&kafka, &settings.score.judge())?;
    let said = tokio::task::spawn_blocking(move || analysts.say_verdict(&told)).await.context("sending the verdict")?;
    match said {
        Ok(row) => println!("{row}"),
        Err(Refused::Invalid(why)) => return Err(Invalid(why).into()),
        Err(Refused::Conflict(why) | Refused::Unavailable(why)) => anyhow::bail!(why),
    }
    Ok(())
}
