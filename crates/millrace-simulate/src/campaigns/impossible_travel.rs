//! Impossible travel: a customer pays at home; minutes later, the same account and card pay from another continent.

use millrace_model::time::MINUTE_MICROS;

use super::{Campaign, Entity, Plan};
use crate::floor::Floor;
use crate::order::Label;
use crate::people::address_in;
use crate::places::{FIRST_FAR, PLACES};
use crate::puppet::{Act, Script};

pub(crate) fn plan(floor: &mut Floor, raid: u32) -> Option<Plan> {
    let now = floor.now;
    // Somebody who lives near, so that every far place is an ocean away.
    let near = |floor: &mut Floor| {
        let customer = floor.people.customer(now, &mut floor.dice)?;
        let who = floor.people.appearance(customer, false, floor.ids.mark());
        if who.place < FIRST_FAR {
            return Some(who);
        }
        floor.people.leave(&who, now, &mut floor.dice);
        None
    };
    let customer = (0..4).find_map(|_| near(floor))?;
    let card = floor.people.card(customer.person, 0);
    let home = floor.people.home(&customer);
    let small = floor.dice.between(1_500, 6_000);
    let (bought, stolen) = (floor.in_stock_near(small, 1), floor.in_stock_near(small * 10, 1));

    let mut honest = Script::new(raid, Label::default(), home);
    honest.frees_person = false;
    honest.then(&mut floor.dice, 1_000, Act::Page("/"));
    honest.then(&mut floor.dice, 4_000, Act::SignIn);
    honest.purchase(&mut floor.dice, 60, bought, 1, card);

    let mut thief = floor.stranger();
    (thief.user, thief.person, thief.channel) = (customer.user, customer.person, 0);
    thief.place = FIRST_FAR + floor.dice.below(PLACES.len() as u32 - u32::from(FIRST_FAR)) as u8;
    thief.ip = address_in(thief.place, floor.dice.bits());
    let label = Label { fraud: true, campaign: Some((Campaign::ImpossibleTravel, raid)) };
    let mut fraud = Script::new(raid, label, home);
    fraud.then(&mut floor.dice, 1_000, Act::Page("/"));
    fraud.then(&mut floor.dice, 3_000, Act::SignIn);
    fraud.purchase(&mut floor.dice, 45, stolen, 1, card);
    let later = floor.dice.between(4 * MINUTE_MICROS, 7 * MINUTE_MICROS);
    let (first, second) = (floor.ids.next(), floor.ids.next());
    let visitors = vec![(0, honest.played_by(customer, first)), (later, fraud.played_by(thief, second))];
    Some(Plan { entity: Entity::Card(card.token), visitors, crowd: None })
}
