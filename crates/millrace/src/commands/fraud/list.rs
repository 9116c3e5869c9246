//! `millrace fraud list`: who is blocked, watched or allowed, why, and until when.

use std::collections::BTreeMap;

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use millrace_connectors::kafka::ClientSettings;
use millrace_dashboard::service::Refused;
use millrace_intelligence::fraud::live::LISTED;
use millrace_model::Timestamp;
use serde_json::{Value, json};

use super::super::role::ClusterOptions;
use super::{Form, Invalid, Kafka};
use crate::roles::score::records::LISTS;
use crate::roles::score::said::Analysts;
use crate::settings::Settings;
use crate::topic_scan::scan;

/// Options of `list`.
#[derive(Args, Debug)]
#[command(
    after_help = "A list decides before rules and model do: block refuses, watch sends to review, allow lets pass. Of several
entities of a payment the strictest list counts. The scorer obeys with its next batch; every change stays in the
topic fraud_lists, the last of each entity in the table of that name, which pipelines can join.

Examples:
  millrace fraud list add block card tok_4711 --reason 'skimmed in Linz, says the bank' --expires 90d
  millrace fraud list add watch device dev_1 --reason 'three accounts in a week'
  millrace fraud list add allow account u_77 --rules velocity,promo_abuse --reason 'buys for a school'
  millrace fraud list remove card tok_4711 --reason 'a new card was sent'
  millrace fraud list show --list block
  millrace fraud list show --entity tok_4711 --history"
)]
pub(super) struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Put an entity on a list; it leaves the one it was on
    Add(AddOptions),
    /// Take an entity off its list
    Remove(RemoveOptions),
    /// Who is on a list now, or every change there was
    Show(ShowOptions),
}

/// The lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum List {
    /// Refused
    Block,
    /// Somebody looks at it
    Watch,
    /// Not held
    Allow,
}

impl List {
    fn name(self) -> &'static str {
        match self {
            List::Block => "block",
            List::Watch => "watch",
            List::Allow => "allow",
        }
    }
}

#[derive(Args, Debug)]
struct AddOptions {
    /// The list
    #[arg(value_enum)]
    list: List,
    /// What it is: card, account, device, ip, network, bin, email (its hash), address (its hash) or terminal (store_id)
    kind: String,
    /// Its name, as `transactions` has it
    entity: String,
    /// Why; shown with every payment it holds
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// For how long (30d), or until when (2026-12-31T12:00:00Z) [default: until it is removed]
    #[arg(long, value_name = "TIME")]
    expires: Option<String>,
    /// With allow: the rules that do not hold it, commas between [default: nothing holds it]
    #[arg(long, value_name = "RULES", value_delimiter = ',')]
    rules: Vec<String>,
    /// Who says it [default: the user's name]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    #[command(flatten)]
    cluster: ClusterOptions,
}

#[derive(Args, Debug)]
struct RemoveOptions {
    /// What it is
    kind: String,
    /// Its name
    entity: String,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Who says it [default: the user's name]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    #[command(flatten)]
    cluster: ClusterOptions,
}

#[derive(Args, Debug)]
struct ShowOptions {
    /// Only this list
    #[arg(long, value_enum)]
    list: Option<List>,
    /// Only entities of this kind
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// Only this entity
    #[arg(long, value_name = "NAME")]
    entity: Option<String>,
    /// Every change, the oldest first, instead of who is on a list now
    #[arg(long)]
    history: bool,
    /// Form of the answer
    #[arg(long, value_enum, default_value_t)]
    format: Form,
    #[command(flatten)]
    cluster: ClusterOptions,
}

/// Runs it.
pub(super) async fn run(settings: &mut Settings, options: &Options) -> anyhow::Result<()> {
    match &options.action {
        Action::Add(options) => {
            let by = super::super::dead_letters::worker(options.by.as_deref());
            let rules = (!options.rules.is_empty()).then_some(&options.rules);
            let told = json!({ "kind": options.kind, "entity": options.entity, "list": options.list.name(), "rules": rules,
                "reason": options.reason, "expires": options.expires, "changed_by": by });
            say(settings, &options.cluster, told).await
        }
        Action::Remove(options) => {
            let by = super::super::dead_letters::worker(options.by.as_deref());
            let told = json!({ "kind": options.kind, "entity": options.entity, "list": null, "reason": options.reason,
                "changed_by": by });
            say(settings, &options.cluster, told).await
        }
        Action::Show(options) => show(settings, options).await,
    }
}

async fn say(settings: &mut Settings, cluster: &ClusterOptions, told: Value) -> anyhow::Result<()> {
    let judge = settings.score.judge();
    let kafka = Kafka::open(settings, cluster).await?;
    let analysts = Analysts::new(&kafka.client, &judge);
    let said = match analysts {
        Ok(analysts) => {
            tokio::task::spawn_blocking(move || analysts.say_list(&told)).await.context("sending the change")
        }
        Err(error) => Err(error.into()),
    };
    kafka.close().await?;
    match said? {
        Ok(row) => println!("{row}"),
        Err(Refused::Invalid(why)) => return Err(Invalid(why).into()),
        Err(Refused::Conflict(why) | Refused::Unavailable(why)) => anyhow::bail!(why),
    }
    Ok(())
}

/// Every change there was, in order.
pub(super) async fn changes(kafka: &ClientSettings) -> anyhow::Result<Vec<Value>> {
    let mut changes = Vec::new();
    scan(kafka, &[LISTS], |record| {
        changes.extend(record.value.and_then(|value| serde_json::from_slice::<Value>(value).ok()));
    })
    .await?;
    Ok(changes)
}

async fn show(settings: &mut Settings, options: &ShowOptions) -> anyhow::Result<()> {
    if let Some(kind) = &options.kind
        && !LISTED.iter().any(|(name, _)| name == kind)
    {
        let kinds: Vec<&str> = LISTED.iter().map(|(name, _)| *name).collect();
        return Err(Invalid(format!("`{kind}` is nothing that can be listed; there are {}", kinds.join(", "))).into());
    }
    let kafka = Kafka::open(settings, &options.cluster).await?;
    let changes = changes(&kafka.client).await;
    kafka.close().await?;
    let now = Timestamp::from_system_time(std::time::SystemTime::now());
    let rows = shown(changes?, options, now);
    for row in &rows {
        match options.format {
            Form::Json => println!("{row}"),
            Form::Table => println!("{}", line(row, now)),
        }
    }
    if options.format == Form::Table {
        println!("{} {}", rows.len(), if options.history { "changes" } else { "listed" });
    }
    Ok(())
}

/// What was asked for of all changes.
fn shown(changes: Vec<Value>, options: &ShowOptions, now: Timestamp) -> Vec<Value> {
    let is = |row: &Value, name: &str, wanted: Option<&str>| wanted.is_none_or(|wanted| row[name] == wanted);
    let wanted = |row: &Value| {
        is(row, "list", options.list.map(List::name))
            && is(row, "kind", options.kind.as_deref())
            && is(row, "entity", options.entity.as_deref())
    };
    if options.history {
        return changes.into_iter().filter(wanted).collect();
    }
    let mut last: BTreeMap<(String, String), Value> = BTreeMap::new();
    for row in changes {
        last.insert((row["kind"].to_string(), row["entity"].to_string()), row);
    }
    let is_listed = |row: &Value| !row["list"].is_null() && !is_over(row, now);
    last.into_values().filter(|row| is_listed(row) && wanted(row)).collect()
}

fn is_over(row: &Value, now: Timestamp) -> bool {
    row["expires_at"].as_str().and_then(|text| Timestamp::parse(text.as_bytes())).is_some_and(|time| time <= now)
}

fn line(row: &Value, now: Timestamp) -> String {
    let text = |name: &str| row[name].as_str().unwrap_or_default();
    let list = row["list"].as_str().unwrap_or("off");
    let until = match (text("expires_at"), is_over(row, now)) {
        ("", _) => String::new(),
        (time, true) => format!("  over since {time}"),
        (time, false) => format!("  until {time}"),
    };
    let rules = row["rules"].as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>().join(",");
    let rules = if rules.is_empty() { String::new() } else { format!("  for {rules}") };
    let (kind, entity, reason) = (text("kind"), text("entity"), text("reason"));
    format!("{}  {list:<6} {kind:<8} {entity:<28} {reason} ({}){rules}{until}", text("changed_at"), text("changed_by"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(arguments: &[&str]) -> ShowOptions {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            options: ShowOptions,
        }
        <Line as clap::Parser>::parse_from([&["x"], arguments].concat()).options
    }

    #[test]
    fn the_last_change_of_an_entity_counts_until_it_is_over() {
        let change = |kind: &str, entity: &str, list: Option<&str>, expires: Option<&str>| json!({ "kind": kind, "entity": entity, "list": list, "changed_by": "ann", "expires_at": expires });
        let changes = vec![
            change("card", "a", Some("watch"), None),
            change("card", "b", Some("block"), None),
            change("card", "a", Some("block"), Some("2026-01-02T00:00:00Z")),
            change("card", "b", None, None),
            change("device", "a", Some("allow"), Some("2025-12-31T00:00:00Z")),
        ];
        let now = Timestamp::parse(b"2026-01-01T00:00:00Z").expect("a time");
        let entities = |arguments: &[&str]| -> Vec<String> {
            let rows = shown(changes.clone(), &options(arguments), now);
            rows.iter().map(|row| format!("{} {}", row["entity"].as_str().unwrap_or("?"), row["list"])).collect()
        };
        assert_eq!(entities(&[]), ["a \"block\""]);
        assert_eq!(entities(&["--list", "watch"]), [""; 0]);
        assert_eq!(entities(&["--entity", "b", "--history"]), ["b \"block\"", "b null"]);
        assert_eq!(entities(&["--kind", "device", "--history"]), ["a \"allow\""]);
    }
}
