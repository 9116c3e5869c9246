//! The JSON of a transaction, in the order of its contract.

use std::ops::Range;

use millrace_model::Timestamp;

use crate::catalogue::Catalogue;
use crate::ids::{Ids, Kind};
use crate::json::{self, Clockface};
use crate::order::{Line, Method, Order};
use crate::people::People;
use crate::places::PLACES;
use crate::user_event::head;

/// What happened to an order.
#[derive(Clone, Copy)]
pub(crate) struct Transaction<'a> {
    pub(crate) event_type: &'static str,
    /// The payment attempt it is about; 0 when none.
    pub(crate) payment: u64,
    /// The refund it is; 0 when none.
    pub(crate) refund: u64,
    pub(crate) decline_code: Option<&'static str>,
    pub(crate) amount_minor: i64,
    /// Discount and shipping are stated.
    pub(crate) composed: bool,
    pub(crate) reason: Option<&'static str>,
    pub(crate) lines: &'a [Line],
}

impl Transaction<'_> {
    /// A transaction of a type over an amount, with nothing else.
    pub(crate) const fn of(event_type: &'static str, amount_minor: i64) -> Self {
        Transaction {
            event_type,
            payment: 0,
            refund: 0,
            decline_code: None,
            amount_minor,
            composed: false,
            reason: None,
            lines: &[],
        }
    }
}

/// Appends the transaction; says where its key (the order id) lies.
#[expect(clippy::too_many_arguments, reason = "the parts of the shop a transaction is told from")]
pub(crate) fn write(
    out: &mut Vec<u8>,
    ids: &Ids,
    clock: &mut Clockface,
    people: &People,
    catalogue: &Catalogue,
    event_id: u64,
    time: Timestamp,
    order: &Order,
    transaction: &Transaction<'_>,
) -> Range<usize> {
    let who = &order.who;
    head(out, ids, clock, event_id, transaction.event_type, time);
    out.extend_from_slice(b",\"store_id\":\"main\",\"order_id\":\"");
    let key_start = out.len();
    ids.write(out, Kind::Order, order.number);
    let key = key_start..out.len();
    if transaction.payment != 0 {
        out.extend_from_slice(b"\",\"payment_id\":\"");
        ids.write(out, Kind::Payment, transaction.payment);
    }
    if transaction.refund != 0 {
        out.extend_from_slice(b"\",\"refund_id\":\"");
        ids.write(out, Kind::Refund, transaction.refund);
    }
    out.extend_from_slice(b"\",\"anonymous_id\":\"");
    ids.write(out, Kind::Anonymous, who.anonymous);
    if who.signed_in {
        out.extend_from_slice(b"\",\"user_id\":\"");
        ids.write(out, Kind::User, who.user);
    }
    out.extend_from_slice(b"\",\"session_id\":\"");
    ids.write(out, Kind::Session, order.session);
    out.extend_from_slice(b"\",\"device_id\":\"");
    ids.write(out, Kind::Device, who.device);
    out.extend_from_slice(b"\",\"ip\":\"");
    json::ip(out, who.ip);
    let place = &PLACES[usize::from(who.place)];
    json::text(out, b"\",\"ip_country\":\"", place.country.as_bytes());
    // Addresses of one city lie within some ten kilometres.
    let scatter = |bits: u32| (bits % 1_000).cast_signed() - 500;
    json::decimal4(out, b",\"ip_latitude\":", place.latitude + scatter(who.ip >> 3));
    json::decimal4(out, b",\"ip_longitude\":", place.longitude + scatter(who.ip.wrapping_mul(2_654_435_761) >> 12));
    out.extend_from_slice(b",\"email_hash\":\"");
    json::hex(out, &people.email_hash(who.person));
    json::text(out, b"\",\"payment_method\":\"", order.method.name().as_bytes());
    if order.method == Method::Card {
        out.extend_from_slice(b",\"card_token\":\"");
        ids.write(out, Kind::Card, order.card.token);
        json::integer(out, b"\",\"card_bin\":\"", i64::from(order.card.bin));
        json::text(out, b"\",\"card_country\":\"", PLACES[usize::from(order.card.place)].country.as_bytes());
    }
    if let Some(code) = transaction.decline_code {
        json::text(out, b",\"decline_code\":\"", code.as_bytes());
    }
    json::integer(out, b",\"amount_minor\":", transaction.amount_minor);
    if transaction.composed {
        json::integer(out, b",\"discount_minor\":", order.discount_minor);
        json::integer(out, b",\"shipping_minor\":", order.shipping_minor);
    }
    out.extend_from_slice(b",\"currency\":\"EUR\"");
    if let Some(promo) = order.promo {
        json::text(out, b",\"promo_code\":\"", promo.code().as_bytes());
    }
    json::text(out, b",\"shipping_country\":\"", PLACES[usize::from(order.address.place)].country.as_bytes());
    out.extend_from_slice(b",\"shipping_address_hash\":\"");
    json::hex(out, &people.address_hash(order.address));
    out.push(b'"');
    if let Some(reason) = transaction.reason {
        json::text(out, b",\"reason\":\"", reason.as_bytes());
    }
    if !transaction.lines.is_empty() {
        out.extend_from_slice(b",\"lines\":[");
        for (at, line) in transaction.lines.iter().enumerate() {
            let product = catalogue.product(line.product);
            out.push(if at == 0 { b'{' } else { b',' });
            if at > 0 {
                out.push(b'{');
            }
            // Without the comma it has in the middle of an event.
            out.extend_from_slice(&product.json_event[1..]);
            json::integer(out, b",\"quantity\":", i64::from(line.quantity));
            json::integer(out, b",\"price_minor\":", product.price_minor);
            out.push(b'}');
        }
        out.push(b']');
    }
    out.push(b'}');
    key
}
