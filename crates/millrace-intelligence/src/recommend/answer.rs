//! Questions and answers: what a placement asks of the index, what it may show, and why an item is shown.

use super::index::{Action, Step};
use super::query::{Scored, Scratch, best_first};
use super::recommender::Recommender;
use super::settings::{Kind, Placement};

/// Most items of an answer.
pub const COUNT_MAX: usize = 200;
/// More candidates than asked for, when some may be put back for variety.
const VARIETY_FACTOR: usize = 4;
/// Shared items told as evidence of a recommendation.
const EVIDENCE_MAX: usize = 3;

/// What is asked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Question<'a> {
    /// Name of the placement.
    pub placement: &'a str,
    /// Name of the session; what it holds is known from its clicks.
    pub session: Option<&'a str>,
    /// Items of a session that is not in the index, oldest first; instead of `session`.
    pub items: &'a [&'a str],
    /// Name of the visitor.
    pub visitor: Option<&'a str>,
    /// The item being looked at.
    pub product: Option<&'a str>,
    /// Items wanted; 0: as many as the placement says.
    pub count: usize,
    /// Say why.
    pub evidence: bool,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuestionError {
    /// There is no such placement.
    #[error("no placement is called `{name}`; there are {known}")]
    UnknownPlacement {
        /// What was asked for.
        name: String,
        /// Those there are.
        known: String,
    },
    /// The placement needs to know more.
    #[error("placement `{placement}` needs {needs}")]
    Missing {
        /// The placement.
        placement: String,
        /// What is to be named.
        needs: &'static str,
    },
}

/// Where a recommendation comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Sessions like this one, and what followed its items in others.
    Sessions,
    /// Orders that hold both.
    Orders,
    /// It lies in the cart.
    Cart,
    /// In demand in the category.
    CategoryTrend,
    /// In demand in the store.
    StoreTrend,
    /// The placement puts it first.
    Pinned,
}

impl Reason {
    /// Its name in answers.
    pub fn name(self) -> &'static str {
        match self {
            Reason::Sessions => "sessions",
            Reason::Orders => "orders",
            Reason::Cart => "cart",
            Reason::CategoryTrend => "category_trend",
            Reason::StoreTrend => "store_trend",
            Reason::Pinned => "pinned",
        }
    }
}

/// An item of this session that speaks for a recommendation.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    /// The item.
    pub item: String,
    /// Sessions like this one that hold both; for orders, orders that hold both.
    pub together: u32,
    /// How often the recommended item followed it within a few clicks, nearer clicks counting more.
    pub followed: f32,
}

/// A recommended item.
#[derive(Clone, Debug, PartialEq)]
pub struct Recommendation {
    /// Name of the item.
    pub item: String,
    /// Comparable within an answer only.
    pub score: f32,
    /// Where it comes from.
    pub reason: Reason,
    /// What speaks for it, the strongest first; empty for trends and pins.
    pub evidence: Vec<Evidence>,
}

/// An answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// Recommendations, best first.
    pub items: Vec<Recommendation>,
}

/// An item of an answer by its number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ranked {
    pub(crate) item: u32,
    pub(crate) score: f32,
    pub(crate) reason: Reason,
}

/// The working memory of questions: one a thread, used again.
#[derive(Debug, Default)]
pub struct Workspace {
    scratch: Scratch,
    steps: Vec<Step>,
    pub(crate) ranked: Vec<Ranked>,
}

/// What may be shown, in numbers.
struct Allowed<'a> {
    of: &'a Recommender,
    placement: &'a Placement,
    current: Option<u32>,
    seen: &'a [Step],
    bought: &'a [u32],
    blocked: Vec<u32>,
    blocked_categories: Vec<u32>,
    /// Item or category, and factor.
    boosts: Vec<(Option<u32>, Option<u32>, f32)>,
}

impl<'a> Allowed<'a> {
    fn new(of: &'a Recommender, placement: &'a Placement, seen: &'a [Step], bought: &'a [u32]) -> Self {
        let boosts = placement.boosts.iter().filter_map(|boost| {
            // A boost of what is not known yet has nothing to act on.
            let item = boost.product.as_deref().map(|name| of.items.find(name));
            let category = boost.category.as_deref().map(|name| of.categories.find(name));
            let known = item != Some(None) && category != Some(None) && (item.is_some() || category.is_some());
            known.then(|| (item.flatten(), category.flatten(), boost.factor))
        });
        Allowed {
            of,
            placement,
            current: seen.last().map(|step| step.item()),
            seen,
            bought: if placement.bought_allowed { &[] } else { bought },
            blocked: placement.blocked.iter().filter_map(|name| of.items.find(name)).collect(),
            blocked_categories: placement
                .blocked_categories
                .iter()
                .filter_map(|name| of.categories.find(name))
                .collect(),
            boosts: boosts.collect(),
        }
    }

    fn allows(&self, item: u32) -> bool {
        let is_current = self.current == Some(item);
        if is_current && !self.placement.current_allowed && self.placement.kind != Kind::CartReminder {
            return false;
        }
        if !is_current && !self.placement.repeats_allowed && self.seen.iter().any(|step| step.item() == item) {
            return false;
        }
        if self.bought.contains(&item) || self.blocked.contains(&item) {
            return false;
        }
        let Some(entry) = self.of.catalogue.get(item as usize) else { return true };
        let is_blocked = entry.category.is_some_and(|category| self.blocked_categories.contains(&category));
        !is_blocked && (self.placement.out_of_stock_allowed || !entry.is_out_of_stock())
    }

    /// The score with the boosts; `None`: not to be shown.
    fn adjust(&self, item: u32, score: f32) -> Option<f32> {
        if !self.allows(item) {
            return None;
        }
        if self.boosts.is_empty() {
            return Some(score);
        }
        let category = self.of.catalogue.get(item as usize).and_then(|entry| entry.category);
        let applies = |of: &&(Option<u32>, Option<u32>, f32)| {
            of.0.is_none_or(|boosted| boosted == item) && of.1.is_none_or(|boosted| Some(boosted) == category)
        };
        let factor: f32 = self.boosts.iter().filter(applies).map(|boost| boost.2).product();
        (factor > 0.0).then_some(score * factor)
    }
}

impl Recommender {
    /// Answers a question.
    ///
    /// # Errors
    /// There is no such placement, or it needs to know more.
    pub fn recommend(&self, space: &mut Workspace, question: &Question<'_>) -> Result<Answer, QuestionError> {
        self.rank(space, question)?;
        let mut items: Vec<Recommendation> = space
            .ranked
            .iter()
            .map(|ranked| Recommendation {
                item: self.items.name(ranked.item).to_owned(),
                score: ranked.score,
                reason: ranked.reason,
                evidence: Vec::new(),
            })
            .collect();
        if question.evidence {
            self.explain(space, &mut items);
        }
        Ok(Answer { items })
    }

    /// The answer in numbers, in `space.ranked`.
    pub(crate) fn rank(&self, space: &mut Workspace, question: &Question<'_>) -> Result<(), QuestionError> {
        let placement = self.placement(question)?;
        let product = question.product.and_then(|name| self.items.find(name));
        let visitor = question.visitor.and_then(|name| self.visitors.find(name));
        let own = self.fill_steps(space, question, placement, product);
        let steps = std::mem::take(&mut space.steps);
        let bought = visitor.map_or(&[][..], |visitor| &visitor.bought);
        let allowed = Allowed::new(self, placement, &steps, bought);
        let count = if question.count == 0 { placement.count } else { question.count }.min(COUNT_MAX);
        let wanted = if placement.category_max > 0 { count * VARIETY_FACTOR } else { count };
        let weights = placement.next.as_ref().unwrap_or(&self.settings.next);
        let scratch = &mut space.scratch;
        let reason = match placement.kind {
            Kind::Next | Kind::Similar | Kind::Visitor => {
                scratch.next(&self.index, weights, &steps, own, wanted, |item, score| allowed.adjust(item, score));
                Reason::Sessions
            }
            Kind::BoughtTogether => {
                let cart = visitor.map_or(&[][..], |visitor| &visitor.cart);
                let of: Vec<u32> = product.into_iter().chain(cart.iter().map(|held| held.0)).collect();
                scratch.start(&self.index, &of);
                self.bought_together(scratch, &of, &allowed);
                Reason::Orders
            }
            Kind::Trending => {
                scratch.start(&self.index, &[]);
                Reason::StoreTrend
            }
            Kind::CartReminder => {
                scratch.start(&self.index, &[]);
                let cart = visitor.map_or(&[][..], |visitor| &visitor.cart);
                let held = cart.iter().rev().enumerate().filter_map(|(place, held)| {
                    Some(Scored { item: held.0, score: allowed.adjust(held.0, 1.0 / (place + 1) as f32)? })
                });
                scratch.scored.extend(held);
                Reason::Cart
            }
        };
        best_first(&mut scratch.scored, wanted);
        space.ranked.clear();
        let pins = placement.pins.iter().filter_map(|name| self.items.find(name)).filter(|item| allowed.allows(*item));
        space.ranked.extend(pins.map(|item| Ranked { item, score: 0.0, reason: Reason::Pinned }));
        for scored in &scratch.scored {
            push(&mut space.ranked, scored.item, scored.score, reason);
        }
        self.vary(placement, &mut space.ranked, count);
        if placement.fallback && space.ranked.len() < count {
            let category_of = |item: u32| self.catalogue.get(item as usize).and_then(|entry| entry.category);
            let category = product.or(steps.last().map(|step| step.item())).and_then(category_of);
            self.fill_up(&mut space.ranked, count, category, &allowed);
        }
        space.ranked.truncate(count);
        drop(allowed);
        space.steps = steps;
        Ok(())
    }

    fn placement(&self, question: &Question<'_>) -> Result<&Placement, QuestionError> {
        let placements = &self.settings.placements;
        let placement = placements.get(question.placement).ok_or_else(|| QuestionError::UnknownPlacement {
            name: question.placement.to_owned(),
            known: placements.keys().map(String::as_str).collect::<Vec<_>>().join(", "),
        })?;
        let needs = match placement.kind {
            Kind::Similar if question.product.is_none() => "a product",
            Kind::BoughtTogether if question.product.is_none() && question.visitor.is_none() => {
                "a product or a visitor"
            }
            Kind::Visitor | Kind::CartReminder if question.visitor.is_none() => "a visitor",
            _ => return Ok(placement),
        };
        Err(QuestionError::Missing { placement: question.placement.to_owned(), needs })
    }

    /// The steps the question is about, in `space.steps`; gives the session they are of.
    fn fill_steps(
        &self,
        space: &mut Workspace,
        question: &Question<'_>,
        placement: &Placement,
        product: Option<u32>,
    ) -> Option<u32> {
        space.steps.clear();
        let (steps, own) = question.session.map_or((&[][..], None), |session| self.steps(session));
        match placement.kind {
            Kind::Similar | Kind::BoughtTogether => {}
            Kind::Visitor => {
                let visitor = question.visitor.and_then(|name| self.visitors.find(name));
                space.steps.extend(visitor.map_or(&[][..], |visitor| &visitor.steps));
            }
            Kind::Next | Kind::Trending | Kind::CartReminder => {
                space.steps.extend(steps);
                let named = question.items.iter().filter_map(|name| self.items.find(name));
                space.steps.extend(named.map(|item| Step::new(item, Action::View)));
            }
        }
        // The product being looked at is the newest step, also when its click has not come yet.
        if let Some(product) = product.filter(|product| space.steps.last().is_none_or(|step| step.item() != *product)) {
            space.steps.push(Step::new(product, Action::View));
        }
        own
    }

    fn bought_together(&self, scratch: &mut Scratch, of: &[u32], allowed: &Allowed<'_>) {
        let mut scores: Vec<Scored> = Vec::new();
        for item in of {
            let Some(row) = self.baskets.get(*item as usize) else { continue };
            for (other, orders) in row.entries.iter().filter(|(other, _)| !of.contains(other)) {
                let score = orders / row.total.max(1.0);
                match scores.iter_mut().find(|scored| scored.item == *other) {
                    Some(scored) => scored.score += score,
                    None => scores.push(Scored { item: *other, score }),
                }
            }
        }
        let adjusted = scores
            .iter()
            .filter_map(|scored| Some(Scored { item: scored.item, score: allowed.adjust(scored.item, scored.score)? }));
        scratch.scored.extend(adjusted);
    }

    /// Puts what would be more than `category_max` of one category behind the rest.
    fn vary(&self, placement: &Placement, ranked: &mut Vec<Ranked>, count: usize) {
        if placement.category_max == 0 {
            return;
        }
        let mut of_category: Vec<(u32, usize)> = Vec::new();
        let (mut shown, mut behind) = (Vec::with_capacity(count), Vec::new());
        for entry in ranked.drain(..) {
            let category = self.catalogue.get(entry.item as usize).and_then(|known| known.category);
            let Some(category) = category else {
                shown.push(entry);
                continue;
            };
            let at = of_category.iter().position(|known| known.0 == category).unwrap_or_else(|| {
                of_category.push((category, 0));
                of_category.len() - 1
            });
            of_category[at].1 += 1;
            let room = of_category[at].1 <= placement.category_max || entry.reason == Reason::Pinned;
            if room { &mut shown } else { &mut behind }.push(entry);
        }
        shown.append(&mut behind);
        *ranked = shown;
    }

    fn fill_up(&self, ranked: &mut Vec<Ranked>, count: usize, category: Option<u32>, allowed: &Allowed<'_>) {
        let category = category.and_then(|category| self.trend.category(category));
        let leaders = [(category, Reason::CategoryTrend), (Some(&self.trend.store), Reason::StoreTrend)];
        for (leaders, reason) in leaders {
            let Some(leaders) = leaders.filter(|_| ranked.len() < count) else { continue };
            let leading = leaders.ranked();
            let most = leading.first().map_or(1.0, |leader| leader.1);
            let mut boosted: Vec<Scored> = leading
                .iter()
                .filter_map(|(item, demand)| {
                    Some(Scored { item: *item, score: allowed.adjust(*item, (demand / most) as f32)? })
                })
                .collect();
            let all = boosted.len();
            best_first(&mut boosted, all);
            for scored in boosted {
                if ranked.len() == count {
                    break;
                }
                push(ranked, scored.item, scored.score, reason);
            }
        }
    }

    /// Says why: which items of the session are held by the sessions that voted, and what followed them.
    fn explain(&self, space: &mut Workspace, items: &mut [Recommendation]) {
        let Workspace { scratch, ranked, .. } = space;
        let looked_at: Vec<u32> = scratch.looked_at.iter().map(|(item, _)| *item).collect();
        let mut rows: Vec<(u32, usize)> = ranked.iter().enumerate().map(|(row, ranked)| (ranked.item, row)).collect();
        rows.sort_unstable();
        let mut together = vec![0u32; ranked.len() * looked_at.len()];
        let (mut shared, mut held) = (Vec::new(), Vec::new());
        for neighbour in &scratch.neighbours {
            shared.clear();
            held.clear();
            for step in &self.index.session(neighbour.session).steps {
                shared.extend(looked_at.iter().position(|item| *item == step.item()));
                held.extend(rows.binary_search_by_key(&step.item(), |row| row.0).map(|at| rows[at].1));
            }
            // A session that came back to an item holds it once.
            for places in [&mut shared, &mut held] {
                places.sort_unstable();
                places.dedup();
            }
            for row in &held {
                shared.iter().for_each(|at| together[row * looked_at.len() + at] += 1);
            }
        }
        for (row, (told, ranked)) in items.iter_mut().zip(ranked.iter()).enumerate() {
            let rows = match ranked.reason {
                Reason::Sessions => None,
                Reason::Orders => Some(&self.baskets),
                _ => continue,
            };
            for (at, item) in looked_at.iter().enumerate().filter(|(_, item)| **item != ranked.item) {
                let weight_in =
                    |row: &[(u32, f32)]| row.iter().find(|entry| entry.0 == ranked.item).map_or(0.0, |e| e.1);
                let (together, followed) = match rows {
                    None => {
                        let row_of = &self.index.items[*item as usize].successors.entries;
                        (together[row * looked_at.len() + at], weight_in(row_of))
                    }
                    Some(baskets) => {
                        (baskets.get(*item as usize).map_or(0.0, |row| weight_in(&row.entries)) as u32, 0.0)
                    }
                };
                if together > 0 || followed > 0.0 {
                    told.evidence.push(Evidence { item: self.items.name(*item).to_owned(), together, followed });
                }
            }
            told.evidence.sort_by(|a, b| b.together.cmp(&a.together).then(b.followed.total_cmp(&a.followed)));
            told.evidence.truncate(EVIDENCE_MAX);
        }
    }
}

fn push(ranked: &mut Vec<Ranked>, item: u32, score: f32, reason: Reason) {
    if ranked.iter().all(|known| known.item != item) {
        ranked.push(Ranked { item, score, reason });
    }
}
