//! For integration tests of any crate: a PostgreSQL 15 of one's own, in a temporary folder, on a free loopback port.
//!
//! `Postgres::start()?.url()` is all a test needs; it ends with the value.

pub mod bouncer;
pub mod objects;
pub mod search;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Where Debian's package `postgresql-15` puts the server.
const BINARIES: &str = "/usr/lib/postgresql/15/bin";
/// Longest wait for the server to accept connections, seconds.
const START_SECONDS_MAX: u64 = 60;
/// Ports that are tried: one that was free a moment ago may be taken by now.
const PORTS_MAX: usize = 5;

/// A running server. It stops, and its folder goes, when this is dropped.
#[derive(Debug)]
pub struct Postgres {
    folder: tempfile::TempDir,
    port: u16,
    settings: Vec<String>,
    owner: Option<(u32, u32)>,
    server: Option<Child>,
}

impl Postgres {
    /// Makes a cluster and starts it, without fsync.
    ///
    /// # Errors
    /// The server is not installed (the text says which package), or does not start.
    pub fn start() -> Result<Self, String> {
        Self::start_with(&["fsync=off"])
    }

    /// As [`start`](Self::start), with these settings of `postgresql.conf`.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_with(settings: &[&str]) -> Result<Self, String> {
        if !Path::new(BINARIES).join("postgres").exists() {
            return Err(format!("{BINARIES}/postgres is missing; apt-get install postgresql-15"));
        }
        let folder = tempfile::Builder::new().prefix("millrace-pg-").tempdir().map_err(|e| e.to_string())?;
        let owner = owner()?;
        if let Some((user, group)) = owner {
            chown(folder.path(), Some(user), Some(group)).map_err(|e| format!("chown of the data folder: {e}"))?;
        }
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let mut postgres = Postgres { folder, port: 0, settings, owner, server: None };
        let made = postgres
            .command("initdb")
            .args(["--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C", "--username=postgres", "-D"])
            .arg(postgres.data())
            .output()
            .map_err(|e| format!("initdb: {e}"))?;
        if !made.status.success() {
            return Err(format!("initdb: {}", String::from_utf8_lossy(&made.stderr)));
        }
        let mut tried = 0;
        loop {
            postgres.port = free_port()?;
            tried += 1;
            match postgres.resume() {
                Err(why) if why.contains("could not bind") && tried < PORTS_MAX => {}
                started => return started.map(|()| postgres),
            }
        }
    }

    /// As [`start`](Self::start), with TLS: this certificate and its key. Connections without it are turned away, and
    /// the server answers at 127.0.0.2 too.
    ///
    /// # Errors
    /// As [`start`](Self::start); the files cannot be read.
    pub fn start_with_tls(certificate: &Path, key: &Path) -> Result<Self, String> {
        let mut postgres = Self::start_with(&["fsync=off", "listen_addresses=127.0.0.1,127.0.0.2"])?;
        postgres.stop();
        for (from, name) in [(certificate, "server.crt"), (key, "server.key")] {
            let to = postgres.data().join(name);
            fs::copy(from, &to).map_err(|e| format!("copy {}: {e}", from.display()))?;
            // The server refuses a key that others may read.
            fs::set_permissions(&to, fs::Permissions::from_mode(0o600)).map_err(|e| format!("{name}: {e}"))?;
            if let Some((user, group)) = postgres.owner {
                chown(&to, Some(user), Some(group)).map_err(|e| format!("chown of {name}: {e}"))?;
            }
        }
        let rules = "local all all trust\nhostssl all all 127.0.0.0/8 trust\n";
        fs::write(postgres.data().join("pg_hba.conf"), rules).map_err(|e| format!("pg_hba.conf: {e}"))?;
        postgres.settings.push("ssl=on".into());
        postgres.resume()?;
        Ok(postgres)
    }

    /// The URL of the database `postgres`, which every server has.
    pub fn url(&self) -> String {
        self.database_url("postgres")
    }

    /// The server's port on 127.0.0.1. User `postgres`, no password.
    pub fn port(&self) -> u16 {
        self.port
    }

    fn database_url(&self, name: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{name}", self.port)
    }

    /// Makes an empty database and gives its URL.
    ///
    /// # Errors
    /// What `createdb` says.
    pub fn create_database(&self, name: &str) -> Result<String, String> {
        let made = self
            .command("createdb")
            .args(["--username=postgres", "--host=127.0.0.1", &format!("--port={}", self.port), name])
            .output()
            .map_err(|e| format!("createdb: {e}"))?;
        if made.status.success() {
            return Ok(self.database_url(name));
        }
        Err(format!("createdb: {}", String::from_utf8_lossy(&made.stderr)))
    }

    /// Runs a script of `psql`'s in a database, as this user; what `psql` says.
    ///
    /// # Errors
    /// What `psql` says when it fails.
    pub fn script(&self, user: &str, database: &str, text: &str, variables: &[(&str, &str)]) -> Result<String, String> {
        let failed = |e: std::io::Error| format!("psql: {e}");
        let url = format!("postgres://{user}@127.0.0.1:{}/{database}", self.port);
        let mut command = self.command("psql");
        command.args(["--no-psqlrc", "--file=-", &url]).stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.args(variables.iter().map(|(name, value)| format!("--set={name}={value}")));
        let mut psql = command.spawn().map_err(failed)?;
        if let Some(mut input) = psql.stdin.take() {
            input.write_all(text.as_bytes()).map_err(failed)?;
        }
        let done = psql.wait_with_output().map_err(failed)?;
        let said = [done.stdout, done.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        if done.status.success() { Ok(said) } else { Err(said) }
    }

    /// Stops the server at once, as a crash would; its data stays for [`resume`](Self::resume).
    pub fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            // SIGQUIT, PostgreSQL's immediate shutdown: the server takes its children along, which SIGKILL would not.
            let asked = Command::new("kill").args(["-QUIT", &server.id().to_string()]).status();
            if !asked.is_ok_and(|status| status.success()) {
                server.kill().ok();
            }
            server.wait().ok();
        }
    }

    /// Kills the server without any warning; its data stays for [`resume`](Self::resume).
    pub fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().ok();
            server.wait().ok();
        }
    }

    /// Starts the server on its data, after [`stop`](Self::stop) or [`kill`](Self::kill).
    ///
    /// # Errors
    /// It does not start; the text is its log.
    pub fn resume(&mut self) -> Result<(), String> {
        let start = Instant::now();
        loop {
            match self.begin() {
                // The children of a server that was killed end by themselves, each when it next waits for something.
                Err(why)
                    if why.contains("still in use") && start.elapsed() < Duration::from_secs(START_SECONDS_MAX) =>
                {
                    std::thread::park_timeout(Duration::from_millis(100));
                }
                begun => return begun,
            }
        }
    }

    fn begin(&mut self) -> Result<(), String> {
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data()).arg("-k").arg(self.folder.path());
        command.args(["-c", "listen_addresses=127.0.0.1", "-c", &format!("port={}", self.port)]);
        command.args(["-c", "max_connections=40"]);
        for setting in &self.settings {
            command.args(["-c", setting]);
        }
        let mut server = command.stderr(Stdio::piped()).spawn().map_err(|e| format!("postgres: {e}"))?;
        let log = server.stderr.take().ok_or("postgres: its log is missing")?;
        self.server = Some(server);
        let (say, hear) = mpsc::channel();
        // Reads the log to its end, so that the server never waits for a reader.
        std::thread::spawn(move || {
            for line in BufReader::new(log).lines().map_while(Result::ok) {
                say.send(line).ok();
            }
        });
        let mut lines = Vec::new();
        while let Ok(line) = hear.recv_timeout(Duration::from_secs(START_SECONDS_MAX)) {
            if line.contains("database system is ready to accept connections") {
                return Ok(());
            }
            lines.push(line);
        }
        self.stop();
        Err(format!("postgres does not start:\n{}", lines.join("\n")))
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(Path::new(BINARIES).join(program));
        command.current_dir(self.folder.path()).stdin(Stdio::null()).stdout(Stdio::null());
        if let Some((user, group)) = self.owner {
            command.uid(user).gid(group);
        }
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
    }
}

fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|e| format!("no free port: {e}"))?;
    listener.local_addr().map(|address| address.port()).map_err(|e| format!("no free port: {e}"))
}

/// The server refuses to run as root: root runs it as the user the package made. `None`: as who we are.
fn owner() -> Result<Option<(u32, u32)>, String> {
    use std::os::unix::fs::MetadataExt;
    let we = std::fs::metadata("/proc/self").map_err(|e| format!("/proc/self: {e}"))?.uid();
    if we != 0 {
        return Ok(None);
    }
    let users = std::fs::read_to_string("/etc/passwd").map_err(|e| format!("/etc/passwd: {e}"))?;
    let ids = users.lines().find_map(|line| {
        let mut fields = line.strip_prefix("postgres:")?.split(':').skip(1);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    });
    ids.map(Some).ok_or_else(|| "user postgres is missing; apt-get install postgresql-15".into())
}
