//! Accepting connections, up to the limit.

use crate::node::Node;
use crate::server::connection::{Inflight, serve};
use crate::stats::add;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Pause after an accept that failed for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts and serves connections until told to stop.
pub(crate) async fn listen(node: Arc<Node>, listener: TcpListener, mut stopping: watch::Receiver<bool>) {
    let inflight = Inflight::new(node.settings.limits.inflight_request_bytes_max);
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(ended) = connections.join_next(), if !connections.is_empty() => {
                node.counters.connections.fetch_sub(1, Ordering::Relaxed);
                if let Err(error) = ended {
                    tracing::error!(%error, "a connection ended by a panic; the broker goes on");
                }
                continue;
            }
            _ = stopping.wait_for(|stopping| *stopping) => break,
        };
        match accepted {
            Ok((stream, peer)) if connections.len() < node.settings.limits.connections_max => {
                node.counters.connections.fetch_add(1, Ordering::Relaxed);
                connections.spawn(serve(node.clone(), inflight.clone(), stream, peer, stopping.clone()));
            }
            Ok((_, peer)) => {
                add(&node.counters.connections_refused, 1);
                tracing::warn!(%peer, limit = node.settings.limits.connections_max, "refused a connection: connections_max is reached");
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {
        node.counters.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
