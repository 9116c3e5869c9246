//! What a record of a source stream means to the recommender: a pure function of the record and the state before it.
//!
//! | stream | event | meaning |
//! |---|---|---|
//! | `user_events` | `product_viewed`, `product_clicked` | a click |
//! | | `product_added`, `product_removed` | a boosted click, and what lies in the cart |
//! | `transactions` | `order_placed` | its lines were bought together, by the visitor |
//! | `inventory_updates` | all | stock: an item without any leaves the answers |
//!
//! A session is the client's own session id, else the visitor until a pause; a visitor is the anonymous id.

use millrace_intelligence::recommend::{Action, Click, StockChange};
use millrace_model::Timestamp;
use millrace_model::time::MINUTE_MICROS;
use serde::Deserialize;

use super::state::State;

/// An event this far after its record came is a client's wrong clock: the record's time counts instead.
const AHEAD_MICROS_MAX: i64 = 10 * MINUTE_MICROS;

/// The streams that are read.
pub(crate) const TOPICS: [&str; 3] = ["user_events", "transactions", "inventory_updates"];

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It changed what is known.
    Learnt,
    /// It says nothing about items, or came before.
    PassedOver,
    /// It is not what the contract says; the intake job tells of it.
    Malformed,
}

#[derive(Deserialize)]
struct UserEvent {
    event_id: String,
    event_type: String,
    event_time: String,
    anonymous_id: String,
    session_id: Option<String>,
    product_id: Option<String>,
    category: Option<String>,
}

#[derive(Deserialize)]
struct Transaction {
    event_id: String,
    event_type: String,
    event_time: String,
    anonymous_id: Option<String>,
    user_id: Option<String>,
    session_id: Option<String>,
    lines: Option<Vec<Line>>,
}

#[derive(Deserialize)]
struct Line {
    product_id: String,
    category: Option<String>,
}

#[derive(Deserialize)]
struct InventoryUpdate {
    event_id: String,
    event_time: String,
    product_id: String,
    category: Option<String>,
    warehouse_id: Option<String>,
    on_hand_change: i64,
    reserved_change: i64,
    on_hand: Option<i64>,
    reserved: Option<i64>,
}

/// Takes a record in. `arrived` is the record's own time, if it has one.
pub(super) fn take(state: &mut State, topic: &str, value: &[u8], arrived: Option<Timestamp>) -> Taken {
    let taken = match topic {
        "user_events" => user_event(state, value, arrived),
        "transactions" => transaction(state, value, arrived),
        _ => inventory_update(state, value, arrived),
    };
    taken.unwrap_or(Taken::Malformed)
}

fn time(text: &str, arrived: Option<Timestamp>) -> Option<Timestamp> {
    let told = Timestamp::parse(text.as_bytes())?;
    Some(arrived.filter(|arrived| told.0 - arrived.0 > AHEAD_MICROS_MAX).unwrap_or(told))
}

fn user_event(state: &mut State, value: &[u8], arrived: Option<Timestamp>) -> Option<Taken> {
    let event: UserEvent = serde_json::from_slice(value).ok()?;
    let time = time(&event.event_time, arrived)?;
    let action = match event.event_type.as_str() {
        "product_viewed" | "product_clicked" => Some(Action::View),
        "product_added" => Some(Action::Cart),
        "product_removed" => None,
        _ => return Some(Taken::PassedOver),
    };
    let Some(item) = event.product_id.filter(|_| state.recent.is_new(&event.event_id)) else {
        return Some(Taken::PassedOver);
    };
    let visitor = event.anonymous_id.as_str();
    let session = event.session_id.as_deref().unwrap_or(visitor);
    match action {
        Some(action) => {
            let (category, item) = (event.category.as_deref(), item.as_str());
            state.recommender.click(&Click { session, visitor: Some(visitor), item, category, action, time });
            state.attribution.clicked(visitor, item, time);
            state.attribution.clicked(session, item, time);
        }
        None => state.recommender.removed_from_cart(visitor, &item),
    }
    Some(Taken::Learnt)
}

fn transaction(state: &mut State, value: &[u8], arrived: Option<Timestamp>) -> Option<Taken> {
    let event: Transaction = serde_json::from_slice(value).ok()?;
    let time = time(&event.event_time, arrived)?;
    let Some(lines) = event.lines.filter(|_| event.event_type == "order_placed") else {
        return Some(Taken::PassedOver);
    };
    if !state.recent.is_new(&event.event_id) {
        return Some(Taken::PassedOver);
    }
    let bought: Vec<(&str, Option<&str>)> =
        lines.iter().map(|line| (line.product_id.as_str(), line.category.as_deref())).collect();
    let visitor = event.anonymous_id.as_deref().or(event.user_id.as_deref());
    let session = event.session_id.as_deref().or(event.anonymous_id.as_deref());
    state.recommender.order(session, visitor, &bought, time);
    for (item, _) in &bought {
        for name in [visitor, session].into_iter().flatten() {
            state.attribution.ordered(name, item, time);
        }
    }
    Some(Taken::Learnt)
}

fn inventory_update(state: &mut State, value: &[u8], arrived: Option<Timestamp>) -> Option<Taken> {
    let event: InventoryUpdate = serde_json::from_slice(value).ok()?;
    time(&event.event_time, arrived)?;
    if !state.recent.is_new(&event.event_id) {
        return Some(Taken::PassedOver);
    }
    state.recommender.stock(&StockChange {
        item: &event.product_id,
        category: event.category.as_deref(),
        warehouse: event.warehouse_id.as_deref().unwrap_or_default(),
        on_hand_change: event.on_hand_change,
        reserved_change: event.reserved_change,
        on_hand: event.on_hand,
        reserved: event.reserved,
    });
    Some(Taken::Learnt)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roles::recommend::RecommendSettings;
    use millrace_intelligence::recommend::{Question, Workspace};
    use serde_json::{Value, json};

    fn state() -> State {
        State::new(&RecommendSettings::default()).expect("good settings")
    }

    fn give(state: &mut State, topic: &str, event: Value) -> Taken {
        let arrived = Timestamp::parse(b"2026-01-01T12:00:00Z");
        take(state, topic, event.to_string().as_bytes(), arrived)
    }

    fn view(id: &str, visitor: &str, product: &str, time: &str) -> Value {
        json!({ "event_id": id, "event_type": "product_viewed", "event_time": time, "anonymous_id": visitor, "product_id": product })
    }

    fn items(state: &State, question: Question<'_>) -> Vec<String> {
        let answer = state.recommender.recommend(&mut Workspace::default(), &question).expect("an answer");
        answer.items.into_iter().map(|item| item.item).collect()
    }

    #[test]
    fn the_three_streams_make_the_answers() {
        let mut state = state();
        for (visitor, products) in [("a", ["tea", "cup"]), ("b", ["tea", "cup"]), ("c", ["tea", "pot"])] {
            for (at, product) in products.into_iter().enumerate() {
                let event = view(&format!("{visitor}{at}"), visitor, product, "2026-01-01T11:00:00Z");
                assert_eq!(give(&mut state, "user_events", event), Taken::Learnt);
            }
        }
        let asked = Question { placement: "next", product: Some("tea"), visitor: Some("a"), ..Question::default() };
        assert_eq!(items(&state, asked)[..2], ["cup", "pot"]);
        let stock = |id: &str, on_hand: i64| {
            json!({ "event_id": id, "event_type": "stock_counted", "event_time": "2026-01-01T11:00:00Z", "product_id": "cup",
                "on_hand_change": 0, "reserved_change": 0, "on_hand": on_hand, "reserved": 0 })
        };
        give(&mut state, "inventory_updates", stock("s1", 0));
        assert_eq!(items(&state, asked), ["pot"]);
        give(&mut state, "inventory_updates", stock("s2", 4));
        let order = json!({ "event_id": "o1", "event_type": "order_placed", "event_time": "2026-01-01T11:10:00Z", "order_id": "1",
            "anonymous_id": "a", "lines": [{ "product_id": "cup", "quantity": 1, "price_minor": 1 }, { "product_id": "jam" }] });
        assert_eq!(give(&mut state, "transactions", order), Taken::Learnt);
        assert!(!items(&state, asked).contains(&"cup".to_owned()), "bought");
        let together = Question { placement: "bought_together", product: Some("cup"), count: 1, ..Question::default() };
        assert_eq!(items(&state, together), ["jam"]);
    }

    #[test]
    fn what_is_wrong_or_came_before_changes_nothing() {
        let mut state = state();
        let event = view("1", "a", "tea", "2026-01-01T11:00:00Z");
        assert_eq!(give(&mut state, "user_events", event.clone()), Taken::Learnt);
        assert_eq!(give(&mut state, "user_events", event), Taken::PassedOver, "it came before");
        let page = json!({ "event_id": "2", "event_type": "page_viewed", "event_time": "2026-01-01T11:00:00Z", "anonymous_id": "a" });
        assert_eq!(give(&mut state, "user_events", page), Taken::PassedOver);
        assert_eq!(give(&mut state, "user_events", view("3", "a", "tea", "yesterday")), Taken::Malformed);
        assert_eq!(give(&mut state, "transactions", json!({ "event_id": 4 })), Taken::Malformed);
        assert_eq!(take(&mut state, "inventory_updates", b"\xff{", None), Taken::Malformed);
    }

    #[test]
    fn a_clock_of_the_next_century_does_not_age_everything() {
        let mut state = state();
        give(&mut state, "user_events", view("1", "a", "tea", "2026-01-01T11:00:00Z"));
        give(&mut state, "user_events", view("2", "b", "tea", "2126-01-01T11:00:00Z"));
        assert_eq!(state.recommender.size().sessions, 2);
        assert_eq!(state.recommender.now(), Timestamp::parse(b"2026-01-01T12:00:00Z"));
    }
}
