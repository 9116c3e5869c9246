//! Topics of a bounded run that are read from the lake: what it has archived of a span of time, in the order in which it came.

use std::path::Path;
use std::sync::Arc;

use millrace_connectors::lake::{LakeReader, LakeSpan};
use millrace_connectors::sink::SinkError;
use millrace_model::time::SECOND_MICROS;

use crate::history::epochs::{EpochLimits, Epochs, PastEpoch, PastLane, Watched};
use crate::history::records::PastPlace;
use crate::history::{self, LakeFeed};

/// How epochs are cut: as the embedded engine does by default.
const LIMITS: EpochLimits =
    EpochLimits { records_max: 50_000, bytes_max: 16 << 20, tick: SECOND_MICROS / 10, idle: 5 * SECOND_MICROS };

/// The lake, for the topics of a bounded run.
pub(crate) struct Past {
    lake: Arc<LakeReader>,
    span: LakeSpan,
    runtime: tokio::runtime::Handle,
}

/// A source that is read from the lake.
pub(super) struct PastSource {
    /// Name in SQL.
    pub(super) name: String,
    pub(super) topic: String,
    /// Columns of times to read.
    pub(super) columns: Arc<[String]>,
    pub(super) watched: Vec<Watched>,
}

/// The sources of one job, merged.
pub(super) struct PastFeed {
    pub(super) places: Vec<PastPlace>,
    pub(super) sources: Vec<String>,
    pub(super) records_most: u64,
    epochs: Epochs<LakeFeed>,
}

impl Past {
    /// Opens the lake.
    ///
    /// # Errors
    /// There is no such folder, or S3's settings.
    pub(crate) fn open(lake: &Path, span: LakeSpan, runtime: tokio::runtime::Handle) -> Result<Self, SinkError> {
        Ok(Past { lake: Arc::new(LakeReader::open(lake)?), span, runtime })
    }

    /// Opens the sources of a job. Waits for the lake: not on a thread of the runtime.
    ///
    /// # Errors
    /// The lake.
    pub(super) fn feed(&self, mut sources: Vec<PastSource>) -> Result<PastFeed, SinkError> {
        sources.sort_by(|a, b| a.name.cmp(&b.name));
        let (mut places, mut lanes, mut watched, mut records_most) = (Vec::new(), Vec::new(), Vec::new(), 0);
        for (at, source) in sources.iter().enumerate() {
            let found = history::lanes(&self.lake, &source.topic, self.span, &source.columns, &self.runtime);
            for lane in self.runtime.block_on(found)? {
                records_most += lane.records_most;
                let (topic, source) = (source.topic.clone(), source.name.clone());
                places.push(PastPlace { topic, partition: lane.partition, source });
                lanes.push(PastLane { source: at, lane: lane.lane, more: None });
            }
            watched.push(source.watched.clone());
        }
        let epochs = Epochs::new(lanes, watched, self.span, LIMITS, i64::MIN)?;
        let sources = sources.into_iter().map(|source| source.name).collect();
        Ok(PastFeed { places, sources, records_most, epochs })
    }
}

impl PastFeed {
    /// The next epoch; `None` at the end.
    ///
    /// # Errors
    /// The lake.
    pub(super) fn next(&mut self) -> Result<Option<PastEpoch>, SinkError> {
        self.epochs.next()
    }
}
