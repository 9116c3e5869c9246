//! Which dead letters a command is about, as options.

use clap::Args;
use millrace_connectors::dead_letters::{LetterFilter, parse_time};
use millrace_model::Timestamp;

/// Conditions that must all hold; none: every letter.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct Filter {
    /// Ids, as `list` shows them: TOPIC/PARTITION/OFFSET, and /TABLE for a late record
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// Topic they came from
    #[arg(long)]
    topic: Option<String>,
    /// Kind: malformed, late, sink
    #[arg(long)]
    kind: Option<String>,
    /// Code: wrong_type, missing_field, not_json …
    #[arg(long)]
    code: Option<String>,
    /// A part of the reason, in any case
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Set aside at this time or later: RFC 3339, or how long ago (2h)
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    since: Option<Timestamp>,
    /// Set aside before this time: RFC 3339, or how long ago
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    until: Option<Timestamp>,
}

impl Filter {
    /// As the store is asked.
    pub(super) fn wanted(&self) -> LetterFilter {
        LetterFilter {
            ids: self.ids.clone(),
            topic: self.topic.clone(),
            kind: self.kind.clone(),
            code: self.code.clone(),
            reason: self.reason.clone(),
            since: self.since,
            until: self.until,
            sent: None,
        }
    }
}
