//! Refund abuse: a customer orders, says that nothing arrived, and has every order refunded; nothing comes back.

use super::{Campaign, Entity, Plan};
use crate::floor::Floor;
use crate::order::{Label, Return};
use crate::puppet::{Act, Script};

pub(crate) fn plan(floor: &mut Floor, raid: u32) -> Option<Plan> {
    let now = floor.now;
    let customer = floor.people.customer(now, &mut floor.dice)?;
    let who = floor.people.appearance(customer, false, floor.ids.mark());
    let card = floor.people.card(who.person, 0);
    let address = floor.people.home(&who);
    // The payments are in order; what follows is not.
    let label = Label { fraud: false, campaign: Some((Campaign::RefundAbuse, raid)) };
    let mut script = Script::new(raid, label, address);
    script.comes_back = Return::Abuse;
    script.then(&mut floor.dice, 1_000, Act::Page("/"));
    script.then(&mut floor.dice, 4_000, Act::SignIn);
    for _ in 0..4 + floor.dice.below(3) {
        let price = floor.dice.between(3_000, 20_000);
        let product = floor.in_stock_near(price, 1);
        script.purchase(&mut floor.dice, 60, product, 1, card);
    }
    let session = floor.ids.next();
    let visitors = vec![(0, script.played_by(who, session))];
    Some(Plan { entity: Entity::User(who.user), visitors, crowd: None })
}
