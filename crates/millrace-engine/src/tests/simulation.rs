//! Crashes and a failing disk, from a seed: the committed rows must be those of a run in which nothing failed.
//!
//! ```text
//!  epoch n   run ─┬─▶ log entry durable ─┬─▶ rows and offsets committed ─┬─▶ perhaps a snapshot ─┬─▶ epoch n + 1
//!               crash                  crash                           crash                   crash
//!
//!  at a crash, by the dice: bytes of an entry that was being written; the newest snapshot torn, damaged or of another
//!  version (it must go on from the one before); and, rarely, what no disk may do: both snapshots damaged, a durable entry
//!  of the log lost or damaged (it may refuse, and is then started anew, but never gives other rows)
//! ```
//!
//! A process may also go on after another has taken its place: paused in the middle of an epoch, it wakes up while its successor
//! works, writes to the log what it has read, before its transaction is refused. Producing may fail: the broker refuses the
//! transaction, or answers too late, when it has committed it. And the job moves: to a machine with nothing, to one with a copy
//! of its state from some time ago, and back to where it ran before; there it goes on exactly, or refuses and runs where it was.
//!
//! The auditor compares the rows of every committed epoch, and those of every replayed one, with the undisturbed run.
//! `SIMULATION_SEED=7 cargo test --profile quick -p millrace-engine --lib -- --ignored simulation` plays one seed again.

use std::fs;
use std::path::{Path, PathBuf};

use millrace_model::recovery::{RecoveryDecision, RecoveryFacts, decide};

use super::scenario::{Scenario, Step, contract, files, job, json, parse, run};
use crate::Job;
use crate::job::{Advance, EpochOutput};
use crate::state::{Claim, EpochEntry, StateDir};

/// Seeds of the quick test, and of the slow one.
const SEEDS_QUICK: u64 = 40;
const SEEDS: u64 = 3_000;
/// Machines the job moves between.
const MACHINES_MAX: usize = 3;
/// After so many crashes a run is left in peace, so that it ends.
const CRASHES_MAX: u32 = 40;

/// SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014).
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % sides
    }

    fn one_in(&mut self, sides: u64) -> bool {
        self.below(sides) == 0
    }
}

/// What an epoch reads.
struct Epoch {
    batches: Vec<(String, i64, Vec<String>)>,
    advance: Advance,
}

fn epochs(scenario: &Scenario) -> Vec<Epoch> {
    let mut epochs = Vec::new();
    let mut waiting = Vec::new();
    let mut idle: Vec<String> = Vec::new();
    let mut offsets = std::collections::BTreeMap::<String, i64>::new();
    let sources: Vec<String> = job(scenario).sources().map(|(name, _)| name.to_owned()).collect();
    let live = |idle: &[String], ended: bool| Advance::Live {
        idle: idle.iter().map(|source| (source.clone(), 0)).collect(),
        ended: if ended { sources.iter().cloned().collect() } else { Default::default() },
    };
    for step in &scenario.steps {
        match step {
            Step::Rows(source, rows) => {
                let contract = contract(scenario, source);
                idle.retain(|idle| idle != source);
                let first = *offsets.entry(source.clone()).or_default();
                *offsets.entry(source.clone()).or_default() += rows.len() as i64;
                let rows = rows.iter().map(|row| json(&contract, row)).collect();
                waiting.push((source.clone(), first, rows));
            }
            Step::Idle(source) => idle.push(source.clone()),
            Step::Epoch => epochs.push(Epoch { batches: std::mem::take(&mut waiting), advance: live(&idle, false) }),
            Step::End => {
                epochs.push(Epoch { batches: std::mem::take(&mut waiting), advance: live(&idle, false) });
                epochs.push(Epoch { batches: Vec::new(), advance: live(&idle, true) });
            }
            Step::Crash => {}
        }
    }
    epochs
}

/// All an epoch gave, as sorted lines.
fn lines(output: &EpochOutput) -> Vec<String> {
    let rows = output
        .rows
        .iter()
        .flat_map(|table| table.rows.iter().map(|row| format!("{} {}", table.table, String::from_utf8_lossy(row))));
    let late = output.late.iter().map(|late| format!("{late:?}"));
    let malformed = output.malformed.iter().map(|found| format!("{found:?}"));
    let mut lines: Vec<String> = rows.chain(late).chain(malformed).collect();
    lines.sort();
    lines
}

/// Where the job may run, with what its disk holds.
struct Machine {
    folder: tempfile::TempDir,
    /// A snapshot was damaged since the last one was written: the one before it is all there is.
    hurt: bool,
    /// The disk has lost what was durable.
    lost: bool,
}

impl Machine {
    fn new() -> Self {
        Machine { folder: tempfile::tempdir().expect("a folder"), hurt: false, lost: false }
    }

    /// Another one, with all its files.
    fn copied(&self) -> Self {
        let copy = Machine { hurt: self.hurt, lost: self.lost, ..Machine::new() };
        let (from, to) = (self.folder.path().join("job"), copy.folder.path().join("job"));
        if let Ok(files) = fs::read_dir(from) {
            fs::create_dir(&to).expect("a folder");
            for file in files.flatten() {
                fs::copy(file.path(), to.join(file.file_name())).expect("copied");
            }
        }
        copy
    }
}

/// What happened.
#[derive(Clone, Copy, Default, Debug)]
struct Told {
    crashes: u32,
    /// Entries written by owners that had been replaced.
    strays: u32,
    /// Transactions the broker refused, or answered too late.
    failed: u32,
    /// Moves to a machine where it went on.
    moves: u32,
    /// Moves to one where it refused.
    refusals: u32,
}

/// What is left of a process after a crash, and what the broker has committed.
struct World<'a> {
    name: String,
    scenario: &'a Scenario,
    epochs: &'a [Epoch],
    /// What each epoch gives when nothing fails.
    expected: &'a [Vec<String>],
    dice: Dice,
    machines: Vec<Machine>,
    /// The machine it runs on, and the one that committed last.
    here: usize,
    newest: usize,
    committed: Vec<Vec<String>>,
    /// Mark of the last committed epoch.
    mark: Option<u32>,
    /// Owners that were paused, and do not know yet that they are none any more.
    paused: Vec<Owner>,
    told: Told,
}

/// How the life of a process ends before the job does.
enum End {
    Crashed,
    /// It ends by itself, as its transaction failed.
    Failed,
    /// It cannot go on here.
    Refused,
}

/// A process that runs the job, or believes it does.
struct Owner {
    job: Job,
    state: StateDir,
}

impl World<'_> {
    fn play(&mut self) {
        while let Err(end) = self.life() {
            match end {
                End::Crashed => {
                    self.told.crashes += 1;
                    self.damage();
                    self.go_elsewhere();
                }
                End::Failed => self.told.failed += 1,
                End::Refused => {}
            }
        }
        assert_eq!(self.committed.len(), self.epochs.len(), "{}", self.name);
    }

    /// From start to the next crash or the end.
    fn life(&mut self) -> Result<(), End> {
        let root = self.machines[self.here].folder.path();
        let claim = Claim::take(root, "job").expect("the claim");
        let mut owner = Owner { job: job(self.scenario), state: StateDir::open(claim).expect("the state folder") };
        let committed = self.committed.len() as u64;
        let committed_epoch = (committed > 0).then_some(committed);
        let facts = RecoveryFacts { committed_epoch, committed_mark: self.mark, ..owner.state.facts() };
        match decide(&facts) {
            RecoveryDecision::StartFresh => owner.state.forget_after(0).expect("writable"),
            RecoveryDecision::Resume { snapshot, replay_to } => {
                assert_eq!(replay_to, committed, "{}", self.name);
                owner.state.forget_after(replay_to).expect("writable");
                self.resume(&owner.state, &mut owner.job, snapshot);
            }
            RecoveryDecision::Refuse(why) => {
                self.refused(&why);
                return Err(End::Refused);
            }
        }
        self.told.moves += u32::from(committed > 0 && self.here != self.newest);
        while self.committed.len() < self.epochs.len() {
            self.stray();
            if let Err(end) = self.epoch(&mut owner.job, &mut owner.state) {
                if matches!(end, End::Crashed) && self.dice.one_in(3) {
                    self.paused.push(owner);
                }
                return Err(end);
            }
        }
        Ok(())
    }

    /// It goes back to the machine that committed last; if that has lost what was durable, it is started anew.
    fn refused(&mut self, why: &str) {
        if self.here != self.newest {
            self.told.refusals += 1;
            self.here = self.newest;
            return;
        }
        let lost = self.machines[self.here].lost;
        assert!(lost, "{}: refused although nothing durable was lost: {why}", self.name);
        self.machines = vec![Machine::new()];
        (self.here, self.newest, self.mark) = (0, 0, None);
        self.committed.clear();
        self.paused.clear();
    }

    /// Where it is started after a crash: mostly where it was.
    fn go_elsewhere(&mut self) {
        if !self.dice.one_in(4) {
            return;
        }
        self.here = self.dice.below(MACHINES_MAX as u64) as usize;
        if self.here >= self.machines.len() {
            self.here = self.machines.len();
            let machine = if self.dice.one_in(4) { Machine::new() } else { self.machines[self.newest].copied() };
            self.machines.push(machine);
        }
    }

    /// One that was paused goes on for a moment: with records and a watermark of its own, as other records had come by then.
    fn stray(&mut self) {
        if self.paused.is_empty() || !self.dice.one_in(3) {
            return;
        }
        let Owner { job, mut state } = self.paused.remove(0);
        let mut watermarks = job.watermarks();
        watermarks.tables.iter_mut().for_each(|watermark| *watermark = i64::MAX / 2);
        let epoch = state.facts().log.map_or(job.epoch().max(1), |(_, last)| last + 1);
        state.append(&EpochEntry { epoch, ranges: Vec::new(), watermarks }).expect("writable");
        self.told.strays += 1;
    }

    fn resume(&self, state: &StateDir, job: &mut Job, snapshot: Option<u64>) {
        if let Some(snapshot) = snapshot {
            state.load(job, snapshot).expect("a snapshot that was found whole");
        }
        let from = snapshot.unwrap_or(0);
        let entries = state.entries(from, self.committed.len() as u64).expect("readable");
        let numbers: Vec<u64> = entries.iter().map(|entry| entry.epoch).collect();
        assert_eq!(numbers, (from + 1..=self.committed.len() as u64).collect::<Vec<_>>(), "{}", self.name);
        for entry in entries {
            let at = entry.epoch as usize - 1;
            let given = run(job, &self.epochs[at].batches, &Advance::Recorded(entry.watermarks));
            assert_eq!(lines(&given), self.expected[at], "{}: replayed epoch {}", self.name, entry.epoch);
        }
    }

    fn crash(&mut self) -> Result<(), End> {
        if self.told.crashes < CRASHES_MAX && self.dice.one_in(8) { Err(End::Crashed) } else { Ok(()) }
    }

    /// The broker refuses the transaction before it is committed; or it was, and the answer comes too late.
    fn fail(&mut self) -> Result<(), End> {
        if self.told.failed < CRASHES_MAX && self.dice.one_in(16) { Err(End::Failed) } else { Ok(()) }
    }

    fn epoch(&mut self, job: &mut Job, state: &mut StateDir) -> Result<(), End> {
        let at = self.committed.len();
        let given = lines(&run(job, &self.epochs[at].batches, &self.epochs[at].advance));
        self.crash()?;
        let entry = EpochEntry { epoch: job.epoch(), ranges: Vec::new(), watermarks: job.watermarks() };
        state.append(&entry).expect("writable");
        self.crash()?;
        self.fail()?;
        assert_eq!(given, self.expected[at], "{}: epoch {}", self.name, at + 1);
        self.committed.push(given);
        (self.mark, self.newest) = (state.mark(), self.here);
        self.fail()?;
        self.crash()?;
        if self.dice.one_in(2) {
            state.snapshot(job).expect("writable");
            state.settle().expect("writable");
            self.machines[self.here].hurt = false;
        }
        self.crash()
    }

    fn found(&self, start: &str, end: &str) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.machines[self.here].folder.path().join("job")) else { return Vec::new() };
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.retain(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            name.starts_with(start) && name.ends_with(end)
        });
        paths.sort();
        paths
    }

    /// What a crash, and a bad disk, may do to the files.
    fn damage(&mut self) {
        let (snapshots, logs) = (self.found("snapshot-", ".mrs"), self.found("epochs-", ".log"));
        if let Some(log) = logs.last()
            && self.dice.one_in(3)
        {
            let mut bytes = fs::read(log).expect("readable");
            let torn = self.dice.below(60);
            bytes.extend((0..torn).map(|_| self.dice.below(256) as u8));
            fs::write(log, bytes).expect("writable");
        }
        if let Some(newest) = snapshots.last()
            && self.dice.one_in(3)
        {
            self.damage_file(newest);
            // Two are kept, so one may break.
            let machine = &mut self.machines[self.here];
            machine.lost |= std::mem::replace(&mut machine.hurt, true);
        }
        if self.dice.one_in(20) && !(snapshots.is_empty() && logs.is_empty()) {
            self.machines[self.here].lost = true;
            if self.dice.one_in(2) {
                snapshots.iter().for_each(|path| self.damage_file(path));
            } else if let Some(log) = logs.last() {
                self.damage_file(log);
            }
        }
    }

    fn damage_file(&mut self, path: &Path) {
        let Ok(mut bytes) = fs::read(path) else { return };
        match self.dice.below(4) {
            _ if bytes.is_empty() => return,
            0 => {
                let at = self.dice.below(bytes.len() as u64) as usize;
                bytes[at] ^= 1 << self.dice.below(8);
            }
            1 => bytes.truncate(self.dice.below(bytes.len() as u64) as usize),
            2 => bytes.iter_mut().take(8).for_each(|byte| *byte ^= 0x55),
            _ => {
                // Not yet renamed when the process died.
                let _ = fs::rename(path, path.with_extension("tmp"));
                return;
            }
        }
        fs::write(path, bytes).expect("writable");
    }
}

fn simulate(seeds: impl Iterator<Item = u64>) -> Told {
    let scenarios: Vec<(String, Scenario)> = files().into_iter().map(|(name, text)| (name, parse(&text))).collect();
    let undisturbed: Vec<(Vec<Epoch>, Vec<Vec<String>>)> = scenarios
        .iter()
        .map(|(_, scenario)| {
            let (epochs, mut job) = (epochs(scenario), job(scenario));
            let expected = epochs.iter().map(|epoch| lines(&run(&mut job, &epoch.batches, &epoch.advance))).collect();
            (epochs, expected)
        })
        .collect();
    let mut all = Told::default();
    for seed in seeds {
        let mut dice = Dice(seed);
        let at = dice.below(scenarios.len() as u64) as usize;
        let (file, scenario) = &scenarios[at];
        let mut world = World {
            name: format!("seed {seed} ({file})"),
            scenario,
            epochs: &undisturbed[at].0,
            expected: &undisturbed[at].1,
            dice,
            machines: vec![Machine::new()],
            here: 0,
            newest: 0,
            committed: Vec::new(),
            mark: None,
            paused: Vec::new(),
            told: Told::default(),
        };
        world.play();
        let Told { crashes, strays, failed, moves, refusals } = world.told;
        all.crashes += crashes;
        all.strays += strays;
        all.failed += failed;
        all.moves += moves;
        all.refusals += refusals;
    }
    all
}

#[test]
fn crashes_and_a_failing_disk_change_no_row() {
    let told = simulate(0..SEEDS_QUICK);
    let happened = told.crashes > SEEDS_QUICK as u32
        && [told.strays, told.failed, told.moves, told.refusals].iter().all(|count| *count > 0);
    assert!(happened, "{told:?}: the simulation does not do what it says");
}

#[test]
#[ignore = "plays thousands of seeds"]
fn simulation_of_thousands_of_seeds() {
    let one = std::env::var("SIMULATION_SEED").ok().and_then(|seed| seed.parse().ok());
    let told = match one {
        Some(seed) => simulate(std::iter::once(seed)),
        None => simulate(1_000_000..1_000_000 + SEEDS),
    };
    println!("{told:?}");
}
