//! Weights fitted to a shop: how its visitors come back, how fast its trends age, whether order matters, is in its own sessions.
//!
//! Newest sessions are predicted one by one from those before them (with their own clicks taken out of the rules), and one weight after the other goes a step up or down as long as the answers become better by more
//! than chance. The search is a function of the index: the same index gives the same weights.

use super::index::{Index, Step};
use super::query::Scratch;
use super::recommender::Recommender;
use super::settings::{NextSettings, Placement};

/// What a hit is worth beside its reciprocal rank.
const HIT_WORTH: f32 = 1.0;
/// Rounds over all weights.
const ROUNDS: usize = 2;
/// Events of a session that are predicted at most: one long session must not outweigh ten short ones.
const EVENTS_OF_SESSION_MAX: usize = 10;
/// More events than this cost more than they say.
const EVENTS_MAX: usize = 4_000;
/// Fewer events than this say nothing.
const EVENTS_MIN: usize = 200;
/// A step is taken when the answers improve by this many standard errors of the difference.
const ERRORS_MIN: f32 = 2.0;

/// A weight and the values it may take.
struct Ladder {
    of: fn(&mut NextSettings) -> &mut f32,
    steps: &'static [f32],
}

const LADDERS: &[Ladder] = &[
    Ladder { of: |next| &mut next.return_weight, steps: &[0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0] },
    Ladder { of: |next| &mut next.before_weight, steps: &[0.1, 0.2, 0.4, 0.6, 0.8, 1.0] },
    Ladder { of: |next| &mut next.rules_share, steps: &[0.0, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 1.0] },
    Ladder { of: |next| &mut next.similarity_places, steps: &[0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0] },
    Ladder { of: |next| &mut next.vote_places, steps: &[1.0, 2.0, 3.0, 5.0, 8.0, 20.0] },
    Ladder { of: |next| &mut next.distance_clicks, steps: &[1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 15.0, 40.0] },
    Ladder { of: |next| &mut next.age_days, steps: &[3.0, 7.0, 15.0, 30.0, 60.0, 120.0, 400.0] },
    Ladder { of: |next| &mut next.rarity_weight, steps: &[0.0, 0.1, 0.2, 0.5, 1.0, 3.0] },
    Ladder { of: |next| &mut next.length_exponent, steps: &[0.0, 0.2, 0.4, 0.6, 0.8] },
    Ladder { of: |next| &mut next.rules_places, steps: &[0.5, 1.0, 2.0, 4.0] },
];

/// What fitting came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fit {
    /// Events that were predicted for each trial; 0: too few, nothing was changed.
    pub events: usize,
    /// Trials.
    pub trials: usize,
    /// Mean of 1 / rank before and after.
    pub reciprocal_rank: (f32, f32),
    /// Share of hits before and after.
    pub hit_rate: (f32, f32),
}

impl Recommender {
    /// Fits the weights of the query to the newest `sessions_max` sessions, for answers as `placement` gives them. Costs
    /// some twenty to forty answers for each of their clicks. `progress` is called after each trial.
    pub fn fit(&mut self, placement: &Placement, sessions_max: usize, mut progress: impl FnMut()) -> Fit {
        let events = events(&self.index, sessions_max);
        let mut scratch = Scratch::default();
        if events.len() < EVENTS_MIN {
            return Fit::default();
        }
        let mut best = self.settings.next.clone();
        let mut worth = trial(&self.index, &mut scratch, &best, placement, &events);
        let mut fit = Fit { events: events.len(), trials: 1, ..Fit::default() };
        (fit.reciprocal_rank.0, fit.hit_rate.0) = means(&worth);
        for _ in 0..ROUNDS {
            let before = best.clone();
            for ladder in LADDERS {
                for up in [true, false] {
                    while let Some(step) = step(ladder, &mut best, up) {
                        let mut other = best.clone();
                        *(ladder.of)(&mut other) = step;
                        let tried = trial(&self.index, &mut scratch, &other, placement, &events);
                        fit.trials += 1;
                        progress();
                        if !is_better(&tried, &worth) {
                            break;
                        }
                        (best, worth) = (other, tried);
                    }
                }
            }
            if best == before {
                break;
            }
        }
        (fit.reciprocal_rank.1, fit.hit_rate.1) = means(&worth);
        self.settings.next = best;
        fit
    }
}

/// The next value of the ladder in a direction.
fn step(ladder: &Ladder, of: &mut NextSettings, up: bool) -> Option<f32> {
    let now = *(ladder.of)(of);
    match up {
        true => ladder.steps.iter().copied().find(|step| *step > now * 1.001),
        false => ladder.steps.iter().rev().copied().find(|step| *step < now * 0.999),
    }
}

/// Sessions and places in them to predict, the newest sessions first.
fn events(index: &Index, sessions_max: usize) -> Vec<(u32, usize)> {
    let with_next = (index.first..index.next).rev().filter(|session| index.session(*session).steps.len() > 1);
    let events = with_next.take(sessions_max).flat_map(|session| {
        let steps = index.session(session).steps.len();
        (1..steps).rev().take(EVENTS_OF_SESSION_MAX).map(move |at| (session, at))
    });
    events.take(EVENTS_MAX).collect()
}

/// 1 / rank of each event's item; 0 where it is not in the answer.
fn trial(
    index: &Index,
    scratch: &mut Scratch,
    next: &NextSettings,
    placement: &Placement,
    events: &[(u32, usize)],
) -> Vec<f32> {
    let predict = |(session, at): &(u32, usize)| {
        let steps = &index.session(*session).steps;
        let (seen, wanted) = (&steps[..*at], steps[*at].item());
        let allowed = |item: u32| allows(placement, seen, item);
        scratch.leave_out = Some(*session);
        scratch.next(index, next, seen, Some(*session), placement.count, |item, score| allowed(item).then_some(score));
        let rank = scratch.scored.iter().position(|scored| scored.item == wanted);
        rank.map_or(0.0, |rank| 1.0 / (rank + 1) as f32)
    };
    let worth = events.iter().map(predict).collect();
    scratch.leave_out = None;
    worth
}

fn allows(placement: &Placement, seen: &[Step], item: u32) -> bool {
    // The index keeps no second click of the same item in a row: such events are not among those predicted.
    let is_current = seen.last().is_some_and(|step| step.item() == item);
    !is_current && (placement.repeats_allowed || seen.iter().all(|step| step.item() != item))
}

fn worth_of(reciprocal: f32) -> f32 {
    if reciprocal > 0.0 { reciprocal + HIT_WORTH } else { 0.0 }
}

/// Better by more than chance.
fn is_better(tried: &[f32], known: &[f32]) -> bool {
    let differences = || tried.iter().zip(known).map(|(tried, known)| f64::from(worth_of(*tried) - worth_of(*known)));
    let count = tried.len() as f64;
    let mean = differences().sum::<f64>() / count;
    let spread = (differences().map(|difference| (difference - mean).powi(2)).sum::<f64>() / count).sqrt();
    mean > f64::from(ERRORS_MIN) * spread / count.sqrt() && mean > 0.0
}

fn means(reciprocal: &[f32]) -> (f32, f32) {
    let count = reciprocal.len() as f32;
    let hits = reciprocal.iter().filter(|reciprocal| **reciprocal > 0.0).count() as f32;
    (reciprocal.iter().sum::<f32>() / count, hits / count)
}
