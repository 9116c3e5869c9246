//! What visitors do, step by step: each stage tells one event and decides on the next.
//!
//! ```text
//!  Land ─▶ SignIn? ─▶ Seek (search or list) ─▶ Click ─▶ View ─▶ Add ─▶ Cart ─▶ Checkout ─▶ Account? ─▶ Shipping
//!    │                  ▲                        ▲        │      │       │ ▲                               │
//!    ▼                  └────────────────────────┴────────┴──────┘  Remove └───── sold out ◀── Pay ◀── PaymentInfo
//!  leave (from anywhere, with or without a cart)                    Thanks ◀─ Place ◀──────────┘
//! ```

use millrace_model::time::{MINUTE_MICROS, SECOND_MICROS};

use crate::checkout;
use crate::floor::Floor;
use crate::order::Line;
use crate::puppet;
use crate::user_event::{Tail, UserEvent};
use crate::visitor::{Intent, Next, Stage, Visitor};
use crate::wares::WARES;

/// Units of one product a cart holds at most.
const QUANTITY_MAX: u16 = 20;
/// Different products a cart holds at most.
const LINES_MAX: usize = 6;

/// What businesses buy costs about so much.
const TRADE_PRICE_MINOR: i64 = 3_000;

/// One step of a visitor.
pub(crate) fn step(visitor: &mut Visitor, floor: &mut Floor) -> Next {
    match visitor.stage {
        Stage::Land => land(visitor, floor),
        Stage::SignIn => sign_in(visitor, floor, Stage::Seek),
        Stage::Seek => seek(visitor, floor),
        Stage::Click => click(visitor, floor),
        Stage::View => view(visitor, floor),
        Stage::Add => add(visitor, floor),
        Stage::Remove => remove(visitor, floor),
        Stage::Cart => cart(visitor, floor),
        Stage::Checkout => checkout(visitor, floor),
        Stage::Account => account(visitor, floor),
        Stage::Shipping => shipping(visitor, floor),
        Stage::PaymentInfo => {
            visitor.tell(floor, &UserEvent { path: "/checkout/payment", ..UserEvent::of("payment_info_entered") });
            go(visitor, floor, Stage::Pay, 2)
        }
        Stage::Pay => checkout::pay(visitor, floor),
        Stage::Place => checkout::place(visitor, floor),
        Stage::Thanks => thanks(visitor, floor),
        Stage::SignOut => {
            visitor.tell(floor, &UserEvent::of("signed_out"));
            Next::Leave
        }
        Stage::Script => puppet::step(visitor, floor),
    }
}

/// On to `stage`, after a think of `seconds` on average; now and then the telephone rings.
pub(crate) fn go(visitor: &mut Visitor, floor: &mut Floor, stage: Stage, seconds: i64) -> Next {
    visitor.stage = stage;
    if floor.dice.chance(0.002) {
        // Two of these in a row still leave no gap of 30 minutes.
        return Next::After(floor.dice.between(3 * MINUTE_MICROS, 11 * MINUTE_MICROS));
    }
    Next::After(floor.dice.think(seconds * SECOND_MICROS).max(SECOND_MICROS / 5))
}

/// Goes without a word, or signs out first.
pub(crate) fn leave(visitor: &mut Visitor, floor: &mut Floor) -> Next {
    if visitor.who.signed_in && floor.dice.chance(0.15) { go(visitor, floor, Stage::SignOut, 5) } else { Next::Leave }
}

fn land(visitor: &mut Visitor, floor: &mut Floor) -> Next {
    let has_account = visitor.who.user != 0;
    if visitor.intent == Intent::Crowd {
        let event = UserEvent { landing: true, ..UserEvent::product_viewed(visitor.product) };
        visitor.tell(floor, &event);
        visitor.looks = 1;
        return after_view(visitor, floor);
    }
    visitor.tell(floor, &UserEvent { landing: true, ..UserEvent::page("/") });
    match visitor.intent {
        Intent::Bounce if floor.dice.chance(0.8) => Next::Leave,
        _ if has_account && floor.dice.chance(0.6) => go(visitor, floor, Stage::SignIn, 8),
        _ => go(visitor, floor, Stage::Seek, 6),
    }
}

/// Signs in, sometimes at the second try; seldom, something about the account is changed.
fn sign_in(visitor: &mut Visitor, floor: &mut Floor, then: Stage) -> Next {
    if visitor.who.signed_in {
        let change = if floor.dice.chance(0.4) { "password_changed" } else { "address_changed" };
        visitor.tell(floor, &UserEvent { path: "/account", ..UserEvent::of(change) });
        return go(visitor, floor, then, 8);
    }
    if floor.dice.chance(0.06) {
        visitor.tell(floor, &UserEvent { path: "/sign-in", ..UserEvent::of("sign_in_failed") });
        let stage = visitor.stage;
        return go(visitor, floor, stage, 8);
    }
    visitor.who.signed_in = true;
    visitor.tell(floor, &UserEvent { path: "/sign-in", ..UserEvent::of("signed_in") });
    let stage = if floor.dice.chance(0.008) { visitor.stage } else { then };
    go(visitor, floor, stage, 4)
}

fn seek(visitor: &mut Visitor, floor: &mut Floor) -> Next {
    let taste = *floor.dice.pick(&visitor.tastes);
    visitor.category = if floor.dice.chance(0.6) { taste } else { floor.catalogue.any_category(&mut floor.dice) };
    visitor.product = floor.catalogue.of_category(&mut floor.dice, visitor.category);
    if visitor.intent == Intent::Trade {
        // The same small things again and again.
        visitor.product = floor.catalogue.priced(&mut floor.dice, TRADE_PRICE_MINOR);
        visitor.category = floor.catalogue.product(visitor.product).category;
    }
    let searches = floor.dice.chance(if visitor.intent == Intent::Search { 0.8 } else { 0.3 });
    let event = if searches {
        let results = 4 + floor.dice.below(60);
        UserEvent { path: "/search", search: Some((visitor.product, results)), ..UserEvent::of("products_searched") }
    } else {
        let category = Some(WARES[usize::from(visitor.category)].category);
        UserEvent { path: "/c/", tail: Tail::Category, category, ..UserEvent::of("product_list_viewed") }
    };
    visitor.tell(floor, &event);
    if visitor.looks == 0 { leave(visitor, floor) } else { go(visitor, floor, Stage::Click, 12) }
}

fn click(visitor: &mut Visitor, floor: &mut Floor) -> Next {
    let position = 1 + floor.dice.below(12);
    let event = UserEvent { product: Some(visitor.product), position, ..UserEvent::of("product_clicked") };
    visitor.tell(floor, &event);
    visitor.stage = Stage::View;
    Next::After(floor.dice.think(SECOND_MICROS))
}

fn view(visitor: &mut Visitor, floor: &mut Floor) -> Next {
    visitor.tell(floor, &UserEvent::product_viewed(visitor.product));
    after_view(visitor, floor)
}

fn after_view(visitor: &mut Visitor, floor: &mut Floor) -> Next {
    visitor.looks = visitor.looks.saturating_sub(1);
    if !floor.warehouse.sells(visitor.product, 1) {
        // Sold out: some take another, some go.
        let stays = visitor.looks > 0 && floor.dice.chance(if visitor.intent == Intent::Crowd { 0.2 } else { 0.6 });
        if !stays {
            return leave(visitor, floor);
        }
        visitor.product = floor.catalogue.related(&mut floor.dice, visitor.product);
        return go(visitor, floor, Stage::Click, 8);
    }
    let appetite = match visitor.intent {
        Intent::Bounce => 0.0,
        Intent::Browse => 0.015,
        Intent::Search => 0.03,
        Intent::Buy => 0.45,
        Intent::Trade => 0.8,
        Intent::Crowd => 0.6,
    };
    // Having begun, people take what goes with it.
    let appetite = if visitor.basket.is_empty() { appetite } else { f64::max(appetite, 0.4) };
    if visitor.wants > 0 && visitor.basket.len() < LINES_MAX && floor.dice.chance(appetite) {
        return go(visitor, floor, Stage::Add, 20);
    }
    look_on(visitor, floor)
}

/// Another product, the cart, or the door.
fn look_on(visitor: &mut Visitor, floor: &mut Floor) -> Next {
    if visitor.looks == 0 || (visitor.wants == 0 && !visitor.basket.is_empty()) {
        let to_cart = !visitor.basket.is_empty() && floor.dice.chance(0.8);
        return if to_cart { go(visitor, floor, Stage::Cart, 9) } else { leave(visitor, floor) };
    }
    if visitor.intent == Intent::Trade {
        return go(visitor, floor, Stage::Seek, 15);
    }
    let throw = floor.dice.unit();
    let (catalogue, dice) = (&floor.catalogue, &mut floor.dice);
    // With something in the cart, its company is what people look at.
    let with_cart = if visitor.basket.is_empty() { 0.1 } else { 0.55 };
    let stage = if throw < with_cart {
        visitor.product = catalogue.complement(dice, visitor.product);
        Stage::Click
    } else if throw < with_cart + 0.35 {
        visitor.product = catalogue.related(dice, visitor.product);
        Stage::Click
    } else if throw < with_cart + 0.45 {
        visitor.product = catalogue.of_category(dice, visitor.category);
        Stage::Click
    } else {
        Stage::Seek
    };
    go(visitor, floor, stage, 22)
}

fn add(visitor: &mut Visitor, floor: &mut Floor) -> Next {
    let product = visitor.product;
    let wanted = match visitor.intent {
        Intent::Trade => 2 + floor.dice.below(5) as u16,
        _ => [1, 1, 1, 1, 1, 1, 1, 2, 2, 3][floor.dice.below(10) as usize],
    };
    let held = visitor.basket.iter().find(|line| line.product == product).map_or(0, |line| line.quantity);
    let quantity = (1..=wanted.min(QUANTITY_MAX - held.min(QUANTITY_MAX)))
        .rev()
        .find(|quantity| floor.warehouse.sells(product, held + quantity));
    let Some(quantity) = quantity else {
        return look_on(visitor, floor);
    };
    match visitor.basket.iter_mut().find(|line| line.product == product) {
        Some(line) => line.quantity += quantity,
        None => visitor.basket.push(Line { product, quantity }),
    }
    visitor.wants = visitor.wants.saturating_sub(1);
    let cart = visitor.cart(floor);
    let event = UserEvent {
        product: Some(product),
        quantity: u32::from(quantity),
        priced: true,
        cart,
        ..UserEvent::of("product_added")
    };
    visitor.tell(floor, &event);
    look_on(visitor, floor)
}

/// Takes the last thing out of the cart again; on to the cart if something is left.
fn remove(visitor: &mut Visitor, floor: &mut Floor) -> Next {
    if let Some(line) = visitor.basket.pop() {
        remove_line(visitor, floor, line);
    }
    if visitor.basket.is_empty() { leave(visitor, floor) } else { go(visitor, floor, Stage::Cart, 9) }
}

/// Tells that a line left the cart.
pub(crate) fn remove_line(visitor: &mut Visitor, floor: &mut Floor, line: Line) {
    let event = UserEvent {
        product: Some(line.product),
        quantity: u32::from(line.quantity),
        priced: true,
        cart: visitor.cart,
        ..UserEvent::of("product_removed")
    };
    visitor.tell(floor, &event);
}

fn cart(visitor: &mut Visitor, floor: &mut Floor) -> Next {
    visitor.tell(floor, &UserEvent { path: "/cart", cart: visitor.cart, ..UserEvent::of("cart_viewed") });
    let (changes_mind, gives_up) = match visitor.intent {
        Intent::Trade => (0.02, 0.02),
        Intent::Buy | Intent::Crowd => (0.06, 0.2),
        _ => (0.1, 0.6),
    };
    if floor.dice.chance(changes_mind) {
        go(visitor, floor, Stage::Remove, 8)
    } else if floor.dice.chance(gives_up) {
        leave(visitor, floor)
    } else {
        go(visitor, floor, Stage::Checkout, 8)
    }
}

fn checkout(visitor: &mut Visitor, floor: &mut Floor) -> Next {
    visitor.tell(floor, &UserEvent { path: "/checkout", cart: visitor.cart, ..UserEvent::of("checkout_started") });
    let to_account = !visitor.who.signed_in && (visitor.who.user != 0 || floor.dice.chance(0.3));
    go(visitor, floor, if to_account { Stage::Account } else { Stage::Shipping }, 10)
}

/// Customers sign in; guests open an account.
fn account(visitor: &mut Visitor, floor: &mut Floor) -> Next {
    if visitor.who.user != 0 {
        return sign_in(visitor, floor, Stage::Shipping);
    }
    visitor.who.user = visitor.who.person;
    visitor.who.signed_in = true;
    visitor.tell(floor, &UserEvent { path: "/sign-up", ..UserEvent::of("signed_up") });
    go(visitor, floor, Stage::Shipping, 12)
}

fn shipping(visitor: &mut Visitor, floor: &mut Floor) -> Next {
    visitor.tell(floor, &UserEvent { cart: visitor.cart, ..UserEvent::page("/checkout/shipping") });
    let too_dear = if visitor.intent == Intent::Trade { 0.01 } else { 0.12 };
    if floor.dice.chance(too_dear) { leave(visitor, floor) } else { go(visitor, floor, Stage::PaymentInfo, 22) }
}

fn thanks(visitor: &mut Visitor, floor: &mut Floor) -> Next {
    visitor.tell(floor, &UserEvent::page("/checkout/thanks"));
    visitor.orders = visitor.orders.saturating_sub(1);
    if visitor.orders == 0 {
        return leave(visitor, floor);
    }
    visitor.cart = 0;
    visitor.looks = 4;
    visitor.wants = 1 + floor.dice.below(3) as u8;
    visitor.stage = Stage::Seek;
    Next::After(floor.dice.between(2 * MINUTE_MICROS, 7 * MINUTE_MICROS))
}
