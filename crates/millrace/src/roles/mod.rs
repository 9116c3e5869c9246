//! The roles of the product. They share no memory: each reads topics and the store, and writes topics and the store.

pub(crate) mod backends;
pub(crate) mod job;
pub(crate) mod jobs;
pub(crate) mod live;
pub(crate) mod notify;
pub(crate) mod recommend;
pub(crate) mod score;
pub(crate) mod simulate;
#[cfg(feature = "spark")]
pub(crate) mod spark;
pub(crate) mod state_file;
