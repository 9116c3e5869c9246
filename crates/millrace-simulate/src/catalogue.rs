//! The catalogue: products with names, prices, popularity and company. Made once from the seed; `fake` is slow.
//!
//! ```text
//! category "shoes", products by family:   … 40 41 42 │ 43 44 45 46 47 48 │ 49 …
//!                                              related(45) = its family: seen together
//!                                              complements(45) = three of "clothing": bought together
//! ```

use fake::Fake;
use fake::faker::name::en::LastName;

use crate::dice::{Dice, Weighted};
use crate::json;
use crate::wares::WARES;

/// Products whose pages lead to each other.
const FAMILY: u32 = 6;

/// A product, with the pieces of JSON it appears in.
#[derive(Debug)]
pub(crate) struct Product {
    pub(crate) id: String,
    pub(crate) category: u8,
    pub(crate) price_minor: i64,
    pub(crate) cost_minor: i64,
    /// Share of the demand; all sum to 1.
    pub(crate) popularity: f64,
    /// `,"product_id":"…","category":"…"`
    pub(crate) json_event: Vec<u8>,
    /// `,"product_id":"…","product_name":"…","category":"…","warehouse_id":"…"`
    pub(crate) json_stock: Vec<u8>,
    /// What people type to find it.
    pub(crate) query: String,
}

/// All products.
#[derive(Debug)]
pub(crate) struct Catalogue {
    pub(crate) products: Vec<Product>,
    all: Weighted,
    /// First product and table of each category.
    categories: Vec<(u32, Weighted)>,
    category: Weighted,
    by_price: Vec<u32>,
}

impl Catalogue {
    pub(crate) fn new(seed: u64, count: u32) -> Self {
        let mut dice = Dice::new(seed, 0xca7a);
        let mut products = Vec::with_capacity(count as usize);
        let mut categories = Vec::with_capacity(WARES.len());
        let mut weights = Vec::with_capacity(count as usize);
        let share = |category: usize| (count as usize * (category + 1) / WARES.len()) as u32;
        for (category, ware) in WARES.iter().enumerate() {
            let first = products.len() as u32;
            let size = share(category) - first;
            let ranks = shuffled(&mut dice, size);
            let local: Vec<f64> = ranks.iter().map(|rank| 1.0 / f64::from(rank + 2).powf(0.9)).collect();
            let sum: f64 = local.iter().sum();
            weights.extend(local.iter().map(|weight| weight / sum * ware.weight));
            for at in 0..size {
                products.push(product(&mut dice, first + at, category, (at / FAMILY) as usize));
            }
            categories.push((first, Weighted::new(&local)));
        }
        let total: f64 = weights.iter().sum();
        for (product, weight) in products.iter_mut().zip(&weights) {
            product.popularity = weight / total;
        }
        let mut by_price: Vec<u32> = (0..count).collect();
        by_price.sort_by_key(|&at| (products[at as usize].price_minor, at));
        let category = Weighted::new(&WARES.iter().map(|ware| ware.weight).collect::<Vec<_>>());
        Catalogue { products, all: Weighted::new(&weights), categories, category, by_price }
    }

    pub(crate) fn product(&self, at: u32) -> &Product {
        &self.products[at as usize]
    }

    pub(crate) fn len(&self) -> u32 {
        self.products.len() as u32
    }

    /// Any product, by popularity.
    pub(crate) fn popular(&self, dice: &mut Dice) -> u32 {
        self.all.draw(dice)
    }

    /// Any category, by demand.
    pub(crate) fn any_category(&self, dice: &mut Dice) -> u8 {
        self.category.draw(dice) as u8
    }

    /// A product of a category, by popularity.
    pub(crate) fn of_category(&self, dice: &mut Dice, category: u8) -> u32 {
        let (first, table) = &self.categories[usize::from(category)];
        first + table.draw(dice)
    }

    /// A product of the same family, never itself unless the family is one.
    pub(crate) fn related(&self, dice: &mut Dice, at: u32) -> u32 {
        let (first, end) = self.bounds(self.product(at).category);
        let family = first + (at - first) / FAMILY * FAMILY;
        let size = (end - family).min(FAMILY);
        family + (at - family + 1 + dice.below(size.saturating_sub(1))) % size
    }

    /// One of the three products that go with it, in another category. The first is the usual one.
    pub(crate) fn complement(&self, dice: &mut Dice, at: u32) -> u32 {
        let (first, _) = self.bounds(self.product(at).category);
        let (other, end) = self.bounds(WARES[usize::from(self.product(at).category)].goes_with as u8);
        let choice = [0, 0, 0, 1, 1, 2][dice.below(6) as usize];
        other + ((at - first) * 7 + choice * 3) % (end - other)
    }

    /// The product whose price is nearest below or at `price_minor`, give or take a few ranks; the cheapest if none is.
    pub(crate) fn priced(&self, dice: &mut Dice, price_minor: i64) -> u32 {
        let above = self.by_price.partition_point(|&at| self.product(at).price_minor <= price_minor);
        self.by_price[above.saturating_sub(1 + dice.below(4) as usize)]
    }

    fn bounds(&self, category: u8) -> (u32, u32) {
        let next = self.categories.get(usize::from(category) + 1);
        (self.categories[usize::from(category)].0, next.map_or(self.len(), |(first, _)| *first))
    }
}

fn product(dice: &mut Dice, number: u32, category: usize, family: usize) -> Product {
    let ware = &WARES[category];
    let brand = LastName().fake_with_rng::<String, _>(dice.generator());
    let noun = ware.nouns[family % ware.nouns.len()];
    let name = json::escaped(&format!("{brand} {noun} {}", 100 + dice.below(900)));
    let id = format!("sku-{number:05}");
    let (low, high) = ware.price_minor;
    // Most things are at the cheap end: the square of a uniform throw.
    let raw = f64::from(low) + f64::from(high - low) * dice.unit().powi(2);
    let price_minor = (raw as i64 / 100) * 100 + [0, 49, 90, 99][dice.below(4) as usize];
    let cost_minor = price_minor * dice.between(45, 75) / 100;
    let warehouse = ["wh-north", "wh-south"][(number % 2) as usize];
    Product {
        json_event: format!(",\"product_id\":\"{id}\",\"category\":\"{}\"", ware.category).into_bytes(),
        json_stock: format!(
            ",\"product_id\":\"{id}\",\"product_name\":\"{name}\",\"category\":\"{}\",\"warehouse_id\":\"{warehouse}\"",
            ware.category
        )
        .into_bytes(),
        id,
        category: category as u8,
        price_minor,
        cost_minor,
        popularity: 0.0,
        query: noun.to_lowercase(),
    }
}

/// 0..size in random order (Fisher and Yates).
fn shuffled(dice: &mut Dice, size: u32) -> Vec<u32> {
    let mut order: Vec<u32> = (0..size).collect();
    for at in (1..order.len()).rev() {
        order.swap(at, dice.below(at as u32 + 1) as usize);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn company_stays_in_its_category() {
        let catalogue = Catalogue::new(1, 400);
        let mut dice = Dice::new(1, 1);
        assert_eq!(catalogue.len(), 400);
        for at in 0..400 {
            let category = catalogue.product(at).category;
            let related = catalogue.related(&mut dice, at);
            assert_ne!(related, at);
            assert_eq!(catalogue.product(related).category, category);
            let complement = catalogue.complement(&mut dice, at);
            assert_ne!(catalogue.product(complement).category, category);
            let drawn = catalogue.of_category(&mut dice, category);
            assert_eq!(catalogue.product(drawn).category, category);
        }
        let total: f64 = catalogue.products.iter().map(|product| product.popularity).sum();
        assert!((total - 1.0).abs() < 1e-9);
    }

    #[test]
    fn prices_are_found() {
        let catalogue = Catalogue::new(1, 400);
        let mut dice = Dice::new(1, 1);
        let found = catalogue.priced(&mut dice, 50_000);
        assert!((30_000..=50_000).contains(&catalogue.product(found).price_minor));
        let cheapest = catalogue.products.iter().map(|product| product.price_minor).min();
        let found = catalogue.priced(&mut dice, 1);
        assert_eq!(Some(catalogue.product(found).price_minor), cheapest);
    }
}
