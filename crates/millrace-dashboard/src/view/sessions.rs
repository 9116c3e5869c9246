//! Sessions: who came and how far they went, the way of one of them, and the carts left behind.

mod flow;

use std::collections::BTreeMap;

use millrace_model::Timestamp;
use serde::Serialize;

pub(crate) use flow::Flow;

use super::windows::Stores;
use crate::cache::Cache;
use crate::mask;
use crate::row::{Read, Row, key_of, public_id};

/// How far a session came, in order: name, label.
pub(crate) const STAGES: [(&str, &str); 6] = [
    ("visit", "Visit"),
    ("product", "Product"),
    ("cart", "Cart"),
    ("checkout", "Checkout"),
    ("payment", "Payment"),
    ("purchase", "Purchase"),
];

/// Steps of a journey that are shown.
const STEPS_MAX: usize = 300;

/// What the request asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct SessionsParams {
    /// Only sessions that ended at this stage.
    pub(crate) stage: Option<String>,
    /// The session whose journey is shown.
    pub(crate) session: Option<String>,
    /// Longest list.
    pub(crate) limit: usize,
}

/// One closed session.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Session {
    /// Public name of the session.
    pub(crate) id: String,
    /// Visitor, masked.
    pub(crate) visitor: String,
    /// Whether the visitor was signed in.
    pub(crate) signed_in: bool,
    /// Traffic source.
    pub(crate) channel: String,
    /// Country code.
    pub(crate) country: String,
    /// mobile, desktop or tablet.
    pub(crate) device: String,
    /// First page.
    pub(crate) landing_path: String,
    /// Last page.
    pub(crate) exit_path: String,
    /// First event.
    pub(crate) start: Option<Timestamp>,
    /// Last event.
    pub(crate) last_event: Option<Timestamp>,
    /// From the first to the last event, seconds.
    pub(crate) seconds: i64,
    /// Events in it.
    pub(crate) events: i64,
    /// Products viewed.
    pub(crate) product_views: i64,
    /// Cart adds.
    pub(crate) cart_adds: i64,
    /// Orders placed.
    pub(crate) orders: i64,
    /// Their worth, minor units.
    pub(crate) revenue_minor: i64,
    /// Currency.
    pub(crate) currency: String,
    /// The furthest stage.
    pub(crate) stage: String,
}

/// One step of a journey.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Step {
    /// When.
    pub(crate) time: Option<Timestamp>,
    /// What: the event type.
    pub(crate) event_type: String,
    /// Where.
    pub(crate) path: String,
    /// Which product.
    pub(crate) product_id: String,
}

/// A session with its way.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Journey {
    /// The session.
    pub(crate) session: Session,
    /// Its steps, in order.
    pub(crate) steps: Vec<Step>,
}

/// A cart left behind.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Cart {
    /// Public name of its session.
    pub(crate) id: String,
    /// Visitor, masked.
    pub(crate) visitor: String,
    /// The likely reason.
    pub(crate) reason: String,
    /// Worth of what was left, minor units.
    pub(crate) cart_minor: i64,
    /// Currency of the store.
    pub(crate) currency: String,
    /// Products in it.
    pub(crate) products: Vec<String>,
    /// Traffic source.
    pub(crate) channel: String,
    /// Last event.
    pub(crate) last_event: Option<Timestamp>,
}

/// Carts of one reason.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct CartReason {
    /// The reason.
    pub(crate) reason: String,
    /// Carts.
    pub(crate) carts: usize,
    /// Their worth, minor units.
    pub(crate) cart_minor: i64,
}

/// Closed sessions of a channel by the stage they reached.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct ChannelFunnel {
    /// The channel.
    pub(crate) channel: String,
    /// Sessions that came at least as far as each of [`STAGES`].
    pub(crate) reached: Vec<i64>,
    /// Their revenue, minor units.
    pub(crate) revenue_minor: i64,
}

/// The sessions page.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Sessions {
    /// Closed sessions, newest first.
    pub(crate) sessions: Vec<Session>,
    /// Recent sessions held, of every stage.
    pub(crate) recent: usize,
    /// Recent sessions by furthest stage, in the order of [`STAGES`].
    pub(crate) by_stage: Vec<(String, usize)>,
    /// The chosen session's way.
    pub(crate) journey: Option<Journey>,
    /// The ways of all recent sessions.
    pub(crate) flow: Flow,
    /// Carts left behind, newest first.
    pub(crate) carts: Vec<Cart>,
    /// Carts by reason, most first.
    pub(crate) reasons: Vec<CartReason>,
    /// Channels, most sessions first.
    pub(crate) channels: Vec<ChannelFunnel>,
    /// Currency of sums; empty when there are several.
    pub(crate) currency: String,
}

/// Computes the sessions page.
pub(crate) fn sessions(cache: &Cache, params: &SessionsParams) -> Sessions {
    let stores = Stores::of(cache, None);
    let mut rows: Vec<&Row> = cache.rows("sessions").collect();
    rows.sort_by(|a, b| b.text("last_event_time").cmp(a.text("last_event_time")));
    let by_stage = STAGES
        .iter()
        .map(|(stage, _)| ((*stage).to_owned(), rows.iter().filter(|row| row.text("stage") == *stage).count()))
        .collect();
    let chosen = params.session.as_deref().and_then(|id| rows.iter().find(|row| session_id(row) == id));
    let journey = chosen.or_else(|| longest(&rows)).map(|row| journey(row));
    let currency = if stores.mixed { String::new() } else { stores.currency };
    let carts = carts(cache, &currency);
    let listed = rows.iter().filter(|row| params.stage.as_deref().is_none_or(|stage| row.text("stage") == stage));
    Sessions {
        recent: rows.len(),
        sessions: listed.take(params.limit).map(|row| session(row)).collect(),
        by_stage,
        journey,
        flow: flow::flow(&rows),
        reasons: reasons(&carts),
        carts: carts.into_iter().take(params.limit).collect(),
        channels: channels(cache),
        currency,
    }
}

/// Of the newest sessions the one with most to see: shown until one is chosen.
fn longest<'a>(rows: &'a [&'a Row]) -> Option<&'a &'a Row> {
    rows.iter().take(20).max_by_key(|row| (row.int("orders") > 0, row.int("events").min(40)))
}

fn session_id(row: &Row) -> String {
    let key = key_of(&["visitor_id".to_owned(), "session_start".to_owned()], row);
    public_id(&key.unwrap_or_default())
}

fn session(row: &Row) -> Session {
    let (start, last_event) = (row.time("session_start"), row.time("last_event_time"));
    Session {
        id: session_id(row),
        visitor: mask::id(row.text("visitor_id")),
        signed_in: !row.text("user_id").is_empty(),
        channel: row.text("channel").to_owned(),
        country: row.text("country").to_owned(),
        device: row.text("device_type").to_owned(),
        landing_path: row.text("landing_path").to_owned(),
        exit_path: row.text("exit_path").to_owned(),
        seconds: start.zip(last_event).map_or(0, |(start, last)| (last.0 - start.0) / 1_000_000),
        start,
        last_event,
        events: row.int("events"),
        product_views: row.int("product_views"),
        cart_adds: row.int("cart_adds"),
        orders: row.int("orders"),
        revenue_minor: row.int("revenue_minor"),
        currency: row.text("currency").to_owned(),
        stage: row.text("stage").to_owned(),
    }
}

fn journey(row: &Row) -> Journey {
    let steps = row.get("journey").and_then(serde_json::Value::as_array).into_iter().flatten();
    let steps = steps.filter_map(serde_json::Value::as_object).take(STEPS_MAX).map(|step| Step {
        time: step.time("event_time"),
        event_type: step.text("event_type").to_owned(),
        path: step.text("path").to_owned(),
        product_id: step.text("product_id").to_owned(),
    });
    Journey { session: session(row), steps: steps.collect() }
}

fn carts(cache: &Cache, currency: &str) -> Vec<Cart> {
    let mut carts: Vec<Cart> = cache
        .rows("abandoned_carts")
        .map(|row| {
            let removed = row.texts("products_removed");
            let store = Some(row.text("store_id")).filter(|store| !store.is_empty());
            Cart {
                id: session_id(row),
                visitor: mask::id(row.text("visitor_id")),
                reason: row.text("reason").to_owned(),
                cart_minor: row.int("cart_minor"),
                currency: if currency.is_empty() { Stores::of(cache, store).currency } else { currency.to_owned() },
                products: row.texts("products_added").into_iter().filter(|id| !removed.contains(id)).collect(),
                channel: row.text("channel").to_owned(),
                last_event: row.time("last_event_time"),
            }
        })
        .collect();
    carts.sort_by(|a, b| b.last_event.cmp(&a.last_event).then_with(|| a.id.cmp(&b.id)));
    carts
}

fn reasons(carts: &[Cart]) -> Vec<CartReason> {
    let mut sums: BTreeMap<&str, (usize, i64)> = BTreeMap::new();
    for cart in carts {
        let sum = sums.entry(&cart.reason).or_default();
        *sum = (sum.0 + 1, sum.1 + cart.cart_minor);
    }
    let reason = |(reason, (carts, cart_minor)): (&str, _)| CartReason { reason: reason.to_owned(), carts, cart_minor };
    let mut reasons: Vec<CartReason> = sums.into_iter().map(reason).collect();
    reasons.sort_by(|a, b| b.carts.cmp(&a.carts).then_with(|| a.reason.cmp(&b.reason)));
    reasons
}

fn channels(cache: &Cache) -> Vec<ChannelFunnel> {
    let since = cache.clock("session_funnel").0.saturating_sub(millrace_model::time::DAY_MICROS);
    let mut sums: BTreeMap<&str, ChannelFunnel> = BTreeMap::new();
    for (_, _, row) in cache.windows("session_funnel").filter(|(start, ..)| start.0 > since) {
        let Some(stage) = STAGES.iter().position(|(name, _)| *name == row.text("stage")) else { continue };
        let channel = row.text("channel");
        let sum = sums.entry(channel).or_insert_with(|| ChannelFunnel {
            channel: channel.to_owned(),
            reached: vec![0; STAGES.len()],
            revenue_minor: 0,
        });
        // Who bought has also visited: a stage counts for all before it.
        sum.reached[..=stage].iter_mut().for_each(|count| *count += row.int("sessions"));
        sum.revenue_minor += row.int("revenue_minor");
    }
    let mut channels: Vec<ChannelFunnel> = sums.into_values().collect();
    channels.sort_by(|a, b| b.reached.cmp(&a.reached).then_with(|| a.channel.cmp(&b.channel)));
    channels
}

/// The label of a stage.
pub(crate) fn stage_label(stage: &str) -> &str {
    STAGES.iter().find(|(name, _)| *name == stage).map_or(stage, |(_, label)| label)
}

#[cfg(test)]
mod tests;
