//! `millrace dead-letters`: records that could not be counted are looked at, repaired and sent again.
//!
//! ```text
//!  table dead_letters ──▶ list, show                         one Kafka transaction
//!        │ filter                                    ┌──────────────────────────────────┐
//!        └──▶ repair ──▶ table dead_letter_repairs ──┼─▶ redrive ──▶ source topic       │
//!                                                    │          └──▶ dead_letter_redrives│
//!                                                    └──────────────────────────────────┘
//! ```
//!
//! A dead letter is never deleted: that it was sent again is a row of `dead_letter_redrives`, which becomes visible together
//! with the record it tells of. So a crash leaves either both or none, and the same letter is not sent twice unless forced.
//!
//! What the store holds is `millrace_connectors::dead_letters`. Reading order: `filter` (which letters) → `soundness` (would it
//! be counted now?) → `list`, `show`, `repair` (with `json_patch`), `redrive` (the commands) → `sender` (the transaction) → `desk`
//! (the same for the page).

pub(crate) mod desk;
mod filter;
mod json_patch;
mod list;
mod redrive;
mod repair;
mod sender;
mod show;
mod soundness;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use millrace_connectors::store::Store;

use super::Global;
use super::role::ClusterOptions;
use crate::product::store_url;
use crate::settings::Settings;

/// Options of `dead-letters`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  millrace dead-letters list --topic transactions --code wrong_type --since 2h
  millrace dead-letters show user_events/0/4711
  millrace dead-letters show user_events/0/4711 --form raw > record.json
  millrace dead-letters repair user_events/0/4711 --value record.json
  millrace dead-letters repair --code wrong_type --patch '[{\"op\":\"replace\",\"path\":\"/quantity\",\"value\":3}]' --dry-run
  millrace dead-letters redrive --topic transactions --rate 50")]
pub(crate) struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// List them, newest first
    List(list::Options),
    /// Show one: its bytes, the place it came from, what was done about it
    Show(show::Options),
    /// Keep another value for one, or patch many; nothing is sent
    Repair(repair::Options),
    /// Send them again to the topics they came from
    Redrive(redrive::Options),
}

/// Runs it.
pub(crate) fn run(global: &Global, options: Options) -> anyhow::Result<ExitCode> {
    let settings = global.settings()?;
    super::runtime()?.block_on(async {
        match options.action {
            Action::List(options) => list::run(settings, options).await,
            Action::Show(options) => show::run(settings, options).await,
            Action::Repair(options) => repair::run(settings, options).await,
            Action::Redrive(options) => redrive::run(settings, options).await,
        }
    })
}

/// The store of the settings, with these options over them.
async fn open_store(settings: &mut Settings, cluster: &ClusterOptions) -> anyhow::Result<Store> {
    cluster.over(settings);
    let data_dir = settings.data_dir()?;
    let url = store_url(settings, &data_dir);
    if settings.store.url.is_empty() && !data_dir.join("millrace.db").exists() {
        let text = format!(
            "no store in {}: name one with --store postgres://… or the data folder with --data-dir",
            data_dir.display()
        );
        return Err(super::Invalid(text).into());
    }
    Ok(Store::open(&url).await?)
}

/// Who works here, for the record: as said, else the user's name.
pub(super) fn worker(said: Option<&str>) -> String {
    let user = || ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok().filter(|name| !name.is_empty()));
    said.map(str::to_owned).or_else(user).unwrap_or_else(|| "unknown".into())
}
