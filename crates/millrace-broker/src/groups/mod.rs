//! Consumer groups (the classic protocol) and committed offsets.
//!
//! Reading order: [`group`] (what a group is), [`step`] (what a change leads to), [`join`], [`rebalance`], [`member`]
//! (the changes, all pure), [`offsets`] and [`stored`] (what survives), [`coordinator`] (locks, answers, time).

pub(crate) mod coordinator;
pub(crate) mod group;
pub(crate) mod join;
pub(crate) mod member;
pub(crate) mod offsets;
pub(crate) mod rebalance;
pub(crate) mod step;
pub(crate) mod stored;
pub(crate) mod subscription;
#[cfg(test)]
mod tests;
