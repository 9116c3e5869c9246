//! Sections computed once for all pages that look at the same thing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::section::Section;

/// Different views (page and parameters) remembered.
const VIEWS_MAX: usize = 64;

type Slot = Arc<tokio::sync::Mutex<Option<(u64, Arc<Vec<Section>>)>>>;

/// Sections by view, each with the stamp of the data they were made from.
#[derive(Default)]
pub(crate) struct Memo(Mutex<HashMap<String, Slot>>);

impl Memo {
    /// The sections of a view at this stamp: remembered, or made by `make` while others who want the same wait.
    pub(crate) async fn get<F>(&self, view: &str, stamp: u64, make: F) -> Arc<Vec<Section>>
    where
        F: Future<Output = Vec<Section>>,
    {
        let slot = {
            let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if slots.len() >= VIEWS_MAX && !slots.contains_key(view) {
                slots.clear();
            }
            slots.entry(view.to_owned()).or_default().clone()
        };
        let mut slot = slot.lock().await;
        match &*slot {
            Some((made, sections)) if *made == stamp => sections.clone(),
            _ => {
                let sections = Arc::new(make.await);
                *slot = Some((stamp, sections.clone()));
                sections
            }
        }
    }
}
