//! What comes next: sessions like this one vote, what followed its newest items elsewhere votes, and what visitors return to.
//!
//! ```text
//!  this session   … c b a            a is the newest; places back: a 0, b 1, c 2
//!  candidates     every session in the rings of a, b, c      similarity = Σ e^(−place / similarity_places) · e^(−age / age_days)
//!  neighbours     the most similar, the newer of two equals
//!  votes          of a neighbour for each of its items       similarity · e^(−newest shared place / vote_places) / length^x
//!                                                            · e^(−clicks from the shared one / distance_clicks) · rarity
//!  score          (1 − rules_share) · votes as shares + rules_share · rules as shares + return_weight · chance of a return
//! ```
//!
//! Dense arrays stamped with the number of the query stand where hash maps would: nothing is cleared between queries.
//! After VMIS-kNN, with the ages and distances of VSTAN (Garg et al., SIGIR 2019; Ludewig et al., 2020).

use super::index::{Index, RETURN_PLACES, Step, minutes};
use super::settings::NextSettings;

/// Clicks between two places of a session beyond which the distance makes no more difference.
const DISTANCES: usize = 64;
/// Chances of a return are held low until there were many more returns to be had than this.
const RETURNS_DOUBTED: f32 = 20.0;
/// Most items of a session that are looked at.
pub(crate) const ITEMS_LOOKED_AT_MAX: usize = 32;

#[derive(Clone, Copy, Debug, Default)]
struct SessionCell {
    query: u32,
    similarity: f32,
    /// Place of the newest item it shares.
    place: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct ItemCell {
    query: u32,
    score: f32,
}

/// A session like the one asked about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Neighbour {
    pub(crate) session: u32,
    pub(crate) weight: f32,
    pub(crate) place: u32,
}

/// An item and how much speaks for it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Scored {
    pub(crate) item: u32,
    pub(crate) score: f32,
}

/// The working memory of queries: one a thread, used again.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    query: u32,
    sessions: Vec<SessionCell>,
    items: Vec<ItemCell>,
    touched: Vec<u32>,
    pub(crate) neighbours: Vec<Neighbour>,
    pub(crate) scored: Vec<Scored>,
    /// Different items of the session, newest first, with their strength.
    pub(crate) looked_at: Vec<(u32, f32)>,
    /// A session that is predicted as if it were the newest: later ones do not vote, its own clicks are taken out of the rules.
    pub(crate) leave_out: Option<u32>,
    tables: Tables,
}

/// Decays by place and distance, worked out once a setting.
#[derive(Debug, Default)]
struct Tables {
    of: Option<NextSettings>,
    similarity: Vec<f32>,
    vote: Vec<f32>,
    rules: Vec<f32>,
    distance: Vec<f32>,
    length: Vec<f32>,
}

impl Tables {
    fn set(&mut self, settings: &NextSettings) {
        if self.of.as_ref() == Some(settings) {
            return;
        }
        let decay = |scale: f32, count: usize| (0..count).map(|n| (-(n as f32) / scale.max(1e-3)).exp()).collect();
        self.similarity = decay(settings.similarity_places, ITEMS_LOOKED_AT_MAX);
        self.vote = decay(settings.vote_places, ITEMS_LOOKED_AT_MAX);
        self.rules = decay(settings.rules_places, ITEMS_LOOKED_AT_MAX);
        self.distance = decay(settings.distance_clicks, DISTANCES);
        self.length = (0..=DISTANCES).map(|n| (n.max(1) as f32).powf(-settings.length_exponent)).collect();
        self.of = Some(settings.clone());
    }
}

impl Scratch {
    /// Scores what may follow these steps (oldest first); the result is in `scored`, best first, at most `count`.
    /// `own` is the session asked about, which does not vote. `adjust` gives an item's score by its place on the page; `None`:
    /// it may not be answered.
    pub(crate) fn next(
        &mut self,
        index: &Index,
        settings: &NextSettings,
        steps: &[Step],
        own: Option<u32>,
        count: usize,
        adjust: impl Fn(u32, f32) -> Option<f32>,
    ) {
        self.begin(index, settings, steps);
        self.find_neighbours(index, settings, own);
        self.vote(index, settings);
        self.add_rules(index, settings);
        self.add_returns(index, settings);
        self.rank(count, adjust);
    }

    /// Begins an answer that does not come from sessions: about these items.
    pub(crate) fn start(&mut self, index: &Index, of: &[u32]) {
        self.neighbours.clear();
        self.scored.clear();
        self.looked_at.clear();
        let known = of.iter().filter(|item| (**item as usize) < index.items.len());
        self.looked_at.extend(known.map(|item| (*item, 1.0)));
    }

    fn begin(&mut self, index: &Index, settings: &NextSettings, steps: &[Step]) {
        self.tables.set(settings);
        if self.query == u32::MAX {
            self.sessions.clear();
            self.items.clear();
            self.query = 0;
        }
        self.query += 1;
        self.sessions.resize(index.slots.len(), SessionCell::default());
        self.items.resize(index.items.len(), ItemCell::default());
        self.touched.clear();
        self.neighbours.clear();
        self.scored.clear();
        self.looked_at.clear();
        let items_max = settings.items_max.clamp(1, ITEMS_LOOKED_AT_MAX);
        for step in steps.iter().rev() {
            let strength = if step.is_strong() { settings.cart_boost } else { 1.0 };
            if let Some(known) = self.looked_at.iter_mut().find(|(item, _)| *item == step.item()) {
                known.1 = known.1.max(strength);
            } else if self.looked_at.len() < items_max {
                self.looked_at.push((step.item(), strength));
            }
        }
        self.looked_at.retain(|(item, _)| (*item as usize) < index.items.len());
    }

    fn find_neighbours(&mut self, index: &Index, settings: &NextSettings, own: Option<u32>) {
        for (place, (item, strength)) in self.looked_at.iter().enumerate() {
            let weight = self.tables.similarity[place] * strength;
            let ring = index.items[*item as usize].newest();
            for session in ring.take(settings.sessions_of_item_max) {
                // A long session may be dead and yet newer in the ring than one that began after it.
                if !index.is_alive(session) || self.leave_out.is_some_and(|newest| session > newest) {
                    continue;
                }
                let cell = &mut self.sessions[index.slot(session)];
                if cell.query == self.query {
                    cell.similarity += weight;
                } else if own != Some(session) {
                    *cell = SessionCell { query: self.query, similarity: weight, place: place as u32 };
                    self.neighbours.push(Neighbour { session, weight: 0.0, place: 0 });
                }
            }
        }
        let now = minutes(self.leave_out.map_or(index.now, |newest| index.session(newest).last));
        let per_minute = -1.0 / (settings.age_days.max(1e-3) * 24.0 * 60.0);
        for neighbour in &mut self.neighbours {
            let slot = index.slot(neighbour.session);
            let age = now.saturating_sub(index.last_minutes[slot]);
            let cell = self.sessions[slot];
            neighbour.weight = cell.similarity * (age as f32 * per_minute).exp();
            neighbour.place = cell.place;
        }
        let most = settings.neighbours_max.max(1);
        if self.neighbours.len() > most {
            let order = |a: &Neighbour, b: &Neighbour| b.weight.total_cmp(&a.weight).then(b.session.cmp(&a.session));
            self.neighbours.select_nth_unstable_by(most - 1, order);
            self.neighbours.truncate(most);
        }
        // In a fixed order: sums of floats, and so answers, come out the same after a restart.
        self.neighbours.sort_unstable_by_key(|neighbour| std::cmp::Reverse(neighbour.session));
    }

    fn vote(&mut self, index: &Index, settings: &NextSettings) {
        for at in 0..self.neighbours.len() {
            let neighbour = self.neighbours[at];
            let session = index.session(neighbour.session);
            let length = session.steps.len();
            let shared = self.looked_at[neighbour.place as usize].0;
            let vote = neighbour.weight
                * self.tables.vote[neighbour.place as usize]
                * self.tables.length[length.min(DISTANCES)];
            let Some(from) = session.steps.iter().rposition(|step| step.item() == shared) else { continue };
            for (position, step) in session.steps.iter().enumerate() {
                if position == from {
                    continue;
                }
                let distance = position.abs_diff(from);
                let side = if position < from { settings.before_weight } else { 1.0 };
                let strength = if step.is_strong() { settings.cart_boost } else { 1.0 };
                let share = vote * side * strength * self.tables.distance[(distance - 1).min(DISTANCES - 1)];
                self.add(step.item(), share);
            }
        }
        let sessions = index.sessions().max(1) as f32;
        let mut total = 0.0;
        for item in &self.touched {
            let cell = &mut self.items[*item as usize];
            let held = (index.items[*item as usize].sessions.max(1) as f32).min(sessions);
            cell.score *= 1.0 + settings.rarity_weight * (sessions / held).ln();
            total += cell.score;
        }
        if total > 0.0 {
            let share = (1.0 - settings.rules_share) / total;
            self.touched.iter().for_each(|item| self.items[*item as usize].score *= share);
        }
    }

    fn add(&mut self, item: u32, score: f32) {
        let cell = &mut self.items[item as usize];
        if cell.query == self.query {
            cell.score += score;
        } else {
            *cell = ItemCell { query: self.query, score };
            self.touched.push(item);
        }
    }

    fn add_rules(&mut self, index: &Index, settings: &NextSettings) {
        if settings.rules_share == 0.0 {
            return;
        }
        let places = self.looked_at.len();
        let whole: f32 = self.tables.rules[..places].iter().sum();
        for place in 0..places {
            let from = self.looked_at[place].0;
            let row = &index.items[from as usize].successors;
            let own = self.leave_out.map(|session| own_successors(index, session, from)).unwrap_or_default();
            let total = row.total - own.iter().map(|entry| entry.1).sum::<f32>();
            let weight = settings.rules_share * self.tables.rules[place] / (whole * total.max(1e-6));
            let inherited = if own.is_empty() { 0.0 } else { row.inherited_max(index.settings.successors_max) };
            for (item, count) in &row.entries {
                let of_own = own.iter().filter(|entry| entry.0 == *item).map(|entry| entry.1).sum::<f32>();
                let others = count - of_own;
                // In a full row a newcomer has the weight of who gave way: that much says nothing of the newcomer.
                if others > inherited + 1e-4 {
                    self.add(*item, weight * others);
                }
            }
        }
    }

    fn add_returns(&mut self, index: &Index, settings: &NextSettings) {
        for place in 0..self.looked_at.len().min(RETURN_PLACES) {
            let (back, there) = index.returns[place];
            if there > 0.0 {
                let weight = if place == 0 { settings.again_weight } else { settings.return_weight };
                self.add(self.looked_at[place].0, weight * back / (there + RETURNS_DOUBTED));
            }
        }
    }

    fn rank(&mut self, count: usize, adjust: impl Fn(u32, f32) -> Option<f32>) {
        let scored = self.touched.iter().filter_map(|item| {
            // Nothing speaks for an item without a score.
            let score = Some(self.items[*item as usize].score).filter(|score| *score > 0.0)?;
            Some(Scored { item: *item, score: adjust(*item, score)? })
        });
        self.scored.extend(scored);
        best_first(&mut self.scored, count);
    }
}

/// What a session itself has added to an item's successors.
fn own_successors(index: &Index, session: u32, from: u32) -> Vec<(u32, f32)> {
    let steps = &index.session(session).steps;
    let mut own = Vec::new();
    for at in (0..steps.len()).filter(|at| steps[*at].item() == from) {
        let followers = steps[at + 1..].iter().take(index.settings.successor_steps).enumerate();
        own.extend(followers.filter(|(_, s)| s.item() != from).map(|(n, s)| (s.item(), 1.0 / (n + 1) as f32)));
    }
    own
}

/// Keeps the `count` best, best first; the lower number of two equals.
pub(crate) fn best_first(scored: &mut Vec<Scored>, count: usize) {
    let order = |a: &Scored, b: &Scored| b.score.total_cmp(&a.score).then(a.item.cmp(&b.item));
    if scored.len() > count && count > 0 {
        scored.select_nth_unstable_by(count - 1, order);
    }
    scored.truncate(count);
    scored.sort_unstable_by(order);
}
