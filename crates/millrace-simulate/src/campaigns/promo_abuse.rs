//! Promotion abuse: one person opens account after account for the newcomers' discount; device and address stay.

use super::{Campaign, Entity, Plan};
use crate::floor::Floor;
use crate::order::Label;
use crate::puppet::{Act, Script};

pub(crate) fn plan(floor: &mut Floor, raid: u32) -> Option<Plan> {
    let abuser = floor.stranger();
    let address = floor.people.home(&abuser);
    let cards = [floor.people.card(abuser.person, 0), floor.people.card(abuser.person, 1)];
    let label = Label { fraud: true, campaign: Some((Campaign::PromoAbuse, raid)) };
    let mut visitors = Vec::new();
    let mut start = 0;
    for nth in 0..6 + floor.dice.below(4) {
        let mut who = abuser;
        // Cookies deleted, another e-mail address.
        who.person = floor.ids.next();
        who.anonymous = who.person;
        let price = floor.dice.between(4_000, 15_000);
        let product = floor.in_stock_near(price, 1);
        let mut script = Script::new(raid, label, address).with_welcome();
        script.then(&mut floor.dice, 1_000, Act::Page("/"));
        script.then(&mut floor.dice, 5_000, Act::SignUp);
        script.purchase(&mut floor.dice, 30, product, 1, cards[nth as usize % 2]);
        let session = floor.ids.next();
        visitors.push((start, script.played_by(who, session)));
        start += floor.dice.between(35_000_000, 55_000_000);
    }
    Some(Plan { entity: Entity::Device(abuser.device), visitors, crowd: None })
}
