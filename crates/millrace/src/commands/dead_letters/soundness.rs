//! Would a value be counted now? The contract of its topic says, through the decoder the jobs use.

use std::collections::HashMap;

use millrace_codec::{DecodeLimits, Decoder, Needed};
use millrace_model::{Contract, Contracts, Timestamp};

use crate::pipelines::Pipelines;
use crate::settings::Settings;
use crate::statics::Statics;

/// Checks values against the contracts of their topics.
pub(super) struct Soundness {
    decoders: HashMap<String, Decoder>,
}

impl Soundness {
    /// With the contracts that ship, the user's own, and those of the result tables of the pipelines.
    ///
    /// # Errors
    /// A pipeline that cannot be planned.
    pub(super) fn new(settings: &Settings) -> anyhow::Result<Self> {
        let pipelines: Pipelines = crate::commands::pipelines(settings, &[])?;
        let planned = crate::commands::check::plan(&pipelines, &Statics::new(tokio::runtime::Handle::current()))?;
        let mut contracts: HashMap<String, Contract> =
            Contracts::builtin().iter().map(|contract| (contract.name.clone(), contract.clone())).collect();
        contracts.extend(planned.contracts.iter().map(|contract| (contract.name.clone(), contract.clone())));
        let value_bytes_max = settings.engine.record_bytes_max;
        let limits = DecodeLimits { value_bytes_max, ..DecodeLimits::default() };
        let decoders =
            contracts.into_iter().map(|(name, contract)| (name, Decoder::new(&contract, &Needed::All, limits)));
        Ok(Soundness { decoders: decoders.collect() })
    }

    /// What is still wrong with the value, in words; `None`: it keeps its contract, or its topic has none.
    pub(super) fn fault(&mut self, topic: &str, value: Option<&[u8]>, now: Timestamp) -> Option<String> {
        let decoder = self.decoders.get_mut(topic)?;
        let fault = decoder.push(value, Some(now)).err().map(|malformed| malformed.in_words());
        decoder.finish();
        fault
    }
}
