//! The aborted transactions of a partition: what a read-committed consumer must be told to skip.

/// One aborted transaction in one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Aborted {
    pub(crate) producer_id: i64,
    pub(crate) first_offset: i64,
    /// Offset of the abort marker.
    pub(crate) last_offset: i64,
}

/// Ordered by `last_offset`, which is the order in which markers are written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct AbortedList {
    entries: Vec<Aborted>,
}

impl AbortedList {
    pub(crate) fn push(&mut self, aborted: Aborted) {
        debug_assert!(self.entries.last().is_none_or(|last| last.last_offset < aborted.last_offset));
        self.entries.push(aborted);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Aborted> {
        self.entries.iter()
    }

    /// Those with data or marker in `from..until`, by first offset: consumers expect that order.
    pub(crate) fn overlapping(&self, from: i64, until: i64) -> Vec<Aborted> {
        let start = self.entries.partition_point(|aborted| aborted.last_offset < from);
        let mut found: Vec<_> = self.entries[start..].iter().filter(|a| a.first_offset < until).copied().collect();
        found.sort_by_key(|aborted| aborted.first_offset);
        found
    }

    /// Whether the record at `offset` of `producer_id` belongs to an aborted transaction.
    pub(crate) fn covers(&self, producer_id: i64, offset: i64) -> bool {
        let start = self.entries.partition_point(|aborted| aborted.last_offset < offset);
        self.entries[start..].iter().any(|a| a.producer_id == producer_id && a.first_offset <= offset)
    }

    /// Drops those that end before `offset`: no data of theirs is left.
    pub(crate) fn forget_before(&mut self, offset: i64) {
        self.entries.retain(|aborted| aborted.last_offset >= offset);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list() -> AbortedList {
        let mut list = AbortedList::default();
        // A long transaction of producer 1 ends after a short one of producer 2.
        list.push(Aborted { producer_id: 2, first_offset: 20, last_offset: 25 });
        list.push(Aborted { producer_id: 1, first_offset: 10, last_offset: 30 });
        list
    }

    #[test]
    fn overlaps_are_listed_by_first_offset() {
        let firsts = |from, until| list().overlapping(from, until).iter().map(|a| a.first_offset).collect::<Vec<_>>();
        assert_eq!(firsts(0, 100), [10, 20]);
        assert_eq!(firsts(0, 10), [] as [i64; 0], "ends before");
        assert_eq!(firsts(0, 11), [10]);
        assert_eq!(firsts(26, 100), [10], "the short one is over");
        assert_eq!(firsts(31, 100), [] as [i64; 0]);
    }

    #[test]
    fn a_record_is_covered_only_by_its_own_producer() {
        let list = list();
        assert!(list.covers(1, 10) && list.covers(1, 29) && list.covers(2, 20));
        assert!(!list.covers(2, 10) && !list.covers(2, 26) && !list.covers(1, 31) && !list.covers(3, 22));
    }

    #[test]
    fn entries_without_data_are_forgotten() {
        let mut list = list();
        list.forget_before(26);
        assert_eq!(list.iter().count(), 1);
    }
}
