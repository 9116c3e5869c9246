//! Names as dense numbers: what is indexed by a number needs no hash map on the way.

use std::collections::HashMap;
use std::sync::Arc;

use super::stored::{Bytes, RestoreError, Stored};

/// Numbers names in the order they are first seen, from 0.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    names: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, u32>,
}

impl Names {
    /// The number of a name, a new one when it has none.
    pub(crate) fn number(&mut self, name: &str) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = self.names.len() as u32;
        let name: Arc<str> = Arc::from(name);
        self.names.push(name.clone());
        self.numbers.insert(name, number);
        number
    }

    /// The number of a name that has one.
    pub(crate) fn find(&self, name: &str) -> Option<u32> {
        self.numbers.get(name).copied()
    }

    /// The name behind a number this gave.
    pub(crate) fn name(&self, number: u32) -> &str {
        &self.names[number as usize]
    }

    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    /// Names get other numbers, all from 0 without a gap and in the old order; what has none is forgotten.
    pub(crate) fn renumber(&mut self, numbers: &[Option<u32>]) {
        let kept = self.names.iter().zip(numbers).filter(|(_, number)| number.is_some());
        *self = Names::from_iter(kept.map(|(name, _)| name.clone()));
    }
}

impl FromIterator<Arc<str>> for Names {
    fn from_iter<I: IntoIterator<Item = Arc<str>>>(names: I) -> Self {
        let names: Vec<Arc<str>> = names.into_iter().collect();
        let numbers = names.iter().enumerate().map(|(number, name)| (name.clone(), number as u32)).collect();
        Names { names, numbers }
    }
}

impl Stored for Names {
    fn store(&self, out: &mut Vec<u8>) {
        self.names.store(out);
    }

    fn restore(from: &mut Bytes<'_>) -> Result<Self, RestoreError> {
        Ok(Names::from_iter(Vec::<Arc<str>>::restore(from)?))
    }
}
