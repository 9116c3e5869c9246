//! The index against a slow reference that keeps everything in lists and looks through all of it.

use std::collections::BTreeMap;

use millrace_intelligence::recommend::{Action, Click, IndexSettings, NextSettings, Question, Recommender, Settings};
use millrace_intelligence::recommend::{Placement, Workspace};

use crate::support::{Dice, seconds};

/// A session as the reference keeps it.
#[derive(Clone)]
struct Known {
    name: String,
    steps: Vec<(u32, bool)>,
    began: i64,
    last: i64,
}

/// Everything, in lists.
struct Reference {
    settings: Settings,
    all: Vec<Known>,
    /// Item, session: each time a session came to hold an item.
    held: Vec<(u32, usize)>,
    followed: BTreeMap<(u32, u32), f32>,
    returns: Vec<(f32, f32)>,
    now: i64,
}

impl Reference {
    fn first_alive(&self) -> usize {
        let capacity = self.settings.index.sessions_max.next_power_of_two();
        let by_number = self.all.len().saturating_sub(capacity);
        let horizon = self.settings.index.horizon_micros / 1_000_000;
        // In the order they began, up to the first that is young enough.
        let young = self.all.iter().position(|session| self.now - session.began <= horizon);
        by_number.max(young.unwrap_or(self.all.len()))
    }

    fn click(&mut self, name: &str, item: u32, strong: bool, at: i64) {
        self.now = self.now.max(at);
        let first = self.first_alive();
        let open = (first..self.all.len()).rev().find(|session| self.all[*session].name == name);
        let session = open.unwrap_or_else(|| {
            self.all.push(Known { name: name.into(), steps: Vec::new(), began: at, last: at });
            self.all.len() - 1
        });
        let known = &mut self.all[session];
        known.last = known.last.max(at);
        if strong && let Some(step) = known.steps.iter_mut().rev().find(|step| step.0 == item) {
            step.1 = true;
            return;
        }
        let mut different: Vec<u32> = Vec::new();
        for (held, _) in known.steps.iter().rev() {
            if !different.contains(held) {
                different.push(*held);
            }
        }
        for (place, held) in different.iter().take(16).enumerate() {
            self.returns[place].1 += 1.0;
            self.returns[place].0 += f32::from(u8::from(*held == item));
        }
        if known.steps.last().is_some_and(|step| step.0 == item) {
            return;
        }
        for (distance, (from, _)) in known.steps.iter().rev().take(self.settings.index.successor_steps).enumerate() {
            if *from != item {
                *self.followed.entry((*from, item)).or_default() += 1.0 / (distance + 1) as f32;
            }
        }
        if !different.contains(&item) {
            self.held.push((item, session));
        }
        known.steps.push((item, strong));
    }

    fn scores(&self, asked: &[u32]) -> BTreeMap<u32, f32> {
        let next = &self.settings.next;
        let mut looked_at: Vec<u32> = Vec::new();
        for item in asked.iter().rev() {
            if !looked_at.contains(item) && looked_at.len() < next.items_max {
                looked_at.push(*item);
            }
        }
        let first = self.first_alive();
        // Session, similarity, place of the newest shared item.
        let mut candidates: BTreeMap<usize, (f32, usize)> = BTreeMap::new();
        for (place, item) in looked_at.iter().enumerate() {
            let of_item: Vec<usize> = self.held.iter().filter(|held| held.0 == *item).map(|held| held.1).collect();
            let newest = of_item.iter().rev().take(self.settings.index.sessions_of_item_max);
            for session in newest.take(next.sessions_of_item_max).filter(|session| **session >= first) {
                let candidate = candidates.entry(*session).or_insert((0.0, place));
                candidate.0 += (-(place as f32) / next.similarity_places).exp();
            }
        }
        let mut neighbours: Vec<(usize, f32, usize)> = candidates
            .into_iter()
            .map(|(session, (similarity, place))| {
                let minutes = self.now / 60 - self.all[session].last / 60;
                (session, similarity * (-(minutes as f32) / (next.age_days * 1440.0)).exp(), place)
            })
            .collect();
        neighbours.sort_by(|a, b| b.1.total_cmp(&a.1).then(b.0.cmp(&a.0)));
        neighbours.truncate(next.neighbours_max);
        let mut scores: BTreeMap<u32, f32> = BTreeMap::new();
        for (session, similarity, place) in neighbours {
            let steps = &self.all[session].steps;
            let vote = similarity
                * (-(place as f32) / next.vote_places).exp()
                * (steps.len() as f32).powf(-next.length_exponent);
            let from = steps.iter().rposition(|step| step.0 == looked_at[place]).expect("it is shared");
            for (at, (item, strong)) in steps.iter().enumerate().filter(|(at, _)| *at != from) {
                let side = if at < from { next.before_weight } else { 1.0 };
                let distance = (-((at.abs_diff(from) - 1) as f32) / next.distance_clicks).exp();
                *scores.entry(*item).or_default() +=
                    vote * side * distance * if *strong { next.cart_boost } else { 1.0 };
            }
        }
        let alive = (self.all.len() - first) as f32;
        for (item, score) in &mut scores {
            let held = self.held.iter().filter(|held| held.0 == *item).count() as f32;
            *score *= 1.0 + next.rarity_weight * (alive / held.min(alive)).ln();
        }
        let total: f32 = scores.values().sum();
        scores.values_mut().filter(|_| total > 0.0).for_each(|score| *score *= (1.0 - next.rules_share) / total);
        let weights: Vec<f32> = (0..looked_at.len()).map(|place| (-(place as f32) / next.rules_places).exp()).collect();
        for (place, from) in looked_at.iter().enumerate() {
            let row: Vec<(u32, f32)> = self
                .followed
                .iter()
                .filter(|(pair, _)| pair.0 == *from)
                .map(|(pair, weight)| (pair.1, *weight))
                .collect();
            let whole: f32 = row.iter().map(|entry| entry.1).sum();
            for (item, weight) in row {
                let share = weights[place] / weights.iter().sum::<f32>() * weight / whole;
                *scores.entry(item).or_default() += next.rules_share * share;
            }
        }
        for (place, item) in looked_at.iter().enumerate().take(16) {
            let (back, there) = self.returns[place];
            if there > 0.0 {
                *scores.entry(*item).or_default() +=
                    if place == 0 { next.again_weight } else { next.return_weight } * back / (there + 20.0);
            }
        }
        scores.retain(|_, score| *score > 0.0);
        scores
    }
}

fn settings(dice: &mut Dice) -> Settings {
    let mut settings = Settings {
        index: IndexSettings {
            sessions_max: 1 << (3 + dice.below(5)),
            sessions_of_item_max: 2 + dice.below(20) as usize,
            clicks_of_session_max: 10_000,
            successors_max: 10_000,
            successor_steps: 1 + dice.below(4) as usize,
            horizon_micros: (500 + dice.below(20_000) as i64) * 1_000_000,
            ..IndexSettings::default()
        },
        next: NextSettings {
            items_max: 1 + dice.below(12) as usize,
            neighbours_max: 1 + dice.below(40) as usize,
            before_weight: dice.below(10) as f32 / 9.0,
            // Minutes matter in a stream this short.
            age_days: 0.05,
            ..NextSettings::default()
        },
        ..Settings::default()
    };
    let open =
        Placement { current_allowed: true, bought_allowed: true, fallback: false, count: 200, ..Placement::default() };
    settings.placements.insert("next".into(), open);
    settings
}

#[test]
fn answers_are_those_of_a_slow_reference() {
    let mut compared = 0;
    for seed in 1..=40 {
        let mut dice = Dice(seed);
        let settings = settings(&mut dice);
        let mut index = Recommender::new(settings.clone()).expect("good settings");
        let returns = vec![(0.0, 0.0); 16];
        let mut reference =
            Reference { settings, all: vec![], held: vec![], followed: BTreeMap::new(), returns, now: i64::MIN };
        let mut space = Workspace::default();
        let mut at = 0;
        for _ in 0..600 {
            at += dice.below(30) as i64;
            let session = format!("s{}", dice.below(12) + at as u64 / 400);
            let item = dice.below(15).min(dice.below(30)) as u32;
            let action = if dice.below(8) == 0 { Action::Cart } else { Action::View };
            let (name, visitor, category, time) = (format!("i{item}"), None, None, seconds(at));
            index.click(&Click { session: &session, visitor, item: &name, category, action, time });
            reference.click(&session, item, action != Action::View, at);
            if dice.below(10) > 0 {
                continue;
            }
            let asked: Vec<u32> = (0..1 + dice.below(6)).map(|_| dice.below(15) as u32).collect();
            let names: Vec<String> = asked.iter().map(|item| format!("i{item}")).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let known: Vec<u32> =
                asked.into_iter().filter(|item| reference.held.iter().any(|held| held.0 == *item)).collect();
            let question = Question { placement: "next", items: &names, ..Question::default() };
            let answer = index.recommend(&mut space, &question).expect("an answer");
            let expected = reference.scores(&known);
            let found: BTreeMap<u32, f32> =
                answer.items.iter().map(|found| (found.item[1..].parse().expect("a number"), found.score)).collect();
            assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "seed {seed}, time {at}");
            for (item, score) in &found {
                assert!(
                    (score - expected[item]).abs() < 1e-4,
                    "seed {seed}, time {at}, item {item}: {score} {expected:?}"
                );
            }
            assert!(answer.items.is_sorted_by(|a, b| a.score >= b.score), "best first");
            compared += found.len();
        }
    }
    assert!(compared > 10_000, "only {compared} scores were compared");
}
