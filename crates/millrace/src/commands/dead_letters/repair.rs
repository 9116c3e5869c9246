//! Another value for one letter, or a JSON patch (RFC 6902) over many: for `millrace dead-letters repair` and the page alike.
//! Nothing is sent.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::Context as _;
use clap::Args;
use millrace_connectors::dead_letters::{Letter, Letters, Repair};
use millrace_model::Timestamp;
use serde_json::Value;

use super::filter::Filter;
use super::json_patch::Patch;
use super::soundness::Soundness;
use crate::commands::Invalid;
use crate::commands::role::ClusterOptions;
use crate::settings::Settings;

/// Letters patched and kept at once.
const KEEP_AT_ONCE: usize = 20;
/// Most letters a dry run shows whole.
const SHOWN_MAX: usize = 10;

/// Options of `repair`.
#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("how").required(true).args(["value", "patch"]))]
pub(super) struct Options {
    #[command(flatten)]
    filter: Filter,
    /// Keep the bytes of this file as the value; `-` reads standard input. For one letter
    #[arg(long, value_name = "FILE")]
    value: Option<PathBuf>,
    /// Apply this JSON patch (RFC 6902) to the value of each letter: the patch itself, or @FILE
    #[arg(long, value_name = "PATCH")]
    patch: Option<String>,
    /// Patch every letter: say it when there is no other condition
    #[arg(long)]
    all: bool,
    /// Say what would be kept, and keep nothing
    #[arg(long)]
    dry_run: bool,
    /// Keep values that still break their contract too
    #[arg(long)]
    unchecked: bool,
    /// Who repairs, for the record [default: the user's name]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    #[command(flatten)]
    cluster: ClusterOptions,
}

/// What becomes of the values.
pub(super) enum How {
    Value(Vec<u8>),
    Patch(Patch),
}

/// What is kept, and in whose name.
pub(super) struct Rules {
    pub(super) how: How,
    /// What is done, for the record.
    pub(super) in_words: String,
    pub(super) dry_run: bool,
    pub(super) unchecked: bool,
    pub(super) by: String,
}

/// What it came to.
#[derive(Debug, Default)]
pub(super) struct Repaired {
    pub(super) kept: u64,
    /// The first few, of a dry run: id, value before, value after.
    pub(super) shown: Vec<(String, Option<Vec<u8>>, Vec<u8>)>,
    /// What cannot be repaired so, and why.
    pub(super) refused: Vec<(String, String)>,
}

/// Runs the command.
pub(super) async fn run(mut settings: Settings, options: Options) -> anyhow::Result<ExitCode> {
    let filter = options.filter.wanted();
    let rules = Rules {
        how: how(&options)?,
        in_words: in_words(&options),
        dry_run: options.dry_run,
        unchecked: options.unchecked,
        by: super::worker(options.by.as_deref()),
    };
    if filter.is_empty() && !options.all {
        return Err(Invalid("which letters? Name ids or conditions, or say --all".into()).into());
    }
    let store = super::open_store(&mut settings, &options.cluster).await?;
    let letters = Letters::new(store.clone());
    let found = letters.ids(&filter).await?;
    if found.is_empty() {
        return Err(
            Invalid("no dead letter is like that; `millrace dead-letters list` shows what there is".into()).into()
        );
    }
    if let (How::Value(_), true) = (&rules.how, found.len() != 1) {
        let text = format!("--value is for one letter, but {} are like that; use --patch for many", found.len());
        return Err(Invalid(text).into());
    }
    let done = repair(&settings, &letters, &found, &rules).await?;
    for (id, before, after) in &done.shown {
        println!("{id}\n- {}\n+ {}", one_line(before.as_deref()), one_line(Some(after)));
    }
    done.refused.iter().for_each(|(id, why)| eprintln!("{id}: {why}"));
    let words =
        if rules.dry_run { "would be repaired" } else { "repaired; `millrace dead-letters redrive` sends them" };
    println!("{} {words}; {} cannot be repaired so", done.kept, done.refused.len());
    store.close().await;
    Ok(if done.refused.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Keeps other values for these letters, as the rules say.
///
/// # Errors
/// The store; what was kept before that stays.
pub(super) async fn repair(
    settings: &Settings,
    letters: &Letters,
    found: &[String],
    rules: &Rules,
) -> anyhow::Result<Repaired> {
    let mut soundness = Soundness::new(settings)?;
    let mut done = Repaired::default();
    for some in found.chunks(KEEP_AT_ONCE) {
        let now = Timestamp::from_system_time(SystemTime::now());
        let mut repairs = Vec::new();
        for letter in letters.read(some).await? {
            let id = letter.letter.dead_letter_id.clone();
            let value = match repaired(&letter, &rules.how) {
                Ok(value) => value,
                Err(why) => {
                    done.refused.push((id, why));
                    continue;
                }
            };
            if let (Some(fault), false) = (soundness.fault(&letter.letter.topic, Some(&value), now), rules.unchecked) {
                done.refused.push((id, format!("it would still break its contract: {fault}")));
                continue;
            }
            if rules.dry_run && done.shown.len() < SHOWN_MAX {
                done.shown.push((id.clone(), letter.current()?, value.clone()));
            }
            let (how, by) = (rules.in_words.clone(), rules.by.clone());
            repairs.push((id, Repair { value, how, at: String::new(), by }));
        }
        done.kept += repairs.len() as u64;
        if !rules.dry_run && !repairs.is_empty() {
            letters.keep(&repairs, now).await?;
        }
    }
    Ok(done)
}

fn how(options: &Options) -> anyhow::Result<How> {
    match (&options.value, &options.patch) {
        (Some(path), _) => Ok(How::Value(bytes(path)?)),
        (None, patch) => {
            let text = match patch.as_deref().unwrap_or_default().split_at_checked(1) {
                Some(("@", path)) => String::from_utf8(bytes(Path::new(path))?).context("the patch is not UTF-8")?,
                _ => patch.clone().unwrap_or_default(),
            };
            let patch: Patch = serde_json::from_str(&text).map_err(|error| {
                Invalid(format!("not a JSON patch (RFC 6902), a list of objects with op and path: {error}"))
            })?;
            Ok(How::Patch(patch))
        }
    }
}

fn bytes(path: &Path) -> anyhow::Result<Vec<u8>> {
    if path == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).context("cannot read standard input")?;
        return Ok(bytes);
    }
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

fn in_words(options: &Options) -> String {
    match (&options.value, &options.patch) {
        (Some(path), _) => format!("replaced from {}", path.display()),
        (None, patch) => format!("patched: {}", patch.as_deref().unwrap_or_default()),
    }
}

/// The value a letter gets, or why it gets none.
fn repaired(letter: &Letter, how: &How) -> Result<Vec<u8>, String> {
    let patch = match how {
        How::Value(value) => return Ok(value.clone()),
        How::Patch(patch) => patch,
    };
    if letter.is_cut() && letter.repair.is_none() {
        return Err("only the beginning of its value is kept; give the whole with --value".into());
    }
    let value = letter.current().map_err(|error| error.to_string())?;
    let value = value.ok_or("it has no value to patch; give one with --value")?;
    let value: Value = serde_json::from_slice(&value)
        .map_err(|error| format!("its value is not JSON ({error}); give one with --value"))?;
    serde_json::to_vec(&patch.apply(&value)?).map_err(|error| error.to_string())
}

fn one_line(value: Option<&[u8]>) -> String {
    value.map_or_else(|| "(none)".into(), |value| String::from_utf8_lossy(value).replace('\n', " "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use millrace_model::dead_letter::DeadLetter;

    fn letter(value: &str) -> Letter {
        let text = serde_json::json!({
            "dead_letter_id": "t/0/1", "kind": "malformed", "code": "wrong_type", "reason": "r", "topic": "t", "partition": 0,
            "offset": 1, "job": "intake", "first_seen": "2026-01-01T00:00:00Z",
            "value_base64": base64::engine::general_purpose::STANDARD.encode(value),
        });
        let letter: DeadLetter = serde_json::from_value(text).expect("a letter");
        Letter { letter, repair: None }
    }

    #[test]
    fn patches() {
        let patch = |text: &str| How::Patch(serde_json::from_str(text).expect("a patch"));
        let replace = patch(r#"[{"op":"replace","path":"/n","value":3}]"#);
        assert_eq!(repaired(&letter(r#"{"n":"three","z":1,"a":2}"#), &replace), Ok(br#"{"n":3,"z":1,"a":2}"#.to_vec()));
        let test = patch(r#"[{"op":"test","path":"/n","value":1},{"op":"remove","path":"/n"}]"#);
        for (value, how, expected) in [
            ("{}", &replace, "operation 1 of the patch"),
            (r#"{"n":2}"#, &test, "operation 1 of the patch"),
            ("not json", &replace, "not JSON"),
        ] {
            let why = repaired(&letter(value), how).expect_err(value);
            assert!(why.contains(expected), "{why}");
        }
        // A second patch goes on from the first.
        let mut patched = letter(r#"{"n":1}"#);
        patched.repair = Some(Repair {
            value: br#"{"n":5,"m":1}"#.to_vec(),
            how: String::new(),
            at: String::new(),
            by: String::new(),
        });
        assert_eq!(repaired(&patched, &replace), Ok(br#"{"n":3,"m":1}"#.to_vec()));
    }
}
