//! The page of dead letters asks the store, and has letters repaired and sent again by who can: the same code as
//! `millrace dead-letters`.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use millrace_connectors::dead_letters::{LetterFilter, Letters};
use millrace_model::Timestamp;
use serde_json::{Value, json};

use crate::answer::Problem;
use crate::editor::{concealed, restored};
use crate::raw;
use crate::service::{Mend, Mends, RedriveWanted, Redriven, RepairWanted, Repaired};
use crate::shared::{Shared, now};
use crate::store::{AskError, StoreError};
use crate::view::letters::{LetterView, LettersParams, Listing, Seen, listing, seen};

/// Letters one request repairs or sends: at a hundred a second a browser waits for the answer.
pub(crate) const AT_ONCE_MAX: usize = 500;
/// Characters of a value in a line of a dry run.
const LINE_CHARS_MAX: usize = 400;
/// Refusals told of one by one.
const REFUSED_MAX: usize = 20;

/// What there is to see.
pub(crate) async fn look(shared: &Shared, params: &LettersParams) -> Result<Listing, AskError> {
    let letters = Letters::new(shared.store.clone());
    let now = now();
    let found = within(shared, async {
        let limit = u32::try_from(params.limit).unwrap_or(u32::MAX);
        let listed = letters.list(&params.filter(now), limit).await?;
        let counts = letters.counts(&params.wide_filter(now)).await?;
        Ok((listed, counts))
    });
    let (listed, counts) = found.await?;
    Ok(listing(&listed.rows, listed.matching, &counts, params))
}

/// One letter, whole as far as it may be seen.
pub(crate) async fn one(shared: &Shared, id: &str) -> Result<Option<LetterView>, AskError> {
    let letters = Letters::new(shared.store.clone());
    let ids = [id.to_owned()];
    let found = within(shared, async {
        let Some(letter) = letters.read(&ids).await?.pop() else { return Ok(None) };
        let redrives = letters.redrives(id).await?;
        Ok(Some(Seen { received: letter.received()?, letter, redrives }))
    });
    Ok(found.await?.map(seen))
}

async fn within<T>(shared: &Shared, question: impl Future<Output = Result<T, StoreError>>) -> Result<T, AskError> {
    let ms_max = shared.settings.limits.store_ms_max;
    match tokio::time::timeout(Duration::from_millis(ms_max), question).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(AskError::Slow(ms_max)),
    }
}

/// What the body of a request may say of the letters it is about.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Chosen {
    /// By id.
    pub(crate) ids: Vec<String>,
    /// Or all that this lets through.
    pub(crate) filter: Option<LetterFilter>,
}

impl Chosen {
    /// Their ids, oldest first.
    pub(crate) async fn found(self, shared: &Shared) -> Result<Vec<String>, Problem> {
        let filter = match (self.ids.is_empty(), self.filter) {
            (false, None) => LetterFilter::of_ids(&self.ids),
            (true, Some(filter)) if !filter.is_empty() => filter,
            _ => return Err(Problem::bad_request("which letters? Give `ids`, or a `filter` with a condition")),
        };
        let letters = Letters::new(shared.store.clone());
        let found = within(shared, letters.ids(&filter)).await?;
        match found.len() {
            0 => Err(Problem::not_found("no dead letter is like that; GET /v1/dead-letters lists them")),
            1..=AT_ONCE_MAX => Ok(found),
            many => {
                let detail = format!(
                    "{many} letters are like that, and one request is about {AT_ONCE_MAX} at most: narrow it, or use \
                     `millrace dead-letters`"
                );
                Err(Problem::bad_request(detail))
            }
        }
    }
}

/// What is to be kept instead of the values.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Wanted {
    /// The text of the editor, for one letter.
    Text(String),
    /// A JSON patch.
    Patch(Value),
}

/// The words and lines a form shows, beside the numbers for programs.
pub(crate) async fn repair(
    shared: &Shared,
    mends: Option<Arc<dyn Mends>>,
    ids: Vec<String>,
    wanted: Wanted,
    rules: RepairRules,
) -> Result<Value, Problem> {
    let mends = mends.ok_or_else(elsewhere)?;
    let mend = match wanted {
        Wanted::Patch(patch) => Mend::Patch(patch),
        Wanted::Text(text) => {
            let [id] = ids.as_slice() else {
                return Err(Problem::bad_request("`value` is for one letter; use `patch` for many"));
            };
            let letters = Letters::new(shared.store.clone());
            let letter = within(shared, letters.read(std::slice::from_ref(id))).await?.pop();
            let letter = letter.ok_or_else(|| Problem::not_found("the letter is gone"))?;
            let current = letter.current().map_err(AskError::from)?.unwrap_or_default();
            Mend::Value(restored(&current, &text).map_err(Problem::bad_request)?.into_bytes())
        }
    };
    let RepairRules { dry_run, unchecked, by } = rules;
    let wanted = RepairWanted { ids, mend, dry_run, unchecked, by };
    let done = aside(move || mends.repair(&wanted)).await?;
    shared.stir();
    Ok(told_of_repair(&done, dry_run))
}

/// How letters are repaired.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct RepairRules {
    pub(crate) dry_run: bool,
    pub(crate) unchecked: bool,
    pub(crate) by: String,
}

fn told_of_repair(done: &Repaired, dry_run: bool) -> Value {
    let words = if dry_run { "would be repaired" } else { "repaired; nothing is sent before you send it" };
    let mut told = format!("{} {words}", done.kept);
    if !done.refused.is_empty() {
        told.push_str(&format!("; {} cannot be repaired so", done.refused.len()));
    }
    let mut lines = Vec::new();
    for (id, before, after) in &done.shown {
        let before = before.as_deref().unwrap_or_default();
        lines.push(format!("{id}: {} → {}", line(before, before), line(before, after)));
    }
    lines.extend(done.refused.iter().take(REFUSED_MAX).map(|(id, why)| format!("{id}: {why}")));
    json!({ "repaired": done.kept, "refused": done.refused.len(), "dry_run": dry_run, "told": told, "lines": lines })
}

/// A value on one line, masked; what is hidden in the value it came from is hidden too.
fn line(of: &[u8], value: &[u8]) -> String {
    let mut masked = value.to_vec();
    crate::mask::bytes(&mut masked);
    let text = concealed(of, &raw::text(&masked)).replace('\n', " ");
    match text.char_indices().nth(LINE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Sends letters again.
pub(crate) async fn redrive(
    shared: &Shared,
    mends: Option<Arc<dyn Mends>>,
    wanted: RedriveWanted,
) -> Result<Value, Problem> {
    let mends = mends.ok_or_else(elsewhere)?;
    let dry_run = wanted.dry_run;
    let Redriven { sent, stayed } = aside(move || mends.redrive(&wanted)).await?;
    shared.stir();
    let told = format!("{sent} {}", if dry_run { "would be sent again" } else { "sent again" });
    let lines: Vec<String> = stayed.iter().map(|(why, letters)| format!("{letters} left: {why}")).collect();
    let stayed: u64 = stayed.iter().map(|(_, letters)| letters).sum();
    Ok(json!({ "sent": sent, "stayed": stayed, "dry_run": dry_run, "told": told, "lines": lines }))
}

/// Work that waits for store and cluster, on a thread that may.
async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, crate::service::Refused> + Send + 'static,
) -> Result<T, Problem> {
    let cut_off = |_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "it was cut off; the log says why");
    Ok(tokio::task::spawn_blocking(work).await.map_err(cut_off)??)
}

fn elsewhere() -> Problem {
    let detail = "this dashboard was started without a cluster: use `millrace dead-letters`, or `millrace dashboard`";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
}

/// The time a request names.
pub(crate) fn time(name: &str, text: Option<&str>) -> Result<Option<Timestamp>, Problem> {
    let parsed = text.map(millrace_connectors::dead_letters::parse_time).transpose();
    parsed.map_err(|why| Problem::bad_request(format!("`{name}`: {why}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_dry_run_shows_is_masked() {
        let before = br#"{"user_id":"u-123456789","n":"two"}"#.to_vec();
        let after = br#"{"user_id":"u-123456789","n":2,"path":"u-123456789"}"#.to_vec();
        let done = Repaired {
            kept: 1,
            shown: vec![("t/0/1".into(), Some(before), after)],
            refused: vec![("t/0/2".into(), "its value is not JSON".into())],
        };
        let told = told_of_repair(&done, true);
        assert_eq!(told["told"], "1 would be repaired; 1 cannot be repaired so");
        let expected =
            r#"t/0/1: {"user_id":"u-*******89","n":"two"} → {"user_id":"u-*******89","n":2,"path":"u-*******89"}"#;
        assert_eq!(told["lines"], json!([expected, "t/0/2: its value is not JSON"]));
    }
}
