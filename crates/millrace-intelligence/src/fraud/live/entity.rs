//! What is remembered of one entity (a card, an account, a device …), bounded whatever it does.
//!
//! ```text
//!  touches: the newest 32 payments, exact ─▶ windows up to an hour, distinct cards and people, evidence
//!  hours:   25 sums                       ─▶ 24 hours
//!  days:    31 sums                       ─▶ 30 days
//!  amounts: 24 that went through          ─▶ what is usual
//! ```

use std::collections::{BTreeSet, HashMap, VecDeque};

use crate::recommend::stored::{Bytes, RestoreError, Stored, stored_fields};

/// Payments remembered one by one.
pub(super) const TOUCHES_MAX: usize = 32;
const HOURS: i64 = 25;
const DAYS: i64 = 31;
/// Amounts a habit is made of.
const AMOUNTS_MAX: usize = 24;
/// An amount beyond this many times the median is no habit.
const OUTLIER: f32 = 3.0;
/// Devices and addresses an entity is known by.
const KNOWN_MAX: usize = 8;
/// Refunds remembered.
const REFUNDS_MAX: usize = 16;

pub(super) const MINUTE: i64 = 60_000_000;
pub(super) const HOUR: i64 = 60 * MINUTE;
pub(super) const DAY: i64 = 24 * HOUR;

/// A payment as an entity remembers it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Touch {
    pub(super) time: i64,
    /// Number of the attempt, to find its ids by.
    pub(super) number: u64,
    pub(super) amount: f32,
    pub(super) card: u32,
    pub(super) person: u32,
    pub(super) device: u32,
    pub(super) declined: bool,
    pub(super) promo: bool,
}
stored_fields!(Touch { time, number, amount, card, person, device, declined, promo });

/// Sums over an hour or a day.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Sums {
    at: i64,
    pub(super) count: u32,
    pub(super) declined: u32,
}
stored_fields!(Sums { at, count, declined });

/// The usual amount, and of how many payments.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Habit {
    pub(super) mean: f32,
    pub(super) deviation: f32,
    pub(super) known: f32,
}

/// A place on earth, and when.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Whereabouts {
    pub(super) latitude: f64,
    pub(super) longitude: f64,
    pub(super) time: i64,
}
stored_fields!(Whereabouts { latitude, longitude, time });

/// The memory of one entity.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Entity {
    pub(super) first: i64,
    pub(super) last: i64,
    pub(super) touches: VecDeque<Touch>,
    hours: VecDeque<Sums>,
    days: VecDeque<Sums>,
    amounts: VecDeque<f32>,
    pub(super) devices: VecDeque<u32>,
    pub(super) addresses: VecDeque<u32>,
    pub(super) place: Option<Whereabouts>,
    pub(super) refunds: VecDeque<Touch>,
    pub(super) known_fraud: u32,
}
stored_fields!(Entity { first, last, touches, hours, days, amounts, devices, addresses, place, refunds, known_fraud });

fn sum_up(sums: &mut VecDeque<Sums>, at: i64, most: i64, declined: bool) {
    let newest = sums.back().map_or(i64::MIN, |sums| sums.at);
    if at > newest {
        sums.push_back(Sums { at, count: 0, declined: 0 });
    }
    while sums.front().is_some_and(|oldest| oldest.at <= at.max(newest) - most) {
        sums.pop_front();
    }
    if let Some(sums) = sums.iter_mut().rev().find(|sums| sums.at <= at) {
        sums.count += 1;
        sums.declined += u32::from(declined);
    }
}

/// Puts a name last among those known, and forgets the one that was not seen for longest.
fn know(known: &mut VecDeque<u32>, name: u32) {
    if name == 0 {
        return;
    }
    known.retain(|other| *other != name);
    known.push_back(name);
    if known.len() > KNOWN_MAX {
        known.pop_front();
    }
}

impl Entity {
    /// Adds a payment.
    pub(super) fn add(&mut self, touch: Touch, address: u32) {
        if self.touches.is_empty() && self.refunds.is_empty() {
            self.first = touch.time;
        }
        self.last = self.last.max(touch.time);
        sum_up(&mut self.hours, touch.time.div_euclid(HOUR), HOURS, touch.declined);
        sum_up(&mut self.days, touch.time.div_euclid(DAY), DAYS, touch.declined);
        self.touches.push_back(touch);
        if self.touches.len() > TOUCHES_MAX {
            self.touches.pop_front();
        }
        if !touch.declined {
            self.amounts.push_back(touch.amount);
            if self.amounts.len() > AMOUNTS_MAX {
                self.amounts.pop_front();
            }
            know(&mut self.devices, touch.device);
            know(&mut self.addresses, address);
        }
    }

    /// Adds a refund.
    pub(super) fn add_refund(&mut self, touch: Touch) {
        self.last = self.last.max(touch.time);
        self.refunds.push_back(touch);
        if self.refunds.len() > REFUNDS_MAX {
            self.refunds.pop_front();
        }
    }

    /// Payments in the `window` before `now`, the newest first, as far as they are remembered.
    pub(super) fn within(&self, now: i64, window: i64) -> impl Iterator<Item = &Touch> {
        self.touches.iter().rev().filter(move |touch| touch.time <= now && touch.time > now - window)
    }

    pub(super) fn count(&self, now: i64, window: i64) -> f32 {
        self.within(now, window).count() as f32
    }

    pub(super) fn declined(&self, now: i64, window: i64) -> f32 {
        self.within(now, window).filter(|touch| touch.declined).count() as f32
    }

    /// Different names in a window, with one more that is there now.
    pub(super) fn distinct(&self, now: i64, window: i64, this: u32, name: fn(&Touch) -> u32) -> f32 {
        let mut names: [u32; TOUCHES_MAX + 1] = [0; TOUCHES_MAX + 1];
        let mut found = 0;
        for other in std::iter::once(this).chain(self.within(now, window).map(name)) {
            if other != 0 && !names[..found].contains(&other) {
                names[found] = other;
                found += 1;
            }
        }
        found as f32
    }

    /// Sums of the 24 hours to `now`, to the hour.
    pub(super) fn day(&self, now: i64) -> Sums {
        total(&self.hours, now.div_euclid(HOUR), HOURS - 1)
    }

    /// Sums of the 30 days to `now`, to the day.
    pub(super) fn month(&self, now: i64) -> Sums {
        total(&self.days, now.div_euclid(DAY), DAYS - 1)
    }

    /// Payments in the last hour that were each larger than the one before, counted back from one of this amount.
    pub(super) fn rises(&self, now: i64, amount: f32) -> f32 {
        let mut above = amount;
        let mut rises = 0.0;
        for touch in self.within(now, HOUR) {
            if touch.amount >= above {
                break;
            }
            above = touch.amount;
            rises += 1.0;
        }
        rises
    }

    /// The usual amount, without those far out of the usual.
    pub(super) fn habit(&self) -> Option<Habit> {
        let mut sorted = [0.0_f32; AMOUNTS_MAX];
        let sorted = sorted.get_mut(..self.amounts.len()).filter(|amounts| !amounts.is_empty())?;
        sorted.iter_mut().zip(&self.amounts).for_each(|(place, amount)| *place = *amount);
        sorted.sort_unstable_by(f32::total_cmp);
        let limit = OUTLIER * sorted[sorted.len() / 2];
        let usual = &sorted[..sorted.partition_point(|amount| *amount <= limit).max(1)];
        let mean = usual.iter().sum::<f32>() / usual.len() as f32;
        let squares = usual.iter().map(|amount| (amount - mean).powi(2)).sum::<f32>();
        Some(Habit { mean, deviation: (squares / usual.len() as f32).sqrt(), known: self.amounts.len() as f32 })
    }

    /// Speed from the last place to this one, km/h; nothing for places close by.
    pub(super) fn speed(&self, here: &Whereabouts) -> f32 {
        let Some(place) = &self.place else { return f32::NAN };
        let kilometres = kilometres(place, here);
        let hours = ((here.time - place.time).abs().max(MINUTE)) as f64 / HOUR as f64;
        if kilometres < 300.0 { 0.0 } else { (kilometres / hours) as f32 }
    }
}

fn total(sums: &VecDeque<Sums>, now: i64, most: i64) -> Sums {
    let within = sums.iter().filter(|sums| sums.at > now - most && sums.at <= now);
    within.fold(Sums::default(), |all, sums| Sums {
        at: now,
        count: all.count + sums.count,
        declined: all.declined + sums.declined,
    })
}

/// Haversine distance on a sphere of 6,371 km.
fn kilometres(a: &Whereabouts, b: &Whereabouts) -> f64 {
    let across = ((a.longitude - b.longitude).to_radians() / 2.0).sin().powi(2);
    let along = ((a.latitude - b.latitude).to_radians() / 2.0).sin().powi(2);
    let cosines = a.latitude.to_radians().cos() * b.latitude.to_radians().cos();
    2.0 * 6_371.0 * (along + cosines * across).sqrt().min(1.0).asin()
}

/// All entities of a kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Entities {
    of: HashMap<u64, Entity>,
    /// By the time of their last payment: who goes first.
    still: BTreeSet<(i64, u64)>,
}

impl Entities {
    pub(super) fn get(&self, id: u64) -> Option<&Entity> {
        self.of.get(&id)
    }

    pub(super) fn len(&self) -> usize {
        self.of.len()
    }

    /// Changes an entity, which is made if it is not there; then those that have been still for longer than `keep`, and
    /// those beyond `most`, go.
    pub(super) fn change(&mut self, id: u64, now: i64, keep: i64, most: usize, change: impl FnOnce(&mut Entity)) {
        if id == 0 {
            return;
        }
        let entity = self.of.entry(id).or_insert_with(|| Entity { last: i64::MIN, ..Entity::default() });
        let before = entity.last;
        change(entity);
        if entity.last != before {
            self.still.remove(&(before, id));
            self.still.insert((entity.last, id));
        }
        while let Some((last, oldest)) = self.still.first().copied()
            && (self.of.len() > most || last < now - keep)
        {
            self.still.pop_first();
            self.of.remove(&oldest);
        }
    }

    /// Changes an entity that is there.
    pub(super) fn note(&mut self, id: u64, note: impl FnOnce(&mut Entity)) {
        if let Some(entity) = self.of.get_mut(&id) {
            note(entity);
        }
    }
}

impl Stored for Entities {
    fn store(&self, out: &mut Vec<u8>) {
        self.of.store(out);
    }

    fn restore(from: &mut Bytes<'_>) -> Result<Self, RestoreError> {
        let of = HashMap::<u64, Entity>::restore(from)?;
        let still = of.iter().map(|(id, entity)| (entity.last, *id)).collect();
        Ok(Entities { of, still })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(minute: i64, amount: f32, card: u32) -> Touch {
        Touch { time: minute * MINUTE, amount, card, device: 7, ..Touch::default() }
    }

    #[test]
    fn windows_count_what_is_in_them() {
        let mut entity = Entity::default();
        for (minute, amount, card) in [(0, 10.0, 1), (50, 12.0, 2), (55, 14.0, 2), (59, 20.0, 3)] {
            entity.add(touch(minute, amount, card), 5);
        }
        let now = 60 * MINUTE;
        assert_eq!(
            [1, 5, 10, 11, 60, 61].map(|minutes| entity.count(now, minutes * MINUTE)),
            [0.0, 1.0, 2.0, 3.0, 3.0, 4.0]
        );
        assert_eq!(entity.distinct(now, HOUR, 9, |touch| touch.card), 3.0);
        assert_eq!((entity.rises(now, 21.0), entity.rises(now, 15.0)), (3.0, 0.0));
        assert_eq!(
            (entity.day(now).count, entity.month(now + 29 * DAY).count, entity.day(now + 25 * HOUR).count),
            (4, 4, 0)
        );
        assert_eq!(entity.month(now + 31 * DAY).count, 0);
    }

    #[test]
    fn memory_is_bounded_by_number_and_time() {
        let mut entity = Entity::default();
        for minute in 0..100_000 {
            entity.add(touch(minute, 1.0, minute as u32), minute as u32);
        }
        assert!(entity.touches.len() == TOUCHES_MAX && entity.hours.len() <= 25 && entity.days.len() <= 31);
        assert!(entity.amounts.len() == AMOUNTS_MAX && entity.addresses.len() == KNOWN_MAX);
        let mut entities = Entities::default();
        for at in 1..=100_u64 {
            let now = at as i64 * MINUTE;
            entities.change(at, now, HOUR, 30, |entity| entity.add(touch(at as i64, 1.0, 1), 0));
        }
        assert_eq!((entities.len(), entities.get(70).is_some(), entities.get(71).is_some()), (30, false, true));
        entities.change(200, 300 * MINUTE, HOUR, 30, |entity| entity.add(touch(300, 1.0, 1), 0));
        assert_eq!(entities.len(), 1, "all others have been still for too long");
    }

    #[test]
    fn habits_leave_out_what_is_far_out() {
        let mut entity = Entity::default();
        assert_eq!(entity.habit(), None);
        for amount in [10.0, 12.0, 11.0, 500.0] {
            entity.add(touch(0, amount, 1), 0);
        }
        let habit = entity.habit().expect("a habit");
        assert!((habit.mean - 11.0).abs() < 0.01 && habit.known == 4.0, "{habit:?}");
    }

    #[test]
    fn nobody_flies_faster_than_planes() {
        let place = |latitude, longitude, minute: i64| Whereabouts { latitude, longitude, time: minute * MINUTE };
        let berlin = Entity { place: Some(place(52.52, 13.405, 0)), ..Entity::default() };
        assert!(berlin.speed(&place(35.68, 139.65, 6)) > 50_000.0, "Tokyo, minutes later");
        assert!(berlin.speed(&place(48.86, 2.35, 180)) < 400.0, "Paris, by train");
        assert_eq!(berlin.speed(&place(52.4, 13.0, 1)), 0.0, "the next town");
        assert!(Entity::default().speed(&place(0.0, 0.0, 0)).is_nan());
    }

    #[test]
    fn what_is_stored_comes_back() {
        let mut entities = Entities::default();
        for at in 1..50_u64 {
            entities.change(at % 7 + 1, at as i64, DAY, 5, |entity| {
                entity.add(touch(at as i64, 0.1 * at as f32, 2), 3);
                entity.place = Some(Whereabouts { latitude: 0.1, longitude: -0.3, time: 5 });
            });
        }
        let mut out = Vec::new();
        entities.store(&mut out);
        assert_eq!(Entities::restore(&mut Bytes::new(&out)), Ok(entities));
    }
}
