//! The thread that reads the past ahead of the job: files decoded and epochs cut while the job computes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use millrace_connectors::lake::LakeSpan;
use millrace_connectors::sink::SinkError;

use crate::history::LakeFeed;
use crate::history::arrivals::Lane;
use crate::history::epochs::{EpochLimits, Epochs, PastEpoch, PastLane, Watched};
use crate::history::records::PastPlace;

/// Epochs that wait for the job.
const EPOCHS_AHEAD: usize = 3;

/// A partition of the lake that is read.
pub(super) struct ReadLane {
    pub(super) at: PastPlace,
    pub(super) feed: LakeFeed,
    /// When the first record after the lake's arrived, microseconds since 1970; `None`: there is none.
    pub(super) more: Option<i64>,
    /// Epochs that were run before are read from the lake too.
    pub(super) has_recorded: bool,
}

/// What is read.
pub(super) struct Reading {
    /// Partitions, by topic and number.
    pub(super) lanes: Vec<ReadLane>,
    /// Epochs that were run before: for each the offset after the last of every partition, by place in `lanes`.
    pub(super) recorded: Vec<Vec<(usize, i64)>>,
    /// What sources are watched by, by name in SQL.
    pub(super) watched: BTreeMap<String, Vec<Watched>>,
    pub(super) span: LakeSpan,
    pub(super) limits: EpochLimits,
    /// How far event time has come.
    pub(super) furthest: i64,
}

/// An epoch; `None`: the past is over.
pub(super) type Past = Result<Option<PastEpoch>, SinkError>;

/// Starts reading; epochs that were run before come first, whole.
///
/// # Errors
/// The system gives no more threads.
pub(super) fn start(reading: Reading) -> std::io::Result<Receiver<Past>> {
    let (give, given) = sync_channel(EPOCHS_AHEAD);
    std::thread::Builder::new().name("lake-read".into()).spawn(move || {
        if let Err(error) = read(reading, &give) {
            // Nobody listens any more when the job has failed before.
            let _ = give.send(Err(error));
        }
    })?;
    Ok(given)
}

fn read(reading: Reading, give: &SyncSender<Past>) -> Result<(), SinkError> {
    let Reading { lanes, recorded, watched, span, limits, furthest } = reading;
    let names: Vec<String> = {
        let names: BTreeSet<&str> = lanes.iter().map(|lane| lane.at.source.as_str()).collect();
        names.into_iter().map(str::to_owned).collect()
    };
    let source = |name: &str| names.iter().position(|known| known == name).unwrap_or_default();
    let past =
        |read: ReadLane| PastLane { source: source(&read.at.source), lane: Lane::new(read.feed), more: read.more };
    let mut lanes: Vec<PastLane<LakeFeed>> = lanes.into_iter().map(past).collect();
    for ends in recorded {
        let mut epoch = PastEpoch::default();
        for (lane, end) in ends {
            let runs = lanes[lane].lane.take_before(end, span)?;
            epoch.records += runs.iter().map(|run| run.rows.len()).sum::<usize>();
            epoch.runs.push((lane, runs));
        }
        if give.send(Ok(Some(epoch))).is_err() {
            return Ok(());
        }
    }
    let watched = names.iter().map(|name| watched.get(name).cloned().unwrap_or_default()).collect();
    let mut epochs = Epochs::new(lanes, watched, span, limits, furthest)?;
    loop {
        let epoch = epochs.next()?;
        let is_over = epoch.is_none();
        if give.send(Ok(epoch)).is_err() || is_over {
            return Ok(());
        }
    }
}
