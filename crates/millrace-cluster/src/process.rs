//! Processes: started on their own, known by id and start time, read from `/proc`, signalled.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use crate::Error;

/// How often something that is waited for is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Longest wait for a connection to a port of this machine.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// Longest wait for a process to be gone after SIGKILL.
const KILL_LIMIT: Duration = Duration::from_secs(20);

/// A process, unmistakably: an id alone may have been given to another one by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProcessId {
    /// Its id.
    pub pid: u32,
    /// When it was started, clock ticks since the machine's start (field 22 of `/proc/PID/stat`).
    pub started_ticks: u64,
}

/// What is started, and how.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
    /// Its working folder.
    pub(crate) dir: PathBuf,
    /// Takes its output; appended to.
    pub(crate) log: PathBuf,
    /// User and group id, if not ours.
    pub(crate) owner: Option<(u32, u32)>,
}

/// The fields of `/proc/PID/stat` that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// `R`, `S`, `Z` …
    pub state: char,
    /// Id of the parent.
    pub parent: u32,
    /// See [`ProcessId::started_ticks`].
    pub started_ticks: u64,
}

/// Reads `/proc/PID/stat`. The program's name in it may have blanks and brackets of its own.
pub fn parse_stat(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    // Fields 3 and 4 are read; 22 is the eighteenth after them.
    let started_ticks = fields.nth(17)?.parse().ok()?;
    Some(Stat { state, parent, started_ticks })
}

/// Reads a figure of `/proc/PID/status`, KiB: `VmRSS`, `RssAnon`.
pub fn parse_status_kib(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    value.split_ascii_whitespace().next()?.parse().ok()
}

/// Reads `/proc/PID/cmdline`.
pub fn parse_command_line(bytes: &[u8]) -> Vec<String> {
    let words = bytes.split(|byte| *byte == 0).filter(|word| !word.is_empty());
    words.map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

fn stat(pid: u32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

impl ProcessId {
    /// The process that has this id now.
    pub fn of(pid: u32) -> Option<Self> {
        stat(pid).map(|stat| ProcessId { pid, started_ticks: stat.started_ticks })
    }

    /// Whether it still runs. One that has ended and was not yet waited for does not.
    pub fn is_alive(self) -> bool {
        stat(self.pid).is_some_and(|stat| stat.started_ticks == self.started_ticks && !matches!(stat.state, 'Z' | 'X'))
    }

    /// Memory it has in RAM, KiB. Children count with what is only theirs.
    pub fn memory_kib(self, children: &[ProcessId]) -> u64 {
        let figure = |pid: u32, name: &str| {
            let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            parse_status_kib(&text, name).unwrap_or(0)
        };
        figure(self.pid, "VmRSS") + children.iter().map(|child| figure(child.pid, "RssAnon")).sum::<u64>()
    }

    /// All that come from it.
    pub fn descendants(self) -> Vec<ProcessId> {
        let all: Vec<(u32, Stat)> = pids().filter_map(|pid| Some((pid, stat(pid)?))).collect();
        let mut family = BTreeSet::from([self.pid]);
        let mut found = Vec::new();
        loop {
            let before = found.len();
            for (pid, stat) in &all {
                if family.contains(&stat.parent) && family.insert(*pid) {
                    found.push(ProcessId { pid: *pid, started_ticks: stat.started_ticks });
                }
            }
            if found.len() == before {
                return found;
            }
        }
    }

    pub(crate) fn signal(self, signal: Signal) {
        if !self.is_alive() {
            return;
        }
        if let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) {
            // It may end between the look and the signal: then it is what was wanted.
            kill_process(pid, signal).ok();
        }
    }

    /// Whether it has ended within the limit.
    pub(crate) fn ends_within(self, limit: Duration) -> bool {
        until(limit, || !self.is_alive())
    }

    /// SIGKILL, and waits until it is gone.
    ///
    /// # Errors
    /// It is still there: it waits for a disk, or belongs to another user.
    pub(crate) fn kill(self) -> Result<(), Error> {
        self.signal(Signal::KILL);
        if self.ends_within(KILL_LIMIT) {
            return Ok(());
        }
        let what = format!("killing process {}", self.pid);
        Err(Error::failed(what, format!("it is still there after {} s", KILL_LIMIT.as_secs())))
    }

    /// Asks it to end with the signal and kills it when it has not within the limit.
    pub(crate) fn stop(self, signal: Signal, limit: Duration) -> Result<(), Error> {
        self.signal(signal);
        if self.ends_within(limit) { Ok(()) } else { self.kill() }
    }
}

fn pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Processes whose working folder is below `dir`, with their command lines.
pub(crate) fn working_below(dir: &Path) -> Vec<(ProcessId, Vec<String>)> {
    let at_work = |pid: &u32| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(dir));
    let known = pids().filter(at_work).filter_map(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        Some((ProcessId::of(pid)?, parse_command_line(&line)))
    });
    known.filter(|(process, _)| process.is_alive()).collect()
}

/// Looks every now and then until it holds; whether it does within the limit.
pub(crate) fn until(limit: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    loop {
        if holds() {
            return true;
        }
        if begun.elapsed() > limit {
            return false;
        }
        std::thread::park_timeout(LOOK_EVERY);
    }
}

/// Whether something listens on the port of 127.0.0.1.
pub fn port_is_open(port: u16) -> bool {
    TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), CONNECT_LIMIT).is_ok()
}

/// Starts it in a session of its own: it outlives us and hears no Ctrl-C of our terminal.
pub(crate) fn spawn(launch: &Launch) -> Result<ProcessId, Error> {
    let name = launch.program.display().to_string();
    let log = OpenOptions::new().create(true).append(true).open(&launch.log);
    let log = log.map_err(Error::io("write", &launch.log))?;
    let errors = log.try_clone().map_err(Error::io("write", &launch.log))?;
    // `setsid` becomes the program: the process id stays.
    let mut command = Command::new("setsid");
    command.arg(&launch.program).args(&launch.args).envs(launch.environment.iter().cloned());
    command.current_dir(&launch.dir).stdin(Stdio::null()).stdout(log).stderr(errors);
    if let Some((user, group)) = launch.owner {
        command.uid(user).gid(group);
    }
    let mut child = command.spawn().map_err(|e| Error::failed(format!("starting {name}"), e))?;
    let started = ProcessId::of(child.id());
    // Waits for its end, so that it does not stay as a zombie for as long as we live.
    std::thread::spawn(move || child.wait());
    started.ok_or_else(|| Error::failed(format!("starting {name}"), "it ended at once"))
}

/// Runs a program to its end with `input` on its standard input; what it wrote to its standard output.
pub(crate) fn run(command: &mut Command, what: &str, package: &'static str, input: &str) -> Result<String, Error> {
    let program = command.get_program().to_string_lossy().into_owned();
    let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = spawned.map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Error::Missing { what: program.clone(), package },
        _ => Error::failed(format!("{what} ({program})"), e),
    })?;
    if let Some(mut stdin) = child.stdin.take() {
        let input = input.to_owned();
        // In a thread: it may write before it reads. One that does not read its input is no error.
        std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    }
    let output = child.wait_with_output().map_err(|e| Error::failed(what, e))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(said);
    }
    let complained = String::from_utf8_lossy(&output.stderr);
    Err(Error::failed(what, format!("{program} ended with {}:\n{said}{complained}", output.status)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_behind_the_programs_name() {
        let line = "4242 (a) b (c) S 17 4242 4242 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 33 0 987654 9 8 7";
        assert_eq!(parse_stat(line), Some(Stat { state: 'S', parent: 17, started_ticks: 987_654 }));
        assert_eq!(parse_stat("4242 (a) S 17"), None);
    }

    #[test]
    fn memory_is_read_from_status() {
        let text = "Name:\tjava\nVmRSS:\t  345678 kB\nRssAnon:\t 1000 kB\n";
        assert_eq!(parse_status_kib(text, "VmRSS"), Some(345_678));
        assert_eq!(parse_status_kib(text, "VmSwap"), None);
    }

    #[test]
    fn a_command_line_is_split_at_its_zeros() {
        assert_eq!(parse_command_line(b"java\0-cp\0a b\0"), ["java", "-cp", "a b"]);
    }

    #[test]
    fn a_reused_id_is_not_the_process() {
        let own = ProcessId::of(std::process::id()).unwrap();
        assert!(own.is_alive());
        let other = ProcessId { started_ticks: own.started_ticks + 1, ..own };
        assert!(!other.is_alive());
        // Does nothing: this test would not come to its end otherwise.
        other.signal(Signal::KILL);
    }

    #[test]
    fn a_started_process_is_its_own_session_and_dies_when_told() {
        let folder = tempfile::tempdir().unwrap();
        let launch = Launch {
            program: "sh".into(),
            args: vec!["-c".into(), "echo $GREETING; sleep 600 & wait".into()],
            environment: vec![("GREETING".into(), "hello".into())],
            dir: folder.path().into(),
            log: folder.path().join("log"),
            owner: None,
        };
        let process = spawn(&launch).unwrap();
        assert!(until(Duration::from_secs(20), || process.descendants().len() == 1));
        let sleeper = process.descendants()[0];
        let text = fs::read_to_string(format!("/proc/{}/stat", process.pid)).unwrap();
        let session: u32 = text.rsplit_once(')').unwrap().1.split(' ').nth(4).unwrap().parse().unwrap();
        assert_eq!(session, process.pid);
        assert_eq!(fs::read_to_string(&launch.log).unwrap(), "hello\n");
        assert_eq!(working_below(folder.path()).len(), 2);
        process.kill().unwrap();
        assert!(!process.is_alive() && sleeper.is_alive());
        sleeper.stop(Signal::TERM, Duration::from_secs(20)).unwrap();
        assert!(!sleeper.is_alive());
    }

    #[test]
    fn a_failing_program_tells_all_it_wrote_and_a_missing_one_its_package() {
        let failed = run(Command::new("sh").args(["-c", "cat; echo why >&2; exit 3"]), "trying", "dash", "said ");
        let text = failed.unwrap_err().to_string();
        assert!(text.contains("trying failed") && text.contains("said why"), "{text}");
        let text = run(&mut Command::new("no-such-program"), "trying", "some-package", "").unwrap_err().to_string();
        assert_eq!(text, "no-such-program is missing; install it: apt-get install some-package");
    }
}
