//! Rules: conditions on features, each with the points it adds to the logarithm of the odds. Data, not code: settings may
//! change one, add one, or let one run in the shadow, and a backtest reads the same text.
//!
//! `when = "device_cards_1h >= 3 and device_declines_10m >= 1"`: every condition must hold; one on a number that is not known
//! does not.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::entity::{DAY, HOUR};
use super::features::{FEATURES, Vector, place};
use super::memory::Kind;

/// A rule as it is written down.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rule {
    /// For people.
    pub description: String,
    /// Conditions: `FEATURE >= NUMBER and …`, with `>=`, `<=`, `>`, `<` and `=`.
    pub when: String,
    /// What it adds to the logarithm of the odds; 7 is enough for a review.
    pub points: f32,
    /// It says that it would have fired, and adds nothing.
    pub shadow: bool,
    /// It does not run.
    pub off: bool,
}

impl Rule {
    /// Whether it can be run.
    ///
    /// # Errors
    /// What cannot be understood, and what to write instead.
    pub fn check(&self, name: &str) -> Result<(), String> {
        Compiled::of(name, self).map(drop)
    }

    /// `acts`, `shadow` or `off`.
    pub fn state(&self) -> &'static str {
        match (self.off, self.shadow) {
            (true, _) => "off",
            (false, true) => "shadow",
            (false, false) => "acts",
        }
    }
}

/// Rules that ship: name, points, conditions, description.
const SHIPPED: &[(&str, f32, &str, &str)] = &[
    (
        "card_abroad",
        7.5,
        "ip_not_card_country >= 1 and is_card >= 1",
        "The card was issued in another country than the client is in",
    ),
    (
        "goods_abroad",
        7.5,
        "shipping_not_card_country >= 1",
        "The goods go to another country than the card was issued in",
    ),
    ("card_testing", 8.0, "device_cards_1h >= 3 and device_declines_10m >= 1", "One device tries card after card"),
    ("card_testing_by_address", 8.0, "ip_cards_1h >= 5 and ip_declines_10m >= 3", "One address tries card after card"),
    (
        "velocity_of_guest",
        7.5,
        "has_account = 0 and card_attempts_10m >= 3",
        "One card pays again and again within minutes, without an account",
    ),
    ("velocity", 4.0, "card_attempts_10m >= 3", "One card pays again and again within minutes"),
    ("velocity_high", 4.0, "card_attempts_10m >= 6", "One card pays very often within minutes"),
    ("rising_amounts", 2.5, "card_rises_1h >= 2", "One card pays more each time"),
    ("declines_then_success", 8.0, "order_declines >= 3", "An order is declined again and again"),
    ("cards_for_one_order", 4.0, "order_cards >= 3", "Several cards are tried for one order"),
    ("impossible_travel", 9.0, "card_km_per_hour > 900", "The card is in two places faster than planes fly"),
    (
        "impossible_travel_of_account",
        9.0,
        "account_km_per_hour > 900",
        "The account is in two places faster than planes fly",
    ),
    (
        "amount_out_of_habit",
        8.0,
        "account_amount_to_usual >= 6 and account_payments_known >= 3 and account_amount_deviations >= 10",
        "Far more than the account usually pays",
    ),
    (
        "account_takeover",
        9.0,
        "visit_failed_sign_ins >= 3 and visit_minutes_since_password_change <= 60",
        "Failed sign-ins, a new password, then a payment",
    ),
    (
        "new_address_after_password",
        5.0,
        "visit_minutes_since_password_change <= 60 and visit_minutes_since_address_change <= 60",
        "Password and address were changed just before the payment",
    ),
    (
        "promo_abuse",
        8.0,
        "has_promo >= 1 and device_persons_24h >= 2 and device_promos_24h >= 1",
        "One device uses a promotion under several names",
    ),
    (
        "promo_abuse_by_address",
        4.0,
        "has_promo >= 1 and address_persons_24h >= 2 and address_promos_24h >= 1",
        "Goods of a promotion go to one address under several names",
    ),
    ("known_card", 8.0, "card_known_fraud >= 1", "The card was used for fraud before"),
    ("known_device", 8.0, "device_known_fraud >= 1", "The device was used for fraud before"),
    (
        "known_email",
        7.5,
        "email_known_fraud >= 1 and account_new_device >= 1",
        "The e-mail address was used for fraud before, and the device is new",
    ),
    ("known_address", 7.5, "address_known_fraud >= 1", "Goods went to the address by fraud before"),
    (
        "issuer_under_attack",
        1.5,
        "bin_declines_10m >= 8 and bin_decline_share_24h >= 0.4",
        "Cards of the issuer are declined in large numbers",
    ),
];

/// The rules that ship.
pub(super) fn shipped() -> BTreeMap<String, Rule> {
    let rule = |(name, points, when, description): &(&str, f32, &str, &str)| {
        let (when, description) = ((*when).to_owned(), (*description).to_owned());
        ((*name).to_owned(), Rule { description, when, points: *points, ..Rule::default() })
    };
    SHIPPED.iter().map(rule).collect()
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Compare {
    AtLeast,
    AtMost,
    Above,
    Below,
    Equal,
}

/// A rule that can be run.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Compiled {
    pub(super) name: Arc<str>,
    pub(super) points: f32,
    pub(super) shadow: bool,
    conditions: Vec<(usize, Compare, f32)>,
    /// Whose payments are its evidence.
    pub(super) kinds: Vec<Kind>,
    /// The visit's events are evidence, too.
    pub(super) of_visit: bool,
    /// How far back the evidence goes, microseconds.
    pub(super) window: i64,
}

/// Kinds by the beginning of their features' names.
const PREFIXES: [(&str, Kind); 9] = [
    ("card_", Kind::Card),
    ("account_", Kind::Account),
    ("device_", Kind::Device),
    ("ip_", Kind::Ip),
    ("network_", Kind::Network),
    ("bin_", Kind::Bin),
    ("email_", Kind::Email),
    ("address_", Kind::Address),
    ("order_", Kind::Order),
];

impl Compiled {
    /// Reads the conditions of a rule.
    ///
    /// # Errors
    /// What cannot be understood, and what to write instead.
    pub(super) fn of(name: &str, rule: &Rule) -> Result<Self, String> {
        let mut conditions = Vec::new();
        for condition in rule.when.split(" and ") {
            conditions.push(parse(condition).map_err(|why| format!("rule `{name}`: {why}"))?);
        }
        if !rule.points.is_finite() {
            return Err(format!("rule `{name}`: its points are no number"));
        }
        let names: Vec<&str> =
            conditions.iter().filter_map(|(feature, _, _)| FEATURES.get(*feature).copied()).collect();
        let about = |prefix: &str| names.iter().any(|name| name.starts_with(prefix));
        let kinds = PREFIXES.iter().filter(|(prefix, _)| about(prefix)).map(|(_, kind)| *kind).collect();
        let long =
            names.iter().any(|name| name.ends_with("_24h") || name.ends_with("_30d") || name.ends_with("_fraud"));
        Ok(Compiled {
            name: Arc::from(name),
            points: rule.points,
            shadow: rule.shadow,
            conditions,
            kinds,
            of_visit: about("visit_"),
            window: if long { DAY } else { HOUR },
        })
    }

    pub(super) fn fires(&self, vector: &Vector) -> bool {
        self.conditions.iter().all(|(feature, compare, limit)| {
            let value = vector[*feature];
            match compare {
                Compare::AtLeast => value >= *limit,
                Compare::AtMost => value <= *limit,
                Compare::Above => value > *limit,
                Compare::Below => value < *limit,
                Compare::Equal => value == *limit,
            }
        })
    }

    /// The numbers it judged by.
    pub(super) fn values(&self, vector: &Vector) -> BTreeMap<&'static str, f32> {
        self.conditions.iter().map(|(feature, _, _)| (FEATURES[*feature], vector[*feature])).collect()
    }
}

fn parse(condition: &str) -> Result<(usize, Compare, f32), String> {
    let mut words = condition.split_whitespace();
    let (Some(name), Some(compare), Some(number), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(format!("`{condition}` is no condition; write FEATURE >= NUMBER, with spaces"));
    };
    let feature = place(name).ok_or_else(|| {
        let hint = millrace_model::names::did_you_mean(name, FEATURES.iter().copied());
        format!("`{name}` is no feature{hint}; `millrace fraud features` lists them")
    })?;
    let compare = match compare {
        ">=" => Compare::AtLeast,
        "<=" => Compare::AtMost,
        ">" => Compare::Above,
        "<" => Compare::Below,
        "=" | "==" => Compare::Equal,
        other => return Err(format!("`{other}` compares nothing; there are >=, <=, >, < and =")),
    };
    let limit = number.parse::<f32>().ok().filter(|limit| limit.is_finite());
    Ok((feature, compare, limit.ok_or_else(|| format!("`{number}` is no number"))?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fraud::live::features::COUNT;

    fn compiled(when: &str) -> Result<Compiled, String> {
        Compiled::of("r", &Rule { when: when.into(), points: 1.0, ..Rule::default() })
    }

    #[test]
    fn conditions_hold_together_and_never_on_what_is_not_known() {
        let rule = compiled("amount > 10 and card_attempts_10m >= 2").expect("a rule");
        let mut vector: Vector = [f32::NAN; COUNT];
        assert!(!rule.fires(&vector));
        vector[place("amount").expect("known")] = 11.0;
        assert!(!rule.fires(&vector));
        vector[place("card_attempts_10m").expect("known")] = 2.0;
        assert!(rule.fires(&vector));
        assert_eq!(rule.values(&vector), BTreeMap::from([("amount", 11.0), ("card_attempts_10m", 2.0)]));
        assert_eq!((rule.kinds.as_slice(), rule.of_visit, rule.window), (&[Kind::Card][..], false, HOUR));
    }

    #[test]
    fn what_cannot_be_understood_is_told() {
        for (when, told) in [
            ("card_attempt_10m >= 2", "did you mean `card_attempts_10m`?"),
            ("amount>=2", "is no condition"),
            ("amount is 2", "`is` compares nothing"),
            ("amount > much", "`much` is no number"),
            ("", "is no condition"),
        ] {
            let error = compiled(when).expect_err(when);
            assert!(error.starts_with("rule `r`: ") && error.contains(told), "{error}");
        }
    }

    #[test]
    fn what_ships_can_be_run() {
        let rules = shipped();
        assert_eq!(rules.len(), SHIPPED.len(), "every name is there once");
        rules.iter().for_each(|(name, rule)| assert!(Compiled::of(name, rule).is_ok(), "{name}"));
    }
}
