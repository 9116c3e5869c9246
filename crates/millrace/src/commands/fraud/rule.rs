//! `millrace fraud rule` and `rules`: rules tried in the shadow, promoted, switched off while the scorer runs, and who did it.

use std::collections::BTreeMap;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use millrace_dashboard::service::Refused;
use millrace_intelligence::fraud::live::{Judge, JudgeSettings, Rule, RuleChange};
use serde_json::{Value, json};

use super::super::role::ClusterOptions;
use super::{Form, Invalid, Kafka};
use crate::roles::score::records::RULES;
use crate::roles::score::said::Analysts;
use crate::settings::Settings;
use crate::topic_scan::scan;

/// Options of `rule`.
#[derive(Args, Debug)]
#[command(
    after_help = "In the shadow a rule says that it would have fired, and adds nothing. `millrace fraud scoreboard` and the page
/fraud/rules show what came of it. The scorer takes a change in with its next batch; every change stays in the
topic fraud_rules, over what the settings say.

Examples:
  millrace fraud rule try fast --when 'card_attempts_1m >= 2' --points 8 --reason 'bursts at night'
  millrace fraud rule promote fast --reason '40 of 41 were fraud'
  millrace fraud rule shadow velocity --reason 'holds a group order every friday'
  millrace fraud rule off velocity --reason 'fast does it better'
  millrace fraud rule reset velocity --reason 'as the settings have it'
  millrace fraud rule history velocity"
)]
pub(super) struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Let a new rule, or new conditions of one, run in the shadow
    Try(TryOptions),
    /// Let a rule act
    Promote(ChangeOptions),
    /// Put a rule that acts back into the shadow
    Shadow(ChangeOptions),
    /// Stop a rule
    Off(ChangeOptions),
    /// Let the settings say how the rule is
    Reset(ChangeOptions),
    /// Every change there was, the oldest first
    History(HistoryOptions),
}

#[derive(Args, Debug)]
struct TryOptions {
    /// The rule: small letters, digits and _
    name: String,
    /// Conditions: FEATURE >= NUMBER, joined by `and` [default: as they are]
    #[arg(long, value_name = "CONDITIONS")]
    when: Option<String>,
    /// What it would add to the logarithm of the odds; 7 are enough for a review [default: as they are]
    #[arg(long, value_name = "POINTS")]
    points: Option<f32>,
    /// For people: what it finds
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    #[command(flatten)]
    why: Why,
}

#[derive(Args, Debug)]
struct ChangeOptions {
    /// The rule
    name: String,
    #[command(flatten)]
    why: Why,
}

#[derive(Args, Debug)]
struct Why {
    /// Why, for the audit trail
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Who says it [default: the user's name]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    #[command(flatten)]
    cluster: ClusterOptions,
}

#[derive(Args, Debug)]
struct HistoryOptions {
    /// Only this rule
    name: Option<String>,
    /// Form of the answer
    #[arg(long, value_enum, default_value_t)]
    format: Form,
    #[command(flatten)]
    cluster: ClusterOptions,
}

/// Options of `rules`.
#[derive(Args, Debug)]
pub(super) struct RulesOptions {
    /// Form of the answer
    #[arg(long, value_enum, default_value_t)]
    format: Form,
    #[command(flatten)]
    cluster: ClusterOptions,
}

/// Runs it.
pub(super) async fn run(settings: &mut Settings, options: &Options) -> anyhow::Result<()> {
    let (state, name, why) = match &options.action {
        Action::History(options) => return history(settings, options).await,
        Action::Try(options) => {
            let told = json!({ "name": options.name, "state": "shadow", "when": options.when, "points": options.points,
                "description": options.description });
            return say(settings, told, &options.why).await;
        }
        Action::Promote(options) => (Some("acts"), &options.name, &options.why),
        Action::Shadow(options) => (Some("shadow"), &options.name, &options.why),
        Action::Off(options) => (Some("off"), &options.name, &options.why),
        Action::Reset(options) => (None, &options.name, &options.why),
    };
    say(settings, json!({ "name": name, "state": state }), why).await
}

async fn say(settings: &mut Settings, mut told: Value, why: &Why) -> anyhow::Result<()> {
    told["reason"] = why.reason.clone().into();
    told["changed_by"] = super::super::dead_letters::worker(why.by.as_deref()).into();
    let judge = settings.score.judge();
    let kafka = Kafka::open(settings, &why.cluster).await?;
    let said = said(&kafka, &judge, told).await;
    kafka.close().await?;
    match said? {
        Ok(row) => println!("{row}"),
        Err(Refused::Invalid(why)) => return Err(Invalid(why).into()),
        Err(Refused::Conflict(why) | Refused::Unavailable(why)) => anyhow::bail!(why),
    }
    Ok(())
}

async fn said(kafka: &Kafka, judge: &JudgeSettings, told: Value) -> anyhow::Result<Result<Value, Refused>> {
    let before = changes(kafka).await?.into_iter().rfind(|row| row["name"] == told["name"]);
    let analysts = Analysts::new(&kafka.client, judge)?;
    let saying = tokio::task::spawn_blocking(move || analysts.say_rule(&told, before.as_ref()));
    saying.await.context("sending the change")
}

/// Every change there was, in order.
async fn changes(kafka: &Kafka) -> anyhow::Result<Vec<Value>> {
    let mut changes = Vec::new();
    scan(&kafka.client, &[RULES], |record| {
        changes.extend(record.value.and_then(|value| serde_json::from_slice::<Value>(value).ok()));
    })
    .await?;
    Ok(changes)
}

async fn history(settings: &mut Settings, options: &HistoryOptions) -> anyhow::Result<()> {
    let kafka = Kafka::open(settings, &options.cluster).await?;
    let changes = changes(&kafka).await;
    kafka.close().await?;
    for row in changes?.iter().filter(|row| options.name.as_deref().is_none_or(|name| row["name"] == name)) {
        let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
        let points = row["points"].as_f64().map_or_else(String::new, |points| format!(" {points:.1}"));
        match options.format {
            Form::Json => println!("{row}"),
            Form::Table => println!(
                "{}  {:<28} {:<8} {} ({})  {}{points}",
                text("changed_at"),
                text("name"),
                row["state"].as_str().unwrap_or("settings"),
                text("reason"),
                text("changed_by"),
                text("when"),
            ),
        }
    }
    Ok(())
}

/// Shows the rules as the scorer has them: those of the settings, and what was changed since.
pub(super) async fn rules(settings: &mut Settings, options: &RulesOptions) -> anyhow::Result<()> {
    let judge = settings.score.judge();
    Judge::new(judge.clone()).map_err(|why| Invalid(format!("score: {why}")))?;
    let kafka = Kafka::open(settings, &options.cluster).await?;
    let changes = changes(&kafka).await;
    kafka.close().await?;
    let mut last: BTreeMap<String, Value> = BTreeMap::new();
    for row in changes? {
        last.insert(row["name"].as_str().unwrap_or_default().to_owned(), row);
    }
    let rule = |(name, row): (&String, &Value)| -> Option<(String, Rule)> {
        let change: RuleChange = serde_json::from_value(row.clone()).ok()?;
        Some((name.clone(), change.rule().ok()??))
    };
    let changed: BTreeMap<String, Rule> = last.iter().filter_map(rule).collect();
    for (name, rule) in judge.merged_with(&changed) {
        let row = last.get(&name).filter(|_| changed.contains_key(&name));
        let by = row.map(|row| row["changed_by"].as_str().unwrap_or_default());
        match options.format {
            Form::Json => println!(
                "{}",
                json!({ "name": name, "state": rule.state(), "points": rule.points, "when": rule.when,
                    "description": rule.description, "changed_by": by, "changed_at": row.map(|row| &row["changed_at"]) })
            ),
            Form::Table => {
                let by = by.map_or_else(String::new, |by| format!(" (changed by {by})"));
                println!(
                    "{name:<28} {:<6} {:>5.1}  {}\n{:42} {}{by}",
                    rule.state(),
                    rule.points,
                    rule.when,
                    "",
                    rule.description
                );
            }
        }
    }
    Ok(())
}
