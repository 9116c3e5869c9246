//! A backtest as somebody asks for it over HTTP: checked field by field.

use std::time::Duration;

use millrace_connectors::dead_letters::parse_time;
use millrace_intelligence::fraud::live::{JudgeSettings, Rule};
use millrace_model::Timestamp;
use millrace_model::time::parse_duration;
use serde_json::Value;

use super::{Span, Trial, Wanted};
use crate::roles::score::said::{COMMENT_BYTES_MAX, NAME_BYTES_MAX, Told};

const FIELDS: [&str; 10] = ["by", "name", "when", "points", "off", "review_at", "block_at", "since", "until", "memory"];

/// What is wanted, and who wants it.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn wanted(told: &Value, live: &JudgeSettings, records_max: usize) -> Result<(Wanted, String), String> {
    let told = Told::of(told, "a backtest", &FIELDS)?;
    let by = told.needed("by", "who asks")?.to_owned();
    let mut trial = Trial {
        review_at: threshold(&told, "review_at")?,
        block_at: threshold(&told, "block_at")?,
        off: told.names("off")?.into_iter().map(str::to_owned).collect(),
        ..Trial::default()
    };
    let (when, points) = (told.text("when", COMMENT_BYTES_MAX)?, told.number("points")?);
    match told.text("name", NAME_BYTES_MAX)? {
        Some(name) => {
            let rule =
                Rule { when: when.unwrap_or_default().to_owned(), points: points.unwrap_or(0.0), ..Rule::default() };
            trial.rules.insert(name.to_owned(), rule);
        }
        None if when.is_some() => return Err("`name` is missing: what the rule on trial is called".into()),
        None => {}
    }
    // A rule that was changed while it runs is found when the topics are read; what can be said at once is.
    if trial.rules.values().all(|rule| !rule.when.is_empty() && rule.points != 0.0) {
        Trial { off: Default::default(), ..trial.clone() }.over(live, &Default::default())?;
    }
    let span = Span { since: time(&told, "since")?, until: time(&told, "until")?, memory: memory(&told)? };
    if span.since.zip(span.until).is_some_and(|(since, until)| since >= until) {
        return Err("`since` is not before `until`".into());
    }
    Ok((Wanted { trial, span, by_event_time: false, records_max }, by))
}

fn threshold(told: &Told<'_>, name: &str) -> Result<Option<f32>, String> {
    match told.number(name)? {
        Some(at) if !(0.0..=1.0).contains(&at) => Err(format!("`{name}` is a score from 0 to 1")),
        at => Ok(at),
    }
}

fn time(told: &Told<'_>, name: &str) -> Result<Option<Timestamp>, String> {
    let parse = |text: &str| match text.len() {
        10 => crate::commands::time(text),
        _ => parse_time(text),
    };
    told.text(name, NAME_BYTES_MAX)?.map(parse).transpose().map_err(|why| format!("`{name}`: {why}"))
}

fn memory(told: &Told<'_>) -> Result<Option<Duration>, String> {
    let text = told.text("memory", NAME_BYTES_MAX)?;
    text.map(parse_duration).transpose().map_err(|_| "`memory` is a length of time, such as 24h or 30d".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_asked_is_checked() {
        let live = JudgeSettings::default();
        let ask = |told: Value| wanted(&told, &live, 5);
        let (whole, by) = ask(json!({ "by": "ann" })).expect("a backtest");
        assert_eq!((whole.trial, whole.span, by.as_str()), (Trial::default(), Span::default(), "ann"));
        let told = json!({ "by": "ann", "name": "fast", "when": "amount > 5", "points": 8, "off": ["velocity"],
            "review_at": 0.4, "since": "2026-01-01", "until": "2026-01-01T06:00:00Z", "memory": "24h" });
        let (wanted, _) = ask(told).expect("a backtest");
        assert_eq!(wanted.trial.rules["fast"].points, 8.0);
        assert!(wanted.trial.off.contains("velocity") && wanted.trial.review_at == Some(0.4));
        assert_eq!(wanted.span.since, Timestamp::parse(b"2026-01-01T00:00:00Z"));
        assert_eq!(wanted.span.memory, Some(Duration::from_secs(86_400)));
        // Of a rule that is known, what is not said stays: the topics say what that is.
        assert!(ask(json!({ "by": "ann", "name": "fast" })).is_ok());
        for (told, why) in [
            (json!({}), "`by` is missing"),
            (json!({ "by": "ann", "rule": "fast" }), "`rule` is no field of a backtest"),
            (json!({ "by": "ann", "when": "amount > 5" }), "`name` is missing"),
            (json!({ "by": "ann", "name": "a", "when": "amont > 5", "points": 1 }), "did you mean `amount`?"),
            (json!({ "by": "ann", "off": "velocity" }), "`off` is a list"),
            (json!({ "by": "ann", "review_at": 5 }), "`review_at` is a score from 0 to 1"),
            (json!({ "by": "ann", "since": "soon" }), "`since`: `soon` is neither a time"),
            (json!({ "by": "ann", "since": "2026-01-02", "until": "2026-01-01" }), "`since` is not before `until`"),
            (json!({ "by": "ann", "memory": "much" }), "`memory` is a length of time"),
        ] {
            let error = ask(told).expect_err(why);
            assert!(error.contains(why), "{error}");
        }
    }
}
