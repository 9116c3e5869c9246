//! `millrace alerts`: what fired, who looks after it, what is not to be told for a while, and whether a channel works.

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use millrace_connectors::alerts::{Alerts, Occurrence};
use millrace_connectors::notify::{Channel, EntityAlerts, Message, Severity};
use millrace_connectors::store::{JsonRow, Param, Store};
use millrace_model::Timestamp;
use millrace_model::names::did_you_mean;
use millrace_model::time::parse_duration;
use serde_json::Value;

use super::role::ClusterOptions;
use super::{Global, Invalid};
use crate::product::store_url;
use crate::roles::notify::tables::{integer, text};
use crate::settings::Settings;

/// Options of `alerts`.
#[derive(Args, Debug)]
#[command(after_help = "Routes and channels are in millrace.toml; docs/operating/alerts.md has examples.

Examples:
  millrace alerts test ops                            send a message that says it is a test
  millrace alerts list --open
  millrace alerts ack fraud/velocity/card_1           somebody looks after it: no more messages about this occurrence
  millrace alerts snooze fraud/velocity/card_1 --for 2h   nothing about its entity for two hours
  millrace alerts snooze fraud/velocity/card_1 --undo     tell of it again")]
pub(crate) struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Send a test message through a channel
    Test {
        /// Name of the channel in the settings
        channel: String,
    },
    /// List alerts, newest first
    List {
        /// Only those that are not over
        #[arg(long)]
        open: bool,
        /// Most alerts to list
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: u32,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        cluster: ClusterOptions,
    },
    /// Say that somebody looks after alerts: their present occurrence is told no more
    Ack {
        /// Ids, as `list` shows them
        #[arg(required = true, value_name = "ALERT")]
        ids: Vec<String>,
        /// Who, for the record [default: the user's name]
        #[arg(long, value_name = "NAME")]
        by: Option<String>,
        /// Nobody looks after them after all: what was called off is told
        #[arg(long)]
        undo: bool,
        #[command(flatten)]
        cluster: ClusterOptions,
    },
    /// Tell nothing about the entities of these alerts for a while; what fires meanwhile is told afterwards
    Snooze {
        /// Ids, as `list` shows them
        #[arg(required = true, value_name = "ALERT")]
        ids: Vec<String>,
        /// How long
        #[arg(long = "for", value_name = "TIME", value_parser = parse_duration, required_unless_present = "undo")]
        duration: Option<Duration>,
        /// End a snooze: tell of them again
        #[arg(long, conflicts_with = "duration")]
        undo: bool,
        /// Who, for the record [default: the user's name]
        #[arg(long, value_name = "NAME")]
        by: Option<String>,
        #[command(flatten)]
        cluster: ClusterOptions,
    },
}

/// Runs it.
pub(crate) fn run(global: &Global, options: Options) -> anyhow::Result<ExitCode> {
    let mut settings = global.settings()?;
    super::runtime()?.block_on(async {
        match options.action {
            Action::Test { channel } => test(&settings, &channel).await?,
            Action::List { open, limit, json, cluster } => {
                list(&store(&mut settings, &cluster).await?, open, limit, json).await?;
            }
            Action::Ack { ids, by, undo, cluster } => {
                ack(store(&mut settings, &cluster).await?, &ids, &worker(by), undo).await?;
            }
            Action::Snooze { ids, duration, undo, by, cluster } => {
                let duration = duration.filter(|_| !undo).unwrap_or_default();
                snooze(store(&mut settings, &cluster).await?, &ids, duration, &worker(by)).await?;
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn worker(said: Option<String>) -> String {
    super::dead_letters::worker(said.as_deref())
}

fn now() -> Timestamp {
    Timestamp::from_system_time(SystemTime::now())
}

async fn store(settings: &mut Settings, cluster: &ClusterOptions) -> anyhow::Result<Store> {
    cluster.over(settings);
    Ok(Store::open(&store_url(settings, &settings.data_dir()?)).await?)
}

async fn test(settings: &Settings, name: &str) -> anyhow::Result<()> {
    let notify = &settings.notify;
    let Some(channel) = notify.channels.get(name) else {
        let hint = did_you_mean(name, notify.channels.keys().map(String::as_str));
        let text = format!("there is no channel `{name}`{hint}; channels are [notify.channels.NAME] in millrace.toml");
        return Err(Invalid(text).into());
    };
    let channel = Channel::open(channel).map_err(|error| Invalid(format!("notify.channels.{name}: {error}")))?;
    let now = now();
    let entity = EntityAlerts {
        entity: "test".into(),
        title: format!("test of channel {name}: nothing happened"),
        severity: Severity::Info,
        alerts: 1,
        cause: "fired".into(),
        alert_ids: Vec::new(),
        evidence: vec![("sent by".into(), "millrace alerts test".into()), ("at".into(), now.to_string())],
    };
    let message = Message {
        id: format!("test.{:x}", now.0),
        route: "test".into(),
        severity: Severity::Info,
        alerts: 1,
        entities_total: 1,
        entities: vec![entity],
        link: notify.dashboard_url.clone(),
        time: now,
    };
    channel.send(&message).await.with_context(|| format!("channel {name}"))?;
    println!("channel {name} has taken a test message");
    Ok(())
}

async fn list(store: &Store, open: bool, limit: u32, json: bool) -> anyhow::Result<()> {
    let condition = if open { "WHERE a.resolved_at IS NULL" } else { "" };
    let sql = format!(
        "SELECT a.alert_id, a.occurrence, a.severity, a.entity, a.title, a.hits, a.fired_at, a.resolved_at, k.acked_at, \
         k.acked_by, (SELECT count(*) FROM alert_deliveries AS d WHERE d.alert_id = a.alert_id \
         AND d.occurrence = a.occurrence AND d.state = 'sent') AS told \
         FROM alerts_fired AS a LEFT JOIN alert_acks AS k ON k.alert_id = a.alert_id AND k.occurrence = a.occurrence \
         {condition} ORDER BY a.fired_at DESC, a.alert_id LIMIT $1"
    );
    let rows = store.query(&sql, &[Param::Integer(limit.into())]).await?;
    for row in &rows {
        if json {
            println!("{}", Value::Object(row.clone()));
        } else {
            println!("{}", line(row));
        }
    }
    if !json {
        println!("{} alerts", rows.len());
    }
    Ok(())
}

fn line(row: &JsonRow) -> String {
    let is_set = |column: &str| row.get(column).is_some_and(|value| !value.is_null());
    let state = match (is_set("resolved_at"), is_set("acked_at"), integer(row, "told")) {
        (true, _, _) => "over".to_owned(),
        (false, true, _) => format!("acknowledged by {}", text(row, "acked_by")),
        (false, false, 0) => "not told".to_owned(),
        (false, false, _) => "told".to_owned(),
    };
    let (fired, severity, id) = (text(row, "fired_at"), text(row, "severity"), text(row, "alert_id"));
    format!("{fired}  {severity:<8} {id:<40} {state:<12} {} rows  {}", integer(row, "hits"), text(row, "title"))
}

/// The last occurrences of these alerts.
async fn found(alerts: &Alerts, ids: &[String]) -> anyhow::Result<Vec<Occurrence>> {
    let mut found = Vec::with_capacity(ids.len());
    for id in ids {
        let text = || Invalid(format!("there is no alert `{id}`; `millrace alerts list` shows their ids"));
        found.push(alerts.last(id).await?.ok_or_else(text)?);
    }
    Ok(found)
}

async fn ack(store: Store, ids: &[String], by: &str, undo: bool) -> anyhow::Result<()> {
    let alerts = Alerts::new(store)?;
    let found = found(&alerts, ids).await?;
    if undo {
        alerts.take_back(&found, by).await?;
        println!("{} no longer acknowledged", found.len());
    } else {
        alerts.acknowledge(&found, by, now()).await?;
        println!("{} acknowledged", found.len());
    }
    Ok(())
}

async fn snooze(store: Store, ids: &[String], duration: Duration, by: &str) -> anyhow::Result<()> {
    let micros = i64::try_from(duration.as_micros()).context("that long is for ever; leave the route out")?;
    let (now, until) = (now(), Timestamp(now().0.saturating_add(micros)));
    let alerts = Alerts::new(store)?;
    let found = found(&alerts, ids).await?;
    alerts.snooze(&found, until, by, now).await?;
    for Occurrence { entity, source_table, .. } in &found {
        match duration.is_zero() {
            true => println!("{entity} of {source_table} is told of again"),
            false => println!("nothing about {entity} of {source_table} until {until}"),
        }
    }
    Ok(())
}
