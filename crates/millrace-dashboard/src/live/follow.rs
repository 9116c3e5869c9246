//! One page's stream: when to make the next event, and of what.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;

use super::clients::{Kind, Seat};
use super::{envelope, rows};
use crate::page::Page;
use crate::params::Params;
use crate::section::Sent;
use crate::shared::{Shared, now};

/// What a stream tells of.
pub(super) enum Source {
    /// The live sections of a page.
    Page { page: Page, params: Params, sent: Sent, stamp: u64 },
    /// The rows of tables, from a version on.
    Tables { names: Vec<String>, version: Option<u64> },
}

impl Source {
    pub(super) fn page(page: Page, params: Params) -> Self {
        Source::Page { page, params, sent: Sent::default(), stamp: 0 }
    }

    pub(super) fn tables(names: Vec<String>, resume: Option<u64>) -> Self {
        Source::Tables { names, version: resume }
    }

    fn tables_told(&self) -> Vec<&str> {
        match self {
            Source::Page { page, .. } => page.tables().to_vec(),
            Source::Tables { names, .. } => names.iter().map(String::as_str).collect(),
        }
    }
}

/// The state of one stream between two events.
pub(super) struct Follow {
    shared: Arc<Shared>,
    source: Source,
    seat: Seat,
    changed: watch::Receiver<u64>,
    closing: watch::Receiver<bool>,
    started: bool,
    last_push: Instant,
    last_event: Instant,
}

impl Follow {
    pub(super) fn new(shared: Arc<Shared>, source: Source, seat: Seat) -> Self {
        let (changed, closing) = (shared.changed.subscribe(), shared.closing.subscribe());
        let now = Instant::now();
        Follow { shared, source, seat, changed, closing, started: false, last_push: now, last_event: now }
    }

    /// The next event, when there is one and the socket asked for it. None ends the stream.
    pub(super) async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        let limits = &self.shared.settings.limits;
        let of_page = match &self.source {
            Source::Page { page, .. } => page.push_ms_min(),
            Source::Tables { .. } => 0,
        };
        let pause = Duration::from_millis(limits.sse_push_ms_min.max(of_page));
        let silence = Duration::from_millis(limits.sse_heartbeat_ms);
        if !self.started {
            self.started = true;
            self.changed.mark_unchanged();
            if let Some(event) = self.push(true).await {
                return Some((Ok(event), self));
            }
        }
        loop {
            let beat = tokio::select! {
                _ = self.closing.wait_for(|closing| *closing) => return None,
                changed = self.changed.changed() => {
                    changed.ok()?;
                    false
                }
                () = tokio::time::sleep_until(self.last_event + silence) => true,
            };
            // Changes that come close together go out together.
            tokio::time::sleep_until(self.last_push + pause).await;
            self.changed.mark_unchanged();
            if let Some(event) = self.push(false).await {
                return Some((Ok(event), self));
            }
            if beat {
                let event = self.event(Kind::Heartbeat, None);
                return Some((Ok(event), self));
            }
        }
    }

    /// What there is to say now; none when nothing changed.
    async fn push(&mut self, first: bool) -> Option<Bytes> {
        let shared = self.shared.clone();
        let (kind, content) = match &mut self.source {
            Source::Page { page, params, sent, stamp } => {
                let now = page.stamp(&shared);
                if !first && *stamp == now {
                    return None;
                }
                *stamp = now;
                let view = params.query(page.name());
                let sections = shared.memo.get(&view, now, page.sections(&shared, params)).await;
                if first { (Kind::Snapshot, sent.snapshot(&sections)) } else { (Kind::Delta, sent.delta(&sections)?) }
            }
            Source::Tables { names, version } => {
                let cache = shared.cache();
                let limits = &shared.settings.limits;
                let push = match *version {
                    None => Some(rows::snapshot(&cache, names, limits)),
                    Some(version) => rows::changes(&cache, names, version, limits),
                };
                *version = Some(cache.version());
                let push = push?;
                (if push.is_snapshot { Kind::Snapshot } else { Kind::Delta }, push.tables)
            }
        };
        self.last_push = Instant::now();
        if kind == Kind::Delta {
            self.note_delay();
        }
        Some(self.event(kind, Some(content)))
    }

    /// How long the newest row of this stream's tables waited here.
    fn note_delay(&self) {
        let cache = self.shared.cache();
        let tables = self.source.tables_told();
        let newest = tables.iter().filter_map(|name| cache.table(name)?.updated).max();
        if let Some(updated) = newest {
            self.seat.delayed(u64::try_from(now().0 - updated.0).unwrap_or(0));
        }
    }

    fn event(&mut self, kind: Kind, content: Option<Value>) -> Bytes {
        let mut data = envelope(&self.shared, &self.source.tables_told());
        let (name, field) = match (kind, &self.source) {
            (Kind::Snapshot, Source::Page { .. }) => ("snapshot", "sections"),
            (Kind::Snapshot, Source::Tables { .. }) => ("snapshot", "tables"),
            (Kind::Delta, Source::Page { .. }) => ("delta", "sections"),
            (Kind::Delta, Source::Tables { .. }) => ("delta", "tables"),
            (Kind::Heartbeat, _) => ("heartbeat", ""),
        };
        if let Some(content) = content {
            data.insert(field.to_owned(), content);
        }
        let mut text = format!("event: {name}\n");
        // Only rows can be resumed; a page asks for everything again.
        if let Source::Tables { version: Some(version), .. } = &self.source {
            text.push_str(&format!("id: {}-{version}\n", self.shared.run));
        }
        // JSON has no line breaks outside of its strings, and there they are escaped.
        text.push_str(&format!("data: {}\n\n", Value::Object(data)));
        self.last_event = Instant::now();
        self.seat.sent(kind, text.len());
        Bytes::from(text)
    }
}
