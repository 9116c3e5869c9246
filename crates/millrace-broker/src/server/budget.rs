//! A budget of bytes that is taken as far as it lasts and given back on drop: responses shrink at the limit instead of failing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes still free.
#[derive(Debug, Clone)]
pub(crate) struct Budget(Arc<AtomicUsize>);

/// Bytes taken out of a budget.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Budget,
    bytes: usize,
}

impl Budget {
    pub(crate) fn new(bytes: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(bytes)))
    }

    /// Takes up to `bytes`; the share may be smaller, even empty.
    pub(crate) fn take(&self, bytes: usize) -> Share {
        let mut taken = 0;
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |free| {
            taken = bytes.min(free);
            Some(free - taken)
        });
        Share { budget: self.clone(), bytes: taken }
    }
}

impl Share {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Gives back what is not needed.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        let unused = self.bytes.saturating_sub(bytes);
        self.budget.0.fetch_add(unused, Ordering::Relaxed);
        self.bytes -= unused;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.shrink(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_never_exceed_the_budget_and_come_back() {
        let budget = Budget::new(100);
        let mut first = budget.take(70);
        let second = budget.take(70);
        assert_eq!((first.bytes(), second.bytes(), budget.take(1).bytes()), (70, 30, 0));
        first.shrink(20);
        assert_eq!(budget.take(70).bytes(), 50);
        drop((first, second));
        assert_eq!(budget.take(1_000).bytes(), 100);
    }
}
