//! What is known of a payment at its time, as numbers: the names that rules are written in, and what the model learns from.
//!
//! **Invariant:** a payment's own outcome (declined or not) is in no feature: the same numbers stand before it is tried.

use super::entity::{DAY, Entity, HOUR, MINUTE, Touch, Whereabouts};
use super::memory::{Kind, Memory};
use super::payment::Payment;

macro_rules! features {
    ($($name:ident $text:literal $meaning:literal,)*) => {
        /// A number that is known of a payment; one that is not known is NaN.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Feature { $(#[doc = $meaning] $name,)* }

        /// Names of the features, in the order of a vector.
        pub const FEATURES: &[&str] = &[$($text,)*];
        /// What each feature says.
        pub const MEANINGS: &[&str] = &[$($meaning,)*];
    };
}

features! {
    Amount "amount" "Amount in units of the currency",
    HourOfDay "hour_of_day" "Hour of the day, UTC",
    IsCard "is_card" "1 when a card pays",
    CardAbroad "ip_not_card_country" "1 when the client's address is in another country than the card's issuer",
    GoodsAbroad "shipping_not_card_country" "1 when the goods go to another country than the card's issuer",
    ShippedAway "shipping_not_ip_country" "1 when the goods go to another country than the client's address",
    HasAccount "has_account" "1 when an account pays, 0 for a guest",
    HasPromo "has_promo" "1 when a promotion is used",
    VisitSeconds "visit_seconds" "Seconds since the visit began",
    VisitEvents "visit_events" "Events of the visit",
    VisitProducts "visit_products" "Products looked at in the visit",
    VisitFailedSignIns "visit_failed_sign_ins" "Sign-ins of the visit that failed",
    VisitPasswordMinutes "visit_minutes_since_password_change" "Minutes since the password was changed in the visit",
    VisitAddressMinutes "visit_minutes_since_address_change" "Minutes since the address was changed in the visit",
    VisitSignUpMinutes "visit_minutes_since_sign_up" "Minutes since the account was opened in the visit",
    OrderAttempts "order_attempts" "Earlier payments for the order",
    OrderDeclines "order_declines" "Declined payments for the order",
    OrderCards "order_cards" "Cards tried for the order, this one included",
    AccountAttempts10m "account_attempts_10m" "Payments of the account in 10 minutes",
    AccountAttempts24h "account_attempts_24h" "Payments of the account in 24 hours",
    AccountAttempts30d "account_attempts_30d" "Payments of the account in 30 days",
    AccountDeclines24h "account_declines_24h" "Declined payments of the account in 24 hours",
    AccountAmountToUsual "account_amount_to_usual" "Amount in times of what the account usually pays",
    AccountDeviations "account_amount_deviations" "Amount in deviations from what the account usually pays",
    AccountKnown "account_payments_known" "Payments the account's habit is known by",
    AccountHours "account_hours_known" "Hours since the account first paid",
    AccountNewDevice "account_new_device" "1 when the account never paid from this device",
    AccountNewAddress "account_new_address" "1 when the account never paid for goods to this address",
    AccountSpeed "account_km_per_hour" "Speed from the account's last payment to this one",
    AccountFraud "account_known_fraud" "Payments of the account known to be fraudulent",
    AccountRefunds "account_refunds_7d" "Refunds of the account in 7 days",
    CardAttempts1m "card_attempts_1m" "Payments with the card in 1 minute",
    CardAttempts10m "card_attempts_10m" "Payments with the card in 10 minutes",
    CardAttempts1h "card_attempts_1h" "Payments with the card in 1 hour",
    CardAttempts24h "card_attempts_24h" "Payments with the card in 24 hours",
    CardDeclines10m "card_declines_10m" "Declined payments with the card in 10 minutes",
    CardDeclines24h "card_declines_24h" "Declined payments with the card in 24 hours",
    CardAmountToUsual "card_amount_to_usual" "Amount in times of what is usually paid with the card",
    CardRises "card_rises_1h" "Payments with the card in 1 hour, each larger than the one before, this one included",
    CardPersons "card_persons_1h" "E-mail addresses that paid with the card in 1 hour, this one included",
    CardDevices "card_devices_1h" "Devices that paid with the card in 1 hour, this one included",
    CardSpeed "card_km_per_hour" "Speed from the card's last payment to this one",
    CardFraud "card_known_fraud" "Payments with the card known to be fraudulent",
    CardHours "card_hours_known" "Hours since the card first paid",
    DeviceAttempts1m "device_attempts_1m" "Payments from the device in 1 minute",
    DeviceAttempts10m "device_attempts_10m" "Payments from the device in 10 minutes",
    DeviceAttempts24h "device_attempts_24h" "Payments from the device in 24 hours",
    DeviceDeclines10m "device_declines_10m" "Declined payments from the device in 10 minutes",
    DeviceCards1h "device_cards_1h" "Cards tried from the device in 1 hour, this one included",
    DevicePersons24h "device_persons_24h" "E-mail addresses that paid from the device in 24 hours, this one included",
    DevicePromos24h "device_promos_24h" "Payments with a promotion from the device in 24 hours",
    DeviceFraud "device_known_fraud" "Payments from the device known to be fraudulent",
    IpAttempts10m "ip_attempts_10m" "Payments from the address in 10 minutes",
    IpDeclines10m "ip_declines_10m" "Declined payments from the address in 10 minutes",
    IpCards1h "ip_cards_1h" "Cards tried from the address in 1 hour, this one included",
    IpFraud "ip_known_fraud" "Payments from the address known to be fraudulent",
    NetworkAttempts10m "network_attempts_10m" "Payments from the address's /24 in 10 minutes",
    NetworkDeclines10m "network_declines_10m" "Declined payments from the address's /24 in 10 minutes",
    BinAttempts10m "bin_attempts_10m" "Payments with cards of the issuer in 10 minutes",
    BinDeclines10m "bin_declines_10m" "Declined payments with cards of the issuer in 10 minutes",
    BinDeclineShare "bin_decline_share_24h" "Share of the issuer's payments declined in 24 hours",
    EmailAttempts24h "email_attempts_24h" "Payments of the e-mail address in 24 hours",
    EmailCards24h "email_cards_24h" "Cards the e-mail address tried in 24 hours, this one included",
    EmailFraud "email_known_fraud" "Payments of the e-mail address known to be fraudulent",
    AddressAttempts24h "address_attempts_24h" "Payments for goods to the delivery address in 24 hours",
    AddressPersons24h "address_persons_24h" "E-mail addresses that paid for goods to the address in 24 hours, this one included",
    AddressPromos24h "address_promos_24h" "Payments with a promotion for goods to the address in 24 hours",
    AddressFraud "address_known_fraud" "Payments for goods to the address known to be fraudulent",
    ShopDeclineShare "shop_decline_share_24h" "Share of all payments declined in 24 hours",
}

/// Number of features.
pub const COUNT: usize = FEATURES.len();

/// The features of a payment.
pub type Vector = [f32; COUNT];

/// The place of a feature in a vector, by its name.
pub fn place(name: &str) -> Option<usize> {
    FEATURES.iter().position(|feature| *feature == name)
}

struct Values(Vector);

impl Values {
    fn set(&mut self, feature: Feature, value: f32) {
        self.0[feature as usize] = value;
    }

    fn flag(&mut self, feature: Feature, known: Option<bool>) {
        self.set(feature, known.map_or(f32::NAN, |is| f32::from(u8::from(is))));
    }

    /// The habit and the fraud of an entity.
    fn amount_to_usual(&mut self, feature: Feature, entity: &Entity, amount: f32) {
        self.set(feature, entity.habit().map_or(f32::NAN, |habit| amount / habit.mean.max(0.01)));
    }
}

fn differ(a: u64, b: u64) -> Option<bool> {
    (a != 0 && b != 0).then_some(a != b)
}

fn share(declined: u32, count: u32) -> f32 {
    if count == 0 { f32::NAN } else { declined as f32 / count as f32 }
}

/// The features of a payment by what came before it.
pub(super) fn vector(memory: &Memory, payment: &Payment) -> Vector {
    use Feature as F;
    let mut values = Values([f32::NAN; COUNT]);
    let now = payment.time;
    let nobody = Entity::default();
    let of = |kind: Kind| -> Option<&Entity> {
        let id = payment.ids[kind as usize];
        (id != 0).then(|| memory.entity(kind, id).unwrap_or(&nobody))
    };
    let hours = |entity: &Entity| {
        if entity.touches.is_empty() { 0.0 } else { (now - entity.first).max(0) as f32 / HOUR as f32 }
    };
    let fraud = |entity: &Entity| entity.known_fraud as f32;
    let cards = |entity: &Entity, window: i64| entity.distinct(now, window, payment.touch.card, |touch| touch.card);
    let persons =
        |entity: &Entity, window: i64| entity.distinct(now, window, payment.touch.person, |touch| touch.person);
    let promos = |entity: &Entity| entity.within(now, DAY).filter(|touch| touch.promo).count() as f32;
    values.set(F::Amount, payment.touch.amount);
    values.set(F::HourOfDay, now.rem_euclid(DAY) as f32 / HOUR as f32);
    values.flag(F::IsCard, Some(payment.ids[Kind::Card as usize] != 0));
    values.flag(F::CardAbroad, differ(payment.ip_country, payment.card_country));
    values.flag(F::GoodsAbroad, differ(payment.shipping_country, payment.card_country));
    values.flag(F::ShippedAway, differ(payment.shipping_country, payment.ip_country));
    values.flag(F::HasAccount, Some(payment.ids[Kind::Account as usize] != 0));
    values.flag(F::HasPromo, Some(payment.touch.promo));
    if let Some(visit) = memory.visits.get(payment.visitor, now) {
        let minutes = |then: Option<i64>| then.map_or(f32::NAN, |then| (now - then).max(0) as f32 / MINUTE as f32);
        values.set(F::VisitSeconds, (now - visit.first).max(0) as f32 / 1e6);
        values.set(F::VisitEvents, visit.events as f32);
        values.set(F::VisitProducts, visit.products as f32);
        values.set(F::VisitFailedSignIns, visit.failed_sign_ins as f32);
        values.set(F::VisitPasswordMinutes, minutes(visit.password_changed));
        values.set(F::VisitAddressMinutes, minutes(visit.address_changed));
        values.set(F::VisitSignUpMinutes, minutes(visit.signed_up));
    }
    if let Some(order) = of(Kind::Order) {
        values.set(F::OrderAttempts, order.count(now, DAY));
        values.set(F::OrderDeclines, order.declined(now, DAY));
        values.set(F::OrderCards, cards(order, DAY));
    }
    if let Some(account) = of(Kind::Account) {
        let (day, month) = (account.day(now), account.month(now));
        values.set(F::AccountAttempts10m, account.count(now, 10 * MINUTE));
        values.set(F::AccountAttempts24h, day.count as f32);
        values.set(F::AccountAttempts30d, month.count as f32);
        values.set(F::AccountDeclines24h, day.declined as f32);
        values.amount_to_usual(F::AccountAmountToUsual, account, payment.touch.amount);
        if let Some(habit) = account.habit() {
            let deviation = habit.deviation.max(0.1 * habit.mean).max(0.01);
            values.set(F::AccountDeviations, (payment.touch.amount - habit.mean) / deviation);
        }
        values.set(F::AccountKnown, account.habit().map_or(0.0, |habit| habit.known));
        values.set(F::AccountHours, hours(account));
        let new = |known: &std::collections::VecDeque<u32>, this: u32| {
            (this != 0 && !known.is_empty()).then(|| !known.contains(&this))
        };
        values.flag(F::AccountNewDevice, new(&account.devices, payment.touch.device));
        values.flag(F::AccountNewAddress, new(&account.addresses, payment.address()));
        values.set(F::AccountSpeed, speed(account, payment.place.as_ref()));
        values.set(F::AccountFraud, fraud(account));
        let refunds = account.refunds.iter().filter(|refund: &&Touch| refund.time > now - 7 * DAY);
        values.set(F::AccountRefunds, refunds.count() as f32);
    }
    if let Some(card) = of(Kind::Card) {
        let day = card.day(now);
        values.set(F::CardAttempts1m, card.count(now, MINUTE));
        values.set(F::CardAttempts10m, card.count(now, 10 * MINUTE));
        values.set(F::CardAttempts1h, card.count(now, HOUR));
        values.set(F::CardAttempts24h, day.count as f32);
        values.set(F::CardDeclines10m, card.declined(now, 10 * MINUTE));
        values.set(F::CardDeclines24h, day.declined as f32);
        values.amount_to_usual(F::CardAmountToUsual, card, payment.touch.amount);
        values.set(F::CardRises, card.rises(now, payment.touch.amount));
        values.set(F::CardPersons, persons(card, HOUR));
        values.set(F::CardDevices, card.distinct(now, HOUR, payment.touch.device, |touch| touch.device));
        values.set(F::CardSpeed, speed(card, payment.place.as_ref()));
        values.set(F::CardFraud, fraud(card));
        values.set(F::CardHours, hours(card));
    }
    if let Some(device) = of(Kind::Device) {
        values.set(F::DeviceAttempts1m, device.count(now, MINUTE));
        values.set(F::DeviceAttempts10m, device.count(now, 10 * MINUTE));
        values.set(F::DeviceAttempts24h, device.day(now).count as f32);
        values.set(F::DeviceDeclines10m, device.declined(now, 10 * MINUTE));
        values.set(F::DeviceCards1h, cards(device, HOUR));
        values.set(F::DevicePersons24h, persons(device, DAY));
        values.set(F::DevicePromos24h, promos(device));
        values.set(F::DeviceFraud, fraud(device));
    }
    if let Some(ip) = of(Kind::Ip) {
        values.set(F::IpAttempts10m, ip.count(now, 10 * MINUTE));
        values.set(F::IpDeclines10m, ip.declined(now, 10 * MINUTE));
        values.set(F::IpCards1h, cards(ip, HOUR));
        values.set(F::IpFraud, fraud(ip));
    }
    if let Some(network) = of(Kind::Network) {
        values.set(F::NetworkAttempts10m, network.count(now, 10 * MINUTE));
        values.set(F::NetworkDeclines10m, network.declined(now, 10 * MINUTE));
    }
    if let Some(bin) = of(Kind::Bin) {
        let day = bin.day(now);
        values.set(F::BinAttempts10m, bin.count(now, 10 * MINUTE));
        values.set(F::BinDeclines10m, bin.declined(now, 10 * MINUTE));
        values.set(F::BinDeclineShare, share(day.declined, day.count));
    }
    if let Some(email) = of(Kind::Email) {
        values.set(F::EmailAttempts24h, email.day(now).count as f32);
        values.set(F::EmailCards24h, cards(email, DAY));
        values.set(F::EmailFraud, fraud(email));
    }
    if let Some(address) = of(Kind::Address) {
        values.set(F::AddressAttempts24h, address.day(now).count as f32);
        values.set(F::AddressPersons24h, persons(address, DAY));
        values.set(F::AddressPromos24h, promos(address));
        values.set(F::AddressFraud, fraud(address));
    }
    if let Some(shop) = memory.entity(Kind::Shop, 1) {
        let day = shop.day(now);
        values.set(F::ShopDeclineShare, share(day.declined, day.count));
    }
    values.0
}

fn speed(entity: &Entity, here: Option<&Whereabouts>) -> f32 {
    here.map_or(f32::NAN, |here| entity.speed(here))
}
