//! Scraping: one device reads product after product, faster than anybody looks, and never fills a cart.

use millrace_model::time::MINUTE_MICROS;

use super::{Campaign, Entity, Plan};
use crate::floor::Floor;
use crate::order::Label;
use crate::puppet::{Act, Script};

/// Pages read at most, and within which time.
const PAGES_MAX: i64 = 2_000;
const READING_MICROS: i64 = 2 * MINUTE_MICROS;
/// Share of the shop's records a bot may be: a small shop gets a patient one.
const SHARE_MAX: f64 = 0.06;

pub(crate) fn plan(floor: &mut Floor, raid: u32, rate_per_second: f64) -> Option<Plan> {
    let mut bot = floor.stranger();
    // A desktop browser, from a far place, typed into the address bar.
    (bot.agent, bot.channel) = (7, 0);
    let address = floor.people.home(&bot);
    let label = Label { fraud: false, campaign: Some((Campaign::BotScraping, raid)) };
    let mut script = Script::new(raid, label, address);
    let seconds = READING_MICROS as f64 / 1e6;
    let pages = ((rate_per_second * SHARE_MAX * seconds) as i64).clamp(60, PAGES_MAX);
    let wait_millis = READING_MICROS / 1_000 / pages;
    let first = floor.dice.below(floor.catalogue.len());
    for page in 0..pages {
        if page % 20 == 0 {
            let category = floor.catalogue.product((first + page as u32) % floor.catalogue.len()).category;
            script.then(&mut floor.dice, wait_millis, Act::List(category));
        }
        let product = (first + page as u32) % floor.catalogue.len();
        script.then(&mut floor.dice, wait_millis, Act::View(product));
    }
    let session = floor.ids.next();
    let visitors = vec![(0, script.played_by(bot, session))];
    Some(Plan { entity: Entity::Device(bot.device), visitors, crowd: None })
}
