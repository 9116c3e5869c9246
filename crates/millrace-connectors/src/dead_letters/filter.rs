//! Which dead letters are meant, as SQL both databases understand.

use std::time::SystemTime;

use millrace_model::Timestamp;
use millrace_model::time::parse_duration;

use super::SENT;
use crate::store::Param;

/// Conditions that must all hold; none: every letter.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LetterFilter {
    /// These letters.
    pub ids: Vec<String>,
    /// Topic they came from.
    pub topic: Option<String>,
    /// malformed, late, sink.
    pub kind: Option<String>,
    /// wrong_type, missing_field, not_json …
    pub code: Option<String>,
    /// A part of the reason, in any case.
    pub reason: Option<String>,
    /// Set aside at this time or later.
    pub since: Option<Timestamp>,
    /// Set aside before this time.
    pub until: Option<Timestamp>,
    /// Sent again, or not yet.
    pub sent: Option<bool>,
}

/// A time (RFC 3339), or how long ago it was (2h).
///
/// # Errors
/// It is neither, in words.
pub fn parse_time(text: &str) -> Result<Timestamp, String> {
    if let Some(time) = Timestamp::parse(text.as_bytes()) {
        return Ok(time);
    }
    let ago = parse_duration(text)
        .map_err(|_| format!("`{text}` is neither a time (2026-11-23T08:00:00Z) nor a length of time (2h, 30m, 7d)"))?;
    let ago = i64::try_from(ago.as_micros()).map_err(|_| format!("`{text}` is too long ago"))?;
    Ok(Timestamp(Timestamp::from_system_time(SystemTime::now()).0.saturating_sub(ago)))
}

/// A condition and its values.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Condition {
    /// After WHERE.
    pub sql: String,
    /// For `$1`, `$2` …
    pub params: Vec<Param>,
}

impl LetterFilter {
    /// Nothing was asked for: who changes something should say so.
    pub fn is_empty(&self) -> bool {
        *self == LetterFilter::default()
    }

    /// These letters and no condition besides.
    pub fn of_ids(ids: &[String]) -> Self {
        LetterFilter { ids: ids.to_vec(), ..LetterFilter::default() }
    }

    /// The condition on columns of `dead_letters`.
    pub fn condition(&self) -> Condition {
        let mut condition = Condition::default();
        let mut parts = Vec::new();
        if !self.ids.is_empty() {
            let places: Vec<String> = self.ids.iter().map(|id| condition.place(Param::Text(id.clone()))).collect();
            parts.push(format!("dead_letter_id IN ({})", places.join(", ")));
        }
        for (column, wanted) in [("topic", &self.topic), ("kind", &self.kind), ("code", &self.code)] {
            if let Some(wanted) = wanted {
                let place = condition.place(Param::Text(wanted.clone()));
                parts.push(format!("{column} = {place}"));
            }
        }
        if let Some(text) = &self.reason {
            let escaped = text.to_lowercase().replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
            let place = condition.place(Param::Text(format!("%{escaped}%")));
            parts.push(format!("lower(reason) LIKE {place} ESCAPE '\\'"));
        }
        for (sign, time) in [(">=", self.since), ("<", self.until)] {
            if let Some(time) = time {
                let place = condition.place(Param::Time(time));
                parts.push(format!("first_seen {sign} {place}"));
            }
        }
        if let Some(sent) = self.sent {
            parts.push(format!("({SENT}) {} 0", if sent { ">" } else { "=" }));
        }
        condition.sql = if parts.is_empty() { "TRUE".into() } else { parts.join(" AND ") };
        condition
    }
}

impl Condition {
    /// Adds a value; where it stands in the text.
    pub fn place(&mut self, value: Param) -> String {
        self.params.push(value);
        format!("${}", self.params.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions() {
        let text = |text: &str| Param::Text(text.into());
        let all = LetterFilter::default();
        assert!(all.is_empty());
        assert_eq!(all.condition().sql, "TRUE");
        let filter = LetterFilter {
            ids: vec!["t/0/1".into(), "t/0/2".into()],
            topic: Some("t".into()),
            reason: Some("50% OF_it".into()),
            until: Some(Timestamp(7)),
            ..LetterFilter::default()
        };
        let expected =
            "dead_letter_id IN ($1, $2) AND topic = $3 AND lower(reason) LIKE $4 ESCAPE '\\' AND first_seen < $5";
        let found = filter.condition();
        assert_eq!(found.sql, expected);
        let values = [text("t/0/1"), text("t/0/2"), text("t"), text("%50\\% of\\_it%"), Param::Time(Timestamp(7))];
        assert_eq!(found.params, values);
        assert!(!filter.is_empty());
        let open = LetterFilter { sent: Some(false), ..LetterFilter::default() };
        assert!(!open.is_empty() && open.condition().sql.ends_with(") = 0"));
    }

    #[test]
    fn times() {
        assert_eq!(parse_time("1970-01-01T00:00:01Z"), Ok(Timestamp(1_000_000)));
        let time = parse_time("2h").expect("a time");
        let ago = Timestamp::from_system_time(SystemTime::now()).0 - time.0;
        assert!((7_200_000_000..7_260_000_000).contains(&ago), "{ago}");
        assert!(parse_time("yesterday").expect_err("neither").contains("neither a time"));
    }
}
