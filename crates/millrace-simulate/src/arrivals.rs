//! Who comes next, and what for.

use crate::floor::Floor;
use crate::visitor::{Intent, Visitor};

/// Shares of the visits, in hundredths, that end as each intent: guests, customers, regular customers.
const GUEST: [(Intent, u32); 4] = [(Intent::Bounce, 33), (Intent::Browse, 42), (Intent::Search, 22), (Intent::Buy, 3)];
const CUSTOMER: [(Intent, u32); 4] =
    [(Intent::Bounce, 14), (Intent::Browse, 50), (Intent::Search, 29), (Intent::Buy, 7)];
const REGULAR: [(Intent, u32); 4] =
    [(Intent::Bounce, 5), (Intent::Browse, 45), (Intent::Search, 25), (Intent::Buy, 25)];

/// The next visitor.
pub(crate) fn next(floor: &mut Floor) -> Visitor {
    let session = floor.ids.next();
    let throw = floor.dice.unit();
    for crowd in 0..floor.crowds.len() {
        let crowd = floor.crowds[crowd];
        if floor.dice.chance(crowd.share) {
            let mut who = floor.stranger();
            who.channel = 4;
            let mut visitor = Visitor::arriving(who, session, Intent::Crowd);
            visitor.product = crowd.product;
            visitor.category = floor.catalogue.product(crowd.product).category;
            visitor.tastes = [visitor.category; 2];
            (visitor.looks, visitor.wants) = (2, 1);
            return visitor;
        }
    }
    let now = floor.now;
    if throw < 0.25
        && let Some(customer) = floor.people.customer(now, &mut floor.dice)
    {
        return returning(floor, session, customer);
    }
    let again = if throw < 0.4 { floor.people.guest_again(now, &mut floor.dice) } else { None };
    let who = again.unwrap_or_else(|| floor.stranger());
    let mut visitor = Visitor::arriving(who, session, intent(floor, &GUEST));
    visitor.tastes = [floor.catalogue.any_category(&mut floor.dice); 2];
    patience(&mut visitor, floor);
    visitor
}

fn returning(floor: &mut Floor, session: u64, customer: u32) -> Visitor {
    let habits = floor.people.habits(customer);
    let trades = habits.regular && floor.dice.chance(0.02);
    let other_device = !trades && floor.dice.chance(0.35);
    let who = floor.people.appearance(customer, other_device, floor.ids.mark());
    let intent = match (trades, habits.regular) {
        (true, _) => Intent::Trade,
        (false, true) => intent(floor, &REGULAR),
        (false, false) => intent(floor, &CUSTOMER),
    };
    let mut visitor = Visitor::arriving(who, session, intent);
    visitor.tastes = habits.tastes;
    patience(&mut visitor, floor);
    visitor
}

fn intent(floor: &mut Floor, shares: &[(Intent, u32)]) -> Intent {
    let mut throw = floor.dice.below(100);
    for (intent, share) in shares {
        if throw < *share {
            return *intent;
        }
        throw -= share;
    }
    Intent::Browse
}

/// How many products they look at, how many they would buy.
fn patience(visitor: &mut Visitor, floor: &mut Floor) {
    let dice = &mut floor.dice;
    (visitor.looks, visitor.wants) = match visitor.intent {
        Intent::Bounce => (dice.below(2) as u8, 0),
        Intent::Browse => (1 + dice.below(8) as u8, 1 + dice.below(2) as u8),
        Intent::Search => (1 + dice.below(5) as u8, 1 + dice.below(2) as u8),
        Intent::Buy => (3 + dice.below(8) as u8, 1 + dice.below(3) as u8),
        Intent::Trade => (4, 1 + dice.below(2) as u8),
        Intent::Crowd => (2, 1),
    };
    visitor.orders = if visitor.intent == Intent::Trade { 4 + dice.below(9) as u8 } else { 1 };
}
