//! What a click and an answer of the recommender cost, in CPU time of the thread: `cargo bench -p millrace-intelligence`.
//!
//! The clicks are made: 200,000 sessions over 150 days and 43,000 items, with a hidden graph of what follows what, favourites,
//! returns and noise, the same for the same seed. `-- --write DIR` keeps them as `train.tsv` and `test.tsv` instead, for
//! `millrace evaluate recommend` and `benches/session_knn.py`.

use std::collections::HashSet;
use std::error::Error;
use std::io::Write;
use std::path::Path;

use cpu_time::ThreadTime;
use millrace_intelligence::recommend::evaluate::{FileClick, Protocol, evaluate, learn, settings_for};
use millrace_intelligence::recommend::{Question, Recommender, Settings, Workspace};
use millrace_model::Timestamp;
use millrace_model::time::{DAY_MICROS, SECOND_MICROS};

const SESSIONS: u64 = 200_000;
const TEST_SESSIONS: u64 = 8_000;
const ITEMS: u64 = 43_000;
const CATEGORIES: u64 = 900;
const DAYS: i64 = 150;
const FOLLOWERS: u64 = 10;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let (train, test) = clicks();
    match arguments.iter().position(|argument| argument == "--write") {
        Some(at) => write(Path::new(arguments.get(at + 1).ok_or("--write needs a folder")?), &train, &test),
        None => measure(&train, &test),
    }
}

fn measure(train: &[FileClick], test: &[FileClick]) -> Result<(), Box<dyn Error>> {
    let protocol = Protocol { count: 20, current_allowed: false, repeats_allowed: true, learn: true };
    let mut recommender = Recommender::new(settings_for(Settings::default(), protocol))?;
    let started = ThreadTime::now();
    train.iter().for_each(|click| learn(&mut recommender, click));
    let update = started.elapsed().as_nanos() as f64 / train.len() as f64;
    println!("{} clicks, {:?}", train.len(), recommender.size());
    println!("update: {update:.0} ns a click");
    let clock = ThreadTime::now();
    let quality = evaluate(&mut recommender, test, protocol, || clock.elapsed().as_nanos() as u64, || {})?;
    let told: Vec<String> = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("worst", 1.0)]
        .iter()
        .map(|(name, share)| format!("{name} {:.1}", quality.percentile(*share).unwrap_or_default() as f64 / 1e3))
        .collect();
    println!("answer, µs: {} ({} answers, predict then learn)", told.join(", "), quality.events);
    println!("  HR@20 {:.4}, MRR@20 {:.4}, current item left out", quality.hit_rate, quality.reciprocal_rank);
    let mut space = Workspace::default();
    let mut spent = Vec::new();
    for click in test.iter().take(5_000) {
        let session = Some(click.session.as_str());
        let question = Question { placement: "next", session, count: 20, evidence: true, ..Question::default() };
        let started = ThreadTime::now();
        recommender.recommend(&mut space, &question)?;
        spent.push(started.elapsed().as_nanos() as f64 / 1e3);
    }
    spent.sort_by(f64::total_cmp);
    println!(
        "answer with names and evidence, µs: p50 {:.1}, p99 {:.1}",
        spent[spent.len() / 2],
        spent[spent.len() * 99 / 100]
    );
    let started = ThreadTime::now();
    let snapshot = recommender.snapshot();
    let written = started.elapsed();
    let settings = recommender.settings().clone();
    let started = ThreadTime::now();
    Recommender::restore(settings, &snapshot)?;
    println!("snapshot: {} MB, {written:.0?} to make, {:.0?} to restore", snapshot.len() >> 20, started.elapsed());
    Ok(())
}

fn write(folder: &Path, train: &[FileClick], test: &[FileClick]) -> Result<(), Box<dyn Error>> {
    for (name, clicks) in [("train.tsv", train), ("test.tsv", test)] {
        let mut file = std::io::BufWriter::new(std::fs::File::create(folder.join(name))?);
        writeln!(file, "session_id\titem_id\ttime")?;
        for click in clicks {
            writeln!(file, "{}\t{}\t{}", click.session, click.item, click.time.0 as f64 / 1e6)?;
        }
    }
    Ok(())
}

struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0) % bound
    }

    /// Small numbers more often: the density falls as 1 / x.
    fn small(&mut self, bound: u64) -> u64 {
        let uniform = self.below(1 << 30) as f64 / (1u64 << 30) as f64;
        ((bound as f64 + 1.0).powf(uniform) - 1.0) as u64
    }
}

fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// Clicks of the train sessions and of those that begin after them, each in the order of time.
fn clicks() -> (Vec<FileClick>, Vec<FileClick>) {
    let mut dice = Dice(7);
    let all = SESSIONS + TEST_SESSIONS;
    let (mut train, mut test) = (Vec::new(), Vec::new());
    for session in 0..all {
        let mut at = DAYS * DAY_MICROS * session as i64 / all as i64;
        let mut seen: Vec<u64> = Vec::new();
        let mut category = dice.small(CATEGORIES);
        while seen.len() < 2 || (seen.len() < 60 && dice.below(100) < 76) {
            let item = next(&mut dice, &seen, &mut category);
            seen.push(item);
            at += SECOND_MICROS * (5 + dice.small(600) as i64);
            let click = FileClick { session: session.to_string(), item: item.to_string(), time: Timestamp(at) };
            if session < SESSIONS { &mut train } else { &mut test }.push(click);
        }
    }
    let known: HashSet<String> = train.iter().map(|click| click.item.clone()).collect();
    test.retain(|click| known.contains(&click.item));
    train.sort_by_key(|click| click.time);
    test.sort_by_key(|click| click.time);
    (train, test)
}

fn next(dice: &mut Dice, seen: &[u64], category: &mut u64) -> u64 {
    let size = ITEMS / CATEGORIES;
    let favourite = |dice: &mut Dice, category: u64| category + CATEGORIES * dice.small(size);
    let Some(last) = seen.last() else { return favourite(dice, *category) };
    match dice.below(100) {
        0..7 => *last,
        7..20 => seen[seen.len() - 1 - dice.small(seen.len() as u64) as usize],
        20..70 => {
            // What follows this item, of those that are a little like it.
            let follower = mix(last * FOLLOWERS + dice.small(FOLLOWERS));
            (last + CATEGORIES * (follower % 6) + CATEGORIES * (follower >> 32) % 5 * 3) % ITEMS
        }
        70..92 => favourite(dice, *category),
        _ => {
            *category = dice.small(CATEGORIES);
            favourite(dice, *category)
        }
    }
}
