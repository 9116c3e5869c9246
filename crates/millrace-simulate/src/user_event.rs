//! The JSON of a user event, in the order of its contract.

use std::ops::Range;

use millrace_model::Timestamp;

use crate::catalogue::Catalogue;
use crate::ids::{Ids, Kind};
use crate::json::{self, Clockface};
use crate::people::{AGENTS, CHANNELS, Who};
use crate::places::PLACES;

/// The last piece of a page's path.
#[derive(Clone, Copy)]
pub(crate) enum Tail {
    Nothing,
    /// The product's id.
    Product,
    /// The category's name.
    Category,
}

/// What a visitor did, beyond who did it.
#[derive(Clone, Copy)]
pub(crate) struct UserEvent {
    pub(crate) event_type: &'static str,
    /// Path of the page; none when empty.
    pub(crate) path: &'static str,
    pub(crate) tail: Tail,
    /// First page of a visit: it names the page that sent the visitor.
    pub(crate) landing: bool,
    /// A search: the product whose words are typed, and the number of results.
    pub(crate) search: Option<(u32, u32)>,
    pub(crate) product: Option<u32>,
    /// Category of a list; a product brings its own.
    pub(crate) category: Option<&'static str>,
    pub(crate) position: u32,
    pub(crate) quantity: u32,
    /// Price and currency are shown.
    pub(crate) priced: bool,
    /// Number of the cart; 0 when none is touched.
    pub(crate) cart: u64,
}

impl UserEvent {
    /// An event of a type, with nothing else.
    pub(crate) const fn of(event_type: &'static str) -> Self {
        UserEvent {
            event_type,
            path: "",
            tail: Tail::Nothing,
            landing: false,
            search: None,
            product: None,
            category: None,
            position: 0,
            quantity: 0,
            priced: false,
            cart: 0,
        }
    }

    /// A page seen.
    pub(crate) const fn page(path: &'static str) -> Self {
        UserEvent { path, ..UserEvent::of("page_viewed") }
    }

    /// A product's page seen.
    pub(crate) const fn product_viewed(product: u32) -> Self {
        UserEvent {
            path: "/p/",
            tail: Tail::Product,
            product: Some(product),
            priced: true,
            ..UserEvent::of("product_viewed")
        }
    }
}

/// Appends the event; says where its key (the anonymous id) lies.
#[expect(clippy::too_many_arguments, reason = "the parts of the shop an event is told from")]
pub(crate) fn write(
    out: &mut Vec<u8>,
    ids: &Ids,
    clock: &mut Clockface,
    catalogue: &Catalogue,
    event_id: u64,
    time: Timestamp,
    who: &Who,
    session: u64,
    event: &UserEvent,
) -> Range<usize> {
    head(out, ids, clock, event_id, event.event_type, time);
    out.extend_from_slice(b",\"store_id\":\"main\",\"anonymous_id\":\"");
    let key_start = out.len();
    ids.write(out, Kind::Anonymous, who.anonymous);
    let key = key_start..out.len();
    if who.signed_in {
        out.extend_from_slice(b"\",\"user_id\":\"");
        ids.write(out, Kind::User, who.user);
    }
    out.extend_from_slice(b"\",\"session_id\":\"");
    ids.write(out, Kind::Session, session);
    out.extend_from_slice(b"\",\"device_id\":\"");
    ids.write(out, Kind::Device, who.device);
    let (device_type, agent) = AGENTS[usize::from(who.agent)];
    json::text(out, b"\",\"device_type\":\"", device_type.as_bytes());
    out.extend_from_slice(b",\"ip\":\"");
    json::ip(out, who.ip);
    json::text(out, b"\",\"user_agent\":\"", agent.as_bytes());
    json::text(out, b",\"country\":\"", PLACES[usize::from(who.place)].country.as_bytes());
    let (channel, referrer) = CHANNELS[usize::from(who.channel)];
    json::text(out, b",\"channel\":\"", channel.as_bytes());
    let product = event.product.map(|product| catalogue.product(product));
    if !event.path.is_empty() {
        out.extend_from_slice(b",\"path\":\"");
        out.extend_from_slice(event.path.as_bytes());
        let tail = match event.tail {
            Tail::Nothing => "",
            Tail::Product => product.map_or("", |product| product.id.as_str()),
            Tail::Category => event.category.unwrap_or_default(),
        };
        json::text(out, b"", tail.as_bytes());
    }
    if event.landing && !referrer.is_empty() {
        json::text(out, b",\"referrer\":\"", referrer.as_bytes());
    }
    if let Some((wanted, results)) = event.search {
        json::text(out, b",\"query\":\"", catalogue.product(wanted).query.as_bytes());
        json::integer(out, b",\"results\":", i64::from(results));
    }
    if let Some(product) = product {
        out.extend_from_slice(&product.json_event);
    } else if let Some(category) = event.category {
        json::text(out, b",\"category\":\"", category.as_bytes());
    }
    if event.position > 0 {
        json::integer(out, b",\"position\":", i64::from(event.position));
    }
    if event.quantity > 0 {
        json::integer(out, b",\"quantity\":", i64::from(event.quantity));
    }
    if event.priced
        && let Some(product) = product
    {
        json::integer(out, b",\"price_minor\":", product.price_minor);
        out.extend_from_slice(b",\"currency\":\"EUR\"");
    }
    if event.cart != 0 {
        out.extend_from_slice(b",\"cart_id\":\"");
        ids.write(out, Kind::Cart, event.cart);
        out.push(b'"');
    }
    out.push(b'}');
    key
}

/// The fields every source record begins with.
pub(crate) fn head(
    out: &mut Vec<u8>,
    ids: &Ids,
    clock: &mut Clockface,
    event_id: u64,
    event_type: &str,
    time: Timestamp,
) {
    out.extend_from_slice(b"{\"event_id\":\"");
    ids.write(out, Kind::Event, event_id);
    json::text(out, b"\",\"event_type\":\"", event_type.as_bytes());
    out.extend_from_slice(b",\"event_time\":\"");
    clock.write(out, time);
    out.push(b'"');
}
