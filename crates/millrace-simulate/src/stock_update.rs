//! The JSON of an inventory update, in the order of its contract.

use std::ops::Range;

use millrace_model::Timestamp;

use crate::catalogue::Product;
use crate::ids::{Ids, Kind};
use crate::json::{self, Clockface};
use crate::user_event::head;
use crate::warehouse::Shelf;

/// A movement of stock.
#[derive(Clone, Copy)]
pub(crate) struct StockUpdate {
    pub(crate) event_type: &'static str,
    pub(crate) quantity: i32,
    pub(crate) on_hand_change: i32,
    pub(crate) reserved_change: i32,
    /// Number of the order; 0 when none.
    pub(crate) order: u64,
    /// Number of the shipment; 0 when none.
    pub(crate) shipment: u64,
    pub(crate) reason: Option<&'static str>,
}

/// Appends the update of a shelf that already shows it; says where its key (the product id) lies.
#[expect(clippy::too_many_arguments, reason = "the parts of the shop an update is told from")]
pub(crate) fn write(
    out: &mut Vec<u8>,
    ids: &Ids,
    clock: &mut Clockface,
    event_id: u64,
    time: Timestamp,
    product: &Product,
    shelf: &Shelf,
    update: &StockUpdate,
) -> Range<usize> {
    head(out, ids, clock, event_id, update.event_type, time);
    out.extend_from_slice(b",\"store_id\":\"main\"");
    // `,"product_id":"` is 15 bytes.
    let key_start = out.len() + 15;
    out.extend_from_slice(&product.json_stock);
    json::integer(out, b",\"quantity\":", i64::from(update.quantity));
    json::integer(out, b",\"on_hand_change\":", i64::from(update.on_hand_change));
    json::integer(out, b",\"reserved_change\":", i64::from(update.reserved_change));
    json::integer(out, b",\"on_hand\":", i64::from(shelf.on_hand));
    json::integer(out, b",\"reserved\":", i64::from(shelf.reserved));
    json::integer(out, b",\"reorder_point\":", i64::from(shelf.reorder_point));
    json::integer(out, b",\"unit_cost_minor\":", product.cost_minor);
    out.extend_from_slice(b",\"currency\":\"EUR\"");
    if update.order != 0 {
        out.extend_from_slice(b",\"order_id\":\"");
        ids.write(out, Kind::Order, update.order);
        out.push(b'"');
    }
    if update.shipment != 0 {
        out.extend_from_slice(b",\"shipment_id\":\"");
        ids.write(out, Kind::Shipment, update.shipment);
        out.push(b'"');
    }
    if let Some(reason) = update.reason {
        json::text(out, b",\"reason\":\"", reason.as_bytes());
    }
    out.push(b'}');
    key_start..key_start + product.id.len()
}
