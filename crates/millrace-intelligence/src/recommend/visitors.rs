//! What is known of a visitor: what they looked at lately, what lies in the cart, what they bought.

use std::collections::HashMap;
use std::sync::Arc;

use millrace_model::Timestamp;

use super::index::{Action, Step};
use super::stored::stored_fields;

/// Newest items looked at that are kept of a visitor.
const VIEWED_MAX: usize = 32;
/// Items in a cart that are kept.
const CART_MAX: usize = 32;
/// Newest items bought that are kept of a visitor.
const BOUGHT_MAX: usize = 128;

/// A visitor.
#[derive(Clone, Debug, Default)]
pub(crate) struct Visitor {
    pub(crate) name: Arc<str>,
    /// Items with what was done to them, the newest last.
    pub(crate) steps: Vec<Step>,
    /// Items in the cart, with the time each was put there.
    pub(crate) cart: Vec<(u32, Timestamp)>,
    pub(crate) bought: Vec<u32>,
    /// Seen since the hand passed.
    seen: bool,
}
stored_fields!(Visitor { name, steps, cart, bought, seen });

/// All visitors: at most `visitors_max`. A full house makes room by the clock: the hand goes round, who was seen since its last
/// round stays, the first who was not is forgotten.
#[derive(Clone, Debug, Default)]
pub(crate) struct Visitors {
    all: Vec<Visitor>,
    by_name: HashMap<Arc<str>, u32>,
    hand: usize,
}

impl Visitors {
    pub(crate) fn find(&self, name: &str) -> Option<&Visitor> {
        self.by_name.get(name).map(|at| &self.all[*at as usize])
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// The visitor of a name, who may be new.
    pub(crate) fn entry(&mut self, name: &str, visitors_max: usize) -> &mut Visitor {
        let at = match self.by_name.get(name) {
            Some(at) => *at as usize,
            None => self.welcome(Arc::from(name), visitors_max.max(1)),
        };
        let visitor = &mut self.all[at];
        visitor.seen = true;
        visitor
    }

    fn welcome(&mut self, name: Arc<str>, visitors_max: usize) -> usize {
        let visitor = Visitor { name: name.clone(), ..Visitor::default() };
        let at = if self.all.len() < visitors_max {
            self.all.push(visitor);
            self.all.len() - 1
        } else {
            let at = self.leaving();
            self.by_name.remove(&self.all[at].name);
            self.all[at] = visitor;
            at
        };
        self.by_name.insert(name, at as u32);
        at
    }

    fn leaving(&mut self) -> usize {
        loop {
            let at = self.hand % self.all.len();
            self.hand = at + 1;
            if !std::mem::take(&mut self.all[at].seen) {
                return at;
            }
        }
    }

    /// Items get other numbers; what has none is forgotten.
    pub(crate) fn renumber(&mut self, numbers: &[Option<u32>]) {
        let number = |item: u32| numbers.get(item as usize).copied().flatten();
        for visitor in &mut self.all {
            visitor.steps =
                visitor.steps.iter().filter_map(|step| Some(step.renumbered(number(step.item())?))).collect();
            visitor.cart = visitor.cart.iter().filter_map(|(item, time)| Some((number(*item)?, *time))).collect();
            visitor.bought = visitor.bought.iter().filter_map(|item| number(*item)).collect();
        }
    }
}

impl super::stored::Stored for Visitors {
    fn store(&self, out: &mut Vec<u8>) {
        self.all.store(out);
        self.hand.store(out);
    }

    fn restore(from: &mut super::stored::Bytes<'_>) -> Result<Self, super::stored::RestoreError> {
        let all = Vec::<Visitor>::restore(from)?;
        let hand = usize::restore(from)?;
        let by_name = all.iter().enumerate().map(|(at, visitor)| (visitor.name.clone(), at as u32)).collect();
        Ok(Visitors { all, by_name, hand })
    }
}

impl Visitor {
    pub(crate) fn did(&mut self, item: u32, action: Action, time: Timestamp) {
        self.steps.retain(|step| step.item() != item);
        keep_newest(&mut self.steps, Step::new(item, action), VIEWED_MAX);
        match action {
            Action::View => {}
            Action::Cart => {
                self.cart.retain(|held| held.0 != item);
                keep_newest(&mut self.cart, (item, time), CART_MAX);
            }
            Action::Purchase => {
                self.cart.retain(|held| held.0 != item);
                self.bought.retain(|held| *held != item);
                keep_newest(&mut self.bought, item, BOUGHT_MAX);
            }
        }
    }

    pub(crate) fn took_out_of_cart(&mut self, item: u32) {
        self.cart.retain(|held| held.0 != item);
    }
}

fn keep_newest<T>(list: &mut Vec<T>, newest: T, most: usize) {
    if list.len() >= most {
        list.remove(0);
    }
    list.push(newest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_often_is_kept_however_many_pass_by() {
        let mut visitors = Visitors::default();
        for passing in 0..10_000 {
            visitors.entry("regular", 100).did(1, Action::View, Timestamp(passing));
            visitors.entry(&format!("passing {passing}"), 100);
        }
        assert_eq!(visitors.len(), 100);
        assert!(visitors.find("regular").is_some_and(|visitor| visitor.steps.len() == 1));
        assert!(visitors.find("passing 9999").is_some() && visitors.find("passing 1").is_none());
    }

    #[test]
    fn what_is_bought_leaves_the_cart() {
        let mut visitor = Visitor::default();
        for (item, action) in [(1, Action::Cart), (2, Action::Cart), (3, Action::Cart), (1, Action::Purchase)] {
            visitor.did(item, action, Timestamp(0));
        }
        visitor.took_out_of_cart(3);
        assert_eq!(visitor.cart.iter().map(|held| held.0).collect::<Vec<_>>(), [2]);
        assert_eq!(visitor.bought, [1]);
    }
}
