//! What is known of a payment at its time: of its amount, of its customer and terminal before it, and of their labels so far.
//!
//! **Invariant:** a feature sees earlier payments only, and a label only after [`Features::label`] brought it.
//!
//! **Memory:** entities at most `entities_max` a kind; the one that has been still for longest goes first.

use std::collections::{BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use super::history::{History, Sums, day_of};

/// A payment to score.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Payment {
    /// Time, microseconds since 1970.
    pub time: i64,
    /// Who pays: a card or a customer.
    pub customer: u32,
    /// Where: a terminal, a merchant, a device.
    pub terminal: u32,
    /// Amount, in units of the currency.
    pub amount: f32,
}

/// Names of the features, in the order of a vector.
pub const FEATURES: [&str; 38] = [
    "amount",
    "hour of day",
    "weekday",
    "customer: amount to usual",
    "customer: amount in deviations",
    "customer: payments known",
    "customer: hours since last",
    "customer: payments in 1 day",
    "customer: payments in 7 days",
    "customer: payments in 30 days",
    "customer: mean amount in 1 day",
    "customer: mean amount in 7 days",
    "customer: mean amount in 30 days",
    "customer: odd payments in 1 day",
    "customer: odd payments in 7 days",
    "customer: odd payments in 14 days",
    "customer: payments today to usual",
    "customer: known fraud in 1 day",
    "customer: known fraud in 7 days",
    "customer: known fraud in 30 days",
    "customer: rate of known fraud in 30 days",
    "customer: days since known fraud",
    "customer: days of fraud so far",
    "terminal: hours since last",
    "terminal: payments in 1 day",
    "terminal: payments in 7 days",
    "terminal: payments in 30 days",
    "terminal: amount to usual",
    "terminal: odd payments in 7 days",
    "terminal: known fraud in 1 day",
    "terminal: known fraud in 7 days",
    "terminal: known fraud in 30 days",
    "terminal: rate of known fraud in 1 day",
    "terminal: rate of known fraud in 7 days",
    "terminal: rate of known fraud in 30 days",
    "terminal: days since known fraud",
    "terminal: days of fraud so far",
    "terminal: labels of fraud in a row",
];

/// The features of a payment; what is not known is NaN.
pub type Vector = [f32; FEATURES.len()];

/// Everything that is remembered of customers and terminals.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Features {
    delay_days: i64,
    entities_max: usize,
    customers: Entities,
    terminals: Entities,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Entities {
    of: HashMap<u32, History>,
    /// By the time of their last payment: who goes first.
    still: BTreeSet<(i64, u32)>,
}

impl Entities {
    fn add(&mut self, id: u32, payment: &Payment, max: usize) {
        let history = self.of.entry(id).or_insert_with(|| History::new(payment.time));
        self.still.remove(&(history.last, id));
        history.add(payment.time, payment.amount);
        self.still.insert((history.last, id));
        if self.of.len() > max
            && let Some((_, oldest)) = self.still.pop_first()
        {
            self.of.remove(&oldest);
        }
    }
}

impl Features {
    /// `delay_days`: how late labels come; `entities_max`: customers, and terminals, remembered at most.
    pub fn new(delay_days: i64, entities_max: usize) -> Self {
        let entities = Entities::default();
        Features { delay_days, entities_max, customers: entities.clone(), terminals: entities }
    }

    /// The features of a payment, before it is added.
    pub fn of(&self, payment: &Payment) -> Vector {
        let mut vector = [f32::NAN; FEATURES.len()];
        let today = day_of(payment.time);
        let labels = today - self.delay_days;
        vector[0] = payment.amount;
        vector[1] = (payment.time.rem_euclid(86_400_000_000) / 60_000_000) as f32 / 60.0;
        vector[2] = (today + 3).rem_euclid(7) as f32;
        if let Some(customer) = self.customers.of.get(&payment.customer) {
            let (day, week, month) = (customer.sums(today, 1), customer.sums(today, 7), customer.sums(today, 30));
            let habit = customer.habit();
            vector[3] = habit.map_or(f32::NAN, |habit| payment.amount / habit.mean.max(0.01));
            vector[4] = habit.map_or(f32::NAN, |habit| {
                (payment.amount - habit.mean) / habit.deviation.max(0.1 * habit.mean).max(0.01)
            });
            vector[5] = habit.map_or(0.0, |habit| habit.known);
            vector[6] = hours(payment.time, customer.last);
            (vector[7], vector[8], vector[9]) = (day.count, week.count, month.count);
            (vector[10], vector[11], vector[12]) = (mean(day), mean(week), mean(month));
            (vector[13], vector[14]) = (day.odd, week.odd);
            vector[15] = customer.sums(today, 14).odd;
            vector[16] = (day.count + 1.0) / (month.count / 30.0).max(0.1);
            let known = customer.sums(labels, 30);
            (vector[17], vector[18]) = (customer.sums(labels, 1).fraud, customer.sums(labels, 7).fraud);
            (vector[19], vector[20]) = (known.fraud, rate(known));
            vector[21] = customer.since_fraud(payment.time);
            vector[22] = customer.series(payment.time).0;
        }
        if let Some(terminal) = self.terminals.of.get(&payment.terminal) {
            vector[23] = hours(payment.time, terminal.last);
            (vector[24], vector[25]) = (terminal.sums(today, 1).count, terminal.sums(today, 7).count);
            vector[26] = terminal.sums(today, 30).count;
            vector[27] = terminal.habit().map_or(f32::NAN, |habit| payment.amount / habit.mean.max(0.01));
            vector[28] = terminal.sums(today, 7).odd;
            for (at, days) in [1, 7, 30].into_iter().enumerate() {
                let known = terminal.sums(labels, days);
                (vector[29 + at], vector[32 + at]) = (known.fraud, rate(known));
            }
            vector[35] = terminal.since_fraud(payment.time);
            (vector[36], vector[37]) = terminal.series(payment.time);
        }
        vector
    }

    /// Remembers a payment.
    pub fn add(&mut self, payment: &Payment) {
        self.customers.add(payment.customer, payment, self.entities_max);
        self.terminals.add(payment.terminal, payment, self.entities_max);
    }

    /// Remembers what became known of a payment. To be called in the order of the payments' times.
    pub fn label(&mut self, payment: &Payment, fraud: bool) {
        for history in [self.customers.of.get_mut(&payment.customer), self.terminals.of.get_mut(&payment.terminal)]
            .into_iter()
            .flatten()
        {
            history.label(payment.time, fraud);
        }
    }
}

fn hours(now: i64, before: i64) -> f32 {
    ((now - before).max(0) / 1_000_000) as f32 / 3_600.0
}

fn mean(sums: Sums) -> f32 {
    if sums.count == 0.0 { f32::NAN } else { sums.sum / sums.count }
}

fn rate(sums: Sums) -> f32 {
    if sums.labelled == 0.0 { f32::NAN } else { sums.fraud / sums.labelled }
}
