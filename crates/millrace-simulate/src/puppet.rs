//! Visitors of a campaign: they follow a script instead of their intent, through the same till and warehouse.

use std::collections::VecDeque;

use millrace_model::time::SECOND_MICROS;

use crate::checkout::{attempt, place_order};
use crate::dice::Dice;
use crate::floor::Floor;
use crate::order::{Fate, Label, Line, Lines, Method, Order, Promo, Return};
use crate::people::{Address, Card, Who};
use crate::user_event::{Tail, UserEvent};
use crate::visitor::{Intent, Next, Stage, Visitor};
use crate::wares::WARES;

/// One thing to do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    /// Sees a page.
    Page(&'static str),
    /// Sees the list of a category.
    List(u8),
    View(u32),
    /// Puts units of a product into the cart.
    Add(u32, u16),
    Cart,
    Checkout,
    SignUp,
    SignIn,
    SignInFailed,
    PasswordChanged,
    AddressChanged,
    PaymentInfo,
    /// Empties the cart without a word (another purchase begins).
    Fresh,
    /// Begins another order for what is in the cart.
    NewOrder,
    /// Pays with a card; declined with a code, or authorised.
    Pay(Card, Option<&'static str>),
    /// Places the order that was authorised.
    Place,
}

/// A list of acts, each with the wait before it in microseconds.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    acts: VecDeque<(i64, Act)>,
    pub(crate) label: Label,
    pub(crate) address: Address,
    pub(crate) promo: Option<Promo>,
    pub(crate) comes_back: Return,
    /// The campaign's slot.
    pub(crate) raid: u32,
    /// The person is let go at the end.
    pub(crate) frees_person: bool,
}

impl Script {
    /// An empty script of a campaign.
    pub(crate) fn new(raid: u32, label: Label, address: Address) -> Self {
        Script {
            acts: VecDeque::new(),
            label,
            address,
            promo: None,
            comes_back: Return::Nothing,
            raid,
            frees_person: true,
        }
    }

    /// Uses the promotion for newcomers.
    pub(crate) fn with_welcome(mut self) -> Self {
        self.promo = Some(Promo::Welcome15);
        self
    }

    /// Adds an act, `millis` after the one before, give or take a third.
    pub(crate) fn then(&mut self, dice: &mut Dice, millis: i64, act: Act) {
        let wait = dice.between(millis * 667, millis * 1_333 + 1);
        self.acts.push_back((wait, act));
    }

    /// Adds a purchase of one product, from looking at it to paying it with a card, in about `seconds`.
    pub(crate) fn purchase(&mut self, dice: &mut Dice, seconds: i64, product: u32, quantity: u16, card: Card) {
        let unit = seconds * 1_000 / 20;
        self.acts.push_back((1_000, Act::Fresh));
        for (share, act) in [
            (2, Act::View(product)),
            (3, Act::Add(product, quantity)),
            (2, Act::Cart),
            (2, Act::Checkout),
            (3, Act::Page("/checkout/shipping")),
            (5, Act::PaymentInfo),
            (2, Act::Pay(card, None)),
        ] {
            self.then(dice, share * unit, act);
        }
    }

    /// True when the payment is authorised and the order follows.
    pub(crate) fn places_next(&self) -> bool {
        matches!(self.acts.front(), Some((_, Act::Place)))
    }

    /// The visitor who plays it.
    pub(crate) fn played_by(self, who: Who, session: u64) -> Visitor {
        let mut visitor = Visitor::arriving(who, session, Intent::Bounce);
        visitor.stage = Stage::Script;
        visitor.script = Some(Box::new(self));
        visitor
    }
}

/// One act of a script.
pub(crate) fn step(visitor: &mut Visitor, floor: &mut Floor) -> Next {
    let Some(mut script) = visitor.script.take() else { return Next::Leave };
    if let Some((_, act)) = script.acts.pop_front() {
        perform(visitor, floor, &mut script, act);
    }
    let next = script.acts.front().map_or(Next::Leave, |(wait, _)| Next::After(*wait));
    visitor.script = Some(script);
    next
}

fn perform(visitor: &mut Visitor, floor: &mut Floor, script: &mut Script, act: Act) {
    let event = match act {
        Act::Page(path) => UserEvent { landing: path == "/", ..UserEvent::page(path) },
        Act::List(category) => UserEvent {
            path: "/c/",
            tail: Tail::Category,
            category: Some(WARES[usize::from(category)].category),
            ..UserEvent::of("product_list_viewed")
        },
        Act::View(product) => UserEvent::product_viewed(product),
        Act::Add(product, quantity) => {
            visitor.basket.push(Line { product, quantity });
            visitor.paying = None;
            UserEvent {
                product: Some(product),
                quantity: u32::from(quantity),
                priced: true,
                cart: visitor.cart(floor),
                ..UserEvent::of("product_added")
            }
        }
        Act::Cart => UserEvent { path: "/cart", cart: visitor.cart, ..UserEvent::of("cart_viewed") },
        Act::Checkout => UserEvent { path: "/checkout", cart: visitor.cart, ..UserEvent::of("checkout_started") },
        Act::SignUp => {
            visitor.who.user = visitor.who.person;
            visitor.who.signed_in = true;
            UserEvent { path: "/sign-up", ..UserEvent::of("signed_up") }
        }
        Act::SignIn => {
            visitor.who.signed_in = true;
            UserEvent { path: "/sign-in", ..UserEvent::of("signed_in") }
        }
        Act::SignInFailed => UserEvent { path: "/sign-in", ..UserEvent::of("sign_in_failed") },
        Act::PasswordChanged => UserEvent { path: "/account", ..UserEvent::of("password_changed") },
        Act::AddressChanged => UserEvent { path: "/account", ..UserEvent::of("address_changed") },
        Act::PaymentInfo => UserEvent { path: "/checkout/payment", ..UserEvent::of("payment_info_entered") },
        Act::Fresh => {
            visitor.basket.clear();
            visitor.cart = 0;
            visitor.paying = None;
            return;
        }
        Act::NewOrder => {
            visitor.paying = None;
            return;
        }
        Act::Pay(card, code) => return pay(visitor, floor, script, card, code),
        Act::Place => {
            if let Some(order) = visitor.paying.take() {
                place_order(visitor, floor, order);
            }
            UserEvent::page("/checkout/thanks")
        }
    };
    visitor.tell(floor, &event);
}

fn pay(visitor: &mut Visitor, floor: &mut Floor, script: &mut Script, card: Card, code: Option<&'static str>) {
    let mut order = match visitor.paying.take() {
        Some(order) => order,
        None => Box::new(compose(visitor, floor, script, card)),
    };
    order.card = card;
    // What is not there cannot be bought, not even with somebody else's money.
    let code = code.or_else(|| floor.warehouse.hold(&order.lines).is_err().then_some("do_not_honor"));
    attempt(&mut order, floor, code);
    if code.is_none() {
        script.acts.push_front((floor.dice.between(SECOND_MICROS / 5, SECOND_MICROS), Act::Place));
    }
    visitor.paying = Some(order);
}

fn compose(visitor: &Visitor, floor: &mut Floor, script: &Script, card: Card) -> Order {
    let number = floor.ids.next();
    let lines: Lines = visitor.basket.clone();
    let (session, who) = (visitor.session, visitor.who);
    let mut order = Order::compose(
        &floor.catalogue,
        number,
        session,
        who,
        Method::Card,
        card,
        script.address,
        script.promo,
        lines,
        script.label,
    );
    let charged_back = script.label.fraud && script.promo.is_none() && floor.dice.chance(0.9);
    order.fate = Fate { cancelled: false, comes_back: script.comes_back, chargeback: charged_back };
    order
}
