//! An amount out of habit: somebody who buys small things again and again pays for a truckload, from their own device
//! at home, while they are in the shop. Nothing but the amount is odd.

use super::{Campaign, Entity, Plan};
use crate::floor::Floor;
use crate::order::Label;
use crate::puppet::{Act, Script};

pub(crate) fn plan(floor: &mut Floor, raid: u32) -> Option<Plan> {
    let now = floor.now;
    let customer = floor.raids.take_habitual(now)?;
    // The other of their two devices: this is another session than the one they are in.
    let who = floor.people.appearance(customer, true, floor.ids.mark());
    floor.people.keep_away(customer, now);
    let card = floor.people.card(who.person, 0);
    let address = floor.people.home(&who);
    let product = floor.in_stock_near(90_000, 4);
    let label = Label { fraud: true, campaign: Some((Campaign::AmountOutOfHabit, raid)) };
    let mut script = Script::new(raid, label, address);
    // Their own visit lets them go, or has.
    script.frees_person = false;
    script.then(&mut floor.dice, 1_000, Act::Page("/"));
    script.then(&mut floor.dice, 3_000, Act::SignIn);
    let quantity = 3 + floor.dice.below(2) as u16;
    script.purchase(&mut floor.dice, 45, product, quantity, card);
    let session = floor.ids.next();
    let visitors = vec![(0, script.played_by(who, session))];
    Some(Plan { entity: Entity::User(who.user), visitors, crowd: None })
}
