//! The shelves: units on hand, promised and on their way, and when to order more. Books only; events are the floor's.

use crate::catalogue::Catalogue;
use crate::dice::Dice;
use crate::order::Line;

/// Units ordered for each source record, over all products (measured; sets how much stock is sensible).
const UNITS_PER_RECORD: f64 = 0.008;

/// The stock of one product.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shelf {
    pub(crate) on_hand: i32,
    /// Promised to orders.
    pub(crate) reserved: i32,
    /// Promised to payments under way, which no event shows yet.
    held: i32,
    /// Ordered from the supplier.
    pub(crate) incoming: i32,
    pub(crate) reorder_point: i32,
    reorder_quantity: i32,
    /// Reserved by orders nobody remembers.
    pub(crate) backlog: i32,
    /// Two tills sell from it without looking at each other.
    pub(crate) racing: bool,
    changed: bool,
}

impl Shelf {
    /// Units that can still be sold; negative when more is promised than there is.
    pub(crate) fn available(&self) -> i32 {
        self.on_hand - self.reserved - self.held
    }
}

/// All shelves.
pub(crate) struct Warehouse {
    shelves: Vec<Shelf>,
    changed: Vec<u32>,
    /// The next product to count.
    next_count: u32,
}

impl Warehouse {
    /// Empty shelves, with reorder points for the expected demand; and the units to begin with.
    pub(crate) fn new(seed: u64, catalogue: &Catalogue, rate_per_second: f64) -> (Self, Vec<i32>) {
        let mut dice = Dice::new(seed, 0x57c0);
        let mut first_counts = Vec::with_capacity(catalogue.products.len());
        let shelves = catalogue.products.iter().map(|product| {
            let per_minute = product.popularity * rate_per_second * 60.0 * UNITS_PER_RECORD;
            let units = |minutes: f64, least: f64| (per_minute * minutes + least).min(1e8) as i32;
            first_counts.push(units(20.0 + 130.0 * dice.unit(), 10.0));
            Shelf {
                reorder_point: units(12.0 * (0.7 + 1.1 * dice.unit()), 3.0),
                reorder_quantity: units(25.0 + 50.0 * dice.unit(), 6.0),
                ..Shelf::default()
            }
        });
        let shelves = shelves.collect();
        (Warehouse { shelves, changed: Vec::new(), next_count: 0 }, first_counts)
    }

    pub(crate) fn shelf(&self, product: u32) -> &Shelf {
        &self.shelves[product as usize]
    }

    pub(crate) fn shelf_mut(&mut self, product: u32) -> &mut Shelf {
        &mut self.shelves[product as usize]
    }

    /// True when a visitor can put so many into the cart.
    pub(crate) fn sells(&self, product: u32, quantity: u16) -> bool {
        let shelf = self.shelf(product);
        shelf.racing || shelf.available() >= i32::from(quantity)
    }

    /// Sets the lines aside while they are paid; gives the first product that is short instead.
    pub(crate) fn hold(&mut self, lines: &[Line]) -> Result<(), u32> {
        if let Some(short) = lines.iter().find(|line| !self.sells(line.product, line.quantity)) {
            return Err(short.product);
        }
        for line in lines {
            self.shelf_mut(line.product).held += i32::from(line.quantity);
        }
        Ok(())
    }

    /// What was set aside is now promised, or free again.
    pub(crate) fn unhold(&mut self, line: Line) {
        self.shelf_mut(line.product).held -= i32::from(line.quantity);
    }

    /// Books signed changes.
    pub(crate) fn book(&mut self, product: u32, on_hand_change: i32, reserved_change: i32) {
        let shelf = &mut self.shelves[product as usize];
        shelf.on_hand += on_hand_change;
        shelf.reserved += reserved_change;
        if !shelf.changed {
            shelf.changed = true;
            self.changed.push(product);
        }
    }

    /// Orders more of a product if that is due: true when a shipment is now under way.
    pub(crate) fn reorder(&mut self, product: u32) -> bool {
        let shelf = &mut self.shelves[product as usize];
        let due = shelf.incoming == 0 && shelf.available() <= shelf.reorder_point;
        if due {
            // A backlog comes on top.
            shelf.incoming = shelf.reorder_quantity + (-shelf.available()).max(0);
        }
        due
    }

    /// Takes the products changed since the last call, with their levels: product, on hand, reserved.
    pub(crate) fn take_changed(&mut self, into: &mut Vec<(u32, i32, i32)>) {
        for product in self.changed.drain(..) {
            let shelf = &mut self.shelves[product as usize];
            shelf.changed = false;
            into.push((product, shelf.on_hand, shelf.reserved));
        }
    }

    /// Every product with its levels.
    pub(crate) fn levels(&self) -> impl Iterator<Item = (u32, i32, i32)> {
        (0..).zip(&self.shelves).map(|(product, shelf)| (product, shelf.on_hand, shelf.reserved))
    }

    /// The product to count next.
    pub(crate) fn next_to_count(&mut self) -> u32 {
        let product = self.next_count;
        self.next_count = (product + 1) % self.shelves.len() as u32;
        product
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn promises_are_kept() {
        let catalogue = Catalogue::new(1, 24);
        let (mut warehouse, counts) = Warehouse::new(1, &catalogue, 300.0);
        assert!(counts.iter().all(|count| *count >= 10));
        warehouse.book(3, 5, 0);
        let line = Line { product: 3, quantity: 4 };
        assert_eq!(warehouse.hold(&[line]), Ok(()));
        assert_eq!(warehouse.hold(&[Line { product: 3, quantity: 2 }]), Err(3));
        warehouse.unhold(line);
        warehouse.book(3, 0, 4);
        assert_eq!(warehouse.shelf(3).available(), 1);
        assert!(warehouse.reorder(3));
        assert!(!warehouse.reorder(3), "one shipment at a time");
        let mut changed = Vec::new();
        warehouse.take_changed(&mut changed);
        assert_eq!(changed, [(3, 5, 4)]);
        warehouse.shelf_mut(3).racing = true;
        assert!(warehouse.sells(3, 50));
    }
}
