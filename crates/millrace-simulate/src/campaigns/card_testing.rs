//! Card testing: one device tries a list of stolen cards on a small thing, to see which still work.

use super::{Campaign, Entity, Plan};
use crate::floor::Floor;
use crate::order::Label;
use crate::puppet::{Act, Script};

const CODES: &[&str] = &["do_not_honor", "incorrect_cvc", "invalid_card", "expired_card", "lost_or_stolen"];

pub(crate) fn plan(floor: &mut Floor, raid: u32) -> Option<Plan> {
    let thief = floor.stranger();
    let product = floor.in_stock_near(900, 12);
    let address = floor.people.home(&thief);
    let label = Label { fraud: true, campaign: Some((Campaign::CardTesting, raid)) };
    let mut script = Script::new(raid, label, address);
    let cards = 30 + floor.dice.below(31);
    let dice = &mut floor.dice;
    for act in [Act::Page("/"), Act::View(product), Act::Add(product, 1), Act::Checkout, Act::PaymentInfo] {
        script.then(dice, 1_500, act);
    }
    for _ in 0..cards {
        let card = floor.people.stolen_card(dice.bits());
        let works = dice.chance(0.12);
        let code = (!works).then(|| *dice.pick(CODES));
        script.then(dice, 1_800, Act::Pay(card, code));
        script.then(dice, 20, Act::NewOrder);
    }
    let entity = Entity::Device(thief.device);
    let session = floor.ids.next();
    Some(Plan { entity, visitors: vec![(0, script.played_by(thief, session))], crowd: None })
}
