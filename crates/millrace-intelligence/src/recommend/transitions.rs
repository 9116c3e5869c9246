//! What follows an item: a short list of successors with their weights, kept by Space-Saving.
//!
//! Metwally, Agrawal, El Abbadi, "Efficient computation of frequent and top-k elements in data streams" (ICDT 2005): when the
//! list is full, a newcomer takes the place and the weight of the lightest, so a frequent successor is never lost for good.

use super::stored::stored_fields;

/// Weight of a row at which all of it is halved: what was common long ago gives way.
const ROW_WEIGHT_MAX: f32 = 4096.0;

/// The successors of one item.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Successors {
    /// Item and weight, in the order they came in.
    pub(crate) entries: Vec<(u32, f32)>,
    /// Sum of everything that was added, also of successors that gave way.
    pub(crate) total: f32,
}
stored_fields!(Successors { entries, total });

impl Successors {
    /// Adds weight to a successor; at most `successors_max` are kept.
    pub(crate) fn add(&mut self, item: u32, weight: f32, successors_max: usize) {
        self.total += weight;
        let mut lightest = 0;
        for at in 0..self.entries.len() {
            if self.entries[at].0 == item {
                self.entries[at].1 += weight;
                self.age();
                return;
            }
            if self.entries[at].1 < self.entries[lightest].1 {
                lightest = at;
            }
        }
        if self.entries.len() < successors_max {
            self.entries.push((item, weight));
        } else if let Some(entry) = self.entries.get_mut(lightest) {
            *entry = (item, entry.1 + weight);
        }
        self.age();
    }

    /// What an entry may owe to those that gave way to it: nothing while there is room.
    pub(crate) fn inherited_max(&self, successors_max: usize) -> f32 {
        match self.entries.len() < successors_max {
            true => 0.0,
            false => self.entries.iter().map(|entry| entry.1).fold(f32::INFINITY, f32::min),
        }
    }

    /// Items get other numbers; what has none is forgotten.
    pub(crate) fn renumber(&mut self, numbers: &[Option<u32>]) {
        let kept = self.entries.iter().filter_map(|(item, weight)| Some((numbers[*item as usize]?, *weight)));
        self.entries = kept.collect();
    }

    fn age(&mut self) {
        if self.total > ROW_WEIGHT_MAX {
            self.total *= 0.5;
            self.entries.iter_mut().for_each(|entry| entry.1 *= 0.5);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frequent_successor_stays_whatever_passes_by() {
        let mut row = Successors::default();
        for noise in 0..10_000 {
            row.add(1_000 + noise, 1.0, 8);
            if noise % 4 == 0 {
                row.add(7, 1.0, 8);
            }
        }
        assert_eq!(row.entries.len(), 8);
        assert!(row.entries.iter().any(|entry| entry.0 == 7));
        assert!(row.total <= ROW_WEIGHT_MAX, "{}", row.total);
    }
}
