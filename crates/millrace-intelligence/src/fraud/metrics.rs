//! How well scores find fraud, as an analyst lives it.

use std::collections::{HashMap, HashSet};

/// A scored payment whose label is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scored {
    /// Day, counted from any one.
    pub day: i64,
    /// Who paid.
    pub customer: u32,
    /// Its score; more is worse.
    pub score: f32,
    /// Its label.
    pub fraud: bool,
}

/// Payments from the highest score down, those of one score together: (number, frauds) of each score.
fn steps(scored: &[Scored]) -> Vec<(f64, f64)> {
    let mut sorted: Vec<(f32, bool)> = scored.iter().map(|one| (one.score, one.fraud)).collect();
    sorted.sort_by(|a, b| b.0.total_cmp(&a.0));
    let same = sorted.chunk_by(|a, b| a.0 == b.0);
    same.map(|same| (same.len() as f64, same.iter().filter(|one| one.1).count() as f64)).collect()
}

fn frauds(scored: &[Scored]) -> f64 {
    scored.iter().filter(|one| one.fraud).count() as f64
}

/// Area under the curve of true against false positives; not a number without both kinds.
pub fn auc(scored: &[Scored]) -> f64 {
    let positives = frauds(scored);
    let negatives = scored.len() as f64 - positives;
    let (mut above, mut area) = (0.0, 0.0);
    for (number, found) in steps(scored) {
        area += (number - found) * (above + found / 2.0);
        above += found;
    }
    area / (positives * negatives)
}

/// Average precision: the mean, over frauds, of the precision down to each.
pub fn average_precision(scored: &[Scored]) -> f64 {
    let positives = frauds(scored);
    let (mut number, mut found, mut sum) = (0.0, 0.0, 0.0);
    for (more, more_found) in steps(scored) {
        (number, found) = (number + more, found + more_found);
        sum += more_found * found / number;
    }
    sum / positives
}

/// Share of the frauds found when at most this share of the good payments is called fraud.
pub fn recall_at(scored: &[Scored], false_positives: f64) -> f64 {
    let positives = frauds(scored);
    let allowed = false_positives * (scored.len() as f64 - positives);
    let (mut wrong, mut found) = (0.0, 0.0);
    for (number, more) in steps(scored) {
        wrong += number - more;
        if wrong > allowed {
            break;
        }
        found += more;
    }
    found / positives
}

/// Card precision at `budget` a day: of the customers with the highest scores of a day, the share that was defrauded that day;
/// customers found are not looked at again. The mean over days, and each day's.
///
/// Source: Y.-A. Le Borgne et al., "Reproducible Machine Learning for Credit Card Fraud Detection", 2022, chapter 4.
pub fn card_precision(scored: &[Scored], budget: usize) -> (f64, Vec<(i64, f64)>) {
    let mut days: Vec<i64> = scored.iter().map(|one| one.day).collect();
    days.sort_unstable();
    days.dedup();
    let mut known = HashSet::new();
    let mut by_day = Vec::new();
    for day in days {
        let mut customers: HashMap<u32, (f32, bool)> = HashMap::new();
        for one in scored.iter().filter(|one| one.day == day && !known.contains(&one.customer)) {
            let customer = customers.entry(one.customer).or_insert((f32::NEG_INFINITY, false));
            *customer = (customer.0.max(one.score), customer.1 || one.fraud);
        }
        let mut ranked: Vec<(f32, bool, u32)> =
            customers.into_iter().map(|(id, (score, fraud))| (score, fraud, id)).collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.2.cmp(&b.2)));
        let found: Vec<u32> = ranked.iter().take(budget).filter(|one| one.1).map(|one| one.2).collect();
        by_day.push((day, found.len() as f64 / budget as f64));
        known.extend(found);
    }
    (by_day.iter().map(|(_, precision)| precision).sum::<f64>() / by_day.len() as f64, by_day)
}
