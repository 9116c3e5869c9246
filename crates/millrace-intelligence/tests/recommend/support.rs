//! Small streams of clicks and short questions.

use millrace_intelligence::recommend::{Action, Answer, Click, Question, Recommender, Settings, Workspace};
use millrace_model::Timestamp;
use millrace_model::time::SECOND_MICROS;

/// Dice with a seed.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

pub(crate) fn seconds(seconds: i64) -> Timestamp {
    Timestamp(seconds * SECOND_MICROS)
}

pub(crate) fn recommender() -> Recommender {
    Recommender::new(Settings::default()).expect("good settings")
}

/// A click; a category is the part of the item's name before a slash.
pub(crate) fn click(to: &mut Recommender, session: &str, item: &str, at: i64) {
    act(to, session, item, Action::View, at);
}

pub(crate) fn act(to: &mut Recommender, session: &str, item: &str, action: Action, at: i64) {
    let category = item.split_once('/').map(|(category, _)| category);
    to.click(&Click { session, visitor: Some(session), item, category, action, time: seconds(at) });
}

/// Sessions, one a line, their items in order.
pub(crate) fn sessions(to: &mut Recommender, text: &str) {
    for (line, items) in text.trim().lines().enumerate() {
        for (at, item) in items.split_whitespace().enumerate() {
            click(to, &format!("session {line}"), item, (line * 100 + at) as i64);
        }
    }
}

pub(crate) fn ask(of: &Recommender, question: Question<'_>) -> Answer {
    of.recommend(&mut Workspace::default(), &question).expect("an answer")
}

pub(crate) fn items(of: &Recommender, question: Question<'_>) -> Vec<String> {
    ask(of, question).items.into_iter().map(|recommended| recommended.item).collect()
}

/// What comes after these items.
pub(crate) fn after<'a>(items: &'a [&'a str]) -> Question<'a> {
    Question { placement: "next", items, ..Question::default() }
}
