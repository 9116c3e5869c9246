//! The recommender as its user sees it: answers, against a slow reference, after restarts, under floods, and what may be shown.

mod attributing;
mod bounds;
mod evaluation;
mod fitting;
mod placements;
mod reference;
mod restart;
mod support;
