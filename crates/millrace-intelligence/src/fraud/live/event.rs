//! What the scorer reads: the fields of the contracts that say something about fraud.

use serde::Deserialize;

/// A record of `transactions`. As the body of a question, only `amount_minor` and what identifies the payer matter.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Transaction {
    /// Id of the event.
    pub event_id: String,
    /// `payment_authorized`, `payment_declined`, `order_refunded`, `chargeback_received`, or one that is passed over.
    pub event_type: String,
    /// When it happened, RFC 3339.
    pub event_time: Option<String>,
    /// Storefront: the terminal of a shop without one.
    pub store_id: Option<String>,
    /// Order.
    pub order_id: Option<String>,
    /// Payment attempt.
    pub payment_id: Option<String>,
    /// Refund.
    pub refund_id: Option<String>,
    /// Browser or app installation.
    pub anonymous_id: Option<String>,
    /// Account.
    pub user_id: Option<String>,
    /// Device fingerprint.
    pub device_id: Option<String>,
    /// Client address.
    pub ip: Option<String>,
    /// Country of the address.
    pub ip_country: Option<String>,
    /// Latitude of the address, degrees.
    pub ip_latitude: Option<f64>,
    /// Longitude of the address, degrees.
    pub ip_longitude: Option<f64>,
    /// Hash of the e-mail address.
    pub email_hash: Option<String>,
    /// `card`, `wallet` …
    pub payment_method: Option<String>,
    /// Token of the card.
    pub card_token: Option<String>,
    /// First digits of the card: its issuer.
    pub card_bin: Option<String>,
    /// Country of the issuer.
    pub card_country: Option<String>,
    /// Amount in minor units.
    pub amount_minor: Option<i64>,
    /// ISO 4217 code.
    pub currency: Option<String>,
    /// Promotion used.
    pub promo_code: Option<String>,
    /// Country of the delivery address.
    pub shipping_country: Option<String>,
    /// Hash of the delivery address.
    pub shipping_address_hash: Option<String>,
    /// Reason of a refund.
    pub reason: Option<String>,
}

/// A record of `user_events`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct UserEvent {
    /// Id of the event.
    pub event_id: String,
    /// What the visitor did.
    pub event_type: String,
    /// When it happened, RFC 3339.
    pub event_time: Option<String>,
    /// Browser or app installation.
    pub anonymous_id: String,
}

/// A record of `fraud_verdicts`: what an analyst says of a payment, or who looks at it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Verdict {
    /// The payment.
    pub payment_id: String,
    /// `fraud` or `good`; none while it is only assigned or commented.
    pub verdict: Option<String>,
    /// When it was said, RFC 3339.
    pub decided_at: Option<String>,
}

/// A record of `fraud_lists`: an entity is put on a list, or taken off.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ListChange {
    /// What the entity is: a name of [`super::LISTED`].
    pub kind: String,
    /// Its name, as `transactions` has it.
    pub entity: String,
    /// `allow`, `watch` or `block`; none takes it off.
    pub list: Option<String>,
    /// Rules that an allowed entity is not held by; none: by nothing.
    pub rules: Option<Vec<String>>,
    /// Why.
    pub reason: Option<String>,
    /// When it was said, RFC 3339.
    pub changed_at: Option<String>,
    /// Who said it.
    pub changed_by: String,
    /// When it ends, RFC 3339.
    pub expires_at: Option<String>,
}

/// A record of `fraud_rules`: a rule as it is from now on.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct RuleChange {
    /// The rule.
    pub name: String,
    /// `acts`, `shadow` or `off`; none: as the settings have it.
    pub state: Option<String>,
    /// Conditions; none: as the settings have them.
    pub when: Option<String>,
    /// What it adds to the logarithm of the odds; none: as the settings have it.
    pub points: Option<f32>,
    /// For people.
    pub description: Option<String>,
    /// When it was said, RFC 3339.
    pub changed_at: Option<String>,
}

/// A record of `fraud_models`: how a trial of trees went.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ModelChange {
    /// The candidate.
    pub version: u64,
    /// It scores from here on.
    pub won: bool,
    /// When it was said, RFC 3339.
    pub changed_at: Option<String>,
}

/// Where a record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin<'a> {
    /// Topic.
    pub topic: &'a str,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
}

/// A name as a number; 0 stands for none. Source: Fowler, Noll and Vo (FNV-1a), finished with splitmix64.
pub(super) fn hash(kind: u8, name: &str) -> u64 {
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let mut mixed = name.bytes().fold(mix(0xcbf2_9ce4_8422_2325, kind), mix);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)).max(1)
}

/// A name that is there and not empty.
pub(super) fn named(text: &Option<String>) -> Option<&str> {
    text.as_deref().filter(|text| !text.is_empty())
}
