//! Two campaigns of the public, honest all of them: a product goes viral and sells out; and one is sold by two tills
//! that do not look at each other, so that more is promised than there is.

use millrace_model::time::MINUTE_MICROS;

use super::{Entity, Plan};
use crate::floor::{Crowd, Floor};

pub(crate) fn sell_out(floor: &mut Floor, raid: u32) -> Option<Plan> {
    // Stock enough to be noticed, and little enough to sell out.
    let product = scarcest(floor, 8)?;
    let crowd = Crowd { product, share: 0.3, raid };
    Some(Plan { entity: Entity::Product(product), visitors: Vec::new(), crowd: Some((crowd, 5 * MINUTE_MICROS)) })
}

pub(crate) fn oversell(floor: &mut Floor, raid: u32) -> Option<Plan> {
    let product = scarcest(floor, 1)?;
    floor.warehouse.shelf_mut(product).racing = true;
    let crowd = Crowd { product, share: 0.25, raid };
    Some(Plan { entity: Entity::Product(product), visitors: Vec::new(), crowd: Some((crowd, 4 * MINUTE_MICROS)) })
}

/// Of some popular products without a shipment under way, the one with the least stock, but at least `least` units.
fn scarcest(floor: &mut Floor, least: i32) -> Option<u32> {
    let catalogue = &floor.catalogue;
    let drawn: Vec<u32> = (0..24).map(|_| catalogue.popular(&mut floor.dice)).collect();
    let available = |product: &u32| floor.warehouse.shelf(*product).available();
    let busy = |product: &u32| floor.crowds.iter().any(|crowd| crowd.product == *product);
    drawn
        .into_iter()
        .filter(|product| available(product) >= least && !busy(product))
        .min_by_key(|product| (available(product), *product))
}
