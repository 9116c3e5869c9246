//! What each sink promises, and how far it is behind now: from the last look at the cluster and the messages that wait.

use std::time::Duration;

use millrace_connectors::alerts::{Alerts, Undelivered};
use serde::Serialize;

use crate::settings::{SinkLag, SinkPromise};
use crate::shared::Shared;
use crate::view::kafka::Look;

/// A sink's promise with its present lag.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct PromiseLine {
    /// The promise.
    #[serde(flatten)]
    pub(crate) of: SinkPromise,
    /// Records or messages that are not delivered yet; none: not known.
    pub(crate) behind: Option<i64>,
    /// Age of the oldest of these records, seconds, where it is known.
    pub(crate) behind_seconds: Option<f64>,
    /// Messages a channel has refused.
    pub(crate) refused: i64,
}

/// All sinks, as they are configured.
pub(crate) async fn look(shared: &Shared) -> Vec<PromiseLine> {
    let sinks = &shared.settings.sinks;
    let has_channels = sinks.iter().any(|sink| matches!(sink.lag, SinkLag::Channel(_)));
    let undelivered = if has_channels { undelivered(shared).await } else { None };
    // The cluster is asked for the page that shows it, and for no other.
    let cluster = shared.kafka.as_ref().and_then(|kafka| kafka.glance());
    lines(sinks, cluster.as_deref(), undelivered.as_deref())
}

async fn undelivered(shared: &Shared) -> Option<Vec<Undelivered>> {
    let alerts = Alerts::new(shared.store.clone()).ok()?;
    let wait = Duration::from_millis(shared.settings.limits.store_ms_max);
    let asked = tokio::time::timeout(wait, alerts.undelivered()).await.ok()?;
    asked.inspect_err(|error| tracing::warn!(%error, "what alert channels wait for is not known")).ok()
}

fn lines(sinks: &[SinkPromise], cluster: Option<&Look>, undelivered: Option<&[Undelivered]>) -> Vec<PromiseLine> {
    let line = |sink: &SinkPromise| {
        let mut line = PromiseLine { of: sink.clone(), behind: None, behind_seconds: None, refused: 0 };
        match &sink.lag {
            SinkLag::Group(name) => {
                let group = cluster.and_then(|look| look.groups.iter().find(|group| group.name == *name));
                line.behind = group.and_then(|group| group.lag_records);
                line.behind_seconds = group.and_then(|group| group.lag_seconds);
            }
            SinkLag::Channel(name) => {
                let sum = |failed: bool| {
                    let of = undelivered.into_iter().flatten();
                    of.filter(|of| of.channel == *name && (of.state == "failed") == failed).map(|of| of.messages).sum()
                };
                line.behind = undelivered.map(|_| sum(false));
                line.refused = sum(true);
            }
            SinkLag::Unknown => {}
        }
        line
    };
    sinks.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lags_are_found_where_they_are() {
        let sink = |lag: SinkLag| SinkPromise {
            sink: "s".into(),
            promise: "exactly once".into(),
            deduplicated_by: "d".into(),
            retried: "r".into(),
            lag,
        };
        let sinks = [
            sink(SinkLag::Channel("ops".into())),
            sink(SinkLag::Channel("mail".into())),
            sink(SinkLag::Group("millrace-store".into())),
            sink(SinkLag::Unknown),
        ];
        let of = |channel: &str, state: &str, messages| Undelivered {
            channel: channel.into(),
            state: state.into(),
            messages,
        };
        let waiting = [of("ops", "failed", 2), of("ops", "sending", 1), of("ops", "waiting", 4)];
        let told = |lines: Vec<PromiseLine>| lines.iter().map(|line| (line.behind, line.refused)).collect::<Vec<_>>();
        let found = told(lines(&sinks, Some(&Look::default()), Some(&waiting)));
        assert_eq!(found, [(Some(5), 2), (Some(0), 0), (None, 0), (None, 0)]);
        assert_eq!(told(lines(&sinks, None, None))[0], (None, 0), "what is not known is not nought");
    }
}
