//! The till: payment attempts carry the order's id; the order is placed once one of them is authorised.
//!
//! ```text
//!  payment_info_entered ─▶ payment_declined ─▶ (again, up to three times) ─▶ leaves: no order
//!                       └▶ payment_authorized ─0.2–0.7 s─▶ order_placed + stock_reserved for each line
//! ```
//!
//! Between authorisation and order the goods are held aside, so that two buyers cannot pay for the last one.

use millrace_model::Timestamp;
use millrace_model::time::{MINUTE_MICROS, SECOND_MICROS};

use crate::campaigns::Campaign;
use crate::floor::Floor;
use crate::funnel::{go, leave, remove_line};
use crate::ids::{CUSTOMER, customer_of};
use crate::ledger::Tally;
use crate::order::{Fate, Label, Method, Order, Promo, Return, Step};
use crate::stock_update::StockUpdate;
use crate::transaction::Transaction;
use crate::user_event::UserEvent;
use crate::visitor::{Intent, Next, Stage, Visitor};

/// Why banks decline honest customers, the usual reason first.
const DECLINES: &[&str] =
    &["insufficient_funds", "insufficient_funds", "do_not_honor", "incorrect_cvc", "expired_card", "try_again_later"];

/// Orders in one visit that make a habit.
const HABIT_ORDERS: u64 = 3;

/// A payment attempt of an ordinary visitor.
pub(crate) fn pay(visitor: &mut Visitor, floor: &mut Floor) -> Next {
    let mut order = match visitor.paying.take() {
        Some(order) => order,
        None => Box::new(compose(visitor, floor)),
    };
    if let Err(short) = floor.warehouse.hold(&order.lines) {
        return sold_out(visitor, floor, short);
    }
    let declined = order.method != Method::BankTransfer && floor.dice.chance(0.07);
    let code = declined.then(|| *floor.dice.pick(DECLINES));
    attempt(&mut order, floor, code);
    if !declined {
        visitor.paying = Some(order);
        visitor.stage = Stage::Place;
        return Next::After(floor.dice.between(SECOND_MICROS / 5, SECOND_MICROS * 7 / 10));
    }
    for line in &order.lines {
        floor.warehouse.unhold(*line);
    }
    visitor.declines += 1;
    if visitor.declines >= 3 || floor.dice.chance(0.3) {
        return leave(visitor, floor);
    }
    if order.method == Method::Card {
        let nth = floor.dice.below(2) as u8;
        order.card = floor.people.card(visitor.who.person, nth);
    }
    visitor.paying = Some(order);
    go(visitor, floor, Stage::PaymentInfo, 12)
}

/// Tells one payment attempt and answers it.
pub(crate) fn attempt(order: &mut Order, floor: &mut Floor, decline_code: Option<&'static str>) {
    order.payment = floor.ids.next();
    let (event_type, tally) = if decline_code.is_some() {
        ("payment_declined", Tally::Decline)
    } else {
        ("payment_authorized", Tally::Nothing)
    };
    let transaction =
        Transaction { payment: order.payment, decline_code, ..Transaction::of(event_type, order.amount_minor) };
    floor.transaction(order, &transaction, tally);
    floor.answers().payment(order);
}

/// Places the order that was authorised: its goods are held.
pub(crate) fn place(visitor: &mut Visitor, floor: &mut Floor) -> Next {
    let order = visitor.paying.take().expect("a payment was authorised on the step before");
    place_order(visitor, floor, order);
    if visitor.intent == Intent::Trade && visitor.truth.orders() == HABIT_ORDERS {
        floor.raids.note_habit(customer_of(visitor.who.person), floor.now);
    }
    visitor.basket.clear();
    visitor.declines = 0;
    go(visitor, floor, Stage::Thanks, 2)
}

/// Tells that an order is placed and what it reserves, and keeps it for what follows.
pub(crate) fn place_order(visitor: &mut Visitor, floor: &mut Floor, mut order: Box<Order>) {
    let placed = Transaction {
        payment: order.payment,
        composed: true,
        lines: &order.lines,
        ..Transaction::of("order_placed", order.amount_minor)
    };
    if floor.transaction(&order, &placed, Tally::Order(order.amount_minor)) {
        visitor.truth.order(&order);
    }
    for line in &order.lines {
        floor.warehouse.unhold(*line);
        let quantity = i32::from(line.quantity);
        let update = StockUpdate {
            event_type: "stock_reserved",
            quantity,
            on_hand_change: 0,
            reserved_change: quantity,
            order: order.number,
            shipment: 0,
            reason: None,
        };
        floor.move_stock(line.product, &update);
    }
    order.placed = floor.now.0;
    let wait = if order.fate.cancelled {
        order.step = Step::Cancel;
        floor.dice.between(MINUTE_MICROS / 2, 3 * MINUTE_MICROS)
    } else {
        order.step = Step::Dispatch(0);
        floor.dice.between(3 * MINUTE_MICROS, 10 * MINUTE_MICROS)
    };
    if let Some((Campaign::RefundAbuse, raid)) = order.label.campaign {
        floor.raids.hold(raid);
    }
    let at = Timestamp(floor.now.0 + wait);
    floor.keep_order(order, at);
}

fn compose(visitor: &Visitor, floor: &mut Floor) -> Order {
    let throw = floor.dice.below(100);
    let method = match throw {
        0..76 => Method::Card,
        76..90 => Method::Wallet,
        90..96 => Method::Invoice,
        _ => Method::BankTransfer,
    };
    let nth = u8::from(floor.dice.chance(0.15));
    let card = floor.people.card(visitor.who.person, nth);
    let address = floor.people.home(&visitor.who);
    let promo = match floor.dice.below(100) {
        // Newcomers with an account use the one for newcomers.
        0..12 if visitor.who.user == visitor.who.person && visitor.who.person & CUSTOMER == 0 => Some(Promo::Welcome15),
        12..20 if visitor.intent != Intent::Trade => Some([Promo::Save10, Promo::News5][throw as usize % 2]),
        _ => None,
    };
    let number = floor.ids.next();
    let lines = visitor.basket.clone();
    let (session, who, label) = (visitor.session, visitor.who, Label::default());
    let mut order = Order::compose(&floor.catalogue, number, session, who, method, card, address, promo, lines, label);
    order.fate = match floor.dice.below(1_000) {
        0..15 => Fate { cancelled: true, comes_back: Return::Nothing, chargeback: false },
        15..35 => Fate { cancelled: false, comes_back: Return::Full, chargeback: false },
        35..75 => Fate { cancelled: false, comes_back: Return::Partial, chargeback: false },
        _ => Fate { cancelled: false, comes_back: Return::Nothing, chargeback: false },
    };
    order
}

/// A product sold out between cart and payment: a page says so, the line goes, and perhaps the visitor with it.
fn sold_out(visitor: &mut Visitor, floor: &mut Floor, short: u32) -> Next {
    let page = UserEvent { product: Some(short), cart: visitor.cart, ..UserEvent::page("/checkout/sold-out") };
    visitor.tell(floor, &page);
    if floor.dice.chance(0.5) {
        return leave(visitor, floor);
    }
    if let Some(at) = visitor.basket.iter().position(|line| line.product == short) {
        let line = visitor.basket.remove(at);
        remove_line(visitor, floor, line);
    }
    if visitor.basket.is_empty() { leave(visitor, floor) } else { go(visitor, floor, Stage::Cart, 8) }
}
