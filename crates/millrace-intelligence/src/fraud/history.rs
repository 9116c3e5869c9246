//! What one entity (a customer, a terminal) did, in days: counts and sums, and the labels that have come for them.

use serde::{Deserialize, Serialize};

/// Days that are remembered: a month of labels, which may come a month late.
pub(super) const DAYS: usize = 64;
/// Amounts remembered of an entity, to know its habit.
const AMOUNTS: usize = 32;
/// An amount beyond this many times the median is no habit.
const OUTLIER: f32 = 3.0;

const DAY_MICROS: i64 = 86_400_000_000;

#[derive(Clone, Copy, Default, PartialEq, Debug, Serialize, Deserialize)]
struct Day {
    count: u32,
    sum: f32,
    /// Payments far out of habit.
    odd: u32,
    labelled: u32,
    fraud: u32,
}

/// The memory of one entity: bounded, whatever it does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct History {
    days: Vec<Day>,
    /// The newest day there is room for, counted from 1970.
    newest: i64,
    /// Time of the last payment, microseconds.
    pub(super) last: i64,
    /// The newest amounts, a ring.
    amounts: Vec<f32>,
    next: usize,
    /// The first and the last payment known to be fraudulent of the present series, microseconds.
    fraud_first: i64,
    fraud_last: i64,
    /// How many labels in a row were fraud, newest first known.
    streak: u32,
}

/// Sums over some days.
#[derive(Clone, Copy, Default, Debug, PartialEq)]
pub(super) struct Sums {
    pub(super) count: f32,
    pub(super) sum: f32,
    pub(super) odd: f32,
    pub(super) labelled: f32,
    pub(super) fraud: f32,
}

/// The usual amount.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Habit {
    pub(super) mean: f32,
    pub(super) deviation: f32,
    pub(super) known: f32,
}

pub(super) fn day_of(time: i64) -> i64 {
    time.div_euclid(DAY_MICROS)
}

impl History {
    pub(super) fn new(time: i64) -> Self {
        History {
            days: vec![Day::default(); DAYS],
            newest: day_of(time),
            last: i64::MIN,
            amounts: Vec::new(),
            next: 0,
            fraud_first: i64::MIN,
            fraud_last: i64::MIN,
            streak: 0,
        }
    }

    fn slot(day: i64) -> usize {
        day.rem_euclid(DAYS as i64) as usize
    }

    /// Makes room for a day; what falls out is forgotten.
    fn reach(&mut self, day: i64) {
        if day > self.newest {
            for fresh in (self.newest + 1).max(day - DAYS as i64 + 1)..=day {
                self.days[Self::slot(fresh)] = Day::default();
            }
            self.newest = day;
        }
    }

    fn day(&mut self, day: i64) -> Option<&mut Day> {
        (day <= self.newest && day > self.newest - DAYS as i64).then(|| &mut self.days[Self::slot(day)])
    }

    /// Adds a payment.
    pub(super) fn add(&mut self, time: i64, amount: f32) {
        let odd = self.habit().is_some_and(|habit| amount > OUTLIER * habit.mean);
        self.reach(day_of(time));
        if let Some(day) = self.day(day_of(time)) {
            day.count += 1;
            day.sum += amount;
            day.odd += u32::from(odd);
        }
        self.last = self.last.max(time);
        if self.amounts.len() < AMOUNTS {
            self.amounts.push(amount);
        } else {
            self.amounts[self.next] = amount;
            self.next = (self.next + 1) % AMOUNTS;
        }
    }

    /// Adds what became known of a payment of this time.
    pub(super) fn label(&mut self, time: i64, fraud: bool) {
        if let Some(day) = self.day(day_of(time)) {
            day.labelled += 1;
            day.fraud += u32::from(fraud);
        }
        if fraud {
            if time - self.fraud_last > 7 * DAY_MICROS || self.fraud_first == i64::MIN {
                self.fraud_first = time;
            }
            self.fraud_last = self.fraud_last.max(time);
            self.streak += 1;
        } else {
            self.streak = 0;
        }
    }

    /// Sums over the `count` days that end with `until`.
    pub(super) fn sums(&self, until: i64, count: i64) -> Sums {
        let mut sums = Sums::default();
        let oldest = (until - count + 1).max(self.newest - DAYS as i64 + 1);
        for day in oldest..=until.min(self.newest) {
            let day = &self.days[Self::slot(day)];
            sums.count += day.count as f32;
            sums.sum += day.sum;
            sums.odd += day.odd as f32;
            sums.labelled += day.labelled as f32;
            sums.fraud += day.fraud as f32;
        }
        sums
    }

    /// The usual amount, without those far out of the usual: mean and deviation of what is below three times the median.
    pub(super) fn habit(&self) -> Option<Habit> {
        if self.amounts.is_empty() {
            return None;
        }
        let mut sorted = self.amounts.clone();
        sorted.sort_by(f32::total_cmp);
        let limit = OUTLIER * sorted[sorted.len() / 2];
        let usual = &sorted[..sorted.partition_point(|amount| *amount <= limit).max(1)];
        let mean = usual.iter().sum::<f32>() / usual.len() as f32;
        let squares = usual.iter().map(|amount| (amount - mean).powi(2)).sum::<f32>();
        Some(Habit { mean, deviation: (squares / usual.len() as f32).sqrt(), known: self.amounts.len() as f32 })
    }

    /// Days from the first known fraud of the present series to now, and labels in a row that were fraud.
    pub(super) fn series(&self, now: i64) -> (f32, f32) {
        let days = (now - self.fraud_first.max(i64::MIN / 2)) as f32 / DAY_MICROS as f32;
        (if self.fraud_first == i64::MIN { f32::NAN } else { days }, self.streak as f32)
    }

    /// Days from the last known fraud to now.
    pub(super) fn since_fraud(&self, now: i64) -> f32 {
        if self.fraud_last == i64::MIN { f32::NAN } else { (now - self.fraud_last) as f32 / DAY_MICROS as f32 }
    }
}
