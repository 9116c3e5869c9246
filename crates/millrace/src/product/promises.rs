//! What the sinks of these settings promise, for the health page: the short form of docs/operating/delivery.md.

use millrace_connectors::lake::LAKE_GROUP;
use millrace_connectors::notify::ChannelSettings;
use millrace_connectors::sink::search::SEARCH_GROUP;
use millrace_connectors::sink::store::STORE_GROUP;
use millrace_dashboard::{SinkLag, SinkPromise};

use crate::settings::{Backend, Settings};

/// How long a target that is away is waited for.
const WAITS: &str = "away: 0.1 s to 15 s apart, as long as it takes";

/// The sinks that are configured, results first. `store_url` says which store it is.
pub(super) fn promises(settings: &Settings, store_url: &str) -> Vec<SinkPromise> {
    let promise = |sink: &str, promise: &str, deduplicated_by: &str, retried: String, lag: SinkLag| SinkPromise {
        sink: sink.into(),
        promise: promise.into(),
        deduplicated_by: deduplicated_by.into(),
        retried,
        lag,
    };
    let group = |name: &str| SinkLag::Group(name.into());
    let mut promises = Vec::new();
    let backends = |backend: Backend| {
        settings.backend == backend || settings.jobs.values().any(|job| job.backend == Some(backend))
    };
    if backends(Backend::Embedded) {
        promises.push(promise(
            "sources → result topics",
            "exactly once",
            "rows and offsets in one Kafka transaction",
            format!("{WAITS}; malformed or late: dead letters"),
            SinkLag::Unknown,
        ));
    }
    if backends(Backend::Spark) {
        promises.push(promise(
            "sources → result topics (Spark)",
            "at least once",
            "the row's key: its last row counts",
            "Spark\u{2019}s own, then the job is started again".into(),
            SinkLag::Unknown,
        ));
    }
    let store = if store_url.starts_with("postgres") { "results → PostgreSQL" } else { "results → SQLite" };
    promises.push(promise(
        store,
        "exactly once",
        "rows and offsets in one transaction",
        format!("{WAITS}; refused: dead letters"),
        group(STORE_GROUP),
    ));
    if !settings.sink.elasticsearch.url.is_empty() {
        promises.push(promise(
            "results → search",
            "at least once, so once",
            "document id and version",
            format!("{WAITS}; an item\u{2019}s 4xx: dead letters"),
            group(SEARCH_GROUP),
        ));
    }
    if settings.lake.enabled {
        promises.push(promise(
            "sources → lake",
            "exactly once",
            "files named by offsets, claimed before they are written",
            WAITS.into(),
            group(LAKE_GROUP),
        ));
    }
    for (name, channel) in &settings.notify.channels {
        if !settings.notify.routes.values().any(|route| route.channels.contains(name)) {
            continue;
        }
        let (kind, by) = match channel {
            ChannelSettings::Slack { .. } => ("Slack", "nothing: Slack cannot tell a repeat"),
            ChannelSettings::Email(_) => ("email", "Message-ID"),
            ChannelSettings::Webhook { .. } => ("webhook", "Idempotency-Key"),
        };
        promises.push(promise(
            &format!("alerts → {name} ({kind})"),
            "at least once",
            by,
            "away: 1 s to 60 s apart, as long as it takes; refused for good: kept as failed".into(),
            SinkLag::Channel(name.clone()),
        ));
    }
    promises
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sinks(text: &str, store_url: &str) -> Vec<String> {
        let settings = Settings::parse(text, "f").expect("settings");
        promises(&settings, store_url).into_iter().map(|promise| promise.sink).collect()
    }

    #[test]
    fn only_what_is_configured_promises() {
        let usual = sinks("", "sqlite:///m.db");
        assert_eq!(usual, ["sources → result topics", "results → SQLite", "sources → lake"]);
        let text = "backend = 'spark'\n[jobs.fraud]\nbackend = 'embedded'\n[lake]\nenabled = false\n\
                    [sink.elasticsearch]\nurl = 'http://127.0.0.1:9200'\n\
                    [notify.channels.ops]\nkind = 'slack'\nurl = 'env:X'\n\
                    [notify.channels.unused]\nkind = 'slack'\nurl = 'env:X'\n\
                    [notify.routes.fraud]\ntable = 'fraud_signals'\nchannels = ['ops']\n";
        let all = sinks(text, "postgres://m@db/shop");
        let expected = [
            "sources → result topics",
            "sources → result topics (Spark)",
            "results → PostgreSQL",
            "results → search",
            "alerts → ops (Slack)",
        ];
        assert_eq!(all, expected);
    }
}
