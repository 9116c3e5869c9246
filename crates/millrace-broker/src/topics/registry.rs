//! All topics of the broker: looked up by everyone, changed by admin requests one at a time.

use crate::fields::{Malformed, Reader, Writer};
use crate::journal::{Change, Journal};
use crate::storage::cache::SegmentCache;
use crate::storage::error::LogError;
use crate::storage::log::Log;
use crate::storage::partition::{Partition, TopicPartition};
use crate::sync::lock;
use crate::topics::config::{LogSettings, Overrides};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use thiserror::Error;
use uuid::Uuid;

/// First byte of the journal keys of topics.
pub(crate) const TOPIC_SPACE: u8 = b't';

/// A topic as it is now; a change makes a new value, sharing the partitions.
#[derive(Debug, Clone)]
pub(crate) struct Topic {
    pub(crate) name: Arc<str>,
    pub(crate) id: Uuid,
    pub(crate) overrides: Overrides,
    pub(crate) partitions: Vec<Arc<Partition>>,
}

/// A change of topics that failed.
#[derive(Debug, Error)]
pub(crate) enum TopicError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("cannot write the journal: {0}")]
    Journal(#[from] std::io::Error),
}

type Map = BTreeMap<Arc<str>, Arc<Topic>>;

/// The registry.
#[derive(Debug)]
pub(crate) struct Topics {
    logs_dir: PathBuf,
    trash_dir: PathBuf,
    journal: Arc<Journal>,
    cache: Arc<SegmentCache>,
    map: RwLock<Arc<Map>>,
    /// Held over every change.
    changing: Mutex<()>,
}

impl Topics {
    /// Opens all topics that the journal names; logs are opened in parallel. Blocks.
    ///
    /// # Errors
    /// A log that cannot be opened, or a journal entry that is not one.
    pub(crate) fn open(
        data_dir: &Path,
        journal: Arc<Journal>,
        cache: Arc<SegmentCache>,
        now_ms: i64,
    ) -> Result<Self, crate::BrokerError> {
        let (logs_dir, trash_dir) = (data_dir.join("logs"), data_dir.join("trash"));
        for dir in [&logs_dir, &trash_dir] {
            std::fs::create_dir_all(dir).map_err(LogError::io("create", dir))?;
        }
        let registry = Self { logs_dir, trash_dir, journal, cache, map: RwLock::default(), changing: Mutex::default() };
        let mut stored = Vec::new();
        for (key, value) in registry.journal.entries(TOPIC_SPACE) {
            let (name, id, partitions, overrides) = decode(&key, &value)
                .map_err(|_| crate::BrokerError::Stored("a topic in the journal cannot be read".into()))?;
            stored.push((name, id, partitions, overrides));
        }
        let wanted: Vec<_> = stored
            .iter()
            .flat_map(|(name, _, count, overrides)| {
                let settings = Arc::new(LogSettings::of(overrides));
                (0..*count).map(move |partition| (TopicPartition { topic: name.clone(), partition }, settings.clone()))
            })
            .collect();
        registry.remove_orphans(&wanted)?;
        let mut opened = registry.open_logs(wanted, now_ms)?.into_iter();
        let map = stored
            .into_iter()
            .map(|(name, id, count, overrides)| {
                let partitions = opened.by_ref().take(count as usize).collect();
                (name.clone(), Arc::new(Topic { name, id, overrides, partitions }))
            })
            .collect();
        registry.publish(map);
        Ok(registry)
    }

    fn open_logs(
        &self,
        wanted: Vec<(TopicPartition, Arc<LogSettings>)>,
        now_ms: i64,
    ) -> Result<Vec<Arc<Partition>>, LogError> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
        let share = wanted.len().div_ceil(threads).max(1);
        std::thread::scope(|scope| {
            let parts: Vec<_> = wanted
                .chunks(share)
                .map(|part| {
                    let open = |(id, settings): &(TopicPartition, Arc<LogSettings>)| {
                        self.open_log(id.clone(), settings.clone(), now_ms)
                    };
                    scope.spawn(move || part.iter().map(open).collect::<Result<Vec<_>, _>>())
                })
                .collect();
            let mut all = Vec::with_capacity(wanted.len());
            for part in parts {
                all.extend(part.join().unwrap_or_else(|_| Err(LogError::Failed("recovery panicked".into())))?);
            }
            Ok(all)
        })
    }

    fn open_log(
        &self,
        id: TopicPartition,
        settings: Arc<LogSettings>,
        now_ms: i64,
    ) -> Result<Arc<Partition>, LogError> {
        let log = Log::open(self.logs_dir.join(id.to_string()), settings, self.cache.clone(), now_ms)?;
        Ok(Arc::new(Partition::new(id, log)))
    }

    /// Moves away directories of partitions that no topic has: a deletion that a crash interrupted.
    fn remove_orphans(&self, wanted: &[(TopicPartition, Arc<LogSettings>)]) -> Result<(), LogError> {
        let known: std::collections::HashSet<String> = wanted.iter().map(|(id, _)| id.to_string()).collect();
        let list = || std::fs::read_dir(&self.logs_dir)?.collect::<Result<Vec<_>, _>>();
        for entry in list().map_err(LogError::io("list", &self.logs_dir))? {
            if !entry.file_name().to_str().is_some_and(|name| known.contains(name)) {
                let path = entry.path();
                tracing::info!(path = %path.display(), "removing a partition that no topic has");
                std::fs::rename(&path, self.trash_place()).map_err(LogError::io("move", &path))?;
            }
        }
        Ok(())
    }

    fn trash_place(&self) -> PathBuf {
        self.trash_dir.join(Uuid::new_v4().to_string())
    }

    /// Deletes for good what was moved to the trash. Blocks.
    pub(crate) fn empty_trash(&self) {
        let entries = std::fs::read_dir(&self.trash_dir).into_iter().flatten().flatten();
        for path in entries.map(|entry| entry.path()) {
            if let Err(error) = std::fs::remove_dir_all(&path) {
                tracing::warn!(path = %path.display(), %error, "cannot delete a removed partition; trying again later");
            }
        }
    }

    /// All topics by name, as of now.
    pub(crate) fn all(&self) -> Arc<Map> {
        self.map.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn get(&self, name: &str) -> Option<Arc<Topic>> {
        self.map.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    pub(crate) fn by_id(&self, id: Uuid) -> Option<Arc<Topic>> {
        self.all().values().find(|topic| topic.id == id).cloned()
    }

    pub(crate) fn partition(&self, name: &str, partition: i32) -> Option<Arc<Partition>> {
        self.get(name)?.partitions.get(usize::try_from(partition).ok()?).cloned()
    }

    /// All partitions of all topics.
    pub(crate) fn partitions(&self) -> Vec<Arc<Partition>> {
        self.all().values().flat_map(|topic| topic.partitions.clone()).collect()
    }

    fn publish(&self, map: Map) {
        *self.map.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(map);
    }

    /// Runs one change: `change` sees the topics as they are and nobody changes them meanwhile. Blocks.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&TopicsGuard<'_>) -> T) -> T {
        let _changing = lock(&self.changing);
        change(&TopicsGuard { topics: self })
    }
}

/// Proof that nobody else is changing topics.
pub(crate) struct TopicsGuard<'a> {
    topics: &'a Topics,
}

impl TopicsGuard<'_> {
    pub(crate) fn get(&self, name: &str) -> Option<Arc<Topic>> {
        self.topics.get(name)
    }

    pub(crate) fn all(&self) -> Arc<Map> {
        self.topics.all()
    }

    /// Creates a topic whose name, size and settings were checked.
    pub(crate) fn create(
        &self,
        name: &str,
        partitions: i32,
        overrides: Overrides,
        now_ms: i64,
    ) -> Result<Arc<Topic>, TopicError> {
        let name: Arc<str> = name.into();
        let topic = Topic { name: name.clone(), id: Uuid::new_v4(), overrides, partitions: vec![] };
        self.grow(&topic, partitions, now_ms)
    }

    /// Gives `topic` more partitions, up to `count`.
    pub(crate) fn grow(&self, topic: &Topic, count: i32, now_ms: i64) -> Result<Arc<Topic>, TopicError> {
        let settings = Arc::new(LogSettings::of(&topic.overrides));
        let mut topic = topic.clone();
        for partition in topic.partitions.len() as i32..count {
            let id = TopicPartition { topic: topic.name.clone(), partition };
            topic.partitions.push(self.topics.open_log(id, settings.clone(), now_ms)?);
        }
        self.store(topic)
    }

    /// Replaces the settings of `topic`.
    pub(crate) fn configure(&self, topic: &Topic, overrides: Overrides) -> Result<Arc<Topic>, TopicError> {
        let settings = Arc::new(LogSettings::of(&overrides));
        let stored = self.store(Topic { overrides, ..topic.clone() })?;
        for partition in &stored.partitions {
            lock(&partition.log).settings = settings.clone();
        }
        Ok(stored)
    }

    fn store(&self, topic: Topic) -> Result<Arc<Topic>, TopicError> {
        self.topics.journal.write(&[Change::put(key(&topic.name), encode(&topic))])?;
        let topic = Arc::new(topic);
        let mut map = Map::clone(&self.topics.all());
        map.insert(topic.name.clone(), topic.clone());
        self.topics.publish(map);
        Ok(topic)
    }

    /// Deletes `topic`, and with it in the same journal entry whatever `with` says. The name is free on return.
    pub(crate) fn delete(&self, topic: &Topic, with: Vec<Change>) -> Result<(), TopicError> {
        let mut changes = with;
        changes.push(Change::remove(key(&topic.name)));
        self.topics.journal.write(&changes)?;
        let mut map = Map::clone(&self.topics.all());
        map.remove(&topic.name);
        self.topics.publish(map);
        for partition in &topic.partitions {
            partition.delete(self.topics.trash_place())?;
        }
        Ok(())
    }
}

fn key(name: &str) -> Vec<u8> {
    [&[TOPIC_SPACE], name.as_bytes()].concat()
}

fn encode(topic: &Topic) -> Vec<u8> {
    let mut out = Writer::new();
    let (high, low) = topic.id.as_u64_pair();
    out.i64(high as i64).i64(low as i64).i32(topic.partitions.len() as i32).count(topic.overrides.len());
    for (name, value) in &topic.overrides {
        out.string(name).string(value);
    }
    out.finish()
}

type Stored = (Arc<str>, Uuid, i32, Overrides);

fn decode(key: &[u8], value: &[u8]) -> Result<Stored, Malformed> {
    let name = std::str::from_utf8(&key[1..]).map_err(|_| Malformed)?;
    let mut fields = Reader::new(value);
    let id = Uuid::from_u64_pair(fields.i64()? as u64, fields.i64()? as u64);
    let partitions = fields.i32()?;
    let mut overrides = Overrides::new();
    for _ in 0..fields.count()? {
        overrides.insert(fields.string()?.to_owned(), fields.string()?.to_owned());
    }
    Ok((name.into(), id, partitions, overrides))
}
