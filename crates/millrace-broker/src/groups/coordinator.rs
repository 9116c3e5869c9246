//! The coordinator of all groups: runs the pure steps of [`Group`] under one lock, stores what must be stored, and
//! answers those who wait.

use crate::groups::group::{Group, State, Ticket};
use crate::groups::join::JoinRequest;
use crate::groups::member::{Leaving, SyncRequest};
use crate::groups::offsets::{self, Committed, OFFSET_SPACE, OffsetMap};
use crate::groups::step::{JoinRefused, Joined, Reply, Step, Synced};
use crate::groups::stored::{self, GROUP_SPACE};
use crate::journal::{Change, Journal};
use crate::storage::partition::TopicPartition;
use crate::sync::{free_worker, lock};
use kafka_protocol::error::ResponseError;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::{Notify, oneshot};
use tokio::time::{Duration, Instant};

/// A group and its offsets.
#[derive(Debug, Default, Clone)]
pub(crate) struct Entry {
    pub(crate) group: Group,
    pub(crate) offsets: OffsetMap,
    /// Partitions with an offset in an open transaction, by producer id.
    pub(crate) pending: BTreeMap<i64, BTreeSet<TopicPartition>>,
}

impl Entry {
    /// Holds nothing but, maybe, the memory of having been a group.
    fn is_bare(&self) -> bool {
        let group = &self.group;
        group.members.is_empty() && group.promised.is_empty() && self.offsets.is_empty() && self.pending.is_empty()
    }

    /// Nothing would be lost with it.
    fn is_void(&self) -> bool {
        self.is_bare() && self.group.changed_at_ms == 0
    }
}

#[derive(Debug, Default)]
struct Table {
    groups: BTreeMap<Arc<str>, Entry>,
    waiting: HashMap<Ticket, oneshot::Sender<Reply>>,
}

/// What the coordinator goes by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GroupLimits {
    pub(crate) groups_max: usize,
    pub(crate) members_max: usize,
    pub(crate) offsets_max: usize,
    pub(crate) initial_delay_ms: u64,
}

/// The coordinator.
#[derive(Debug)]
pub(crate) struct Groups {
    journal: Arc<Journal>,
    pub(crate) limits: GroupLimits,
    table: Mutex<Table>,
    tickets: AtomicU64,
    started: Instant,
    /// When the timer task will look next.
    alarm_ms: AtomicU64,
    alarm_moved: Notify,
}

impl Groups {
    /// Reads all groups and offsets from the journal.
    ///
    /// # Errors
    /// An entry that is not one.
    pub(crate) fn open(journal: Arc<Journal>, limits: GroupLimits) -> Result<Self, crate::BrokerError> {
        let bad = |_| crate::BrokerError::Stored("a consumer group in the journal cannot be read".into());
        let mut table = Table::default();
        for (key, value) in journal.entries(GROUP_SPACE) {
            let (id, group) = stored::read(&key, &value, 0).map_err(bad)?;
            table.groups.entry(id.into()).or_default().group = group;
        }
        for (key, value) in journal.entries(OFFSET_SPACE) {
            let (group, partition, committed) = offsets::read(&key, &value).map_err(bad)?;
            table.groups.entry(group.into()).or_default().offsets.insert(partition, committed);
        }
        Ok(Self {
            journal,
            limits,
            table: Mutex::new(table),
            tickets: AtomicU64::new(0),
            started: Instant::now(),
            alarm_ms: AtomicU64::new(u64::MAX),
            alarm_moved: Notify::new(),
        })
    }

    /// Milliseconds on the clock that groups go by.
    pub(crate) fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    pub(crate) fn ticket(&self) -> Ticket {
        self.tickets.fetch_add(1, Ordering::Relaxed)
    }

    /// Runs `change` on a group and carries out its step. A group that does not exist is made if `create`.
    fn step<T>(
        &self,
        id: &str,
        create: bool,
        wall_ms: i64,
        change: impl FnOnce(&mut Entry) -> (T, Step),
    ) -> Result<T, ResponseError> {
        free_worker(|| self.step_now(id, create, wall_ms, change))
    }

    fn step_now<T>(
        &self,
        id: &str,
        create: bool,
        wall_ms: i64,
        change: impl FnOnce(&mut Entry) -> (T, Step),
    ) -> Result<T, ResponseError> {
        let mut table = lock(&self.table);
        if !table.groups.contains_key(id) {
            if !create {
                return Err(ResponseError::UnknownMemberId);
            }
            if table.groups.len() >= self.limits.groups_max {
                return Err(ResponseError::GroupMaxSizeReached);
            }
            table.groups.insert(id.into(), Entry::default());
        }
        let Table { groups, waiting } = &mut *table;
        let Some(entry) = groups.get_mut(id) else { return Err(ResponseError::UnknownMemberId) };
        let (given, step) = change(entry);
        if step.store {
            entry.group.changed_at_ms = wall_ms;
            if let Err(error) = self.journal.write(&[stored::put(id, &entry.group)]) {
                // The members go on; after a crash they would have to join anew.
                tracing::error!(group = id, %error, "cannot store a group");
            }
        }
        self.arm(entry.group.next_deadline_ms());
        if entry.is_void() {
            groups.remove(id);
        }
        for (ticket, reply) in step.replies {
            if let Some(sender) = waiting.remove(&ticket) {
                // The client may be gone.
                let _ = sender.send(reply);
            }
        }
        Ok(given)
    }

    fn wait(&self, ticket: Ticket) -> oneshot::Receiver<Reply> {
        let (sender, receiver) = oneshot::channel();
        lock(&self.table).waiting.insert(ticket, sender);
        receiver
    }

    /// Joins a group; returns when the group has a new generation, or with a refusal.
    pub(crate) async fn join(&self, id: &str, request: JoinRequest, wall_ms: i64) -> Result<Joined, JoinRefused> {
        let (ticket, member_id) = (request.ticket, Arc::<str>::from(request.member_id.as_str()));
        let refused = |error| JoinRefused { error, member_id: member_id.clone() };
        let receiver = self.wait(ticket);
        let create = request.member_id.is_empty();
        if let Err(error) = self.step(id, create, wall_ms, |entry| ((), entry.group.join(request))) {
            lock(&self.table).waiting.remove(&ticket);
            return Err(refused(error));
        }
        match receiver.await {
            Ok(Reply::Join(reply)) => reply,
            _ => Err(refused(ResponseError::CoordinatorNotAvailable)),
        }
    }

    /// Asks for the assignment; returns when the leader has sent it.
    pub(crate) async fn sync(&self, id: &str, request: SyncRequest, wall_ms: i64) -> Result<Synced, ResponseError> {
        let ticket = request.ticket;
        let receiver = self.wait(ticket);
        if let Err(error) = self.step(id, false, wall_ms, |entry| ((), entry.group.sync(request))) {
            lock(&self.table).waiting.remove(&ticket);
            return Err(error);
        }
        match receiver.await {
            Ok(Reply::Sync(reply)) => reply,
            _ => Err(ResponseError::CoordinatorNotAvailable),
        }
    }

    /// A sign of life.
    pub(crate) fn heartbeat(
        &self,
        id: &str,
        member: &str,
        instance: Option<&str>,
        generation: i32,
    ) -> Result<(), ResponseError> {
        let now_ms = self.now_ms();
        self.step(id, false, 0, |entry| (entry.group.heartbeat(member, instance, generation, now_ms), Step::default()))?
    }

    /// Lets members go; one result each.
    pub(crate) fn leave(
        &self,
        id: &str,
        leaving: &[Leaving],
        wall_ms: i64,
    ) -> Result<Vec<Result<(), ResponseError>>, ResponseError> {
        let now_ms = self.now_ms();
        self.step(id, false, wall_ms, |entry| {
            let mut step = Step::default();
            let results = leaving.iter().map(|one| entry.group.leave(one, now_ms, &mut step)).collect();
            (results, step)
        })
    }

    /// Looks at a group, if it exists.
    pub(crate) fn look<T>(&self, id: &str, look: impl FnOnce(&Entry) -> T) -> Option<T> {
        lock(&self.table).groups.get(id).map(look)
    }

    /// Looks at all groups.
    pub(crate) fn look_at_all<T>(&self, look: impl Fn(&Arc<str>, &Entry) -> T) -> Vec<T> {
        lock(&self.table).groups.iter().map(|(id, entry)| look(id, entry)).collect()
    }

    /// Groups and members, for the statistics.
    pub(crate) fn count(&self) -> (usize, usize) {
        let table = lock(&self.table);
        (table.groups.len(), table.groups.values().map(|entry| entry.group.members.len()).sum())
    }

    /// Changes the offsets of a group: `decide` gives the journal entries and the new map of offsets, applied together.
    pub(crate) fn change_offsets<T>(
        &self,
        id: &str,
        create: bool,
        decide: impl FnOnce(&mut Entry) -> Result<(Vec<(TopicPartition, Option<Committed>)>, T), ResponseError>,
    ) -> Result<T, ResponseError> {
        free_worker(|| self.change_offsets_now(id, create, decide))
    }

    fn change_offsets_now<T>(
        &self,
        id: &str,
        create: bool,
        decide: impl FnOnce(&mut Entry) -> Result<(Vec<(TopicPartition, Option<Committed>)>, T), ResponseError>,
    ) -> Result<T, ResponseError> {
        let mut table = lock(&self.table);
        if !table.groups.contains_key(id) {
            if !create {
                return Err(ResponseError::GroupIdNotFound);
            }
            if table.groups.len() >= self.limits.groups_max {
                return Err(ResponseError::GroupMaxSizeReached);
            }
            table.groups.insert(id.into(), Entry::default());
        }
        let Some(entry) = table.groups.get_mut(id) else { return Err(ResponseError::GroupIdNotFound) };
        let changed = decide(entry).and_then(|(changes, given)| {
            self.journal.write(&journal_entries(id, &changes)).map_err(|error| {
                tracing::error!(group = id, %error, "cannot store offsets");
                ResponseError::CoordinatorNotAvailable
            })?;
            apply(entry, changes);
            Ok(given)
        });
        if entry.is_void() {
            table.groups.remove(id);
        }
        changed
    }

    /// Forgets the offsets of a topic that is being deleted; the journal entries are the caller's to write.
    pub(crate) fn forget_topic(&self, topic: &str) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut table = lock(&self.table);
        for (id, entry) in &mut table.groups {
            entry.offsets.retain(|partition, _| {
                let stays = partition.topic.as_ref() != topic;
                if !stays {
                    changes.push(offsets::remove(id, partition));
                }
                stays
            });
        }
        changes
    }

    /// Deletes a group that has no members.
    pub(crate) fn delete(&self, id: &str) -> Result<(), ResponseError> {
        let mut table = lock(&self.table);
        let entry = table.groups.get(id).ok_or(ResponseError::GroupIdNotFound)?;
        if entry.group.state != State::Empty {
            return Err(ResponseError::NonEmptyGroup);
        }
        let mut changes: Vec<Change> = entry.offsets.keys().map(|partition| offsets::remove(id, partition)).collect();
        changes.push(stored::remove(id));
        self.journal.write(&changes).map_err(|_| ResponseError::CoordinatorNotAvailable)?;
        table.groups.remove(id);
        Ok(())
    }

    /// Marks partitions as having an offset in an open transaction.
    pub(crate) fn mark_pending(
        &self,
        id: &str,
        producer_id: i64,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) {
        lock(&self.table)
            .groups
            .entry(id.into())
            .or_default()
            .pending
            .entry(producer_id)
            .or_default()
            .extend(partitions);
    }

    /// Ends the part of a transaction that concerns groups: writes `with` and the offsets as one journal entry, so that
    /// either the transaction is over and its offsets are committed, or neither.
    ///
    /// # Errors
    /// The journal refused; nothing has changed.
    pub(crate) fn end_transaction(
        &self,
        producer_id: i64,
        committed: &BTreeMap<String, OffsetMap>,
        with: Vec<Change>,
    ) -> io::Result<()> {
        let mut table = lock(&self.table);
        let mut changes = with;
        for (id, offsets) in committed {
            changes.extend(offsets.iter().map(|(partition, committed)| offsets::put(id, partition, committed)));
        }
        self.journal.write(&changes)?;
        for (id, offsets) in committed {
            let entry = table.groups.entry(id.as_str().into()).or_default();
            entry.offsets.extend(offsets.iter().map(|(partition, committed)| (partition.clone(), committed.clone())));
        }
        for entry in table.groups.values_mut() {
            entry.pending.remove(&producer_id);
        }
        table.groups.retain(|_, entry| !entry.is_void());
        Ok(())
    }

    /// Forgets groups without members whose offsets are older than `before_ms` (wall time).
    pub(crate) fn expire_offsets(&self, before_ms: i64) {
        let mut table = lock(&self.table);
        let mut changes = Vec::new();
        for (id, entry) in &mut table.groups {
            if entry.group.state != State::Empty || entry.group.changed_at_ms > before_ms || !entry.pending.is_empty() {
                continue;
            }
            entry.offsets.retain(|partition, committed| {
                let stays = committed.committed_at_ms > before_ms;
                if !stays {
                    changes.push(offsets::remove(id, partition));
                }
                stays
            });
            if entry.is_bare() {
                changes.push(stored::remove(id));
            }
        }
        match self.journal.write(&changes) {
            Ok(()) => table.groups.retain(|_, entry| !entry.is_bare() || entry.group.changed_at_ms > before_ms),
            Err(error) => tracing::error!(%error, "cannot forget expired offsets"),
        }
    }

    fn arm(&self, deadline_ms: Option<u64>) {
        if let Some(deadline_ms) = deadline_ms
            && self.alarm_ms.fetch_min(deadline_ms, Ordering::AcqRel) > deadline_ms
        {
            self.alarm_moved.notify_one();
        }
    }

    /// Lets time pass for all groups, for ever: session ends, rebalance ends, promised ids.
    pub(crate) async fn keep_time(&self, wall_ms: impl Fn() -> i64) {
        loop {
            let now_ms = self.now_ms();
            self.alarm_ms.store(u64::MAX, Ordering::Release);
            let due: Vec<Arc<str>> = {
                let table = lock(&self.table);
                let deadlines =
                    table.groups.iter().filter_map(|(id, entry)| Some((id, entry.group.next_deadline_ms()?)));
                let (mut due, mut next) = (vec![], None::<u64>);
                for (id, deadline_ms) in deadlines {
                    if deadline_ms <= now_ms {
                        due.push(id.clone());
                    } else {
                        next = Some(next.map_or(deadline_ms, |next| next.min(deadline_ms)));
                    }
                }
                // Not `arm`: that would wake this very task, for ever.
                self.alarm_ms.fetch_min(next.unwrap_or(u64::MAX), Ordering::AcqRel);
                due
            };
            for id in due {
                let delay_ms = self.limits.initial_delay_ms;
                // The group may have gone meanwhile; then there is nothing to do.
                let _ = self.step(&id, false, wall_ms(), |entry| ((), entry.group.tick(now_ms, delay_ms)));
            }
            let alarm_ms = self.alarm_ms.load(Ordering::Acquire);
            if alarm_ms <= self.now_ms() {
                continue;
            }
            let moved = self.alarm_moved.notified();
            if alarm_ms == u64::MAX {
                moved.await;
            } else {
                let _ = tokio::time::timeout_at(self.started + Duration::from_millis(alarm_ms), moved).await;
            }
        }
    }
}

fn journal_entries(id: &str, changes: &[(TopicPartition, Option<Committed>)]) -> Vec<Change> {
    let entry = |(partition, committed): &(TopicPartition, Option<Committed>)| match committed {
        Some(committed) => offsets::put(id, partition, committed),
        None => offsets::remove(id, partition),
    };
    changes.iter().map(entry).collect()
}

fn apply(entry: &mut Entry, changes: Vec<(TopicPartition, Option<Committed>)>) {
    for (partition, committed) in changes {
        match committed {
            Some(committed) => entry.offsets.insert(partition, committed),
            None => entry.offsets.remove(&partition),
        };
    }
}
