//! All the role knows, and its file: what was learnt, and how far the streams were read when it was.
//!
//! ```text
//!  millrec1 │ offsets │ recent event ids │ attribution │ fitted weights │ recommender │ checksum of all before
//! ```
//!
//! The file is written beside the old one, made durable and renamed over it: after a crash there is the old state or the new
//! one, each with its own offsets. A state that cannot be read is told of, and the topics are read again from their beginning.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use millrace_connectors::kafka::Place;
use millrace_intelligence::recommend::attribution::Attribution;
use millrace_intelligence::recommend::stored::{Bytes, Stored};
use millrace_intelligence::recommend::{NextSettings, Recommender};
use millrace_model::Timestamp;

use super::settings::RecommendSettings;
use crate::commands::Invalid;
use crate::roles::state_file::{fnv, seal, unseal};

const MAGIC: u64 = u64::from_le_bytes(*b"millrec1");
/// Event ids remembered, to pass over what comes twice.
const RECENT_MAX: usize = 65_536;

/// The newest event ids, as hashes.
#[derive(Debug, Default)]
pub(super) struct Recent {
    order: VecDeque<u64>,
    known: HashSet<u64>,
}

impl Recent {
    /// False when the id came before, among the newest.
    pub(super) fn is_new(&mut self, event_id: &str) -> bool {
        let hash = fnv(event_id.as_bytes());
        if !self.known.insert(hash) {
            return false;
        }
        self.order.push_back(hash);
        if self.order.len() > RECENT_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

/// What the role knows.
#[derive(Debug)]
pub(super) struct State {
    pub(super) recommender: Recommender,
    pub(super) attribution: Attribution,
    pub(super) recent: Recent,
    /// Next offset of each partition.
    pub(super) offsets: BTreeMap<Place, i64>,
    /// Event time at which the weights were fitted.
    pub(super) fitted: Option<Timestamp>,
}

impl State {
    /// One that knows nothing.
    ///
    /// # Errors
    /// A setting that cannot work.
    pub(super) fn new(settings: &RecommendSettings) -> anyhow::Result<Self> {
        let model = settings.model().map_err(Invalid)?;
        Ok(State {
            recommender: Recommender::new(model)?,
            attribution: Attribution::new(settings.attribution),
            recent: Recent::default(),
            offsets: BTreeMap::new(),
            fitted: None,
        })
    }

    /// As bytes.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        MAGIC.store(&mut out);
        let offsets = self.offsets.iter().map(|(place, at)| ((place.topic.clone(), place.partition as u32), *at));
        offsets.collect::<Vec<((Arc<str>, u32), i64)>>().store(&mut out);
        self.recent.order.iter().copied().collect::<Vec<u64>>().store(&mut out);
        self.attribution.store(&mut out);
        let weights = serde_json::to_string(&self.recommender.settings().next).unwrap_or_default();
        (Arc::<str>::from(weights), self.fitted).store(&mut out);
        self.recommender.snapshot().store(&mut out);
        seal(out)
    }

    /// From bytes.
    ///
    /// # Errors
    /// They are no state of these settings.
    pub(super) fn decode(settings: &RecommendSettings, bytes: &[u8]) -> anyhow::Result<Self> {
        let mut from = Bytes::new(unseal(bytes)?);
        ensure!(u64::restore(&mut from)? == MAGIC, "another version wrote it, or something else");
        let offsets = Vec::<((Arc<str>, u32), i64)>::restore(&mut from)?;
        let order: VecDeque<u64> = Vec::<u64>::restore(&mut from)?.into();
        let attribution = Attribution::restore(settings.attribution, &mut from)?;
        let (weights, fitted) = <(Arc<str>, Option<Timestamp>)>::restore(&mut from)?;
        let mut model = settings.model().map_err(Invalid)?;
        if settings.fit {
            model.next = serde_json::from_str::<NextSettings>(&weights).context("its weights cannot be read")?;
        }
        Ok(State {
            recommender: Recommender::restore(model, &Vec::<u8>::restore(&mut from)?)?,
            attribution,
            fitted,
            recent: Recent { known: order.iter().copied().collect(), order },
            offsets: offsets
                .into_iter()
                .map(|((topic, partition), at)| (Place { topic, partition: partition as i32 }, at))
                .collect(),
        })
    }

    /// The state that is kept, else a new one; what is wrong with a kept one is told.
    ///
    /// # Errors
    /// A setting that cannot work.
    pub(super) fn open(settings: &RecommendSettings, file: &Path) -> anyhow::Result<Self> {
        match std::fs::read(file) {
            Ok(bytes) => match State::decode(settings, &bytes) {
                Ok(state) => return Ok(state),
                Err(error) => {
                    let file = file.display();
                    tracing::warn!(
                        "the recommender's state in {file} cannot be used ({error:#}); the topics are read again"
                    );
                }
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(%error, file = %file.display(), "the recommender's state cannot be read"),
        }
        State::new(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roles::recommend::events::take;
    use crate::roles::state_file::put;
    use millrace_intelligence::recommend::{Question, Workspace};
    use serde_json::json;

    fn learnt() -> State {
        let mut state = State::new(&RecommendSettings::default()).expect("good settings");
        for at in 0..300 {
            let event = json!({ "event_id": format!("{at}"), "event_type": "product_viewed", "anonymous_id": format!("v{}", at / 3),
                "event_time": format!("2026-01-01T10:{:02}:{:02}Z", at / 60, at % 60), "product_id": format!("p{}", at * 7 % 13) });
            take(&mut state, "user_events", event.to_string().as_bytes(), None);
        }
        state.offsets.insert(Place::new("user_events", 2), 300);
        state
    }

    #[test]
    fn what_is_kept_answers_and_goes_on_as_before() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("recommend/state");
        let (state, settings) = (learnt(), RecommendSettings::default());
        put(&file, &state.encode()).expect("kept");
        let mut kept = State::open(&settings, &file).expect("a state");
        assert_eq!(kept.offsets, state.offsets);
        let question = Question { placement: "next", product: Some("p3"), evidence: true, ..Question::default() };
        let answer =
            |state: &State| state.recommender.recommend(&mut Workspace::default(), &question).expect("an answer");
        assert!(!answer(&state).items.is_empty());
        assert_eq!(answer(&kept), answer(&state));
        assert!(!kept.recent.is_new("299") && kept.recent.is_new("300"), "it remembers what came");
        assert!(!file.with_extension("tmp").exists());
    }

    #[test]
    fn a_damaged_state_is_told_of_and_not_used() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("state");
        let (bytes, settings) = (learnt().encode(), RecommendSettings::default());
        for wrong in [&bytes[..bytes.len() - 9], &bytes[..4], b"" as &[u8]] {
            assert!(State::decode(&settings, wrong).is_err());
        }
        let mut changed = bytes.clone();
        changed[bytes.len() / 2] ^= 1;
        std::fs::write(&file, changed).expect("written");
        let new = State::open(&settings, &file).expect("a new state");
        assert!(new.offsets.is_empty() && new.recommender.size().items == 0);
        let other = RecommendSettings {
            index: millrace_intelligence::recommend::IndexSettings { sessions_max: 64, ..settings.index },
            ..settings
        };
        assert!(
            format!("{:#}", State::decode(&other, &bytes).expect_err("another size")).contains("index.sessions_max")
        );
    }

    #[test]
    fn what_comes_twice_is_known_among_the_newest() {
        let mut recent = Recent::default();
        assert!(recent.is_new("a") && !recent.is_new("a"));
        (0..RECENT_MAX).for_each(|at| assert!(recent.is_new(&format!("{at}"))));
        assert_eq!((recent.order.len(), recent.known.len()), (RECENT_MAX, RECENT_MAX));
        assert!(recent.is_new("a"), "forgotten");
    }
}
