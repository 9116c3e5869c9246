//! Records of a topic on request: what was asked for is checked, read within limits, and kept for a moment, so that
//! a page that is reloaded again and again reads once.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace_connectors::kafka::browse::{BrowseLimits, From, Stopped, browse};
use millrace_connectors::kafka::{ClientSettings, Place};
use millrace_model::time::parse_duration;
use millrace_model::{Contract, Timestamp};
use serde::Serialize;
use tokio::sync::{Mutex, OnceCell};

use super::message::Message;
use crate::params::Params;
use crate::settings::Limits;
use crate::shared::now;

/// Records shown unless more are asked for.
pub(crate) const COUNT_USUAL: usize = 50;
/// Records shown at most.
pub(crate) const COUNT_MAX: usize = 200;
/// The same question within this time has the same answer.
const KEPT_MAX: Duration = Duration::from_millis(2_000);
/// Answers kept.
const ANSWERS_MAX: usize = 16;
/// Longest wait for others who read.
const QUEUE_MAX: Duration = Duration::from_secs(10);

/// Which records.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Wanted {
    pub(crate) topic: String,
    /// None: all partitions.
    pub(crate) partition: Option<i32>,
    pub(crate) from: From,
    /// Text in key, value or headers as they are shown.
    pub(crate) text: Option<String>,
    pub(crate) count: usize,
}

/// What was found.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Answer {
    /// When it was read.
    pub(crate) at: Timestamp,
    pub(crate) messages: Vec<Message>,
    /// Records read for it.
    pub(crate) read: usize,
    /// Bytes of their keys and values.
    pub(crate) bytes: usize,
    /// `ended`, `enough`, `limit` or `time`.
    pub(crate) stopped: &'static str,
}

type Kept = Arc<OnceCell<Result<Arc<Answer>, String>>>;

/// Reads for the pages.
pub(crate) struct Messages {
    client: ClientSettings,
    turns: tokio::sync::Semaphore,
    kept: Mutex<VecDeque<(String, Instant, Kept)>>,
}

impl Wanted {
    /// Reads the query; the text says what is wrong with it.
    pub(crate) fn of(params: &Params, topic: &str, now: Timestamp) -> Result<Self, String> {
        let at = params.get("at");
        let partition = match params.get("partition") {
            None => None,
            Some(text) => Some(text.parse().map_err(|_| format!("`{text}` is not the number of a partition"))?),
        };
        let from = match (params.get("from").unwrap_or("newest"), at) {
            ("newest", _) => From::Newest,
            ("oldest", _) => From::Oldest,
            ("offset", Some(text)) => {
                let plain = text.replace([',', '_', ' '], "");
                From::Offset(plain.parse().map_err(|_| format!("`{text}` is not an offset: write digits"))?)
            }
            ("time", Some(text)) => From::Time(time(text, now)?),
            ("offset", None) => return Err("write the offset to start at".into()),
            ("time", None) => return Err("write the time to start at, such as 10m or 2026-01-31 12:00Z".into()),
            (other, _) => return Err(format!("`{other}` is none of newest, oldest, offset, time")),
        };
        Ok(Wanted {
            topic: topic.to_owned(),
            partition,
            from,
            text: params.get("q").map(str::to_lowercase),
            count: params.count("count", COUNT_USUAL, COUNT_MAX),
        })
    }
}

/// A point in time: RFC 3339 (seconds and `T` may be left out), or so long ago: `15m`, `2h`.
fn time(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    if let Ok(ago) = parse_duration(text.trim_end_matches("ago").trim()) {
        return Ok(Timestamp(now.0.saturating_sub(i64::try_from(ago.as_micros()).unwrap_or(i64::MAX))));
    }
    let upper = text.to_uppercase();
    let zoned = if upper.ends_with('Z') || upper.rfind(['+', '-']).is_some_and(|at| at > 10) {
        upper
    } else {
        format!("{upper}Z")
    };
    // `2026-01-31 12:00Z` → with seconds.
    let clock = zoned.get(11..).unwrap_or_default();
    let end = clock.find(['Z', '+', '-']).unwrap_or(clock.len());
    let whole = match end {
        5 => format!("{}:00{}", &zoned[..16], &zoned[16..]),
        _ => zoned,
    };
    Timestamp::parse(whole.as_bytes())
        .ok_or_else(|| format!("`{text}` is no time: write 15m, 2h, or 2026-01-31 12:00Z (UTC when no zone is given)"))
}

impl Messages {
    pub(super) fn new(client: ClientSettings, limits: &Limits) -> Self {
        Messages { client, turns: tokio::sync::Semaphore::new(limits.browses_at_once_max), kept: Mutex::default() }
    }

    /// The records; the text says why there are none.
    pub(crate) async fn find(
        &self,
        wanted: &Wanted,
        partitions: &[i32],
        contract: Option<&Contract>,
        limits: &Limits,
    ) -> Result<Arc<Answer>, String> {
        let chosen: Vec<i32> =
            partitions.iter().copied().filter(|part| wanted.partition.is_none_or(|only| only == *part)).collect();
        if chosen.is_empty() {
            return Err(format!("topic {} has no such partition", wanted.topic));
        }
        // Who asks for the same waits for the same answer.
        let name = format!("{wanted:?}");
        let kept: Kept = {
            let mut kept = self.kept.lock().await;
            kept.retain(|(_, at, _)| at.elapsed() < KEPT_MAX);
            match kept.iter().find(|(known, ..)| *known == name) {
                Some((.., cell)) => Arc::clone(cell),
                None => {
                    let cell = Kept::default();
                    kept.truncate(ANSWERS_MAX - 1);
                    kept.push_front((name, Instant::now(), Arc::clone(&cell)));
                    cell
                }
            }
        };
        kept.get_or_init(|| self.read(wanted, chosen, contract, limits)).await.clone()
    }

    async fn read(
        &self,
        wanted: &Wanted,
        partitions: Vec<i32>,
        contract: Option<&Contract>,
        limits: &Limits,
    ) -> Result<Arc<Answer>, String> {
        let turn = tokio::time::timeout(QUEUE_MAX, self.turns.acquire()).await;
        let Ok(Ok(_turn)) = turn else { return Err("others are reading messages just now; try again".into()) };
        let bounds = BrowseLimits {
            wanted: wanted.count,
            records_max: limits.browse_records_max,
            bytes_max: limits.browse_bytes_max,
            time_max: Duration::from_millis(limits.browse_ms_max),
        };
        let topic: Arc<str> = Arc::from(wanted.topic.as_str());
        let places = partitions.into_iter().map(|partition| Place::new(Arc::clone(&topic), partition)).collect();
        let (text, of) = (wanted.text.clone(), contract.cloned());
        let fits = move |found: &_| text.as_deref().is_none_or(|text| Message::of(found, of.as_ref()).has(text));
        let found = browse(&self.client, places, wanted.from, bounds, fits).await.map_err(|error| error.to_string())?;
        Ok(Arc::new(Answer {
            at: now(),
            messages: found.records.iter().map(|found| Message::of(found, contract)).collect(),
            read: found.read,
            bytes: found.bytes,
            stopped: match found.stopped {
                Stopped::Ended => "ended",
                Stopped::Enough => "enough",
                Stopped::Limit => "limit",
                Stopped::Time => "time",
            },
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions() {
        let now = Timestamp(1_795_355_760_000_000);
        let of = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            Wanted::of(&pairs.collect(), "t", now)
        };
        let usual = of(&[]).expect("the newest");
        assert_eq!((usual.from, usual.count, usual.partition), (From::Newest, COUNT_USUAL, None));
        let from = |kind: &str, at: &str| of(&[("from", kind), ("at", at)]).map(|wanted| wanted.from);
        assert_eq!(from("oldest", ""), Ok(From::Oldest));
        assert_eq!(from("offset", "1,234"), Ok(From::Offset(1_234)));
        assert_eq!(from("time", "10m"), Ok(From::Time(Timestamp(now.0 - 600_000_000))));
        for text in ["2026-11-22T13:56:00Z", "2026-11-22 13:56", "2026-11-22t13:56z", "2026-11-22 14:56+01:00"] {
            assert_eq!(from("time", text), Ok(From::Time(now)), "{text}");
        }
        for (kind, at, told) in [
            ("offset", "", "write the offset"),
            ("offset", "ten", "not an offset"),
            ("time", "", "write the time"),
            ("time", "tomorrow", "is no time"),
            ("time", "2026-11-22", "is no time"),
            ("sideways", "", "none of newest"),
        ] {
            let error = from(kind, at).expect_err(told);
            assert!(error.contains(told), "{error}");
        }
        assert!(of(&[("partition", "x")]).is_err());
        assert_eq!(
            of(&[("count", "9999"), ("q", "ABC")]).map(|w| (w.count, w.text)),
            Ok((COUNT_MAX, Some("abc".into())))
        );
    }
}
