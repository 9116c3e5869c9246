//! Demand right now: counts that fade with time, by item, and the leaders of each category and of the store.
//!
//! Forward decay (Cormode et al., ICDE 2009): instead of fading what is there, what comes later weighs more, 2^(age of the
//! landmark / half-life). All counts keep their order while nothing comes in, so the leaders need no sweep.

use millrace_model::Timestamp;

use super::settings::TrendSettings;
use super::stored::stored_fields;

/// Leaders kept of the store and of each category: enough to answer when many of them are filtered out.
const LEADERS_MAX: usize = 128;
/// Half-lives after which the landmark moves, before the weights outgrow a float.
const LANDMARK_HALF_LIVES: f64 = 512.0;

/// The items in demand in one place.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Leaders {
    /// Item and faded count, in no order.
    entries: Vec<(u32, f64)>,
    /// No entry is below it.
    floor: f64,
}
stored_fields!(Leaders { entries, floor });

impl Leaders {
    fn put(&mut self, item: u32, count: f64) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.0 == item) {
            entry.1 = count;
        } else if self.entries.len() < LEADERS_MAX {
            self.entries.push((item, count));
        } else if count > self.floor {
            let lowest = self.entries.iter_mut().min_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)));
            if let Some(lowest) = lowest {
                self.floor = lowest.1;
                if count > lowest.1 {
                    *lowest = (item, count);
                }
            }
        }
    }

    /// Items, most in demand first.
    pub(crate) fn ranked(&self) -> Vec<(u32, f64)> {
        let mut ranked = self.entries.clone();
        ranked.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        ranked
    }
}

/// Faded counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trend {
    counts: Vec<f64>,
    pub(crate) store: Leaders,
    pub(crate) categories: Vec<Leaders>,
    landmark: Option<Timestamp>,
}
stored_fields!(Trend { counts, store, categories, landmark });

impl Trend {
    /// Counts interest in an item.
    pub(crate) fn add(
        &mut self,
        settings: &TrendSettings,
        item: u32,
        category: Option<u32>,
        weight: f64,
        time: Timestamp,
    ) {
        let weight = weight * self.weight_of(settings, time);
        let at = item as usize;
        if self.counts.len() <= at {
            self.counts.resize(at + 1, 0.0);
        }
        self.counts[at] += weight;
        let count = self.counts[at];
        self.store.put(item, count);
        if let Some(category) = category.map(|category| category as usize) {
            if self.categories.len() <= category {
                self.categories.resize_with(category + 1, Leaders::default);
            }
            self.categories[category].put(item, count);
        }
    }

    /// What a click of this time weighs, by the landmark.
    fn weight_of(&mut self, settings: &TrendSettings, time: Timestamp) -> f64 {
        let landmark = *self.landmark.get_or_insert(time);
        let half_lives = (time.0 - landmark.0) as f64 / settings.half_life_micros.max(1) as f64;
        if half_lives < LANDMARK_HALF_LIVES {
            return half_lives.exp2();
        }
        let fade = (-half_lives).exp2();
        self.counts.iter_mut().for_each(|count| *count *= fade);
        for leaders in self.categories.iter_mut().chain([&mut self.store]) {
            leaders.floor *= fade;
            leaders.entries.iter_mut().for_each(|entry| entry.1 *= fade);
        }
        self.landmark = Some(time);
        1.0
    }

    /// The leaders of a category.
    pub(crate) fn category(&self, category: u32) -> Option<&Leaders> {
        self.categories.get(category as usize)
    }

    /// Items get other numbers; what has none is forgotten.
    pub(crate) fn renumber(&mut self, numbers: &[Option<u32>], kept: usize) {
        let mut counts = vec![0.0; kept];
        for (count, number) in self.counts.iter().zip(numbers) {
            if let Some(number) = number {
                counts[*number as usize] = *count;
            }
        }
        self.counts = counts;
        for leaders in self.categories.iter_mut().chain([&mut self.store]) {
            leaders.entries.retain_mut(|entry| match numbers[entry.0 as usize] {
                Some(number) => {
                    entry.0 = number;
                    true
                }
                None => false,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_model::time::{DAY_MICROS, HOUR_MICROS};

    #[test]
    fn what_is_in_demand_now_leads_what_was() {
        let settings = TrendSettings { half_life_micros: HOUR_MICROS };
        let mut trend = Trend::default();
        for _ in 0..100 {
            trend.add(&settings, 1, Some(0), 1.0, Timestamp(0));
        }
        for _ in 0..3 {
            trend.add(&settings, 2, Some(1), 1.0, Timestamp(8 * HOUR_MICROS));
        }
        let store: Vec<u32> = trend.store.ranked().iter().map(|entry| entry.0).collect();
        assert_eq!(store, [2, 1], "100 clicks have halved eight times");
        assert_eq!(trend.category(0).map(|leaders| leaders.ranked().len()), Some(1));
        assert_eq!(trend.category(7), None);
    }

    #[test]
    fn the_leaders_are_the_true_ones_after_years() {
        let settings = TrendSettings { half_life_micros: 6 * HOUR_MICROS };
        let (mut trend, mut dice) = (Trend::default(), 1u64);
        let mut faded = vec![0.0f64; 1_000];
        for day in 0..700 {
            for _ in 0..40 {
                dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let item = ((dice >> 40) % 1_000).min((dice >> 20) % 1_000) as u32;
                trend.add(&settings, item, None, 1.0, Timestamp(day * DAY_MICROS));
                faded[item as usize] += 1.0;
            }
            if day < 699 {
                faded.iter_mut().for_each(|count| *count *= (-4.0f64).exp2());
            }
        }
        let mut expected: Vec<usize> = (0..1_000).collect();
        expected.sort_by(|a, b| faded[*b].total_cmp(&faded[*a]).then(a.cmp(b)));
        let found: Vec<usize> = trend.store.ranked().iter().take(20).map(|entry| entry.0 as usize).collect();
        assert_eq!(found, expected[..20]);
    }
}
