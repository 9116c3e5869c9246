//! Repairs and redrives for the page: what the commands do, behind the dashboard's questions.

use std::sync::{Mutex, PoisonError};

use millrace_connectors::dead_letters::Letters;
use millrace_connectors::kafka::ClientSettings;
use millrace_connectors::store::Store;
use millrace_dashboard::service::{Mend, Mends, RedriveWanted, Redriven, Refused, RepairWanted, Repaired};
use tokio::runtime::Handle;

use super::json_patch::Patch;
use super::repair::{How, repair};
use super::{redrive, repair as repairs};
use crate::settings::Settings;

/// Who mends for the page.
pub(crate) struct Desk {
    settings: Settings,
    kafka: ClientSettings,
    letters: Letters,
    runtime: Handle,
    /// One redrive at a time: a second one would take the transactional id from the first.
    sending: Mutex<()>,
}

impl Desk {
    /// Over this store and cluster, within the runtime it is made in.
    pub(crate) fn new(settings: &Settings, kafka: &ClientSettings, store: Store) -> Self {
        Desk {
            settings: settings.clone(),
            kafka: kafka.clone(),
            letters: Letters::new(store),
            runtime: Handle::current(),
            sending: Mutex::default(),
        }
    }
}

impl Mends for Desk {
    fn repair(&self, wanted: &RepairWanted) -> Result<Repaired, Refused> {
        let (how, in_words) = match &wanted.mend {
            Mend::Value(value) => (How::Value(value.clone()), "edited on the page".to_owned()),
            Mend::Patch(patch) => {
                let parsed: Patch = serde_json::from_value(patch.clone()).map_err(|error| {
                    let text = "not a JSON patch (RFC 6902), a list of objects with op and path";
                    Refused::Invalid(format!("{text}: {error}"))
                })?;
                (How::Patch(parsed), format!("patched: {patch}"))
            }
        };
        let rules = repairs::Rules {
            how,
            in_words,
            dry_run: wanted.dry_run,
            unchecked: wanted.unchecked,
            by: wanted.by.clone(),
        };
        let done = self.runtime.block_on(repair(&self.settings, &self.letters, &wanted.ids, &rules));
        let done = done.map_err(|error| Refused::Unavailable(format!("{error:#}")))?;
        Ok(Repaired { kept: done.kept, shown: done.shown, refused: done.refused })
    }

    fn redrive(&self, wanted: &RedriveWanted) -> Result<Redriven, Refused> {
        let rules = redrive::Rules {
            rate: redrive::RATE_USUAL,
            dry_run: wanted.dry_run,
            force: wanted.force,
            unchecked: wanted.unchecked,
            late: wanted.late,
            by: wanted.by.clone(),
        };
        let _one = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = redrive::redrive(&self.settings, &self.kafka, &self.letters, &wanted.ids, &rules, |_| ());
        let done = self.runtime.block_on(sent).map_err(|error| Refused::Unavailable(format!("{error:#}")))?;
        let stayed = done.stayed.into_iter().map(|(why, letters)| (why.to_owned(), letters)).collect();
        Ok(Redriven { sent: done.sent, stayed })
    }
}
