//! The network side: listening, connections, frames, and finding who answers.

pub(crate) mod apis;
pub(crate) mod budget;
pub(crate) mod connection;
pub(crate) mod dispatch;
pub(crate) mod frame;
pub(crate) mod listener;
pub(crate) mod shape;
#[cfg(test)]
mod tests;
