//! Records as the contracts have them, one a line.

use std::path::Path;

use anyhow::{Context as _, bail};
use millrace_model::{Contracts, Role, Timestamp};
use serde_json::{Map, Value};

use super::SourceRecord;

pub(super) fn read(path: &Path, topic: Option<&str>) -> anyhow::Result<Vec<SourceRecord>> {
    let contracts = Contracts::builtin();
    let names: Vec<&str> = contracts.of_role(Role::Source).map(|contract| contract.name.as_str()).collect();
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let wanted = topic.unwrap_or(&stem);
    let Some(contract) = contracts.get(wanted).filter(|contract| contract.role == Role::Source) else {
        bail!("`{wanted}` is no source topic; name one with --topic: {}", names.join(", "));
    };
    let topic = ["user_events", "transactions", "inventory_updates"].into_iter().find(|name| *name == wanted);
    let topic = topic.context("the source topics are known")?;
    let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut records = Vec::new();
    let mut last = Timestamp(0);
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        // A line that breaks the contract is sent as it stands: the product tells what is wrong with it.
        let fields: Map<String, Value> = serde_json::from_slice(line).unwrap_or_default();
        let text_of = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
        let key = contract.key.first().map(|column| text_of(column).to_owned()).unwrap_or_default();
        last = Timestamp::parse(text_of("event_time").as_bytes()).unwrap_or(last);
        records.push(SourceRecord { topic, key, event_time: last, fields, raw: Some(line.to_vec()) });
    }
    Ok(records)
}
