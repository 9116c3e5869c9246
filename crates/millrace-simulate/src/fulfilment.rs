//! What becomes of placed orders, and what else moves in the warehouse.
//!
//! ```text
//!  order_placed ─┬ 0.5–3 min ─▶ order_cancelled + reservation_released                 (1.5 %)
//!                └ 3–10 min ──▶ shipment_dispatched + payment_captured ─┬ 5–30 min ─▶ order_refunded, goods restocked (6 %)
//!                                                                       └ chargeback_delay ─▶ chargeback_received (fraud)
//! ```
//!
//! Minutes stand for days. An order that cannot be dispatched because more was promised than there is waits for a
//! shipment, and is cancelled in the end.

use millrace_model::Timestamp;
use millrace_model::time::{MINUTE_MICROS, SECOND_MICROS};

use crate::campaigns::Campaign;
use crate::floor::Floor;
use crate::ledger::Tally;
use crate::order::{Line, Order, Return, Step};
use crate::stock_update::StockUpdate;
use crate::transaction::Transaction;

/// Times a dispatch is put off for want of goods, each by two minutes.
const DISPATCHES_MAX: u8 = 6;

const NO_UPDATE: StockUpdate = StockUpdate {
    event_type: "",
    quantity: 0,
    on_hand_change: 0,
    reserved_change: 0,
    order: 0,
    shipment: 0,
    reason: None,
};

/// True until the goods of an order have left the shelf, or are free again.
pub(crate) fn reserves(order: &Order) -> bool {
    matches!(order.step, Step::Cancel | Step::Dispatch(_))
}

/// The next step of a placed order.
pub(crate) fn order_step(floor: &mut Floor, slot: u32) {
    let Some(mut order) = floor.orders[slot as usize].take() else { return };
    floor.free_orders.push(slot);
    let next = match order.step {
        Step::Cancel => {
            cancel(floor, &order, "customer_request");
            None
        }
        Step::Dispatch(tries) => dispatch(floor, &order, tries),
        Step::Refund => {
            refund(floor, &order);
            None
        }
        Step::Chargeback => {
            let payment = order.payment;
            let reason = Some("fraudulent");
            let chargeback =
                Transaction { payment, reason, ..Transaction::of("chargeback_received", order.amount_minor) };
            floor.transaction(&order, &chargeback, Tally::Nothing);
            None
        }
    };
    if let Some((step, wait)) = next {
        order.step = step;
        let at = Timestamp(floor.now.0 + wait);
        floor.keep_order(order, at);
    }
}

fn dispatch(floor: &mut Floor, order: &Order, tries: u8) -> Option<(Step, i64)> {
    let short = order.lines.iter().any(|line| floor.warehouse.shelf(line.product).on_hand < i32::from(line.quantity));
    if short && tries < DISPATCHES_MAX {
        return Some((Step::Dispatch(tries + 1), 2 * MINUTE_MICROS));
    }
    if short {
        cancel(floor, order, "out_of_stock");
        return None;
    }
    let shipment = floor.ids.next();
    for line in &order.lines {
        let quantity = i32::from(line.quantity);
        let update = StockUpdate {
            event_type: "shipment_dispatched",
            quantity,
            on_hand_change: -quantity,
            reserved_change: -quantity,
            order: order.number,
            shipment,
            ..NO_UPDATE
        };
        floor.move_stock(line.product, &update);
    }
    let captured = Transaction { payment: order.payment, ..Transaction::of("payment_captured", order.amount_minor) };
    floor.transaction(order, &captured, Tally::Nothing);
    if order.fate.chargeback {
        let delay = (floor.chargeback_delay as f64 * (0.75 + 0.5 * floor.dice.unit())) as i64;
        return Some((Step::Chargeback, (order.placed + delay - floor.now.0).max(SECOND_MICROS)));
    }
    match order.fate.comes_back {
        Return::Nothing => None,
        Return::Abuse => Some((Step::Refund, floor.dice.between(MINUTE_MICROS, 3 * MINUTE_MICROS))),
        Return::Full | Return::Partial => {
            Some((Step::Refund, floor.dice.between(5 * MINUTE_MICROS, 30 * MINUTE_MICROS)))
        }
    }
}

fn cancel(floor: &mut Floor, order: &Order, reason: &'static str) {
    let cancelled = Transaction {
        payment: order.payment,
        reason: Some(reason),
        ..Transaction::of("order_cancelled", order.amount_minor)
    };
    floor.transaction(order, &cancelled, Tally::Nothing);
    if let Some((Campaign::RefundAbuse, raid)) = order.label.campaign {
        // There is nothing to be refunded.
        floor.raids.release(raid);
    }
    for line in &order.lines {
        let quantity = i32::from(line.quantity);
        let update = StockUpdate {
            event_type: "reservation_released",
            quantity,
            reserved_change: -quantity,
            order: order.number,
            ..NO_UPDATE
        };
        floor.move_stock(line.product, &update);
    }
}

fn refund(floor: &mut Floor, order: &Order) {
    let nth = floor.dice.below(order.lines.len() as u32) as usize;
    let (lines, amount_minor): (&[Line], i64) = match order.fate.comes_back {
        Return::Partial if order.lines.len() > 1 => {
            (&order.lines[nth..=nth], order.line_refund_minor(&floor.catalogue, order.lines[nth]))
        }
        // Of a single line, everything but the shipping.
        Return::Partial => (&order.lines, order.amount_minor - order.shipping_minor),
        _ => (&order.lines, order.amount_minor),
    };
    let abuse = order.fate.comes_back == Return::Abuse;
    let reason = if abuse {
        "never_arrived"
    } else {
        *floor.dice.pick(&["changed_mind", "changed_mind", "wrong_size", "not_as_described", "damaged"])
    };
    let refunded = Transaction {
        payment: order.payment,
        refund: floor.ids.next(),
        reason: Some(reason),
        lines,
        ..Transaction::of("order_refunded", amount_minor)
    };
    floor.transaction(order, &refunded, Tally::Refund(amount_minor));
    if abuse {
        if let Some((_, raid)) = order.label.campaign {
            floor.raids.release(raid);
        }
        return;
    }
    if reason == "damaged" {
        return;
    }
    for line in lines {
        let quantity = i32::from(line.quantity);
        let update = StockUpdate {
            event_type: "restocked",
            quantity,
            on_hand_change: quantity,
            order: order.number,
            reason: Some("returned"),
            ..NO_UPDATE
        };
        floor.move_stock(line.product, &update);
    }
}

/// The first count of a product, when the shop opens.
pub(crate) fn first_count(floor: &mut Floor, product: u32, counted: i32) {
    let update = StockUpdate { event_type: "stock_counted", quantity: counted, on_hand_change: counted, ..NO_UPDATE };
    floor.move_stock(product, &update);
}

/// What orders of an earlier incarnation reserved, and nobody remembers, leaves the shelf as far as it is there.
pub(crate) fn backlog(floor: &mut Floor, product: u32) {
    let shelf = floor.warehouse.shelf_mut(product);
    let quantity = std::mem::take(&mut shelf.backlog);
    let there = quantity.min(shelf.on_hand).max(0);
    let shipment = floor.ids.next();
    let dispatched = StockUpdate {
        event_type: "shipment_dispatched",
        quantity: there,
        on_hand_change: -there,
        reserved_change: -there,
        shipment,
        ..NO_UPDATE
    };
    let missing = quantity - there;
    let released =
        StockUpdate { event_type: "reservation_released", quantity: missing, reserved_change: -missing, ..NO_UPDATE };
    for update in [dispatched, released] {
        if update.quantity > 0 {
            floor.move_stock(product, &update);
        }
    }
}

/// A shipment from the supplier arrives.
pub(crate) fn shipment_received(floor: &mut Floor, product: u32) {
    let quantity = std::mem::take(&mut floor.warehouse.shelf_mut(product).incoming);
    let shipment = floor.ids.next();
    let update =
        StockUpdate { event_type: "shipment_received", quantity, on_hand_change: quantity, shipment, ..NO_UPDATE };
    floor.move_stock(product, &update);
}

/// Somebody walks along the shelves: mostly the count is right; something is damaged, lost or found.
pub(crate) fn round(floor: &mut Floor) {
    let product = floor.warehouse.next_to_count();
    let shelf = floor.warehouse.shelf(product);
    let (on_hand, spare) = (shelf.on_hand, shelf.available().max(0));
    let update = match floor.dice.below(20) {
        0 | 1 => {
            let lost = (1 + floor.dice.below(3).cast_signed()).min(spare);
            let reason = Some(if floor.dice.chance(0.6) { "damaged" } else { "lost" });
            StockUpdate { event_type: "stock_adjusted", quantity: lost, on_hand_change: -lost, reason, ..NO_UPDATE }
        }
        2 => {
            let reason = Some("found");
            StockUpdate { event_type: "stock_adjusted", quantity: 1, on_hand_change: 1, reason, ..NO_UPDATE }
        }
        3 => {
            let missing = floor.dice.below(3).cast_signed().min(spare);
            let quantity = on_hand - missing;
            StockUpdate { event_type: "stock_counted", quantity, on_hand_change: -missing, ..NO_UPDATE }
        }
        _ => StockUpdate { event_type: "stock_counted", quantity: on_hand, ..NO_UPDATE },
    };
    if update.event_type != "stock_adjusted" || update.quantity > 0 {
        floor.move_stock(product, &update);
    }
}
