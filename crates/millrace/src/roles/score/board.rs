//! The scoreboard beside a running scorer: its decisions against the simulated shop's answer key, followed as they come.
//!
//! ```text
//!  answer_key, fraud_decisions ──▶ from the first record, once somebody asks ──▶ GET /v1/fraud/scoreboard, the page
//! ```
//!
//! The same figures as `millrace fraud scoreboard`, over the newest decisions. The scorer itself never reads the answer key.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use millrace_connectors::kafka::rdkafka::Message;
use millrace_connectors::kafka::reader::Reader;
use millrace_connectors::kafka::{ClientSettings, Cluster, Extent, KafkaError, Place};
use millrace_dashboard::service::{Measures, Refused};
use millrace_intelligence::fraud::live::scoreboard::{Answer, Decided, Scoreboard};
use millrace_model::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::records::DECISIONS;

/// In whose name it reads; it commits nothing.
const GROUP: &str = "millrace-scoreboard";
/// The simulated shop's truth.
pub(crate) const ANSWERS: &str = "answer_key";
/// Decisions held, at some 300 bytes each: 90 MB.
const DECISIONS_MAX: usize = 300_000;
/// A report is computed this seldom.
const REPORT_AGE_MAX: Duration = Duration::from_secs(5);
/// Wait before it reads again what it could not read.
const RETRY: Duration = Duration::from_secs(5);

/// A row of `fraud_decisions`, as far as it is looked at.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct DecisionRow {
    decision_id: String,
    kind: String,
    decision: String,
    score: f64,
    event_time: String,
    user_id: Option<String>,
    amount_minor: Option<i64>,
    evidence: Vec<EvidenceRow>,
    reasons: Vec<ReasonRow>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct EvidenceRow {
    payment_id: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct ReasonRow {
    kind: String,
    name: String,
    values: BTreeMap<String, f64>,
}

impl ReasonRow {
    /// What a rule in the shadow would have added.
    fn shadow(self) -> Option<(String, f64)> {
        let points = self.values.get("points").copied().unwrap_or(0.0);
        (self.kind == "shadow").then_some((self.name, points))
    }
}

/// Takes a record of `answer_key` or `fraud_decisions` in.
pub(crate) fn take(board: &mut Scoreboard, topic: &str, value: &[u8]) {
    if topic == DECISIONS {
        let Ok(row) = serde_json::from_slice::<DecisionRow>(value) else { return };
        board.decided(Decided {
            time: Timestamp::parse(row.event_time.as_bytes()).map_or(0, |time| time.0),
            refund: row.kind == "refund",
            flagged: row.decision != "approve",
            id: row.decision_id,
            user: row.user_id,
            score: row.score,
            amount_minor: row.amount_minor.unwrap_or(0),
            evidence: row.evidence.into_iter().filter_map(|event| event.payment_id).collect(),
            shadow: row.reasons.into_iter().filter_map(ReasonRow::shadow).collect(),
        });
    } else if let Ok(answer) = serde_json::from_slice::<Answer>(value) {
        board.answer(&answer);
    }
}

#[derive(Default)]
struct Following {
    board: Scoreboard,
    has_begun: bool,
    /// Of what was there when it began: how far it has been read, and how much it is; none before that is known.
    read: Option<(i64, i64)>,
    answers: u64,
    changed: bool,
    report: Option<(Instant, Value)>,
    trouble: Option<String>,
}

/// Follows the topics from the first question on.
pub(crate) struct Board {
    kafka: ClientSettings,
    review_at: f64,
    runtime: Handle,
    following: Arc<Mutex<Following>>,
}

impl Board {
    /// One that nobody has asked yet.
    pub(crate) fn unasked(kafka: &ClientSettings, review_at: f32) -> Arc<dyn Measures> {
        let (kafka, review_at) = (kafka.clone(), f64::from(review_at));
        Arc::new(Board { kafka, review_at, runtime: Handle::current(), following: Arc::default() })
    }
}

fn lock(following: &Mutex<Following>) -> MutexGuard<'_, Following> {
    following.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Measures for Board {
    fn scoreboard(&self) -> Result<Value, Refused> {
        let mut following = lock(&self.following);
        if !following.has_begun {
            following.has_begun = true;
            let (kafka, kept, review_at) = (self.kafka.clone(), Arc::downgrade(&self.following), self.review_at);
            self.runtime.spawn(async move {
                while let Some(following) = kept.upgrade() {
                    if let Err(error) = follow(&kafka, review_at, &following).await {
                        lock(&following).trouble = Some(error.to_string());
                    }
                    drop(following);
                    tokio::time::sleep(RETRY).await;
                }
            });
        }
        if let Some(trouble) = &following.trouble {
            return Err(Refused::Unavailable(format!("the decisions cannot be read now: {trouble}")));
        }
        let is_fresh = |(made, _): &(Instant, Value)| made.elapsed() < REPORT_AGE_MAX;
        if following.changed && !following.report.as_ref().is_some_and(is_fresh) {
            let report = json!({ "answer_key": following.answers > 0, "report": following.board.report(),
                "as_of": Timestamp::from_system_time(SystemTime::now()), "decisions_max": DECISIONS_MAX });
            following.report = Some((Instant::now(), report));
            following.changed = false;
        }
        let mut told = following.report.as_ref().map_or(json!({}), |(_, report)| report.clone());
        let (read, total) = following.read.unwrap_or((0, 0));
        told["read"] = read.into();
        told["to_read"] = total.into();
        told["caught_up"] = following.read.is_some_and(|(read, total)| read >= total).into();
        Ok(told)
    }
}

/// Reads from the first record on, until Kafka fails or nobody wants it any longer.
async fn follow(kafka: &ClientSettings, review_at: f64, following: &Arc<Mutex<Following>>) -> Result<(), KafkaError> {
    let cluster = Cluster::new(kafka, GROUP)?;
    let mut reader = Reader::new(kafka, GROUP)?;
    let places = cluster.places(&[Arc::from(ANSWERS), Arc::from(DECISIONS)]).await?;
    let extents = cluster.extents(&places).await?;
    let starts: HashMap<Place, i64> = extents.iter().map(|(place, extent)| (place.clone(), extent.low)).collect();
    let total: i64 = extents.values().map(|extent| extent.end - extent.low).sum();
    {
        let mut following = lock(following);
        *following = Following {
            board: Scoreboard::bounded(DECISIONS_MAX).reviewing_at(review_at),
            has_begun: true,
            read: Some((0, total)),
            changed: true,
            ..Following::default()
        };
    }
    reader.assign(starts)?;
    // Only the page and the API hold the other end.
    while Arc::strong_count(following) > 1 {
        let mut any = false;
        {
            let mut following = lock(following);
            for _ in 0..1_000 {
                let Some(message) = reader.next()? else { break };
                any = true;
                following.answers += u64::from(message.topic() == ANSWERS);
                following.changed = true;
                take(&mut following.board, message.topic(), message.payload().unwrap_or_default());
            }
            // By offsets: they count what is no record, too.
            let positions = reader.positions();
            let read = |(place, extent): (&Place, &Extent)| {
                positions.get(place).map_or(0, |at| (*at).min(extent.end) - extent.low)
            };
            following.read = Some((extents.iter().map(read).sum(), total));
        }
        if any {
            tokio::task::yield_now().await;
        } else {
            reader.ready().await;
        }
    }
    Ok(())
}
