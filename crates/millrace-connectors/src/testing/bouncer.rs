//! A pgbouncer of one's own before a test's PostgreSQL, as Debian's package has it and with its own defaults, so that tests meet
//! what operators meet.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{Postgres, free_port, owner};

/// Where Debian's package `pgbouncer` puts it.
const BINARY: &str = "/usr/sbin/pgbouncer";
/// Longest wait for it to accept connections, seconds.
const START_SECONDS_MAX: u64 = 20;

/// A running pgbouncer. It ends when this is dropped.
#[derive(Debug)]
pub struct Bouncer {
    folder: tempfile::TempDir,
    port: u16,
    process: Option<Child>,
}

impl Bouncer {
    /// Starts one before a server. `pool_mode` is `session` or `transaction`; `connections`: to the server, a database.
    ///
    /// # Errors
    /// It is not installed (the text says which package), or does not start; the text is its log.
    pub fn start(server: &Postgres, pool_mode: &str, connections: u32) -> Result<Self, String> {
        if !Path::new(BINARY).exists() {
            return Err(format!("{BINARY} is missing; apt-get install pgbouncer"));
        }
        let folder = tempfile::Builder::new().prefix("millrace-bouncer-").tempdir().map_err(|e| e.to_string())?;
        let port = free_port()?;
        let shown = folder.path().display();
        let settings = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = trust\nauth_file = {shown}/users.txt\nlogfile = {shown}/log\n\
             pool_mode = {pool_mode}\ndefault_pool_size = {connections}\n",
            server.port()
        );
        for (name, text) in [("pgbouncer.ini", settings.as_str()), ("users.txt", "\"postgres\" \"\"\n")] {
            fs::write(folder.path().join(name), text).map_err(|e| format!("{name}: {e}"))?;
        }
        let mut bouncer = Bouncer { folder, port, process: None };
        bouncer.resume()?;
        Ok(bouncer)
    }

    /// The URL of a database through it.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// Kills it; whoever is connected loses the connection.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().ok();
            process.wait().ok();
        }
    }

    /// Starts it again, after [`stop`](Self::stop).
    ///
    /// # Errors
    /// It does not start; the text is its log.
    pub fn resume(&mut self) -> Result<(), String> {
        let mut command = Command::new(BINARY);
        command.args(["--quiet", "pgbouncer.ini"]).current_dir(self.folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // It refuses to run as root, as the server does.
        if let Some((user, group)) = owner()? {
            chown(self.folder.path(), Some(user), Some(group)).map_err(|e| format!("chown: {e}"))?;
            command.uid(user).gid(group);
        }
        self.process = Some(command.spawn().map_err(|e| format!("{BINARY}: {e}"))?);
        let start = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            let ended = self.process.as_mut().is_some_and(|process| process.try_wait().ok().flatten().is_some());
            if ended || start.elapsed() > Duration::from_secs(START_SECONDS_MAX) {
                let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
                return Err(format!("pgbouncer does not start:\n{log}"));
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        self.stop();
    }
}
