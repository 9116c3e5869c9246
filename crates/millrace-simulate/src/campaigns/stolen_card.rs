//! A stolen card: emptied within minutes from one device, the amounts rising, the goods sent far away.

use super::{Campaign, Entity, Plan};
use crate::floor::Floor;
use crate::order::Label;
use crate::people::Address;
use crate::places::{FIRST_FAR, PLACES};
use crate::puppet::{Act, Script};

pub(crate) fn plan(floor: &mut Floor, raid: u32) -> Option<Plan> {
    let thief = floor.stranger();
    let victim = floor.stranger();
    let card = floor.people.card(victim.person, 0);
    let far = FIRST_FAR + floor.dice.below(PLACES.len() as u32 - u32::from(FIRST_FAR)) as u8;
    let address = Address { number: thief.person, place: far };
    let label = Label { fraud: true, campaign: Some((Campaign::StolenCard, raid)) };
    let mut script = Script::new(raid, label, address);
    script.then(&mut floor.dice, 1_000, Act::Page("/"));
    let payments = 8 + floor.dice.below(5);
    for nth in 0..payments {
        // 20 to 900: each about half as much again as the one before.
        let price = 2_000.0 * 45_f64.powf(f64::from(nth) / f64::from(payments - 1));
        let product = floor.in_stock_near(price as i64, 1);
        if nth + 2 < payments {
            script.purchase(&mut floor.dice, 16, product, 1, card);
        } else {
            // By now the bank has noticed, or the money is gone.
            script.then(&mut floor.dice, 3_000, Act::Fresh);
            script.then(&mut floor.dice, 3_000, Act::Add(product, 1));
            script.then(&mut floor.dice, 3_000, Act::PaymentInfo);
            script.then(&mut floor.dice, 3_000, Act::Pay(card, Some("insufficient_funds")));
        }
    }
    let session = floor.ids.next();
    let visitors = vec![(0, script.played_by(thief, session))];
    Some(Plan { entity: Entity::Card(card.token), visitors, crowd: None })
}
