//! The open sealed segments of the whole broker: opened when first read, the least recently used closed at the limit.

use crate::storage::segment::{OpenSegment, SegmentMeta};
use crate::sync::lock;
use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// Names a segment among all partitions that this process has opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    log: u64,
    base_offset: i64,
    generation: u32,
}

#[derive(Debug, Default)]
struct Slots {
    open: HashMap<Key, (u64, Arc<OpenSegment>)>,
    uses: u64,
}

/// Shared by all logs; holds at most `segments_open_max` sealed segments.
#[derive(Debug)]
pub(crate) struct SegmentCache {
    slots: Mutex<Slots>,
    segments_open_max: usize,
}

impl SegmentCache {
    pub(crate) fn new(segments_open_max: usize) -> Self {
        Self { slots: Mutex::default(), segments_open_max: segments_open_max.max(1) }
    }

    /// The open segment; opens it first if need be.
    pub(crate) fn get(&self, log: u64, dir: &Path, meta: &SegmentMeta) -> io::Result<Arc<OpenSegment>> {
        let key = Key { log, base_offset: meta.base_offset, generation: meta.generation };
        {
            let mut slots = lock(&self.slots);
            slots.uses += 1;
            let uses = slots.uses;
            if let Some((used, open)) = slots.open.get_mut(&key) {
                *used = uses;
                return Ok(open.clone());
            }
        }
        let opened = Arc::new(OpenSegment::open(dir, meta)?);
        let mut slots = lock(&self.slots);
        if slots.open.len() >= self.segments_open_max {
            let oldest = slots.open.iter().min_by_key(|(_, (used, _))| *used).map(|(key, _)| *key);
            oldest.and_then(|key| slots.open.remove(&key));
        }
        let uses = slots.uses;
        slots.open.insert(key, (uses, opened.clone()));
        Ok(opened)
    }

    /// Closes a segment that was dropped or rewritten.
    pub(crate) fn forget(&self, log: u64, meta: &SegmentMeta) {
        lock(&self.slots).open.remove(&Key { log, base_offset: meta.base_offset, generation: meta.generation });
    }

    /// Closes all segments of a log.
    pub(crate) fn forget_log(&self, log: u64) {
        lock(&self.slots).open.retain(|key, _| key.log != log);
    }

    pub(crate) fn len(&self) -> usize {
        lock(&self.slots).open.len()
    }
}
