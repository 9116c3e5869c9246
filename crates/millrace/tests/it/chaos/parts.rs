//! What is killed and started again: four servers the results go to, and Millrace itself.

use std::fs::{File, OpenOptions};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use millrace_connectors::testing::Postgres;
use millrace_connectors::testing::objects::Objects;
use millrace_connectors::testing::search::Search;

use crate::support::{command, wait_for};

/// Longest wait for Millrace to let everything through and stop.
const STOP_MAX: Duration = Duration::from_secs(600);

/// Something that dies and comes back on its data.
pub(super) trait Part: Send {
    fn kill(&mut self);
    fn resume(&mut self);
}

impl Part for Postgres {
    fn kill(&mut self) {
        Postgres::kill(self);
    }

    fn resume(&mut self) {
        Postgres::resume(self).expect("PostgreSQL starts again");
    }
}

impl Part for Search {
    fn kill(&mut self) {
        Search::kill(self);
    }

    fn resume(&mut self) {
        Search::resume(self).expect("the search server starts again");
    }
}

impl Part for Objects {
    fn kill(&mut self) {
        Objects::kill(self);
    }

    fn resume(&mut self) {
        Objects::resume(self).expect("the S3 server starts again");
    }
}

/// The SMTP server; what it took is in its folder.
pub(super) struct Mail {
    python: PathBuf,
    pub(super) folder: PathBuf,
    pub(super) port: u16,
    server: Option<Child>,
}

impl Mail {
    pub(super) fn start(folder: &Path) -> Self {
        let python = millrace_broker::testing::python::interpreter(&["aiosmtpd==1.4.6", "trustme==1.2.1"]);
        std::fs::create_dir_all(folder).expect("a folder");
        let (python, port) = (python.expect("Python packages"), free_port());
        let mut mail = Mail { python, folder: folder.to_owned(), port, server: None };
        mail.resume();
        mail
    }
}

impl Part for Mail {
    fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().expect("killed");
            server.wait().expect("ended");
        }
    }

    fn resume(&mut self) {
        let ready = self.folder.join("port");
        let _ = std::fs::remove_file(&ready);
        let mut server = Command::new(&self.python);
        server.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/smtp_server.py"));
        server.arg(&self.folder).args([&self.port.to_string(), "7200"]);
        let log = appended(&self.folder, "smtp.log");
        server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.server = Some(server.spawn().expect("Python starts"));
        wait_for("the SMTP server", || ready.exists().then_some(()));
    }
}

impl Drop for Mail {
    fn drop(&mut self) {
        self.kill();
    }
}

/// `millrace up` on one data folder and one Kafka port.
pub(super) struct Millrace {
    dir: PathBuf,
    config: PathBuf,
    pub(super) environment: Vec<(&'static str, String)>,
    port: u16,
    process: Option<Child>,
    /// How it ended when nobody killed it.
    pub(super) ended: Vec<ExitStatus>,
}

impl Millrace {
    pub(super) fn start(dir: &Path, settings: &str, environment: Vec<(&'static str, String)>) -> Self {
        std::fs::create_dir_all(dir).expect("a folder");
        let config = dir.join("millrace.toml");
        std::fs::write(&config, settings).expect("settings");
        let port = free_port();
        let mut millrace =
            Millrace { dir: dir.to_owned(), config, environment, port, process: None, ended: Vec::new() };
        millrace.resume();
        wait_for("Millrace runs", || dir.join("running.json").exists().then_some(()));
        millrace
    }

    pub(super) fn kafka(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A command on this data folder, with the settings of this product.
    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(&self.dir);
        command.arg("--config").arg(&self.config).args(arguments);
        command.envs(self.environment.iter().map(|(name, value)| (*name, value)));
        command
    }

    /// Asks it to let everything through and stop, and waits for that.
    pub(super) fn stop(&mut self) {
        let mut process = self.process.take().expect("it runs");
        let asked = Command::new("kill").args(["-INT", &process.id().to_string()]).status();
        assert!(asked.expect("kill").success());
        let since = Instant::now();
        while since.elapsed() < STOP_MAX {
            if let Some(status) = process.try_wait().expect("a status") {
                assert!(status.success(), "{status}: {}", self.log());
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        self.process = Some(process);
        panic!("not stopped after {STOP_MAX:?}: {}", self.log());
    }

    /// The end of what it said of trouble, without what was to be expected.
    pub(super) fn log(&self) -> String {
        let text = std::fs::read_to_string(self.dir.join("millrace.log")).unwrap_or_default();
        let expected = ["INFO", "waits and tries again"];
        let lines: Vec<&str> = text.lines().filter(|line| !expected.iter().any(|text| line.contains(text))).collect();
        lines[lines.len().saturating_sub(400)..].join("\n")
    }
}

impl Part for Millrace {
    fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            self.ended.extend(process.try_wait().expect("a status"));
            process.kill().expect("killed");
            process.wait().expect("ended");
        }
    }

    /// Does not wait until it runs: it may be killed in the middle of its start.
    fn resume(&mut self) {
        let address = self.kafka();
        let mut up = self.command(&["up", "--no-simulate", "--listen", "127.0.0.1:0", "--kafka-listen", &address]);
        up.stdout(appended(&self.dir, "millrace.log")).stderr(appended(&self.dir, "millrace.log"));
        self.process = Some(up.spawn().expect("the program starts"));
    }
}

impl Drop for Millrace {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn appended(folder: &Path, name: &str) -> File {
    OpenOptions::new().create(true).append(true).open(folder.join(name)).expect("a log")
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("an address").port()
}
