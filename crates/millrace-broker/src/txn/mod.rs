//! Transactions: what is remembered of a transactional id ([`record`]), the pure decisions ([`decide`]), and the
//! coordinator that obeys them ([`coordinator`]).

pub(crate) mod coordinator;
pub(crate) mod decide;
pub(crate) mod record;
