//! A process run to its end, with a deadline.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Longest run of one process, seconds; fetching takes the longest.
const RUN_SECONDS_MAX: u64 = 300;

/// What it wrote to its output. An exit code other than 0 is an error with all it wrote.
pub(super) fn run(command: &mut Command, input: &str) -> Result<String, String> {
    let shown = format!("{:?}", command.get_program());
    let failed = |what: &str, e: std::io::Error| format!("{shown}: {what}: {e}");
    let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = spawned.map_err(|e| failed("cannot be started", e))?;
    if let Some(mut stdin) = child.stdin.take() {
        let input = input.to_owned();
        // In a thread: it may write before it reads. One that does not read its input is no error.
        thread::spawn(move || stdin.write_all(input.as_bytes()));
    }
    let (said, complained) = (collect(child.stdout.take()), collect(child.stderr.take()));
    let Ok(said) = said.recv_timeout(Duration::from_secs(RUN_SECONDS_MAX)) else {
        child.kill().ok();
        child.wait().ok();
        let complained = complained.recv().unwrap_or_default();
        return Err(format!("{shown} has not ended after {RUN_SECONDS_MAX} s: {complained}"));
    };
    let status = child.wait().map_err(|e| failed("cannot be waited for", e))?;
    if status.success() {
        return Ok(said);
    }
    Err(format!("{shown} ended with {status}:\n{said}{}", complained.recv().unwrap_or_default()))
}

/// Reads to the end and hands it over.
fn collect(pipe: Option<impl Read + Send + 'static>) -> mpsc::Receiver<String> {
    let (hand_over, taken) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            pipe.read_to_end(&mut bytes).ok();
        }
        hand_over.send(String::from_utf8_lossy(&bytes).into_owned()).ok();
    });
    taken
}
