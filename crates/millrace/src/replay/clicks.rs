//! Click sessions as product views: `SessionId<TAB>ItemId<TAB>Time`, with a header line.

use std::path::Path;

use anyhow::Context as _;
use millrace_model::Timestamp;
use serde_json::Map;

use super::{SourceRecord, put};

pub(super) fn read(path: &Path) -> anyhow::Result<Vec<SourceRecord>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut records = Vec::new();
    for (at, line) in text.lines().enumerate().skip(1) {
        let place = || format!("{}:{}: expected SessionId, ItemId and Time with tabs between", path.display(), at + 1);
        let mut columns = line.split('\t');
        let session = columns.next().with_context(place)?;
        let item = columns.next().with_context(place)?;
        let seconds: f64 = columns.next().and_then(|time| time.trim().parse().ok()).with_context(place)?;
        let event_time = Timestamp((seconds * 1e6) as i64);
        let mut fields = Map::new();
        put(&mut fields, "event_id", format!("click-{}", at));
        put(&mut fields, "event_type", "product_viewed");
        put(&mut fields, "event_time", event_time.to_string());
        put(&mut fields, "anonymous_id", session);
        put(&mut fields, "session_id", session);
        put(&mut fields, "product_id", item);
        records.push(SourceRecord { topic: "user_events", key: session.to_owned(), event_time, fields, raw: None });
    }
    Ok(records)
}
