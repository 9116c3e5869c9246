//! What recommendations lead to: clicks and orders attributed to the answers that showed the item, and two placements compared.
//!
//! The unit is the visitor: of those who were shown a placement, how many clicked what it showed, how many bought it. A visitor
//! always gets the same side of a comparison (a hash of both names decides), so the sides are independent samples, and the
//! uplift has an interval: the ratio of two rates, its logarithm nearly normal (Katz et al., Biometrics 1978).

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use millrace_model::Timestamp;
use millrace_model::time::{DAY_MICROS, MINUTE_MICROS, SECOND_MICROS};
use serde::{Deserialize, Serialize};

use super::stored::{Bytes, RestoreError, Stored, stored_fields};

/// Answers of a visitor that clicks and orders are attributed to.
const ANSWERS_MAX: usize = 4;
/// Items of an answer that clicks and orders are attributed to.
const ITEMS_MAX: usize = 50;
/// Visitors' clocks may be behind ours by this much.
const SKEW_MICROS: i64 = 5 * SECOND_MICROS;
/// Two-sided 95 % of the normal distribution.
const NORMAL_95: f64 = 1.96;

/// What counts as led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AttributionSettings {
    /// A click this long after the answer is attributed to it, microseconds.
    pub click_micros_max: i64,
    /// An order this long after the answer is attributed to it, microseconds.
    pub order_micros_max: i64,
    /// Visitors whose answers are kept; the one who came first is forgotten first, and counts as another when they come again.
    pub visitors_max: usize,
}

impl Default for AttributionSettings {
    fn default() -> Self {
        AttributionSettings { click_micros_max: 30 * MINUTE_MICROS, order_micros_max: DAY_MICROS, visitors_max: 20_000 }
    }
}

/// Two placements share the traffic of one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Comparison {
    /// The placement that is asked for.
    pub placement: String,
    /// The placement that answers some of its visitors instead.
    pub against: String,
    /// Share of the visitors it answers, between 0 and 1.
    pub share: f64,
}

impl Comparison {
    /// The placement that answers this visitor (or session).
    pub fn side(&self, visitor: &str) -> &str {
        let words = [self.placement.as_bytes(), b"\0", self.against.as_bytes(), b"\0", visitor.as_bytes()];
        let hash = words.iter().flat_map(|word| word.iter()).fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        // The last bytes reach the high bits only by another turn.
        let even = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 11;
        if even as f64 / (1u64 << 53) as f64 >= self.share { &self.placement } else { &self.against }
    }
}

/// What a placement has led to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Answers given.
    pub answers: u64,
    /// Items clicked that an answer showed, each answer's once.
    pub clicks: u64,
    /// Items bought that an answer showed, each answer's once.
    pub orders: u64,
    /// Visitors who got an answer.
    pub visitors: u64,
    /// Of them, who clicked what it showed.
    pub visitors_clicked: u64,
    /// Of them, who bought what it showed.
    pub visitors_ordered: u64,
}
stored_fields!(Tally { answers, clicks, orders, visitors, visitors_clicked, visitors_ordered });

/// How much better one rate is than another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Uplift {
    /// Rate of the second over the rate of the first, less one.
    pub uplift: f64,
    /// Between these bounds with 95 % confidence; an interval that holds 0 has shown no difference.
    pub interval: (f64, f64),
}

/// The uplift of a rate; `None` while either side has none of what is counted.
pub fn uplift(first: (u64, u64), second: (u64, u64)) -> Option<Uplift> {
    let ((hits_a, all_a), (hits_b, all_b)) = (first, second);
    if hits_a == 0 || hits_b == 0 || all_a < hits_a || all_b < hits_b {
        return None;
    }
    let rate = |hits: u64, all: u64| hits as f64 / all as f64;
    let (rate_a, rate_b) = (rate(hits_a, all_a), rate(hits_b, all_b));
    let error = ((1.0 - rate_a) / hits_a as f64 + (1.0 - rate_b) / hits_b as f64).sqrt();
    let ratio = rate_b / rate_a;
    let bound = |sign: f64| (ratio.ln() + sign * NORMAL_95 * error).exp() - 1.0;
    Some(Uplift { uplift: ratio - 1.0, interval: (bound(-1.0), bound(1.0)) })
}

/// An answer that was shown.
#[derive(Clone, Debug)]
struct Shown {
    placement: Arc<str>,
    items: Vec<Arc<str>>,
    at: Timestamp,
    clicked: Vec<u32>,
    ordered: Vec<u32>,
}
stored_fields!(Shown { placement, items, at, clicked, ordered });

/// What a visitor was shown and did.
#[derive(Clone, Debug, Default)]
struct Audience {
    shown: Vec<Shown>,
    /// Placements that have counted the visitor, their click, their order.
    counted: Vec<(Arc<str>, (bool, bool))>,
}
stored_fields!(Audience { shown, counted });

/// Attributes clicks and orders to answers.
#[derive(Clone, Debug, Default)]
pub struct Attribution {
    settings: AttributionSettings,
    tallies: BTreeMap<Arc<str>, Tally>,
    visitors: HashMap<Arc<str>, Audience>,
    order: VecDeque<Arc<str>>,
}

impl Attribution {
    /// One that has seen nothing.
    pub fn new(settings: AttributionSettings) -> Self {
        Attribution { settings, ..Attribution::default() }
    }

    /// An answer was given to a visitor (or a session, when no visitor is named).
    pub fn shown<'a>(
        &mut self,
        visitor: &str,
        placement: &str,
        items: impl IntoIterator<Item = &'a str>,
        at: Timestamp,
    ) {
        if !self.visitors.contains_key(visitor) {
            if self.visitors.len() >= self.settings.visitors_max.max(1)
                && let Some(first) = self.order.pop_front()
            {
                self.visitors.remove(&first);
            }
            let name: Arc<str> = Arc::from(visitor);
            self.order.push_back(name.clone());
            self.visitors.insert(name, Audience::default());
        }
        let Some(audience) = self.visitors.get_mut(visitor) else { return };
        let placement: Arc<str> = Arc::from(placement);
        let tally = self.tallies.entry(placement.clone()).or_default();
        tally.answers += 1;
        if audience.counted.iter().all(|counted| counted.0 != placement) {
            tally.visitors += 1;
            audience.counted.push((placement.clone(), (false, false)));
        }
        if audience.shown.len() >= ANSWERS_MAX {
            audience.shown.remove(0);
        }
        let items = items.into_iter().take(ITEMS_MAX).map(Arc::from).collect();
        audience.shown.push(Shown { placement, items, at, clicked: Vec::new(), ordered: Vec::new() });
    }

    /// A visitor (or session) clicks an item.
    pub fn clicked(&mut self, visitor: &str, item: &str, at: Timestamp) {
        let most = self.settings.click_micros_max;
        self.led_to(visitor, item, at, most, |shown, tally, counted, place| {
            if !shown.clicked.contains(&place) {
                shown.clicked.push(place);
                tally.clicks += 1;
                tally.visitors_clicked += u64::from(!std::mem::replace(&mut counted.0, true));
            }
        });
    }

    /// A visitor (or session) buys an item.
    pub fn ordered(&mut self, visitor: &str, item: &str, at: Timestamp) {
        let most = self.settings.order_micros_max;
        self.led_to(visitor, item, at, most, |shown, tally, counted, place| {
            if !shown.ordered.contains(&place) {
                shown.ordered.push(place);
                tally.orders += 1;
                tally.visitors_ordered += u64::from(!std::mem::replace(&mut counted.1, true));
            }
        });
    }

    /// The newest answer that showed the item in time is the one that led to it.
    fn led_to(
        &mut self,
        visitor: &str,
        item: &str,
        at: Timestamp,
        micros_max: i64,
        count: impl FnOnce(&mut Shown, &mut Tally, &mut (bool, bool), u32),
    ) {
        let Some(audience) = self.visitors.get_mut(visitor) else { return };
        let in_time = |shown: &Shown| (-SKEW_MICROS..=micros_max).contains(&at.0.saturating_sub(shown.at.0));
        for shown in audience.shown.iter_mut().rev().filter(|shown| in_time(shown)) {
            let Some(place) = shown.items.iter().position(|shown| &**shown == item) else { continue };
            let counted = audience.counted.iter_mut().find(|counted| counted.0 == shown.placement);
            if let (Some((_, counted)), Some(tally)) = (counted, self.tallies.get_mut(&shown.placement)) {
                count(shown, tally, counted, place as u32);
            }
            return;
        }
    }

    /// What each placement has led to.
    pub fn tallies(&self) -> impl Iterator<Item = (&str, &Tally)> {
        self.tallies.iter().map(|(name, tally)| (&**name, tally))
    }

    /// What a placement has led to.
    pub fn tally(&self, placement: &str) -> Tally {
        self.tallies.get(placement).copied().unwrap_or_default()
    }

    /// All it knows as bytes, its settings left out.
    pub fn store(&self, out: &mut Vec<u8>) {
        let tallies: Vec<(Arc<str>, Tally)> = self.tallies.iter().map(|(name, tally)| (name.clone(), *tally)).collect();
        tallies.store(out);
        let in_order = self.order.iter().filter_map(|name| Some((name.clone(), self.visitors.get(name)?.clone())));
        in_order.collect::<Vec<(Arc<str>, Audience)>>().store(out);
    }

    /// Reads back what [`Attribution::store`] wrote.
    ///
    /// # Errors
    /// The bytes are no such thing.
    pub fn restore(settings: AttributionSettings, from: &mut Bytes<'_>) -> Result<Self, RestoreError> {
        let tallies = Vec::<(Arc<str>, Tally)>::restore(from)?.into_iter().collect();
        let visitors = Vec::<(Arc<str>, Audience)>::restore(from)?;
        let order = visitors.iter().map(|(name, _)| name.clone()).collect();
        Ok(Attribution { settings, tallies, visitors: visitors.into_iter().collect(), order })
    }
}
