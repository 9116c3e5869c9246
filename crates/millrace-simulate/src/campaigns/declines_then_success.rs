//! Declines, then success: a thief with a few cards tries one order until a bank says yes.

use super::{Campaign, Entity, Plan};
use crate::floor::Floor;
use crate::order::Label;
use crate::puppet::{Act, Script};

const CODES: &[&str] = &["incorrect_cvc", "incorrect_cvc", "do_not_honor", "expired_card"];

pub(crate) fn plan(floor: &mut Floor, raid: u32) -> Option<Plan> {
    let thief = floor.stranger();
    let address = floor.people.home(&thief);
    let price = floor.dice.between(12_000, 45_000);
    let product = floor.in_stock_near(price, 1);
    let label = Label { fraud: true, campaign: Some((Campaign::DeclinesThenSuccess, raid)) };
    let mut script = Script::new(raid, label, address);
    let dice = &mut floor.dice;
    for act in [Act::Page("/"), Act::View(product), Act::Add(product, 1), Act::Cart, Act::Checkout] {
        script.then(dice, 4_000, act);
    }
    script.then(dice, 4_000, Act::Page("/checkout/shipping"));
    let cards: Vec<_> = (0..3).map(|_| floor.people.stolen_card(dice.bits())).collect();
    let declines = 5 + dice.below(4);
    for nth in 0..=declines {
        let card = cards[(nth * 3 / (declines + 1)) as usize];
        let code = (nth < declines).then(|| *dice.pick(CODES));
        script.then(dice, 9_000, Act::PaymentInfo);
        script.then(dice, 3_000, Act::Pay(card, code));
    }
    let session = floor.ids.next();
    let visitors = vec![(0, script.played_by(thief, session))];
    Some(Plan { entity: Entity::Device(thief.device), visitors, crowd: None })
}
