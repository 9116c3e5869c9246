//! What holds for every aggregate, checked over all of them at once.
//!
//! | file | says |
//! |---|---|
//! | `laws` | however rows are cut into panes, sessions and snapshots, the result is that of one pass |
//! | `oracle` | the result is that of the same SQL as a batch query |
//! | `answers` | Spark's documented answers, and its errors |

mod answers;
mod laws;
mod oracle;
mod sample;
