//! Starts the program on a data folder of its own and free ports, and asks it as a user would.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use millrace_connectors::kafka::ClientSettings;
use millrace_connectors::kafka::producer::{Outgoing, Producer};
use serde_json::Value;

/// Longest wait for something the product should do at once; machines may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Longest wait for the product to stop: a batch on Spark is let end.
const STOP_MAX: Duration = Duration::from_secs(180);

/// The folder of the workspace: pipelines and contracts are in it.
pub(crate) fn workspace() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// Names of the tables that the shipped pipelines give.
pub(crate) fn result_tables() -> Vec<String> {
    let files = std::fs::read_dir(workspace().join("contracts/results")).expect("the results' contracts").flatten();
    let mut names: Vec<String> =
        files.filter_map(|file| Some(file.file_name().to_str()?.strip_suffix(".json")?.to_owned())).collect();
    names.sort();
    assert!(names.len() > 20, "{names:?}");
    names
}

/// A running `millrace up`; killed when dropped.
pub(crate) struct Up {
    child: Child,
    dir: PathBuf,
    /// Kafka bootstrap servers.
    pub(crate) kafka: String,
    /// Address of the page.
    pub(crate) page: String,
    /// Time from the start of the process to its addresses being known.
    pub(crate) started_in: Duration,
}

impl Up {
    /// Starts it on this data folder.
    pub(crate) fn start(dir: &Path, options: &[&str]) -> Self {
        Up::start_with(dir, options, &[])
    }

    /// The same, with these variables in its environment.
    pub(crate) fn start_with(dir: &Path, options: &[&str], environment: &[(&'static str, String)]) -> Self {
        std::fs::create_dir_all(dir).expect("a folder");
        let running = dir.join("running.json");
        let _ = std::fs::remove_file(&running);
        let started = Instant::now();
        let child = command(dir)
            .args(["up", "--listen", "127.0.0.1:0", "--kafka-listen", "127.0.0.1:0"])
            .args(options)
            .envs(environment.iter().map(|(name, value)| (*name, value)))
            .stdout(file(dir, "out.log"))
            .stderr(file(dir, "err.log"))
            .spawn()
            .expect("the program starts");
        let mut up =
            Up { child, dir: dir.to_owned(), kafka: String::new(), page: String::new(), started_in: started.elapsed() };
        let found = wait_for("the product has started", || {
            if let Some(status) = up.child.try_wait().expect("a status") {
                panic!("millrace up ended with {status}");
            }
            serde_json::from_slice::<Value>(&std::fs::read(&running).ok()?).ok()
        });
        up.started_in = started.elapsed();
        up.kafka = found["kafka"].as_str().expect("an address").to_owned();
        up.page = found["dashboard"].as_str().expect("an address").to_owned();
        up
    }

    /// Ends it without any warning, as a power cut does.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("ended");
    }

    /// Asks it to stop (SIGINT, as Ctrl-C does) and gives what it said, standard output first.
    pub(crate) fn stop(self) -> (String, String) {
        let (status, said) = self.stop_or_not();
        assert!(status.success(), "{status}: {said:?}");
        said
    }

    /// The same, however it ended.
    pub(crate) fn stop_or_not(mut self) -> (ExitStatus, (String, String)) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().expect("kill").success());
        let asked = Instant::now();
        let status = loop {
            match self.child.try_wait().expect("a status") {
                Some(status) => break status,
                None => assert!(asked.elapsed() < STOP_MAX, "not stopped after {STOP_MAX:?}"),
            }
            std::thread::sleep(Duration::from_millis(50));
        };
        (status, (read(&self.dir, "out.log"), read(&self.dir, "err.log")))
    }

    /// Produces these values, without keys, to a topic.
    pub(crate) fn produce<'a>(&self, topic: &str, values: impl IntoIterator<Item = Option<&'a [u8]>>) {
        let mut settings = ClientSettings::new(self.kafka.clone());
        settings.properties.insert("message.max.bytes".into(), "8000000".into());
        let producer = Producer::new(&settings, None).expect("a producer");
        for value in values {
            let outgoing = Outgoing { topic, partition: None, key: None, value, time: None };
            producer.send(outgoing, PATIENCE).expect("room");
        }
        producer.flush(PATIENCE).expect("acknowledged");
    }

    /// A GET of the page's server: status and body.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        get(&self.page, path)
    }

    /// Rows of a query over lake and results, as JSON.
    pub(crate) fn query(&self, sql: &str) -> Vec<Value> {
        query(&self.dir, sql)
    }
}

/// A GET of a page's server: status and body.
pub(crate) fn get(address: &str, path: &str) -> (u16, String) {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).expect("the page's port");
    stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").expect("asked");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    (status, answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
}

/// A POST of JSON to a page's server: status and body.
pub(crate) fn post(address: &str, path: &str, body: &Value) -> (u16, Value) {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).expect("the page's port");
    stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
    let body = body.to_string();
    let head =
        format!("POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nConnection: close");
    write!(stream, "{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).expect("asked");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn file(dir: &Path, name: &str) -> std::fs::File {
    std::fs::File::create(dir.join(name)).expect("a file")
}

fn read(dir: &Path, name: &str) -> String {
    std::fs::read_to_string(dir.join(name)).expect("text")
}

/// The program on this data folder, with the pipelines and contracts of the workspace.
pub(crate) fn command(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millrace"));
    command.arg("--data-dir").arg(dir).current_dir(workspace()).stdin(Stdio::null());
    command
}

/// Runs a command to its end.
pub(crate) fn run(dir: &Path, arguments: &[&str]) -> Output {
    command(dir).args(arguments).output().expect("the program runs")
}

/// Standard output of a command that must succeed.
pub(crate) fn said(dir: &Path, arguments: &[&str]) -> String {
    let output = run(dir, arguments);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {}\n{out}\n{err}", output.status);
    out.into_owned()
}

/// Rows of `millrace query`.
pub(crate) fn query(dir: &Path, sql: &str) -> Vec<Value> {
    let out = said(dir, &["query", "--format", "json", sql]);
    out.lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect()
}

/// Rows of `millrace query` with these settings; none while the table is not there yet.
#[cfg(feature = "spark")]
pub(crate) fn query_with(dir: &Path, config: &str, sql: &str) -> Vec<Value> {
    let output = run(dir, &["--config", config, "query", "--format", "json", sql]);
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    lines.lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect()
}

/// The audit of a data folder; it must balance.
pub(crate) fn audit(dir: &Path) -> Value {
    audit_with(dir, &[])
}

/// The audit with these options; it must balance.
pub(crate) fn audit_with(dir: &Path, options: &[&str]) -> Value {
    let output = run(dir, &[&["audit", "--format", "json"], options].concat());
    let text = String::from_utf8_lossy(&output.stdout);
    let answer: Value = serde_json::from_str(&text)
        .unwrap_or_else(|_| panic!("no audit: {text}{}", String::from_utf8_lossy(&output.stderr)));
    let lines = answer["lines"].as_array().expect("lines");
    let wrong: Vec<&Value> = lines.iter().filter(|line| line["expected"] != line["found"]).collect();
    assert!(output.status.success() && answer["balanced"] == true, "the books do not balance: {wrong:#?}");
    assert!(lines.len() > 20, "an audit that looks at nothing: {text}");
    answer
}

/// Tries until there is an answer.
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A page view that keeps the contract, just now.
pub(crate) fn page_view(id: &str) -> String {
    let now = millrace_model::Timestamp::from_system_time(std::time::SystemTime::now());
    serde_json::json!({
        "event_id": id, "event_type": "page_viewed", "event_time": now.to_string(), "anonymous_id": "visitor-1", "path": "/",
    })
    .to_string()
}

/// Longest wait for the books to balance with Spark: it takes turns among its queries, on few cores.
#[cfg(feature = "spark")]
const BALANCED_MAX: Duration = Duration::from_secs(420);

/// Waits until every record is accounted for.
#[cfg(feature = "spark")]
pub(crate) fn balanced(dir: &Path, config: &str) -> Value {
    let started = Instant::now();
    loop {
        let output = run(dir, &["--config", config, "audit", "--format", "json"]);
        if output.status.success() {
            return audit_with(dir, &["--config", config]);
        }
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(started.elapsed() < BALANCED_MAX, "not balanced: {}", wrong_lines(&text));
    }
}

#[cfg(feature = "spark")]
fn wrong_lines(audit: &str) -> String {
    let answer: Value = serde_json::from_str(audit).unwrap_or(Value::Null);
    let lines = answer["lines"].as_array().cloned().unwrap_or_default();
    let wrong = lines.into_iter().filter(|line| line["expected"] != line["found"]);
    wrong.map(|line| line.to_string()).collect::<Vec<_>>().join("\n")
}
