//! Account takeover: a stranger guesses a customer's password, changes it, changes the address, and buys.

use super::{Campaign, Entity, Plan};
use crate::floor::Floor;
use crate::order::Label;
use crate::puppet::{Act, Script};

pub(crate) fn plan(floor: &mut Floor, raid: u32) -> Option<Plan> {
    let now = floor.now;
    let customer = floor.people.customer(now, &mut floor.dice)?;
    let victim = floor.people.appearance(customer, false, floor.ids.mark());
    let mut thief = floor.stranger();
    // The thief's device, address and place; the victim's account, e-mail and card.
    let address = floor.people.home(&thief);
    (thief.user, thief.person, thief.channel) = (victim.user, victim.person, 0);
    let card = floor.people.card(victim.person, 0);
    let price = floor.dice.between(35_000, 90_000);
    let product = floor.in_stock_near(price, 1);
    let label = Label { fraud: true, campaign: Some((Campaign::AccountTakeover, raid)) };
    let mut script = Script::new(raid, label, address);
    let dice = &mut floor.dice;
    script.then(dice, 1_000, Act::Page("/"));
    for _ in 0..5 + dice.below(6) {
        script.then(dice, 3_000, Act::SignInFailed);
    }
    for (millis, act) in [(3_000, Act::SignIn), (12_000, Act::PasswordChanged), (15_000, Act::AddressChanged)] {
        script.then(dice, millis, act);
    }
    script.purchase(dice, 60, product, 1, card);
    let session = floor.ids.next();
    let visitors = vec![(0, script.played_by(thief, session))];
    Some(Plan { entity: Entity::User(victim.user), visitors, crowd: None })
}
