//! The coordinator of all transactional ids: obeys the pure decisions, stores each step before it takes effect, writes
//! the markers.
//!
//! ```text
//!  EndTxn ─▶ store Prepared ─▶ markers into every partition ─▶ store Complete + group offsets (one entry) ─▶ answer
//!                  └── a crash from here on is completed at restart ──┘
//! ```

use crate::groups::coordinator::Groups;
use crate::groups::offsets::OffsetMap;
use crate::journal::{Change, Journal};
use crate::storage::marker::Marker;
use crate::storage::partition::TopicPartition;
use crate::sync::lock;
use crate::topics::registry::Topics;
use crate::txn::decide::{self, EndDecision, Identity, InitDecision};
use crate::txn::record::{self, Record, TRANSACTION_SPACE, TxnState};
use kafka_protocol::error::ResponseError;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use tokio::sync::Mutex as AsyncMutex;

/// First byte of the journal key of the producer id allocation.
const PRODUCER_ID_SPACE: u8 = b'p';
/// Producer ids taken from the journal at once.
const PRODUCER_ID_BLOCK: i64 = 1_000;

/// One transactional id; requests for it take turns.
type Slot = Arc<AsyncMutex<Option<Record>>>;

#[derive(Debug, Clone, Copy)]
struct ProducerIds {
    next: i64,
    end: i64,
}

/// The coordinator.
#[derive(Debug)]
pub(crate) struct Transactions {
    journal: Arc<Journal>,
    slots: Mutex<BTreeMap<String, Slot>>,
    producer_ids: Mutex<ProducerIds>,
    transactional_ids_max: usize,
    /// Outcomes are forced to disk before they take effect.
    flushes: bool,
}

/// What the coordinator acts on besides its own state.
#[derive(Clone, Copy)]
pub(crate) struct World<'a> {
    pub(crate) topics: &'a Topics,
    pub(crate) groups: &'a Groups,
    pub(crate) now_ms: i64,
}

impl Transactions {
    /// Reads all transactional ids from the journal.
    ///
    /// # Errors
    /// An entry that is not one.
    pub(crate) fn open(
        journal: Arc<Journal>,
        transactional_ids_max: usize,
        flushes: bool,
    ) -> Result<Self, crate::BrokerError> {
        let bad = |_| crate::BrokerError::Stored("a transactional id in the journal cannot be read".into());
        let mut slots = BTreeMap::new();
        for (key, value) in journal.entries(TRANSACTION_SPACE) {
            let (id, record) = record::read(&key, &value).map_err(bad)?;
            slots.insert(id, Arc::new(AsyncMutex::new(Some(record))));
        }
        let mut next = 0;
        for (_, value) in journal.entries(PRODUCER_ID_SPACE) {
            next = crate::fields::Reader::new(&value).i64().map_err(bad)?;
        }
        let producer_ids = Mutex::new(ProducerIds { next, end: next });
        Ok(Self { journal, slots: Mutex::new(slots), producer_ids, transactional_ids_max, flushes })
    }

    /// A producer id that was never given out before.
    pub(crate) fn fresh_producer_id(&self) -> Result<i64, ResponseError> {
        let mut ids = lock(&self.producer_ids);
        if ids.next == ids.end {
            let end = ids.end + PRODUCER_ID_BLOCK;
            self.store(&[Change::put(vec![PRODUCER_ID_SPACE], end.to_be_bytes().to_vec())])?;
            ids.end = end;
        }
        ids.next += 1;
        Ok(ids.next - 1)
    }

    fn store(&self, changes: &[Change]) -> Result<(), ResponseError> {
        self.journal.write(changes).map_err(|error| {
            tracing::error!(%error, "cannot store a transaction");
            ResponseError::CoordinatorNotAvailable
        })
    }

    async fn settle(&self) -> Result<(), ResponseError> {
        if self.flushes {
            self.journal.flush().await.map_err(|_| ResponseError::CoordinatorNotAvailable)?;
        }
        Ok(())
    }

    fn slot(&self, id: &str) -> Option<Slot> {
        lock(&self.slots).get(id).cloned()
    }

    fn slot_or_new(&self, id: &str) -> Result<Slot, ResponseError> {
        let mut slots = lock(&self.slots);
        if let Some(slot) = slots.get(id) {
            return Ok(slot.clone());
        }
        if slots.len() >= self.transactional_ids_max {
            return Err(ResponseError::PolicyViolation);
        }
        let slot = Slot::default();
        slots.insert(id.to_owned(), slot.clone());
        Ok(slot)
    }

    /// All transactional ids and their records.
    pub(crate) async fn all(&self) -> Vec<(String, Record)> {
        let slots: Vec<_> = lock(&self.slots).iter().map(|(id, slot)| (id.clone(), slot.clone())).collect();
        let mut all = Vec::with_capacity(slots.len());
        for (id, slot) in slots {
            if let Some(record) = slot.lock().await.clone() {
                all.push((id, record));
            }
        }
        all
    }

    /// The record of one id.
    pub(crate) async fn get(&self, id: &str) -> Option<Record> {
        let slot = self.slot(id)?;
        let record = slot.lock().await;
        record.clone()
    }

    /// Known ids, and how many are in a transaction; one that is being changed right now counts as open.
    pub(crate) fn count(&self) -> (usize, usize) {
        let slots = lock(&self.slots);
        let is_open =
            |slot: &&Slot| slot.try_lock().map_or(true, |r| r.as_ref().is_some_and(|r| r.state == TxnState::Ongoing));
        (slots.len(), slots.values().filter(is_open).count())
    }

    /// Gives a producer its id and epoch, ends what its predecessor left open, and fences that one.
    pub(crate) async fn init(
        &self,
        id: &str,
        timeout_ms: i32,
        presented: Option<Identity>,
        world: World<'_>,
    ) -> Result<Identity, ResponseError> {
        let slot = self.slot_or_new(id)?;
        let mut guard = slot.lock().await;
        loop {
            match decide::init(guard.as_ref(), presented_after_fence(presented, guard.as_ref()))? {
                InitDecision::FreshId => {
                    let record = Record::new(self.fresh_producer_id()?, timeout_ms, world.now_ms);
                    self.store(&[record::put(id, &record)])?;
                    *guard = Some(record);
                    break;
                }
                InitDecision::Bump { epoch, last_epoch } => {
                    let Some(record) = guard.as_mut() else { continue };
                    let mut next = Record::new(record.producer_id, timeout_ms, world.now_ms);
                    (next.epoch, next.last_epoch) = (epoch, last_epoch);
                    self.store(&[record::put(id, &next)])?;
                    *record = next;
                    break;
                }
                InitDecision::Again => break,
                InitDecision::AbortFirst { epoch } => {
                    let Some(record) = guard.as_mut() else { continue };
                    self.end_record(id, record, Marker::Abort, epoch, world).await?;
                }
                InitDecision::FinishFirst => {
                    let Some(record) = guard.as_mut() else { continue };
                    self.finish(id, record, world, false)?;
                }
            }
        }
        self.settle().await?;
        let record = guard.as_ref().ok_or(ResponseError::CoordinatorNotAvailable)?;
        Ok(Identity { producer_id: record.producer_id, epoch: record.epoch })
    }

    /// Adds partitions to the transaction, which begins one if none is open.
    pub(crate) async fn add_partitions(
        &self,
        id: &str,
        identity: Identity,
        partitions: BTreeSet<TopicPartition>,
        world: World<'_>,
    ) -> Result<(), ResponseError> {
        self.add(id, identity, world, |record| {
            let before = record.partitions.len();
            record.partitions.extend(partitions.iter().cloned());
            record.partitions.len() > before
        })
        .await?;
        for partition in &partitions {
            if let Some(partition) = world.topics.partition(&partition.topic, partition.partition) {
                partition.announce_transaction(identity.producer_id, identity.epoch, world.now_ms);
            }
        }
        Ok(())
    }

    /// Adds a group whose offsets will be committed with the transaction.
    pub(crate) async fn add_group(
        &self,
        id: &str,
        identity: Identity,
        group: &str,
        world: World<'_>,
    ) -> Result<(), ResponseError> {
        self.add(id, identity, world, |record| record.groups.insert(group.to_owned())).await
    }

    async fn add(
        &self,
        id: &str,
        identity: Identity,
        world: World<'_>,
        add: impl FnOnce(&mut Record) -> bool,
    ) -> Result<(), ResponseError> {
        let slot = self.slot(id).ok_or(ResponseError::InvalidProducerIdMapping)?;
        let mut guard = slot.lock().await;
        decide::add(guard.as_ref(), identity)?;
        let Some(record) = guard.as_mut() else { return Err(ResponseError::InvalidProducerIdMapping) };
        let mut next = record.clone();
        if next.state != TxnState::Ongoing {
            next.state = TxnState::Ongoing;
            next.started_at_ms = world.now_ms;
        }
        next.updated_at_ms = world.now_ms;
        if add(&mut next) || next.state != record.state {
            self.store(&[record::put(id, &next)])?;
            *record = next;
            self.settle().await?;
        }
        Ok(())
    }

    /// Puts offsets of a group into the transaction; they count once it commits.
    pub(crate) async fn add_offsets(
        &self,
        id: &str,
        identity: Identity,
        group: &str,
        offsets: OffsetMap,
        world: World<'_>,
    ) -> Result<(), ResponseError> {
        let slot = self.slot(id).ok_or(ResponseError::InvalidProducerIdMapping)?;
        let mut guard = slot.lock().await;
        decide::add_offsets(guard.as_ref(), identity, group)?;
        let Some(record) = guard.as_mut() else { return Err(ResponseError::InvalidProducerIdMapping) };
        let mut next = record.clone();
        next.updated_at_ms = world.now_ms;
        let partitions: Vec<_> = offsets.keys().cloned().collect();
        next.offsets.entry(group.to_owned()).or_default().extend(offsets);
        self.store(&[record::put(id, &next)])?;
        *record = next;
        world.groups.mark_pending(group, identity.producer_id, partitions);
        self.settle().await
    }

    /// Ends the transaction.
    pub(crate) async fn end(
        &self,
        id: &str,
        identity: Identity,
        marker: Marker,
        world: World<'_>,
    ) -> Result<(), ResponseError> {
        let slot = self.slot(id).ok_or(ResponseError::InvalidProducerIdMapping)?;
        let mut guard = slot.lock().await;
        let decision = decide::end(guard.as_ref(), identity, marker)?;
        let Some(record) = guard.as_mut() else { return Err(ResponseError::InvalidProducerIdMapping) };
        match decision {
            EndDecision::Done => Ok(()),
            EndDecision::Finish => self.finish(id, record, world, false),
            EndDecision::End => self.end_record(id, record, marker, identity.epoch, world).await,
        }
    }

    /// Decides an outcome, stores it, carries it out. With an epoch newer than the record's its producer is fenced.
    async fn end_record(
        &self,
        id: &str,
        record: &mut Record,
        marker: Marker,
        epoch: i16,
        world: World<'_>,
    ) -> Result<(), ResponseError> {
        let mut next = record.clone();
        next.state = TxnState::Prepared(marker);
        next.epoch = epoch;
        next.updated_at_ms = world.now_ms;
        self.store(&[record::put(id, &next)])?;
        *record = next;
        self.settle().await?;
        self.finish(id, record, world, false)
    }

    /// Carries out a decided outcome: markers, then offsets together with the end of the transaction.
    fn finish(&self, id: &str, record: &mut Record, world: World<'_>, only_if_open: bool) -> Result<(), ResponseError> {
        let TxnState::Prepared(marker) = record.state else { return Ok(()) };
        for partition in &record.partitions {
            // A topic deleted meanwhile needs no marker.
            let Some(partition) = world.topics.partition(&partition.topic, partition.partition) else { continue };
            let ended = partition.end_transaction(record.producer_id, record.epoch, marker, only_if_open, world.now_ms);
            if let Err(error) = ended
                && !partition.is_deleted()
            {
                tracing::error!(transactional_id = id, partition = %partition.id, %error, "cannot write a marker; trying again later");
                return Err(ResponseError::CoordinatorNotAvailable);
            }
        }
        let mut done = record.clone();
        done.state = TxnState::Complete(marker);
        done.partitions.clear();
        done.groups.clear();
        let offsets = std::mem::take(&mut done.offsets);
        done.started_at_ms = -1;
        done.updated_at_ms = world.now_ms;
        let committed = match marker {
            Marker::Commit => offsets,
            Marker::Abort => BTreeMap::new(),
        };
        let ended = world.groups.end_transaction(record.producer_id, &committed, vec![record::put(id, &done)]);
        ended.map_err(|error| {
            tracing::error!(transactional_id = id, %error, "cannot store the end of a transaction; trying again later");
            ResponseError::CoordinatorNotAvailable
        })?;
        *record = done;
        Ok(())
    }

    /// Restores the order of things after a start: decided outcomes are carried out, open transactions announced, and
    /// what lies open in a log without a transaction is aborted.
    pub(crate) async fn recover(&self, world: World<'_>) -> Result<(), ResponseError> {
        let mut open: BTreeSet<(i64, TopicPartition)> = BTreeSet::new();
        let slots: Vec<_> = lock(&self.slots).iter().map(|(id, slot)| (id.clone(), slot.clone())).collect();
        for (id, slot) in slots {
            let mut guard = slot.lock().await;
            let Some(record) = guard.as_mut() else { continue };
            match record.state {
                TxnState::Prepared(_) => {
                    tracing::info!(transactional_id = id, state = record.state.name(), "completing a transaction");
                    self.finish(&id, record, world, true)?;
                }
                TxnState::Ongoing => {
                    for partition in &record.partitions {
                        open.insert((record.producer_id, partition.clone()));
                        if let Some(partition) = world.topics.partition(&partition.topic, partition.partition) {
                            partition.announce_transaction(record.producer_id, record.epoch, world.now_ms);
                        }
                    }
                    for (group, offsets) in &record.offsets {
                        world.groups.mark_pending(group, record.producer_id, offsets.keys().cloned());
                    }
                }
                TxnState::Empty | TxnState::Complete(_) => {}
            }
        }
        for partition in world.topics.partitions() {
            let hanging: Vec<(i64, i16)> = {
                let log = lock(&partition.log);
                let in_doubt = log.producers.iter().filter(|(_, producer)| producer.open_from.is_some());
                in_doubt
                    .filter(|(id, _)| !open.contains(&(*id, partition.id.clone())))
                    .map(|(id, p)| (id, p.epoch))
                    .collect()
            };
            for (producer_id, epoch) in hanging {
                tracing::warn!(partition = %partition.id, producer_id, "aborting a transaction that nobody knows");
                let ended = partition.end_transaction(producer_id, epoch, Marker::Abort, true, world.now_ms);
                ended.map_err(|_| ResponseError::KafkaStorageError)?;
            }
        }
        Ok(())
    }

    /// Aborts transactions that run too long, completes those that got stuck, forgets ids not used since `before_ms`.
    pub(crate) async fn tidy(&self, world: World<'_>, before_ms: i64) {
        let slots: Vec<_> = lock(&self.slots).iter().map(|(id, slot)| (id.clone(), slot.clone())).collect();
        for (id, slot) in slots {
            // One that is busy is neither idle nor stuck.
            let Ok(mut guard) = slot.try_lock() else { continue };
            let Some(record) = guard.as_mut() else { continue };
            let result = match record.state {
                TxnState::Ongoing if record.is_overdue(world.now_ms) => {
                    tracing::info!(
                        transactional_id = id,
                        timeout_ms = record.timeout_ms,
                        "aborting a transaction that ran too long"
                    );
                    let fence = record.epoch.saturating_add(1);
                    self.end_record(&id, record, Marker::Abort, fence, world).await
                }
                TxnState::Prepared(_) => self.finish(&id, record, world, false),
                TxnState::Empty | TxnState::Complete(_) if record.updated_at_ms < before_ms => {
                    self.forget(&id, &slot, &mut guard)
                }
                _ => Ok(()),
            };
            if let Err(error) = result {
                tracing::warn!(transactional_id = id, %error, "a transaction could not be tidied up; trying again later");
            }
        }
    }
}

impl Transactions {
    /// Forgets an id, unless a request for it is waiting for its turn.
    fn forget(&self, id: &str, slot: &Slot, record: &mut Option<Record>) -> Result<(), ResponseError> {
        let mut slots = lock(&self.slots);
        // Whoever wants the slot clones it under this lock: the table's and the caller's are the only two.
        if Arc::strong_count(slot) == 2 {
            self.store(&[record::remove(id)])?;
            *record = None;
            slots.remove(id);
        }
        Ok(())
    }
}

/// A producer that asks for its own bump while its transaction is open is fenced like any other on the way, by one
/// epoch; it is still the same producer.
fn presented_after_fence(presented: Option<Identity>, record: Option<&Record>) -> Option<Identity> {
    let (presented, record) = (presented?, record?);
    let was_fenced_here = record.state == TxnState::Complete(Marker::Abort)
        && presented.epoch.saturating_add(1) == record.epoch
        && record.last_epoch < 0;
    if was_fenced_here { Some(Identity { epoch: record.epoch, ..presented }) } else { Some(presented) }
}
