//! Quantiles of a stream in little memory, within a promised error of rank.
//!
//! Source: Greenwald, Khanna, "Space-Efficient Online Computation of Quantile Summaries" (SIGMOD 2001). The sizes at which
//! values are sorted in and samples thinned out are Spark's, so that one stream of values gives both backends one answer.
//!
//! A sample stands for the values since the sample before it:
//!
//! ```text
//!  values   1   3   4   4   6   9          gap: how many values the sample stands for
//!  samples  1       4       6   9          slack: by how much its rank may be higher than the sum of gaps
//!  gap      1       2       2   1
//! ```

use std::borrow::Cow;

/// Values are sorted in when so many have come.
const BUFFERED_VALUES_MAX: usize = 50_000;
/// Samples are thinned out, after sorting in, when there are so many.
const SAMPLES_MAX: usize = 10_000;

/// The summary of one group's values.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Summary {
    /// In order of value.
    pub(super) samples: Vec<Sample>,
    /// Values that have come since.
    pub(super) buffer: Vec<f64>,
}

/// A value of the stream, and the ranks it may have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sample {
    pub(super) value: f64,
    pub(super) gap: i64,
    pub(super) slack: i64,
}

impl Summary {
    /// Takes in a value. `error`: the share of the number of values by which a rank may be wrong.
    pub(super) fn add(&mut self, value: f64, error: f64) {
        self.buffer.push(value);
        if self.buffer.len() >= BUFFERED_VALUES_MAX {
            self.sort_in(error);
            if self.samples.len() >= SAMPLES_MAX.min((4.0 / error) as usize) {
                self.thin_out(error);
            }
        }
    }

    /// Values that have come.
    fn count(&self) -> i64 {
        self.samples.iter().map(|sample| sample.gap).sum()
    }

    fn sort_in(&mut self, error: f64) {
        let mut values = std::mem::take(&mut self.buffer);
        values.sort_by(f64::total_cmp);
        let mut count = self.count();
        let old = std::mem::take(&mut self.samples);
        let mut rest = old.into_iter().peekable();
        let last = values.len().saturating_sub(1);
        for (i, value) in values.into_iter().enumerate() {
            while let Some(before) = rest.next_if(|sample| sample.value <= value) {
                self.samples.push(before);
            }
            count += 1;
            let at_an_end = self.samples.is_empty() || (rest.peek().is_none() && i == last);
            let slack = if at_an_end { 0 } else { (2.0 * error * count as f64).floor() as i64 };
            self.samples.push(Sample { value, gap: 1, slack });
        }
        self.samples.extend(rest);
    }

    /// Joins samples into the one after them where the error allows it; the first and the last stay.
    fn thin_out(&mut self, error: f64) {
        let allowed = 2.0 * error * self.count() as f64;
        let Some((&first, &last)) = self.samples.first().zip(self.samples.last()) else { return };
        let mut kept = Vec::new();
        let mut head = last;
        for sample in self.samples.iter().rev().skip(1).take(self.samples.len().saturating_sub(2)) {
            if ((sample.gap + head.gap + head.slack) as f64) < allowed {
                head.gap += sample.gap;
            } else {
                kept.push(std::mem::replace(&mut head, *sample));
            }
        }
        kept.push(head);
        if self.samples.len() > 1 && first.value <= head.value {
            kept.push(first);
        }
        kept.reverse();
        self.samples = kept;
    }

    /// With nothing left in the buffer.
    fn settled(&self, error: f64) -> Cow<'_, Summary> {
        if self.buffer.is_empty() {
            return Cow::Borrowed(self);
        }
        let mut settled = self.clone();
        settled.sort_in(error);
        settled.thin_out(error);
        Cow::Owned(settled)
    }

    /// Takes in all values of another summary. Where samples of the two interleave, each is as uncertain as the other's gaps.
    pub(super) fn merge(&mut self, other: &Summary, error: f64) {
        if other.samples.is_empty() && other.buffer.is_empty() {
            return;
        }
        let (left, right) = (self.settled(error).into_owned(), other.settled(error));
        if left.samples.is_empty() {
            *self = right.into_owned();
            return;
        }
        let uncertain = |count: i64| (2.0 * error * count as f64).floor() as i64;
        let (of_left, of_right) = (uncertain(right.count()), uncertain(left.count()));
        let (mut i, mut j) = (0, 0);
        let mut merged = Vec::with_capacity(left.samples.len() + right.samples.len());
        while let (Some(a), Some(b)) = (left.samples.get(i), right.samples.get(j)) {
            if a.value < b.value {
                merged.push(Sample { slack: a.slack + if j > 0 { of_left } else { 0 }, ..*a });
                i += 1;
            } else {
                merged.push(Sample { slack: b.slack + if i > 0 { of_right } else { 0 }, ..*b });
                j += 1;
            }
        }
        merged.extend_from_slice(&left.samples[i..]);
        merged.extend_from_slice(&right.samples[j..]);
        *self = Summary { samples: merged, buffer: Vec::new() };
        self.thin_out(error);
    }

    /// The values at these shares of the ranks, from 0 to 1; `None` of no values.
    pub(super) fn percentiles(&self, shares: &[f64], error: f64) -> Option<Vec<f64>> {
        let settled = self.settled(error);
        let samples = settled.samples.as_slice();
        let (first, last) = samples.first().zip(samples.last())?;
        let count = settled.count();
        let tolerated = samples.iter().map(|sample| sample.gap + sample.slack).max().unwrap_or(0) / 2;
        let at = |&share: &f64| {
            if share <= error {
                return first.value;
            }
            if share >= 1.0 - error {
                return last.value;
            }
            let rank = (share * count as f64).ceil() as i64;
            let mut least = 0;
            let found = samples[..samples.len() - 1].iter().find(|sample| {
                least += sample.gap;
                least + sample.slack - tolerated <= rank && rank <= least + tolerated
            });
            found.unwrap_or(last).value
        };
        Some(shares.iter().map(at).collect())
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        self.samples.capacity() * size_of::<Sample>() + self.buffer.capacity() * size_of::<f64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: impl Iterator<Item = f64>, error: f64) -> Summary {
        let mut summary = Summary::default();
        values.for_each(|value| summary.add(value, error));
        summary
    }

    /// The numbers below `count`, in an order that jumps about.
    fn jumping(count: i64) -> impl Iterator<Item = f64> {
        (0..count).map(move |i| (i * 7_919 % count) as f64)
    }

    #[test]
    fn few_values_are_exact() {
        let summary = of([10.0, 0.0, 2.0, 1.0].into_iter(), 0.01);
        assert_eq!(summary.percentiles(&[0.5, 0.4, 0.1, 0.0, 1.0], 0.01), Some(vec![1.0, 1.0, 0.0, 0.0, 10.0]));
        assert_eq!(Summary::default().percentiles(&[0.5], 0.01), None);
    }

    #[test]
    fn many_values_keep_the_promise() {
        for (count, error) in [(100_003, 0.01), (300_007, 0.001), (120_011, 0.0001)] {
            let whole = of(jumping(count), error);
            let mut merged = Summary::default();
            for part in 0..4 {
                merged.merge(&of(jumping(count).filter(|value| *value as i64 % 4 == part), error), error);
            }
            for share in [0.01, 0.25, 0.5, 0.9, 0.999] {
                for summary in [&whole, &merged] {
                    let found = summary.percentiles(&[share], error).expect("values came")[0];
                    let wrong_by = (found - share * count as f64).abs() / count as f64;
                    assert!(
                        wrong_by <= error + 1.0 / count as f64,
                        "{share} of {count}: {found} is wrong by {wrong_by}"
                    );
                }
            }
            assert!(merged.samples.len() as f64 <= 10.0 / error, "{} samples", merged.samples.len());
        }
    }
}
