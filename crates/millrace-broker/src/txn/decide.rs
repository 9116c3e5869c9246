//! The decisions on a transactional id: pure, from what is remembered of it and what is asked.

use crate::storage::marker::Marker;
use crate::txn::record::{Record, TxnState};
use kafka_protocol::error::ResponseError;

/// A producer as it presents itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) producer_id: i64,
    pub(crate) epoch: i16,
}

/// What InitProducerId leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InitDecision {
    /// First use of the id, or its epochs are used up: a fresh producer id, epoch 0.
    FreshId,
    /// The next producer under this id; whoever was before is fenced.
    Bump { epoch: i16, last_epoch: i16 },
    /// The producer asks again because it missed the answer.
    Again,
    /// A transaction is open: fence its producer with this epoch, abort, then decide again.
    AbortFirst { epoch: i16 },
    /// An outcome is decided but not carried out everywhere: carry it out, then decide again.
    FinishFirst,
}

/// Highest epoch given to a producer; one more is left for fencing it.
const EPOCH_MAX: i16 = i16::MAX - 1;

/// Decides on InitProducerId. `presented` is set by a producer that wants its own epoch bumped (KIP-360).
pub(crate) fn init(record: Option<&Record>, presented: Option<Identity>) -> Result<InitDecision, ResponseError> {
    let Some(record) = record else { return Ok(InitDecision::FreshId) };
    if presented.is_some_and(|p| p.producer_id != record.producer_id) {
        return Err(ResponseError::ProducerFenced);
    }
    let may_bump = presented.is_none_or(|p| p.epoch == record.epoch);
    let asks_again = presented.is_some_and(|p| p.epoch == record.last_epoch) && record.last_epoch >= 0;
    match record.state {
        _ if !may_bump && !asks_again => Err(ResponseError::ProducerFenced),
        TxnState::Prepared(_) => Ok(InitDecision::FinishFirst),
        TxnState::Ongoing => Ok(InitDecision::AbortFirst { epoch: record.epoch.saturating_add(1) }),
        TxnState::Empty | TxnState::Complete(_) if !may_bump => Ok(InitDecision::Again),
        _ if record.epoch >= EPOCH_MAX => Ok(InitDecision::FreshId),
        _ => Ok(InitDecision::Bump { epoch: record.epoch + 1, last_epoch: presented.map_or(-1, |p| p.epoch) }),
    }
}

/// Checks that `identity` is the producer that owns the id now.
pub(crate) fn check_owner(record: Option<&Record>, identity: Identity) -> Result<&Record, ResponseError> {
    let record = record.ok_or(ResponseError::InvalidProducerIdMapping)?;
    if record.producer_id != identity.producer_id {
        return Err(ResponseError::InvalidProducerIdMapping);
    }
    if record.epoch == identity.epoch { Ok(record) } else { Err(ResponseError::ProducerFenced) }
}

/// Whether partitions or groups may be added, which begins a transaction if none is open.
pub(crate) fn add(record: Option<&Record>, identity: Identity) -> Result<(), ResponseError> {
    match check_owner(record, identity)?.state {
        TxnState::Prepared(_) => Err(ResponseError::ConcurrentTransactions),
        TxnState::Empty | TxnState::Ongoing | TxnState::Complete(_) => Ok(()),
    }
}

/// Whether offsets of `group` may be put into the transaction.
pub(crate) fn add_offsets(record: Option<&Record>, identity: Identity, group: &str) -> Result<(), ResponseError> {
    let record = check_owner(record, identity)?;
    let open = record.state == TxnState::Ongoing && record.groups.contains(group);
    if open { Ok(()) } else { Err(ResponseError::InvalidTxnState) }
}

/// What EndTxn leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndDecision {
    /// Decide the outcome and carry it out.
    End,
    /// It is decided so already: carry it out.
    Finish,
    /// It is done; the producer missed the answer.
    Done,
}

/// Decides on EndTxn.
pub(crate) fn end(record: Option<&Record>, identity: Identity, wanted: Marker) -> Result<EndDecision, ResponseError> {
    match check_owner(record, identity)?.state {
        TxnState::Ongoing => Ok(EndDecision::End),
        TxnState::Prepared(marker) if marker == wanted => Ok(EndDecision::Finish),
        TxnState::Complete(marker) if marker == wanted => Ok(EndDecision::Done),
        TxnState::Empty | TxnState::Prepared(_) | TxnState::Complete(_) => Err(ResponseError::InvalidTxnState),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ResponseError as E;

    fn record(state: TxnState, epoch: i16, last_epoch: i16) -> Record {
        Record { state, epoch, last_epoch, ..Record::new(7, 1_000, 0) }
    }

    const COMPLETE: TxnState = TxnState::Complete(Marker::Commit);

    #[test]
    fn producers_are_initialised_and_fenced() {
        use InitDecision::*;
        let me = |epoch| Some(Identity { producer_id: 7, epoch });
        let other = Some(Identity { producer_id: 8, epoch: 2 });
        // (what, remembered, presented, decision)
        let table = [
            ("first use", None, None, Ok(FreshId)),
            ("next producer", Some(record(TxnState::Empty, 2, -1)), None, Ok(Bump { epoch: 3, last_epoch: -1 })),
            ("next after commit", Some(record(COMPLETE, 2, -1)), None, Ok(Bump { epoch: 3, last_epoch: -1 })),
            ("open transaction", Some(record(TxnState::Ongoing, 2, -1)), None, Ok(AbortFirst { epoch: 3 })),
            ("half done", Some(record(TxnState::Prepared(Marker::Commit), 2, -1)), None, Ok(FinishFirst)),
            ("own bump", Some(record(COMPLETE, 2, -1)), me(2), Ok(Bump { epoch: 3, last_epoch: 2 })),
            ("own bump, asked again", Some(record(COMPLETE, 3, 2)), me(2), Ok(Again)),
            ("own bump of a fenced producer", Some(record(COMPLETE, 3, -1)), me(2), Err(E::ProducerFenced)),
            ("another producer id", Some(record(COMPLETE, 2, -1)), other, Err(E::ProducerFenced)),
            ("epochs used up", Some(record(COMPLETE, i16::MAX - 1, -1)), None, Ok(FreshId)),
        ];
        for (what, remembered, presented, decision) in table {
            assert_eq!(init(remembered.as_ref(), presented), decision, "{what}");
        }
    }

    #[test]
    fn only_the_owner_adds_and_ends() {
        let me = Identity { producer_id: 7, epoch: 2 };
        let old = Identity { producer_id: 7, epoch: 1 };
        let stranger = Identity { producer_id: 9, epoch: 2 };
        let ongoing = record(TxnState::Ongoing, 2, -1);
        assert_eq!(add(Some(&ongoing), me), Ok(()));
        assert_eq!(add(Some(&ongoing), old), Err(E::ProducerFenced));
        assert_eq!(add(Some(&ongoing), stranger), Err(E::InvalidProducerIdMapping));
        assert_eq!(add(None, me), Err(E::InvalidProducerIdMapping));
        assert_eq!(add(Some(&record(TxnState::Prepared(Marker::Abort), 2, -1)), me), Err(E::ConcurrentTransactions));
        assert_eq!(add_offsets(Some(&ongoing), me, "g"), Err(E::InvalidTxnState), "the group was not added");
        let mut with_group = ongoing.clone();
        with_group.groups.insert("g".into());
        assert_eq!(add_offsets(Some(&with_group), me, "g"), Ok(()));
    }

    #[test]
    fn a_transaction_ends_once_and_one_way() {
        use Marker::*;
        let me = Identity { producer_id: 7, epoch: 2 };
        let table = [
            (TxnState::Ongoing, Commit, Ok(EndDecision::End)),
            (TxnState::Ongoing, Abort, Ok(EndDecision::End)),
            (TxnState::Empty, Commit, Err(E::InvalidTxnState)),
            (TxnState::Prepared(Commit), Commit, Ok(EndDecision::Finish)),
            (TxnState::Prepared(Commit), Abort, Err(E::InvalidTxnState)),
            (TxnState::Complete(Commit), Commit, Ok(EndDecision::Done)),
            (TxnState::Complete(Commit), Abort, Err(E::InvalidTxnState)),
            (TxnState::Complete(Abort), Abort, Ok(EndDecision::Done)),
        ];
        for (state, wanted, decision) in table {
            assert_eq!(end(Some(&record(state, 2, -1)), me, wanted), decision, "{state:?} {wanted:?}");
        }
    }

    #[test]
    fn overdue_is_longer_than_the_timeout() {
        let mut record = record(TxnState::Ongoing, 0, -1);
        record.started_at_ms = 100;
        assert!(!record.is_overdue(1_100) && record.is_overdue(1_101));
        record.state = COMPLETE;
        assert!(!record.is_overdue(9_999));
    }
}
