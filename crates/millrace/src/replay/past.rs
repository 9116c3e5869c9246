//! What the lake has archived, sent again in the order in which it came: into other topics, at the pace it had or another.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::Array;
use indicatif::ProgressBar;
use millrace_connectors::kafka::producer::{Outgoing, Producer};
use millrace_connectors::kafka::{ClientSettings, topics};
use millrace_connectors::lake::{LakeReader, LakeSpan};
use millrace_connectors::{Ending, Shutdown};
use millrace_model::{Contract, Timestamp};

use crate::history::arrivals::Arrivals;
use crate::history::{self, LakeFeed};

/// Longest wait for room in the producer's queue.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longest sleep before it is looked whether to stop.
const SLEEP_MAX: Duration = Duration::from_millis(50);
/// Records between two looks whether to stop, when nothing is waited for.
const LOOK_RECORDS: u64 = 1_024;

/// One topic of the lake, and where its records go.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// The source's contract.
    pub(crate) contract: Contract,
    /// The topic that is written.
    pub(crate) topic: String,
}

/// What was sent of a topic.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sent {
    pub(crate) topic: String,
    pub(crate) records: u64,
    /// Arrival of the first and the last record.
    pub(crate) arrived: Option<(Timestamp, Timestamp)>,
}

/// The partitions of the lake that are sent, merged.
pub(crate) struct PastReplay {
    arrivals: Arrivals<LakeFeed>,
    /// Target and partition, by place.
    places: Vec<(usize, i32)>,
    /// Records there are at most.
    pub(crate) records_most: u64,
}

impl PastReplay {
    /// Opens the lake and makes the topics that are written. Waits for the lake: on a thread that may.
    ///
    /// # Errors
    /// The lake, a topic of which nothing is archived in the span, Kafka.
    pub(crate) fn open(
        lake: &Path,
        targets: &[Target],
        span: LakeSpan,
        kafka: &ClientSettings,
        replication: Option<u16>,
    ) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Handle::current();
        let lake = Arc::new(LakeReader::open(lake)?);
        let (mut lanes, mut places, mut contracts) = (Vec::new(), Vec::new(), Vec::new());
        let mut records_most = 0;
        for (at, target) in targets.iter().enumerate() {
            let columns: Arc<[String]> = target.contract.event_time.iter().cloned().collect();
            let source = target.contract.name.as_str();
            let past = runtime.block_on(history::lanes(&lake, source, span, &columns, &runtime))?;
            let partitions = past.iter().map(|lane| lane.partition + 1).max().unwrap_or(0);
            for lane in past {
                records_most += lane.records_most;
                places.push((at, lane.partition));
                lanes.push(lane.lane);
            }
            let mut contract = target.contract.clone();
            contract.name.clone_from(&target.topic);
            contract.topic.partitions = contract.topic.partitions.max(partitions.unsigned_abs());
            contracts.push(contract);
        }
        runtime.block_on(topics::ensure(kafka, &contracts, replication))?;
        Ok(PastReplay { arrivals: Arrivals::new(lanes, span)?, places, records_most })
    }

    /// Sends all of it: `speed` seconds of the past in a second, or as fast as it is taken. Key, bytes, partition and time of a
    /// record stay as they were. Gives what was sent by then when it is asked to stop.
    ///
    /// # Errors
    /// The lake, Kafka.
    pub(crate) fn send(
        mut self,
        targets: &[Target],
        kafka: &ClientSettings,
        speed: Option<f64>,
        shutdown: &Shutdown,
        bar: &ProgressBar,
    ) -> anyhow::Result<BTreeMap<String, Sent>> {
        let producer = Producer::new(kafka, None)?;
        let mut sent: Vec<Sent> =
            targets.iter().map(|target| Sent { topic: target.topic.clone(), ..Sent::default() }).collect();
        let began = Instant::now();
        let (mut first, mut taken, mut count) = (None, Vec::new(), 0_u64);
        while let Some((arrival, lane)) = self.arrivals.next() {
            let since = arrival.saturating_sub(*first.get_or_insert(arrival));
            let is_stopped = match speed {
                Some(speed) => !wait(began, Duration::from_secs_f64(since.max(0) as f64 / 1e6 / speed), shutdown),
                None => count.is_multiple_of(LOOK_RECORDS) && shutdown.asked() == Ending::Stop,
            };
            if is_stopped {
                break;
            }
            let (target, partition) = self.places[lane];
            let Some((batch, row)) = self.arrivals.record(lane) else { break };
            let time = batch.times.is_valid(row).then(|| Timestamp(batch.times.value(row)));
            let outgoing = Outgoing {
                topic: &targets[target].topic,
                partition: Some(partition),
                key: batch.keys.is_valid(row).then(|| batch.keys.value(row)),
                value: batch.values.is_valid(row).then(|| batch.values.value(row)),
                time,
            };
            producer.send(outgoing, PATIENCE)?;
            let of_topic = &mut sent[target];
            of_topic.records += 1;
            let at = time.unwrap_or(Timestamp(arrival));
            let (earliest, latest) = of_topic.arrived.unwrap_or((at, at));
            of_topic.arrived = Some((earliest.min(at), latest.max(at)));
            taken.clear();
            self.arrivals.take(&mut taken)?;
            count += 1;
            bar.inc(1);
        }
        producer.flush(PATIENCE)?;
        Ok(targets.iter().map(|target| target.contract.name.clone()).zip(sent).collect())
    }
}

/// Waits until so much time has passed; false: it was asked to stop before.
fn wait(began: Instant, passed: Duration, shutdown: &Shutdown) -> bool {
    loop {
        let left = passed.saturating_sub(began.elapsed());
        if shutdown.asked() == Ending::Stop {
            return false;
        }
        if left.is_zero() {
            return true;
        }
        std::thread::park_timeout(left.min(SLEEP_MAX));
    }
}
