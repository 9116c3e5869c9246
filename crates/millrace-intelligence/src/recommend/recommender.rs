//! The recommender: events in, answers out. Everything it knows is a function of its settings and of the events in their order.

use millrace_model::Timestamp;

use super::catalogue::{Entry, StockChange};
use super::index::{Action, Index, Step};
use super::names::Names;
use super::settings::{Settings, SettingsError};
use super::stored::{Bytes, RestoreError, Stored};
use super::transitions::Successors;
use super::trend::Trend;
use super::visitors::Visitors;

/// First bytes of a stored state, with the version of what follows.
const MAGIC: u64 = u64::from_le_bytes(*b"mlrecom1");
/// Different items of an order that are paired with each other.
const ORDER_ITEMS_MAX: usize = 30;
/// Share of the items that is forgotten when there are too many: one in so many.
const ITEMS_FORGOTTEN_ONE_IN: usize = 10;
/// What a view, a cart and a purchase count as demand.
const DEMAND: [f64; 3] = [1.0, 3.0, 10.0];

/// A visitor acts on an item.
#[derive(Clone, Copy, Debug)]
pub struct Click<'a> {
    /// Name of the session.
    pub session: &'a str,
    /// Name of the visitor, when there is one: what is bought and what lies in the cart are kept under it.
    pub visitor: Option<&'a str>,
    /// Name of the item.
    pub item: &'a str,
    /// Category of the item, when it is told.
    pub category: Option<&'a str>,
    /// What was done.
    pub action: Action,
    /// When, event time.
    pub time: Timestamp,
}

/// How much is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Sessions alive.
    pub sessions: usize,
    /// Items known.
    pub items: usize,
    /// Visitors known.
    pub visitors: usize,
}

/// The recommender.
#[derive(Clone, Debug)]
pub struct Recommender {
    pub(crate) settings: Settings,
    pub(crate) items: Names,
    pub(crate) categories: Names,
    warehouses: Names,
    pub(crate) catalogue: Vec<Entry>,
    pub(crate) index: Index,
    pub(crate) trend: Trend,
    pub(crate) visitors: Visitors,
    pub(crate) baskets: Vec<Successors>,
}

impl Recommender {
    /// One that knows nothing yet.
    ///
    /// # Errors
    /// A setting that cannot work.
    pub fn new(settings: Settings) -> Result<Self, SettingsError> {
        settings.check()?;
        Ok(Recommender {
            items: Names::default(),
            categories: Names::default(),
            warehouses: Names::default(),
            catalogue: Vec::new(),
            index: Index::new(settings.index.clone()),
            trend: Trend::default(),
            visitors: Visitors::default(),
            baskets: Vec::new(),
            settings,
        })
    }

    /// The settings it runs with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Changes how it answers (weights, placements); the sizes stay as they are.
    ///
    /// # Errors
    /// A setting that cannot work.
    pub fn set(&mut self, settings: Settings) -> Result<(), SettingsError> {
        settings.check()?;
        self.settings = Settings { index: self.settings.index.clone(), ..settings };
        Ok(())
    }

    /// How much is kept.
    pub fn size(&self) -> Size {
        Size { sessions: self.index.sessions() as usize, items: self.items.len(), visitors: self.visitors.len() }
    }

    /// The latest event time it has seen.
    pub fn now(&self) -> Option<Timestamp> {
        (self.index.now.0 != i64::MIN).then_some(self.index.now)
    }

    /// Takes a click in: it counts in the next answer.
    pub fn click(&mut self, click: &Click<'_>) {
        let item = self.item(click.item);
        self.file(item, click.category);
        self.index.click(click.session, item, click.action, click.time);
        let category = self.catalogue[item as usize].category;
        self.trend.add(&self.settings.trend, item, category, DEMAND[click.action as usize], click.time);
        if let Some(visitor) = click.visitor {
            self.visitors.entry(visitor, self.settings.visitors_max).did(item, click.action, click.time);
        }
    }

    /// An item is taken out of the cart.
    pub fn removed_from_cart(&mut self, visitor: &str, item: &str) {
        if let (Some(item), Some(_)) = (self.items.find(item), self.visitors.find(visitor)) {
            self.visitors.entry(visitor, self.settings.visitors_max).took_out_of_cart(item);
        }
    }

    /// An order: its items were bought together. `lines`: item and category.
    pub fn order(
        &mut self,
        session: Option<&str>,
        visitor: Option<&str>,
        lines: &[(&str, Option<&str>)],
        time: Timestamp,
    ) {
        let mut numbers: Vec<u32> = Vec::with_capacity(lines.len().min(ORDER_ITEMS_MAX));
        // Room first: what is numbered for this order must not be forgotten for this order.
        self.make_room(lines.len());
        for (item, category) in lines {
            let number = self.items.number(item);
            self.file(number, *category);
            if !numbers.contains(&number) && numbers.len() < ORDER_ITEMS_MAX {
                numbers.push(number);
            }
        }
        for item in &numbers {
            let category = self.catalogue[*item as usize].category;
            self.trend.add(&self.settings.trend, *item, category, DEMAND[Action::Purchase as usize], time);
            if let Some(visitor) = visitor {
                self.visitors.entry(visitor, self.settings.visitors_max).did(*item, Action::Purchase, time);
            }
            if let Some(session) = session {
                self.index.click(session, *item, Action::Purchase, time);
            }
            self.baskets.resize_with(self.items.len(), Successors::default);
            for other in numbers.iter().filter(|other| *other != item) {
                self.baskets[*item as usize].add(*other, 1.0, self.settings.index.successors_max);
            }
        }
    }

    /// Stock changes: an item without stock leaves the answers at once.
    pub fn stock(&mut self, change: &StockChange<'_>) {
        let item = self.item(change.item);
        self.file(item, change.category);
        let warehouse = self.warehouses.number(change.warehouse);
        self.catalogue[item as usize].change(warehouse, change);
    }

    /// Event time goes on without a click.
    pub fn advance(&mut self, time: Timestamp) {
        self.index.advance(time);
    }

    fn item(&mut self, name: &str) -> u32 {
        if let Some(number) = self.items.find(name) {
            return number;
        }
        self.make_room(1);
        self.items.number(name)
    }

    fn file(&mut self, item: u32, category: Option<&str>) {
        self.catalogue.resize_with(self.items.len(), Entry::default);
        if let Some(category) = category {
            self.catalogue[item as usize].category = Some(self.categories.number(category));
        }
    }

    /// Makes room for new items: the tenth that was clicked longest ago is forgotten, in one pass over everything. Items without
    /// stock are kept as long as there are others: forgotten, they would seem to be there again.
    fn make_room(&mut self, wanted: usize) {
        let most = self.settings.index.items_max;
        if self.items.len() + wanted <= most {
            return;
        }
        let leaving = (most / ITEMS_FORGOTTEN_ONE_IN).max(wanted).min(self.items.len());
        let mut by_age: Vec<u32> = (0..self.items.len() as u32).collect();
        by_age.sort_by_key(|item| {
            let last = self.index.items.get(*item as usize).map_or(Timestamp(i64::MIN), |item| item.last);
            (self.catalogue[*item as usize].is_out_of_stock(), last)
        });
        let mut kept: Vec<bool> = vec![true; self.items.len()];
        by_age.iter().take(leaving).for_each(|item| kept[*item as usize] = false);
        let mut next = 0;
        let numbers: Vec<Option<u32>> = kept
            .iter()
            .map(|kept| {
                let number = kept.then_some(next);
                next += u32::from(*kept);
                number
            })
            .collect();
        self.renumber(&numbers, next as usize);
    }

    fn renumber(&mut self, numbers: &[Option<u32>], kept: usize) {
        self.items.renumber(numbers);
        self.index.renumber_items(numbers);
        self.trend.renumber(numbers, kept);
        self.visitors.renumber(numbers);
        let catalogue = std::mem::take(&mut self.catalogue);
        self.catalogue = kept_of(catalogue, numbers);
        let baskets = std::mem::take(&mut self.baskets);
        self.baskets = kept_of(baskets, numbers);
        self.baskets.iter_mut().for_each(|row| row.renumber(numbers));
    }

    /// The steps of a session, oldest first; empty when it is not known.
    pub(crate) fn steps(&self, session: &str) -> (&[Step], Option<u32>) {
        match self.index.find(session) {
            Some(number) => (&self.index.session(number).steps, Some(number)),
            None => (&[], None),
        }
    }

    /// All it knows as bytes, its settings left out.
    pub fn snapshot(&self) -> Vec<u8> {
        let mut out = Vec::new();
        MAGIC.store(&mut out);
        // Sessions lie in slots by this capacity.
        self.settings.index.sessions_max.store(&mut out);
        self.items.store(&mut out);
        self.categories.store(&mut out);
        self.warehouses.store(&mut out);
        self.catalogue.store(&mut out);
        self.index.store(&mut out);
        self.trend.store(&mut out);
        self.visitors.store(&mut out);
        self.baskets.store(&mut out);
        checksum(&out).store(&mut out);
        out
    }

    /// Reads back what [`Recommender::snapshot`] gave: the same answers, to the bit, and the same state after the same events.
    ///
    /// # Errors
    /// The bytes are no such state, or one of another `sessions_max`: read the topics again then.
    pub fn restore(settings: Settings, bytes: &[u8]) -> Result<Self, RestoreError> {
        let (bytes, told) = bytes.split_last_chunk().ok_or(RestoreError::CutOff(bytes.len()))?;
        let mut from = Bytes::new(bytes);
        if u64::restore(&mut from)? != MAGIC {
            return Err(RestoreError::Unreadable("another version wrote it, or something else"));
        }
        if checksum(bytes) != u64::from_le_bytes(*told) {
            return Err(RestoreError::Unreadable("its checksum does not fit: it is cut off or was changed"));
        }
        if usize::restore(&mut from)? != settings.index.sessions_max {
            return Err(RestoreError::Unreadable("it was written with another index.sessions_max"));
        }
        let restored = Recommender {
            items: Stored::restore(&mut from)?,
            categories: Stored::restore(&mut from)?,
            warehouses: Stored::restore(&mut from)?,
            catalogue: Stored::restore(&mut from)?,
            index: Index::restore(settings.index.clone(), &mut from)?,
            trend: Stored::restore(&mut from)?,
            visitors: Stored::restore(&mut from)?,
            baskets: Stored::restore(&mut from)?,
            settings,
        };
        let items = restored.items.len();
        if !from.is_over() || restored.index.items.len() > items || restored.catalogue.len() > items {
            return Err(RestoreError::Unreadable("its parts do not fit each other"));
        }
        Ok(restored)
    }
}

/// FNV-1a over words of eight bytes, each turned so that high bits count too.
fn checksum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mix = |hash: u64, word: u64| (hash ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
    let hash = words.iter().fold(0xcbf2_9ce4_8422_2325, |hash, word| mix(hash, u64::from_le_bytes(*word)));
    rest.iter().fold(hash, |hash, byte| mix(hash, u64::from(*byte)))
}

fn kept_of<T>(all: Vec<T>, numbers: &[Option<u32>]) -> Vec<T> {
    all.into_iter().zip(numbers).filter(|(_, number)| number.is_some()).map(|(value, _)| value).collect()
}
