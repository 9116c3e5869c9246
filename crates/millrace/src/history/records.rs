//! Epochs of the past as the engine takes them, and what a job's sources are watched by.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::Array;
use millrace_engine::JobPlan;
use millrace_engine::job::{SourceBatch, SourceRecord};
use millrace_engine::state::Range;
use millrace_model::Timestamp;

use super::epochs::{PastEpoch, Watched};

/// A partition of the lake, and the source it is of.
#[derive(Clone, Debug)]
pub(crate) struct PastPlace {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    /// The source's name in SQL.
    pub(crate) source: String,
}

/// Columns of times to read, by source.
pub(crate) type Columns = BTreeMap<String, Arc<[String]>>;

/// Columns of times to read of each source: its own event time first, then what else statements watch; and how they watch.
pub(crate) fn columns(plan: &JobPlan) -> (Columns, BTreeMap<String, Vec<Watched>>) {
    let (mut columns, mut watched) = (Columns::new(), BTreeMap::new());
    for source in &plan.sources {
        let name = &source.contract.name;
        let mut names: Vec<String> = source.contract.event_time.iter().cloned().collect();
        let mut by: Vec<Watched> = Vec::new();
        for stream in plan.tables.iter().flat_map(|table| &table.streams).filter(|stream| stream.source == *name) {
            let Some((column, delay)) = &stream.watermark else { continue };
            let column = names.iter().position(|known| known == column).unwrap_or_else(|| {
                names.push(column.clone());
                names.len() - 1
            });
            match by.iter_mut().find(|watched| watched.column == column) {
                Some(watched) => watched.delay = watched.delay.min(*delay),
                None => by.push(Watched { column, delay: *delay }),
            }
        }
        columns.insert(name.clone(), Arc::from(names));
        watched.insert(name.clone(), by);
    }
    (columns, watched)
}

/// The records of an epoch as the engine takes them: a batch for each source, by partition and offset. `places` are sorted.
pub(crate) fn batches<'a>(places: &'a [PastPlace], epoch: &'a PastEpoch) -> Vec<SourceBatch<'a>> {
    let mut batches: Vec<SourceBatch<'a>> = Vec::new();
    for (lane, runs) in &epoch.runs {
        let PastPlace { partition, source, .. } = &places[*lane];
        if batches.last().is_none_or(|batch| batch.source != source) {
            batches.push(SourceBatch::new(source, Vec::new()));
        }
        let Some(batch) = batches.last_mut() else { continue };
        for run in runs {
            let rows = &*run.batch;
            batch.records.extend(run.rows.clone().map(|row| SourceRecord {
                partition: *partition,
                offset: rows.offsets.value(row),
                time: rows.times.is_valid(row).then(|| Timestamp(rows.times.value(row))),
                value: rows.values.is_valid(row).then(|| rows.values.value(row)),
            }));
        }
    }
    batches
}

/// The key of a record, by the place of its batch and its place there.
pub(crate) fn key_of<'a>(places: &[PastPlace], epoch: &'a PastEpoch, batch: usize, record: usize) -> Option<&'a [u8]> {
    let of_source = epoch.runs.chunk_by(|(a, _), (b, _)| places[*a].source == places[*b].source);
    let mut passed = 0;
    for run in of_source.into_iter().nth(batch)?.iter().flat_map(|(_, runs)| runs) {
        if record < passed + run.rows.len() {
            let row = run.rows.start + (record - passed);
            return run.batch.keys.is_valid(row).then(|| run.batch.keys.value(row));
        }
        passed += run.rows.len();
    }
    None
}

/// What an epoch takes of each partition, by its place.
pub(crate) fn ranges(places: &[PastPlace], epoch: &PastEpoch) -> Vec<(usize, Range)> {
    let of_lane = |(lane, runs): &(usize, Vec<millrace_connectors::lake::LakeRun>)| {
        let (first, last) = (runs.first()?, runs.last()?);
        let PastPlace { partition, source, .. } = &places[*lane];
        let from = first.batch.offsets.value(first.rows.start);
        let to = last.batch.offsets.value(last.rows.end - 1) + 1;
        Some((*lane, Range { source: source.clone(), partition: *partition, from, to }))
    };
    epoch.runs.iter().filter_map(of_lane).collect()
}
