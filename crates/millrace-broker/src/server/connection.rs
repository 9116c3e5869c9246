//! One connection: frames in, responses out, one request at a time and in order, as Kafka does it.

use crate::node::Node;
use crate::server::dispatch::{Caller, answer};
use crate::server::frame::{FrameError, LENGTH_BYTES, frame_bytes};
use crate::stats::add;
use bytes::{Bytes, BytesMut};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};

/// Request bytes are counted in units of this many.
const UNIT_BYTES: usize = 1024;

/// The request bytes that all connections may hold at once.
#[derive(Debug, Clone)]
pub(crate) struct Inflight {
    units: Arc<Semaphore>,
    units_max: usize,
}

impl Inflight {
    pub(crate) fn new(bytes_max: usize) -> Self {
        let units_max = (bytes_max / UNIT_BYTES).clamp(1, u32::MAX as usize);
        Self { units: Arc::new(Semaphore::new(units_max)), units_max }
    }

    /// Waits until `bytes` more may be held. A request larger than the whole budget waits for all of it.
    async fn hold(&self, bytes: usize) -> Option<tokio::sync::SemaphorePermit<'_>> {
        let units = bytes.div_ceil(UNIT_BYTES).clamp(1, self.units_max);
        self.units.acquire_many(units as u32).await.ok()
    }
}

/// Why reading stopped.
enum Stop {
    /// The peer is gone, was silent for too long, or the broker shuts down.
    Quiet,
    Broken(FrameError),
}

impl From<std::io::Error> for Stop {
    fn from(_: std::io::Error) -> Self {
        Self::Quiet
    }
}

/// Serves a connection until either side ends it.
pub(crate) async fn serve(
    node: Arc<Node>,
    inflight: Inflight,
    mut stream: TcpStream,
    peer: SocketAddr,
    mut stopping: watch::Receiver<bool>,
) {
    let _ = stream.set_nodelay(true);
    let caller = Caller { peer };
    let stop = tokio::select! {
        stop = serve_requests(&node, &inflight, &mut stream, &caller) => stop,
        _ = stopping.wait_for(|stopping| *stopping) => Stop::Quiet,
    };
    if let Stop::Broken(error) = stop {
        add(&node.counters.connections_refused, 1);
        tracing::warn!(%peer, %error, "closed a connection");
    }
}

async fn serve_requests(node: &Arc<Node>, inflight: &Inflight, stream: &mut TcpStream, caller: &Caller) -> Stop {
    loop {
        match serve_one(node, inflight, stream, caller).await {
            Ok(()) => {}
            Err(stop) => return stop,
        }
    }
}

async fn serve_one(node: &Arc<Node>, inflight: &Inflight, stream: &mut TcpStream, caller: &Caller) -> Result<(), Stop> {
    let limits = &node.settings.limits;
    let idle = Duration::from_millis(limits.connection_idle_ms_max);
    let mut prefix = [0; LENGTH_BYTES];
    tokio::time::timeout(idle, stream.read_exact(&mut prefix)).await.map_err(|_| Stop::Quiet)??;
    let bytes = frame_bytes(prefix, limits.request_bytes_max).map_err(Stop::Broken)?;
    let _held = inflight.hold(bytes).await.ok_or(Stop::Quiet)?;
    let frame = tokio::time::timeout(idle, read_frame(stream, bytes)).await.map_err(|_| Stop::Quiet)??;
    add(&node.counters.bytes_in, bytes + LENGTH_BYTES);
    let response = answer(node, caller, frame).await.map_err(Stop::Broken)?;
    add(&node.counters.requests, 1);
    if let Some(response) = response {
        add(&node.counters.bytes_out, response.len());
        tokio::time::timeout(idle, stream.write_all(&response)).await.map_err(|_| Stop::Quiet)??;
    }
    Ok(())
}

/// Reads a body of `bytes`. Memory grows with what has come, not with what was announced.
async fn read_frame(stream: &mut TcpStream, bytes: usize) -> std::io::Result<Bytes> {
    const STEP_BYTES: usize = 1 << 20;
    let mut frame = BytesMut::with_capacity(bytes.min(STEP_BYTES));
    while frame.len() < bytes {
        let left = bytes - frame.len();
        frame.reserve(left.min(STEP_BYTES.max(frame.len())));
        if (&mut *stream).take(left as u64).read_buf(&mut frame).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(frame.freeze())
}
