//! Letters go again to the topics they came from, at a rate, each once unless forced: for `millrace dead-letters redrive` and
//! the page alike.

use std::collections::{BTreeMap, HashMap};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use clap::Args;
use millrace_connectors::dead_letters::{Letter, Letters, decoded};
use millrace_connectors::kafka::{ClientSettings, topics};
use millrace_model::{Contracts, Timestamp};

use super::filter::Filter;
use super::sender::{Outbound, REDRIVES, Redrive, Sender};
use super::soundness::Soundness;
use crate::commands::Invalid;
use crate::commands::role::ClusterOptions;
use crate::product::cluster;
use crate::settings::Settings;
use crate::topic_scan::scan;

/// Letters of one transaction, at most.
const TRANSACTION_LETTERS_MAX: usize = 20;
/// Records a second, unless somebody says otherwise.
pub(super) const RATE_USUAL: f64 = 100.0;

/// Options of `redrive`.
#[derive(Args, Debug)]
pub(super) struct Options {
    #[command(flatten)]
    filter: Filter,
    /// Send every letter that was not sent yet: say it when there is no other condition
    #[arg(long)]
    all: bool,
    /// Most records a second
    #[arg(long, value_name = "N", default_value_t = RATE_USUAL, value_parser = rate)]
    rate: f64,
    /// Say what would be sent, and send nothing
    #[arg(long)]
    dry_run: bool,
    /// Send letters again that were sent before
    #[arg(long)]
    force: bool,
    /// Send values that still break their contract too
    #[arg(long)]
    unchecked: bool,
    /// Send late records too: other tables have counted them, and for theirs they are late again unless state was lost
    #[arg(long)]
    late: bool,
    /// Who sends, for the record [default: the user's name]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    #[command(flatten)]
    cluster: ClusterOptions,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().ok().filter(|rate| rate.is_finite() && *rate > 0.0);
    rate.ok_or_else(|| format!("`{text}` is not a number of records a second"))
}

/// What is sent, how fast, and in whose name.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) rate: f64,
    pub(super) dry_run: bool,
    pub(super) force: bool,
    pub(super) unchecked: bool,
    pub(super) late: bool,
    pub(super) by: String,
}

/// What it came to.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Redriven {
    pub(super) sent: u64,
    /// How many stayed, by the reason.
    pub(super) stayed: BTreeMap<&'static str, u64>,
}

/// What becomes of a letter.
#[derive(Clone, PartialEq, Debug)]
enum Verdict {
    /// It is sent; the attempt it will be.
    Send { attempt: u64 },
    /// It stays, because.
    Stay(&'static str),
}

/// What decides about a letter.
#[derive(Clone, Copy, Debug, Default)]
struct Facts {
    sent_before: u64,
    late: bool,
    cut: bool,
    broken: bool,
}

/// Decides about one letter.
fn verdict(facts: Facts, rules: &Rules) -> Verdict {
    match facts {
        Facts { sent_before: 1.., .. } if !rules.force => Verdict::Stay("sent before (--force sends again)"),
        Facts { late: true, .. } if !rules.late => Verdict::Stay("late: counted elsewhere already (--late sends them)"),
        Facts { cut: true, .. } => Verdict::Stay("only the beginning of the value is kept: repair it with --value"),
        Facts { broken: true, .. } if !rules.unchecked => {
            Verdict::Stay("still breaking their contract: repair them (--unchecked sends them as they are)")
        }
        Facts { sent_before, .. } => Verdict::Send { attempt: sent_before + 1 },
    }
}

/// Runs the command.
pub(super) async fn run(mut settings: Settings, options: Options) -> anyhow::Result<ExitCode> {
    let filter = options.filter.wanted();
    if filter.is_empty() && !options.all {
        return Err(Invalid("which letters? Name ids or conditions, or say --all".into()).into());
    }
    let store = super::open_store(&mut settings, &options.cluster).await?;
    let kafka = cluster(&settings, &settings.data_dir()?)?;
    let rules = Rules {
        rate: options.rate,
        dry_run: options.dry_run,
        force: options.force,
        unchecked: options.unchecked,
        late: options.late,
        by: super::worker(options.by.as_deref()),
    };
    let letters = Letters::new(store.clone());
    let found = letters.ids(&filter).await?;
    let bar = crate::progress::bar(found.len() as u64, "sending");
    let done = redrive(&settings, &kafka, &letters, &found, &rules, |letters| bar.inc(letters)).await?;
    bar.finish_and_clear();
    println!("{} {}", done.sent, if rules.dry_run { "would be sent again" } else { "sent again" });
    done.stayed.iter().for_each(|(why, count)| println!("{count} left: {why}"));
    store.close().await;
    Ok(ExitCode::SUCCESS)
}

/// Sends these letters again, as the rules say; `progress` hears of every few that are done with.
///
/// # Errors
/// Kafka, the store; what was sent before that stays sent, and is not sent by the next try.
pub(super) async fn redrive(
    settings: &Settings,
    kafka: &ClientSettings,
    letters: &Letters,
    found: &[String],
    rules: &Rules,
    progress: impl Fn(u64),
) -> anyhow::Result<Redriven> {
    let mut soundness = Soundness::new(settings)?;
    let redrives = Contracts::builtin().get(REDRIVES).cloned().context("contract dead_letter_redrives is missing")?;
    topics::ensure(kafka, std::slice::from_ref(&redrives), settings.kafka.replication).await?;
    // The id first: from here on nobody else sends, so what is read next is all there is.
    let sender = if rules.dry_run { None } else { Some(Sender::new(kafka)?) };
    let sent_before = sent_before(kafka).await?;
    let (mut done, mut pace) = (Redriven::default(), Pace::new(rules.rate));
    for some in found.chunks(TRANSACTION_LETTERS_MAX.min((rules.rate.ceil() as usize).max(1))) {
        let now = Timestamp::from_system_time(SystemTime::now());
        let mut outbound = Vec::new();
        for letter in letters.read(some).await? {
            let value = letter.current()?;
            let facts = Facts {
                sent_before: sent_before.get(&letter.letter.dead_letter_id).copied().unwrap_or(0),
                late: letter.letter.kind == "late",
                cut: letter.is_cut() && letter.repair.is_none(),
                broken: soundness.fault(&letter.letter.topic, value.as_deref(), now).is_some(),
            };
            match verdict(facts, rules) {
                Verdict::Stay(why) => *done.stayed.entry(why).or_default() += 1,
                Verdict::Send { attempt } => outbound.push(of_letter(&letter, value, attempt, now, &rules.by)?),
            }
        }
        progress(some.len() as u64);
        if let Some(sender) = sender.as_ref().filter(|_| !outbound.is_empty()) {
            pace.wait_for(outbound.len()).await;
            let sent = done.sent;
            sender.send(&outbound).with_context(|| format!("{sent} letters were sent before this; do it again"))?;
        }
        done.sent += outbound.len() as u64;
    }
    Ok(done)
}

fn of_letter(
    letter: &Letter,
    value: Option<Vec<u8>>,
    attempt: u64,
    now: Timestamp,
    by: &str,
) -> anyhow::Result<Outbound> {
    let of = &letter.letter;
    let mut headers = Vec::new();
    for header in of.headers.iter().flatten() {
        headers.push((header.name.clone(), decoded(header.value_base64.as_deref(), &of.dead_letter_id)?));
    }
    let redrive = Redrive {
        dead_letter_id: of.dead_letter_id.clone(),
        attempt,
        topic: of.topic.clone(),
        source_partition: of.partition,
        source_offset: of.offset,
        code: of.code.clone(),
        repaired: letter.repair.is_some(),
        value_bytes: value.as_ref().map_or(0, Vec::len),
        redriven_at: now,
        redriven_by: by.to_owned(),
    };
    Ok(Outbound { redrive, key: decoded(of.key_base64.as_deref(), &of.dead_letter_id)?, value, headers })
}

/// How often each letter was sent, from the topic: the store's copy may be behind.
async fn sent_before(kafka: &ClientSettings) -> anyhow::Result<HashMap<String, u64>> {
    let mut sent: HashMap<String, u64> = HashMap::new();
    scan(kafka, &[REDRIVES], |record| {
        if let Some(row) = record.value.and_then(|value| serde_json::from_slice::<Redrive>(value).ok()) {
            let last = sent.entry(row.dead_letter_id).or_default();
            *last = row.attempt.max(*last);
        }
    })
    .await?;
    Ok(sent)
}

/// So many records a second.
struct Pace {
    rate: f64,
    next: Instant,
}

impl Pace {
    fn new(rate: f64) -> Self {
        Pace { rate, next: Instant::now() }
    }

    /// Waits until these may be sent too.
    async fn wait_for(&mut self, records: usize) {
        tokio::time::sleep_until(self.next.into()).await;
        self.next = self.next.max(Instant::now()) + Duration::from_secs_f64(records as f64 / self.rate);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts() {
        let ready = Facts::default();
        let (again, late) = (Facts { sent_before: 2, ..ready }, Facts { late: true, ..ready });
        let (cut, broken) = (Facts { cut: true, ..ready }, Facts { broken: true, ..ready });
        for (facts, said, sends) in [
            (ready, "", Some(1)),
            (again, "", None),
            (again, "force", Some(3)),
            (late, "force", None),
            (late, "late", Some(1)),
            (cut, "unchecked", None),
            (broken, "force", None),
            (broken, "unchecked", Some(1)),
        ] {
            let rules = Rules {
                rate: RATE_USUAL,
                dry_run: false,
                force: said == "force",
                unchecked: said == "unchecked",
                late: said == "late",
                by: String::new(),
            };
            let found = verdict(facts, &rules);
            assert_eq!(matches!(found, Verdict::Send { .. }), sends.is_some(), "{facts:?} {said}: {found:?}");
            if let (Verdict::Send { attempt }, Some(expected)) = (found, sends) {
                assert_eq!(attempt, expected, "{facts:?} {said}");
            }
        }
        assert!(rate("0").is_err() && rate("fast").is_err() && rate("0.5") == Ok(0.5));
    }

    #[tokio::test]
    async fn the_pace_holds() {
        let (start, mut pace) = (Instant::now(), Pace::new(100.0));
        for _ in 0..3 {
            pace.wait_for(5).await;
        }
        // The third waits for the ten before it.
        assert!(start.elapsed() >= Duration::from_millis(100), "{:?}", start.elapsed());
    }
}
