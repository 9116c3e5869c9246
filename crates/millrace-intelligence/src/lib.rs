//! The two predictive jobs as pure algorithms: no clock, file or socket. The caller brings events in order and says what time it is.
//!
//! [`recommend`] learns from every click and says what comes next; [`fraud`] scores payments, learns from labels that come late,
//! and says why.

pub mod fraud;
pub mod recommend;
