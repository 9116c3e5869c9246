//! What can be set, as plain data: sizes of the index, weights of the query, what a place on the page shows.

use std::collections::BTreeMap;

use millrace_model::time::{DAY_MICROS, HOUR_MICROS};
use serde::{Deserialize, Serialize};

/// Sizes: what bounds the memory of the index, and how long it remembers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IndexSettings {
    /// Sessions kept; the one that began first gives its place. Rounded up to a power of two.
    pub sessions_max: usize,
    /// Items kept; beyond, the tenth that was clicked longest ago is forgotten.
    pub items_max: usize,
    /// Newest sessions kept for each item.
    pub sessions_of_item_max: usize,
    /// Newest clicks kept of a session: a robot's session stays small.
    pub clicks_of_session_max: usize,
    /// Successors kept for each item.
    pub successors_max: usize,
    /// How many clicks back a click is a successor of.
    pub successor_steps: usize,
    /// A session is forgotten this long after its first click, microseconds of event time.
    pub horizon_micros: i64,
    /// After this long without a click a session's name begins another session; 0: never. Microseconds of event time.
    pub session_gap_micros: i64,
}

impl Default for IndexSettings {
    fn default() -> Self {
        IndexSettings {
            sessions_max: 1 << 19,
            items_max: 1_000_000,
            sessions_of_item_max: 1_000,
            clicks_of_session_max: 64,
            successors_max: 64,
            successor_steps: 3,
            horizon_micros: 180 * DAY_MICROS,
            session_gap_micros: 0,
        }
    }
}

/// How the next item is scored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NextSettings {
    /// Newest different items of the session that are looked at.
    pub items_max: usize,
    /// Newest sessions looked at for each of them.
    pub sessions_of_item_max: usize,
    /// Most similar sessions that vote.
    pub neighbours_max: usize,
    /// An item this many places before the newest weighs e⁻¹ of it when sessions are compared.
    pub similarity_places: f32,
    /// A session whose newest shared item lies this many places back votes with e⁻¹ of its similarity.
    pub vote_places: f32,
    /// A session this old weighs e⁻¹ of one of now, days of event time.
    pub age_days: f32,
    /// An item this many clicks from the shared one gets e⁻¹ of its session's vote.
    pub distance_clicks: f32,
    /// Share of the vote for items clicked before the shared one.
    pub before_weight: f32,
    /// How much rare items are preferred: a score is multiplied by 1 + this · ln(sessions / sessions with the item).
    pub rarity_weight: f32,
    /// Exponent of the session length a vote is divided by.
    pub length_exponent: f32,
    /// Share of what followed the newest items elsewhere (sequential rules); the votes have the rest.
    pub rules_share: f32,
    /// A rule from an item this many places back weighs e⁻¹.
    pub rules_places: f32,
    /// Weight of coming back to an item of this session, as often as visitors do.
    pub return_weight: f32,
    /// Weight of another click on the item just clicked, as often as visitors do it; where a placement may show it.
    pub again_weight: f32,
    /// A click of a cart or purchase counts as this many.
    pub cart_boost: f32,
}

impl Default for NextSettings {
    fn default() -> Self {
        NextSettings {
            items_max: 9,
            sessions_of_item_max: 1_000,
            neighbours_max: 300,
            similarity_places: 3.0,
            vote_places: 3.0,
            age_days: 60.0,
            distance_clicks: 5.0,
            before_weight: 1.0,
            rarity_weight: 0.5,
            length_exponent: 0.4,
            rules_share: 0.2,
            rules_places: 1.0,
            return_weight: 1.5,
            again_weight: 1.5,
            cart_boost: 2.0,
        }
    }
}

/// How demand is counted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrendSettings {
    /// A click this old counts half, microseconds of event time.
    pub half_life_micros: i64,
}

impl Default for TrendSettings {
    fn default() -> Self {
        TrendSettings { half_life_micros: 6 * HOUR_MICROS }
    }
}

/// What a placement answers with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// What this session's visitor clicks next.
    #[default]
    Next,
    /// What is looked at by those who look at the product.
    Similar,
    /// What is in the same orders as the product, or as what lies in the cart.
    BoughtTogether,
    /// What is in demand right now, in the product's category or the whole store.
    Trending,
    /// What fits all that is known of the visitor, beyond this session.
    Visitor,
    /// What the visitor has left in the cart.
    CartReminder,
}

/// A factor on the score of an item or of a category's items.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Boost {
    /// The item; none: every item of the category.
    #[serde(default)]
    pub product: Option<String>,
    /// The category.
    #[serde(default)]
    pub category: Option<String>,
    /// More than 1 lifts, less lowers, 0 leaves out.
    pub factor: f32,
}

/// A place on a page, and what it may show.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Placement {
    /// What it answers with.
    pub kind: Kind,
    /// Weights of its own instead of those of all placements.
    pub next: Option<NextSettings>,
    /// Items of an answer when the question names no number.
    pub count: usize,
    /// The item being looked at may be shown.
    pub current_allowed: bool,
    /// Other items of this session may be shown.
    pub repeats_allowed: bool,
    /// Items the visitor has bought may be shown.
    pub bought_allowed: bool,
    /// Items without stock may be shown.
    pub out_of_stock_allowed: bool,
    /// Demand fills up what the sessions leave empty.
    pub fallback: bool,
    /// Items never shown.
    pub blocked: Vec<String>,
    /// Categories never shown.
    pub blocked_categories: Vec<String>,
    /// Items shown first, in this order, if they may be shown.
    pub pins: Vec<String>,
    /// Factors on scores.
    pub boosts: Vec<Boost>,
    /// Most items of one category in an answer, as long as there are others; 0: no bound.
    pub category_max: usize,
}

impl Default for Placement {
    fn default() -> Self {
        Placement {
            kind: Kind::Next,
            next: None,
            count: 10,
            current_allowed: false,
            repeats_allowed: true,
            bought_allowed: false,
            out_of_stock_allowed: false,
            fallback: true,
            blocked: Vec::new(),
            blocked_categories: Vec::new(),
            pins: Vec::new(),
            boosts: Vec::new(),
            category_max: 0,
        }
    }
}

/// All of the recommender's settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Sizes of the index.
    pub index: IndexSettings,
    /// Weights of the query.
    pub next: NextSettings,
    /// How demand is counted.
    pub trend: TrendSettings,
    /// Visitors kept; a full house forgets one who was not seen for a round.
    pub visitors_max: usize,
    /// The places that are asked for, by name.
    pub placements: BTreeMap<String, Placement>,
}

impl Default for Settings {
    fn default() -> Self {
        let kinds = [
            ("next", Kind::Next),
            ("similar", Kind::Similar),
            ("bought_together", Kind::BoughtTogether),
            ("trending", Kind::Trending),
            ("visitor", Kind::Visitor),
            ("cart_reminder", Kind::CartReminder),
        ];
        let placement = |(name, kind): (&str, Kind)| {
            // A cart's items were looked at, and what is bought again and again is still bought together.
            let again = matches!(kind, Kind::BoughtTogether | Kind::Trending);
            let fallback = kind != Kind::CartReminder;
            let repeats_allowed = matches!(kind, Kind::Next | Kind::Trending | Kind::CartReminder);
            let placement =
                Placement { kind, bought_allowed: again, fallback, repeats_allowed, ..Placement::default() };
            (name.to_owned(), placement)
        };
        Settings {
            index: IndexSettings::default(),
            next: NextSettings::default(),
            trend: TrendSettings::default(),
            visitors_max: 1_000_000,
            placements: kinds.into_iter().map(placement).collect(),
        }
    }
}

/// Why settings cannot work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("recommender setting `{name}` is {value}; {hint}")]
pub struct SettingsError {
    /// The setting.
    pub name: String,
    /// What it is.
    pub value: String,
    /// What to write instead.
    pub hint: &'static str,
}

fn wrong(name: &str, value: String, hint: &'static str) -> SettingsError {
    SettingsError { name: name.into(), value, hint }
}

impl NextSettings {
    fn check(&self, place: &str) -> Result<(), SettingsError> {
        let scales = [
            ("self.similarity_places", self.similarity_places),
            ("vote_places", self.vote_places),
            ("age_days", self.age_days),
            ("distance_clicks", self.distance_clicks),
            ("rules_places", self.rules_places),
        ];
        if let Some((name, value)) = scales.into_iter().find(|(_, value)| !value.is_finite() || *value <= 0.0) {
            return Err(wrong(&format!("{place}.{name}"), value.to_string(), "write a number above 0"));
        }
        let weights = [
            ("before_weight", self.before_weight),
            ("rarity_weight", self.rarity_weight),
            ("length_exponent", self.length_exponent),
            ("rules_share", self.rules_share),
            ("return_weight", self.return_weight),
            ("again_weight", self.again_weight),
            ("cart_boost", self.cart_boost),
        ];
        if let Some((name, value)) = weights.into_iter().find(|(_, value)| !value.is_finite() || *value < 0.0) {
            return Err(wrong(&format!("{place}.{name}"), value.to_string(), "write 0 or more"));
        }
        if self.rules_share > 1.0 {
            return Err(wrong(&format!("{place}.rules_share"), self.rules_share.to_string(), "a share is at most 1"));
        }
        Ok(())
    }
}

impl Settings {
    /// Looks whether they can work.
    ///
    /// # Errors
    /// The first that cannot.
    pub fn check(&self) -> Result<(), SettingsError> {
        let index = &self.index;
        let sizes = [
            ("index.sessions_max", index.sessions_max, 1 << 30),
            ("index.items_max", index.items_max, (1 << 30) - 1),
            ("index.sessions_of_item_max", index.sessions_of_item_max, 1 << 20),
            ("index.clicks_of_session_max", index.clicks_of_session_max, 1 << 16),
            ("visitors_max", self.visitors_max, 1 << 30),
            ("next.items_max", self.next.items_max, super::query::ITEMS_LOOKED_AT_MAX),
            ("next.neighbours_max", self.next.neighbours_max, 1 << 20),
        ];
        for (name, value, most) in sizes {
            if value == 0 || value > most {
                return Err(wrong(
                    name,
                    value.to_string(),
                    "it must be at least 1 and within its bound (see the reference)",
                ));
            }
        }
        self.next.check("next")?;
        if self.trend.half_life_micros <= 0 {
            return Err(wrong(
                "trend.half_life_micros",
                self.trend.half_life_micros.to_string(),
                "write a time above 0",
            ));
        }
        for (name, placement) in &self.placements {
            if let Some(next) = &placement.next {
                next.check(&format!("placements.{name}.next"))?;
            }
            let factors = placement.boosts.iter().map(|boost| boost.factor);
            if let Some(factor) = factors.into_iter().find(|factor| !factor.is_finite() || *factor < 0.0) {
                return Err(wrong(&format!("placements.{name}.boosts"), factor.to_string(), "a factor is 0 or more"));
            }
        }
        Ok(())
    }
}
