//! What a job's time goes into: rows, bytes and CPU time by operator. Counted only when it was asked for.

use std::time::Duration;

use cpu_time::ThreadTime;

/// What one part of a job has done so far.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct OperatorProfile {
    /// The streaming table it works for, or the source it decodes.
    pub of: String,
    /// What it does.
    pub operator: String,
    /// Records or rows it took.
    pub rows_in: u64,
    /// Rows it gave.
    pub rows_out: u64,
    /// Bytes of records read or of rows written; 0 for what works in between.
    pub bytes: u64,
    /// CPU time of the job's thread in it, microseconds.
    pub cpu_micros: u64,
    /// Most open groups, or rows that waited for a partner, at the end of an epoch.
    pub state_groups_most: u64,
    /// Most bytes of its state at the end of an epoch, estimated.
    pub state_bytes_most: u64,
}

/// Counts of one operator. Off, it costs a comparison a batch.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meter {
    pub(crate) on: bool,
    rows_in: u64,
    rows_out: u64,
    bytes: u64,
    cpu: Duration,
    groups_most: usize,
    state_bytes_most: usize,
}

impl Meter {
    /// When a piece of work begins.
    pub(crate) fn start(&self) -> Option<ThreadTime> {
        self.on.then(ThreadTime::now)
    }

    /// A piece of work is done.
    pub(crate) fn stop(&mut self, start: Option<ThreadTime>) {
        if let Some(start) = start {
            self.cpu += start.elapsed();
        }
    }

    pub(crate) fn rows_in(&mut self, rows: usize) {
        self.rows_in += rows as u64;
    }

    pub(crate) fn rows_out(&mut self, rows: usize) {
        self.rows_out += rows as u64;
    }

    pub(crate) fn bytes(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// At the end of an epoch: the state there is.
    pub(crate) fn state(&mut self, groups: usize, bytes: usize) {
        self.groups_most = self.groups_most.max(groups);
        self.state_bytes_most = self.state_bytes_most.max(bytes);
    }

    /// CPU time so far.
    pub(crate) fn cpu(&self) -> Duration {
        self.cpu
    }

    /// Takes off what another operator did within this one's time.
    pub(crate) fn without(&mut self, nested: Duration) {
        self.cpu = self.cpu.saturating_sub(nested);
    }

    /// What was counted.
    pub(crate) fn profile(&self, of: &str, operator: &str) -> OperatorProfile {
        OperatorProfile {
            of: of.to_owned(),
            operator: operator.to_owned(),
            rows_in: self.rows_in,
            rows_out: self.rows_out,
            bytes: self.bytes,
            cpu_micros: self.cpu.as_micros() as u64,
            state_groups_most: self.groups_most as u64,
            state_bytes_most: self.state_bytes_most as u64,
        }
    }
}
