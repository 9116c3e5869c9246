//! Questions that come over HTTP, and the JSON of their answers.

use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use millrace_dashboard::service::{RecommendQuestion, Recommends, Refused};
use millrace_intelligence::recommend::attribution::{Tally, Uplift, uplift};
use millrace_intelligence::recommend::{Question, Recommendation, Workspace};
use millrace_model::Timestamp;
use millrace_model::time::DAY_MICROS;
use serde_json::{Value, json};

use super::Shared;

/// The placement of a question that names none.
const PLACEMENT: &str = "next";

/// Working memory, lent to one question each.
#[derive(Debug, Default)]
pub(super) struct Workspaces(Mutex<Vec<Workspace>>);

impl Workspaces {
    fn with<T>(&self, ask: impl FnOnce(&mut Workspace) -> T) -> T {
        let taken = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut space = taken.unwrap_or_default();
        let answer = ask(&mut space);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(space);
        answer
    }
}

impl Recommends for Shared {
    fn recommend(&self, question: &RecommendQuestion) -> Result<Value, Refused> {
        let asked = question.placement.as_deref().unwrap_or(PLACEMENT);
        // Who is it for: the visitor, else the session; nobody is on a side of a comparison.
        let who = question.visitor.as_deref().or(question.session.as_deref());
        let comparison = self.settings.comparisons.iter().find(|comparison| comparison.placement == asked);
        let placement = match (comparison, who) {
            (Some(comparison), Some(who)) => comparison.side(who),
            _ => asked,
        };
        let (answer, as_of) = {
            let state = self.state();
            let session = question.session.as_deref().or(question.visitor.as_deref());
            let question = Question {
                placement,
                session,
                visitor: question.visitor.as_deref(),
                product: question.product.as_deref(),
                count: question.count.unwrap_or(0),
                evidence: question.evidence,
                ..Question::default()
            };
            let answer = self.spaces.with(|space| state.recommender.recommend(space, &question));
            (answer.map_err(|error| Refused::Invalid(error.to_string()))?, state.recommender.now())
        };
        let number = self.answers.fetch_add(1, Ordering::Relaxed);
        if let Some(who) = who {
            let shown = answer.items.iter().map(|item| item.item.as_str());
            self.state_mut().attribution.shown(who, placement, shown, moment(as_of));
        }
        let items: Vec<Value> = answer.items.iter().map(|item| as_json(item, question.evidence)).collect();
        Ok(json!({
            "id": format!("{}-{number:x}", self.run),
            "placement": placement,
            "as_of": as_of.map(|time| time.to_string()),
            "caught_up": self.caught_up.load(Ordering::Relaxed),
            "items": items,
        }))
    }

    fn comparison(&self) -> Value {
        let state = self.state();
        let placements: Vec<Value> = state.attribution.tallies().map(|(name, tally)| tally_json(name, tally)).collect();
        let comparisons: Vec<Value> = self
            .settings
            .comparisons
            .iter()
            .map(|comparison| {
                let first = state.attribution.tally(&comparison.placement);
                let second = state.attribution.tally(&comparison.against);
                let of =
                    |hits: fn(&Tally) -> u64| uplift((hits(&first), first.visitors), (hits(&second), second.visitors));
                json!({
                    "placement": comparison.placement, "against": comparison.against, "share": comparison.share,
                    "visitors_who_clicked": uplift_json(of(|tally| tally.visitors_clicked)),
                    "visitors_who_ordered": uplift_json(of(|tally| tally.visitors_ordered)),
                })
            })
            .collect();
        json!({ "placements": placements, "comparisons": comparisons })
    }
}

/// When an answer is shown, by the clock of the events: now, unless the events are of another day, as in a replay.
fn moment(as_of: Option<Timestamp>) -> Timestamp {
    let now = Timestamp::from_system_time(SystemTime::now());
    match as_of {
        Some(as_of) if now.0 - as_of.0 > DAY_MICROS => as_of,
        as_of => as_of.map_or(now, |as_of| as_of.max(now)),
    }
}

fn as_json(item: &Recommendation, evidence: bool) -> Value {
    let mut told = json!({ "product_id": item.item, "score": item.score, "reason": item.reason.name() });
    if evidence {
        let evidence: Vec<Value> = item
            .evidence
            .iter()
            .map(|e| json!({ "product_id": e.item, "together": e.together, "followed": e.followed }))
            .collect();
        told["evidence"] = evidence.into();
    }
    told
}

fn tally_json(name: &str, tally: &Tally) -> Value {
    json!({
        "placement": name, "answers": tally.answers, "clicks": tally.clicks, "orders": tally.orders,
        "visitors": tally.visitors, "visitors_clicked": tally.visitors_clicked, "visitors_ordered": tally.visitors_ordered,
    })
}

/// Null while a side has none of what is counted.
fn uplift_json(found: Option<Uplift>) -> Value {
    found.map_or(
        Value::Null,
        |found| json!({ "uplift": found.uplift, "confidence": 0.95, "from": found.interval.0, "to": found.interval.1 }),
    )
}
