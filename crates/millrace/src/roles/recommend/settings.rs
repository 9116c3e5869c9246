//! Settings of the role: `[recommend]` of the settings file.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use millrace_intelligence::recommend::attribution::{AttributionSettings, Comparison};
use millrace_intelligence::recommend::{IndexSettings, NextSettings, Placement, Settings, TrendSettings};
use millrace_model::time::MINUTE_MICROS;
use serde::Deserialize;

use crate::settings::duration;

/// A session id that is not given ends after this long without a click.
const SESSION_GAP_MICROS: i64 = 30 * MINUTE_MICROS;

/// What can be set.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RecommendSettings {
    /// Run it with `millrace up`.
    pub(crate) enabled: bool,
    /// Address of a recommender that runs alone; port 0 takes any free one. With `up` it answers at the page's address.
    pub(crate) listen: SocketAddr,
    /// How often its state is kept.
    #[serde(deserialize_with = "duration")]
    pub(crate) snapshot_interval: Duration,
    /// Fit the weights to the shop's own sessions.
    pub(crate) fit: bool,
    /// How often.
    #[serde(deserialize_with = "duration")]
    pub(crate) fit_interval: Duration,
    /// Newest sessions it is fitted to.
    pub(crate) fit_sessions: usize,
    /// Sizes of the index.
    pub(crate) index: IndexSettings,
    /// Weights of the scores, until they are fitted.
    pub(crate) next: NextSettings,
    /// How demand is counted.
    pub(crate) trend: TrendSettings,
    /// Most visitors kept.
    pub(crate) visitors_max: usize,
    /// The places that are asked for, beside and instead of those there are without settings.
    pub(crate) placements: BTreeMap<String, Placement>,
    /// Placements that share the traffic of one.
    pub(crate) comparisons: Vec<Comparison>,
    /// Which clicks and orders an answer led to.
    pub(crate) attribution: AttributionSettings,
}

impl Default for RecommendSettings {
    fn default() -> Self {
        let model = Settings::default();
        RecommendSettings {
            enabled: true,
            listen: SocketAddr::from(([127, 0, 0, 1], 8081)),
            snapshot_interval: Duration::from_secs(30),
            fit: true,
            fit_interval: Duration::from_secs(6 * 60 * 60),
            fit_sessions: 1_000,
            index: IndexSettings { session_gap_micros: SESSION_GAP_MICROS, ..model.index },
            next: model.next,
            trend: model.trend,
            visitors_max: model.visitors_max,
            placements: BTreeMap::new(),
            comparisons: Vec::new(),
            attribution: AttributionSettings::default(),
        }
    }
}

impl RecommendSettings {
    /// The settings of the recommender itself.
    ///
    /// # Errors
    /// What cannot work, in a sentence.
    pub(crate) fn model(&self) -> Result<Settings, String> {
        let mut model = Settings {
            index: self.index.clone(),
            next: self.next.clone(),
            trend: self.trend.clone(),
            visitors_max: self.visitors_max,
            ..Settings::default()
        };
        model.placements.extend(self.placements.clone());
        model.check().map_err(|error| error.to_string())?;
        for comparison in &self.comparisons {
            for name in [&comparison.placement, &comparison.against] {
                if !model.placements.contains_key(name) {
                    return Err(format!(
                        "recommend.comparisons names placement `{name}`, which is none; add [recommend.placements.{name}]"
                    ));
                }
            }
            if !(0.0..=1.0).contains(&comparison.share) {
                return Err(format!(
                    "recommend.comparisons: share is {}; write a number from 0 to 1",
                    comparison.share
                ));
            }
        }
        Ok(model)
    }
}
