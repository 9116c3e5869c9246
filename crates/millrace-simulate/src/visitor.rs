//! A visitor: who they are, what they want, what they have done so far in this session.

use crate::answers::Truth;
use crate::floor::Floor;
use crate::ids::CUSTOMER;
use crate::order::{Lines, Order};
use crate::people::Who;
use crate::puppet::Script;
use crate::user_event::UserEvent;

/// What a visitor came for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Intent {
    /// Sees a page and leaves.
    Bounce,
    /// Looks around.
    Browse,
    /// Looks for one thing.
    Search,
    /// Means to buy.
    Buy,
    /// Buys for a business: one order after another.
    Trade,
    /// Comes for a product everybody talks about.
    Crowd,
}

/// What a visitor does next; each is told in `funnel`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stage {
    Land,
    SignIn,
    Seek,
    Click,
    View,
    Add,
    Remove,
    Cart,
    Checkout,
    Account,
    Shipping,
    PaymentInfo,
    Pay,
    Place,
    Thanks,
    SignOut,
    /// Follows a script instead.
    Script,
}

/// What comes after a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Next {
    /// The next step, after so many microseconds.
    After(i64),
    /// Nothing: the visitor has left.
    Leave,
}

/// One visit.
#[derive(Debug)]
pub(crate) struct Visitor {
    pub(crate) who: Who,
    pub(crate) session: u64,
    pub(crate) cart: u64,
    pub(crate) stage: Stage,
    pub(crate) intent: Intent,
    /// Categories they prefer.
    pub(crate) tastes: [u8; 2],
    /// Product in view, or wanted.
    pub(crate) product: u32,
    pub(crate) category: u8,
    /// Products they will still look at.
    pub(crate) looks: u8,
    /// Products they will still put into the cart.
    pub(crate) wants: u8,
    /// Failed payments in a row.
    pub(crate) declines: u8,
    /// Orders they will still place.
    pub(crate) orders: u8,
    pub(crate) basket: Lines,
    /// The order being paid.
    pub(crate) paying: Option<Box<Order>>,
    pub(crate) truth: Truth,
    pub(crate) script: Option<Box<Script>>,
}

impl Visitor {
    /// Somebody who has just opened the shop.
    pub(crate) fn arriving(who: Who, session: u64, intent: Intent) -> Self {
        Visitor {
            who,
            session,
            cart: 0,
            stage: Stage::Land,
            intent,
            tastes: [0; 2],
            product: 0,
            category: 0,
            looks: 0,
            wants: 0,
            declines: 0,
            orders: 0,
            basket: Lines::new(),
            paying: None,
            truth: Truth::default(),
            script: None,
        }
    }

    /// Makes a user event known and keeps the truth of the session.
    pub(crate) fn tell(&mut self, floor: &mut Floor, event: &UserEvent) {
        if floor.user_event(&self.who, self.session, event) {
            let (viewed, cart_change) = match event.event_type {
                "product_viewed" => (event.product, 0),
                "product_added" => (None, i64::from(event.quantity)),
                "product_removed" => (None, -i64::from(event.quantity)),
                _ => (None, 0),
            };
            self.truth.event(floor.now, viewed, cart_change);
        }
    }

    /// True between an authorised payment and its order.
    pub(crate) fn has_paid(&self) -> bool {
        self.stage == Stage::Place || self.script.as_ref().is_some_and(|script| script.places_next())
    }

    /// The number of their cart, given at the first use.
    pub(crate) fn cart(&mut self, floor: &mut Floor) -> u64 {
        if self.cart == 0 {
            self.cart = floor.ids.next();
        }
        self.cart
    }

    /// The session is over: answers it, and lets the person come again some day.
    pub(crate) fn leave(&mut self, floor: &mut Floor) {
        floor.answers().session(self.who.anonymous, self.session, &self.truth);
        let now = floor.now;
        match &self.script {
            None => floor.people.leave(&self.who, now, &mut floor.dice),
            Some(script) => {
                floor.raids.release(script.raid);
                // The people of campaigns do not come again, except for customers whose account was used.
                if script.frees_person && self.who.person & CUSTOMER != 0 {
                    floor.people.leave(&self.who, now, &mut floor.dice);
                }
            }
        }
    }
}
