//! What is known of an item beside its clicks: its category, and whether it can be sold.

use super::stored::stored_fields;

/// Stock of an item in one warehouse, units.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Level {
    warehouse: u32,
    on_hand: i64,
    reserved: i64,
}
stored_fields!(Level { warehouse, on_hand, reserved });

/// A change of stock, as `inventory_updates` tells it. Units.
#[derive(Clone, Copy, Debug, Default)]
pub struct StockChange<'a> {
    /// Product.
    pub item: &'a str,
    /// Category of the product, when it is told.
    pub category: Option<&'a str>,
    /// Where; empty when there is one warehouse only.
    pub warehouse: &'a str,
    /// Signed effect on the units on the shelf.
    pub on_hand_change: i64,
    /// Signed effect on the units promised.
    pub reserved_change: i64,
    /// Units on the shelf afterwards, as the warehouse books them; stronger than the change.
    pub on_hand: Option<i64>,
    /// Units promised afterwards; stronger than the change.
    pub reserved: Option<i64>,
}

/// An item's entry.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entry {
    pub(crate) category: Option<u32>,
    levels: Vec<Level>,
}
stored_fields!(Entry { category, levels });

impl Entry {
    pub(crate) fn change(&mut self, warehouse: u32, change: &StockChange<'_>) {
        let at = self.levels.iter().position(|level| level.warehouse == warehouse).unwrap_or_else(|| {
            self.levels.push(Level { warehouse, ..Level::default() });
            self.levels.len() - 1
        });
        let level = &mut self.levels[at];
        level.on_hand = change.on_hand.unwrap_or(level.on_hand.saturating_add(change.on_hand_change));
        level.reserved = change.reserved.unwrap_or(level.reserved.saturating_add(change.reserved_change));
    }

    /// Its stock is known, and nothing is left to sell.
    pub(crate) fn is_out_of_stock(&self) -> bool {
        let available: i64 = self.levels.iter().map(|level| level.on_hand - level.reserved).sum();
        !self.levels.is_empty() && available <= 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_out_of_stock_when_it_is_known_and_nothing_is_left() {
        let mut entry = Entry::default();
        assert!(!entry.is_out_of_stock(), "nothing is known of it");
        let change =
            |on_hand_change, reserved_change| StockChange { on_hand_change, reserved_change, ..StockChange::default() };
        entry.change(0, &change(3, 0));
        entry.change(0, &change(0, 3));
        assert!(entry.is_out_of_stock(), "all is promised");
        entry.change(1, &change(1, 0));
        assert!(!entry.is_out_of_stock(), "another warehouse has one");
        entry.change(1, &StockChange { on_hand: Some(0), reserved: Some(0), ..change(5, 0) });
        assert!(entry.is_out_of_stock(), "the warehouse says there is none");
    }
}
