//! How well the next item is predicted: the answers of the recommender that runs live, over sessions it has not seen.
//!
//! ```text
//!  static              every session:     a ─▶ ? b    a b ─▶ ? c    a b c ─▶ ? d        nothing is learnt
//!  learn as you go     clicks by time:    predict, then take the click in, as in production
//! ```
//!
//! Conventions, told with every figure: a prediction after every click but a session's last; all items are ranked; cut at `count`;
//! an event whose item may not be answered (the current one, a repeat, one never seen) is a miss, not left out.

use std::collections::HashMap;

use millrace_model::Timestamp;

use super::answer::{Question, QuestionError, Workspace};
use super::index::Action;
use super::recommender::{Click, Recommender};
use super::settings::{Kind, Placement, Settings};

/// Name of the placement that is evaluated.
const PLACEMENT: &str = "evaluated";

/// A click of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileClick {
    /// Session.
    pub session: String,
    /// Item.
    pub item: String,
    /// When.
    pub time: Timestamp,
}

/// The protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protocol {
    /// Where answers are cut.
    pub count: usize,
    /// The item just clicked may be answered.
    pub current_allowed: bool,
    /// Other items of the session may be answered.
    pub repeats_allowed: bool,
    /// Each click is learnt after it was predicted.
    pub learn: bool,
}

/// How well it went.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Quality {
    /// Predictions.
    pub events: u64,
    /// Sessions with a prediction.
    pub sessions: u64,
    /// Share of the events whose item was in the answer (HR@count, which is also recall@count).
    pub hit_rate: f64,
    /// Mean of 1 / rank; 0 where it was not in the answer (MRR@count).
    pub reciprocal_rank: f64,
    /// Mean of 1 / log2(rank + 1) (NDCG@count: one item is right).
    pub gain: f64,
    /// Share of the known items that were in an answer (coverage@count).
    pub coverage: f64,
    /// Events whose item was the one just clicked.
    pub current: u64,
    /// Events whose item was another one of the session.
    pub repeats: u64,
    /// Events whose item the recommender did not know.
    pub unknown: u64,
    /// What the caller's clock says each answer took, nanoseconds, ascending.
    pub nanoseconds: Vec<u64>,
}

impl Quality {
    /// The time within which this share of the answers came, nanoseconds; `None` without answers.
    pub fn percentile(&self, share: f64) -> Option<u64> {
        let last = self.nanoseconds.len().checked_sub(1)?;
        self.nanoseconds.get(((last as f64) * share.clamp(0.0, 1.0)).round() as usize).copied()
    }
}

/// Settings with the placement that is evaluated.
pub fn settings_for(settings: Settings, protocol: Protocol) -> Settings {
    let placement = Placement {
        kind: Kind::Next,
        count: protocol.count,
        current_allowed: protocol.current_allowed,
        repeats_allowed: protocol.repeats_allowed,
        bought_allowed: true,
        out_of_stock_allowed: true,
        ..Placement::default()
    };
    let mut settings = settings;
    settings.placements.insert(PLACEMENT.into(), placement);
    settings
}

/// In the order of time, the order of the file where times are equal.
pub fn by_time(clicks: &mut [FileClick]) {
    clicks.sort_by_key(|click| click.time);
}

/// Takes clicks in.
pub fn learn(recommender: &mut Recommender, click: &FileClick) {
    recommender.click(&Click {
        session: &click.session,
        visitor: None,
        item: &click.item,
        category: None,
        action: Action::View,
        time: click.time,
    });
}

/// Predicts the clicks of `test` (in the order of time). `clock` gives nanoseconds, `progress` is called after each click.
/// The recommender's settings come from [`settings_for`].
///
/// # Errors
/// They do not.
pub fn evaluate(
    recommender: &mut Recommender,
    test: &[FileClick],
    protocol: Protocol,
    mut clock: impl FnMut() -> u64,
    mut progress: impl FnMut(),
) -> Result<Quality, QuestionError> {
    let mut tally = Tally::default();
    let mut space = Workspace::default();
    let mut ask = |recommender: &Recommender, question: &Question<'_>, next: &str, before: &[&str]| {
        let started = clock();
        recommender.rank(&mut space, question)?;
        tally.quality.nanoseconds.push(clock().saturating_sub(started));
        let answer: Vec<u32> = space.ranked.iter().map(|ranked| ranked.item).collect();
        tally.event(recommender.items.find(next), &answer, next, before);
        Ok(())
    };
    let mut sessions: HashMap<&str, Vec<&str>> = HashMap::new();
    if protocol.learn {
        for click in test {
            let before = sessions.entry(&click.session).or_default();
            if !before.is_empty() {
                let question = Question { placement: PLACEMENT, session: Some(&click.session), ..Question::default() };
                ask(recommender, &question, &click.item, before)?;
            }
            before.push(&click.item);
            learn(recommender, click);
            progress();
        }
    } else {
        for click in test {
            sessions.entry(&click.session).or_default().push(&click.item);
        }
        for click in test {
            // A session is taken when its first click comes.
            for (at, next) in sessions
                .remove(click.session.as_str())
                .iter()
                .flat_map(|items| (1..items.len()).map(move |at| (&items[..at], items[at])))
            {
                let question = Question { placement: PLACEMENT, items: at, ..Question::default() };
                ask(recommender, &question, next, at)?;
            }
            progress();
        }
    }
    let sessions = count_sessions(test);
    Ok(tally.finish(recommender.size().items, sessions))
}

fn count_sessions(test: &[FileClick]) -> u64 {
    let mut lengths: HashMap<&str, u32> = HashMap::new();
    test.iter().for_each(|click| *lengths.entry(&click.session).or_default() += 1);
    lengths.values().filter(|length| **length > 1).count() as u64
}

#[derive(Default)]
struct Tally {
    quality: Quality,
    answered: Vec<bool>,
}

impl Tally {
    fn event(&mut self, item: Option<u32>, answer: &[u32], next: &str, before: &[&str]) {
        let quality = &mut self.quality;
        quality.events += 1;
        quality.unknown += u64::from(item.is_none());
        let is_current = before.last() == Some(&next);
        quality.current += u64::from(is_current);
        quality.repeats += u64::from(!is_current && before.contains(&next));
        if let Some(rank) = item.and_then(|item| answer.iter().position(|answered| *answered == item)) {
            quality.hit_rate += 1.0;
            quality.reciprocal_rank += 1.0 / (rank + 1) as f64;
            quality.gain += 1.0 / ((rank + 2) as f64).log2();
        }
        for item in answer {
            let at = *item as usize;
            if self.answered.len() <= at {
                self.answered.resize(at + 1, false);
            }
            self.answered[at] = true;
        }
    }

    fn finish(self, items: usize, sessions: u64) -> Quality {
        let mut quality = self.quality;
        let events = quality.events.max(1) as f64;
        quality.sessions = sessions;
        quality.hit_rate /= events;
        quality.reciprocal_rank /= events;
        quality.gain /= events;
        let answered = self.answered.iter().filter(|answered| **answered).count();
        quality.coverage = answered as f64 / items.max(1) as f64;
        quality.nanoseconds.sort_unstable();
        quality
    }
}
