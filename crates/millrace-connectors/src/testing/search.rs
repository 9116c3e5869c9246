//! A search server of one's own: one OpenSearch node (the REST API of Elasticsearch 7.10) on a free loopback port, as a plain
//! Java process, from packages fetched once. Needs Java 17 or newer with its compiler, and Maven.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const POM: &str = include_str!("search-pom.xml");
const NODE: &str = include_str!("SearchNode.java");
const LOGGING: &str = "status = error
appender.err.type = Console
appender.err.name = err
appender.err.target = SYSTEM_ERR
appender.err.layout.type = PatternLayout
appender.err.layout.pattern = %d{HH:mm:ss.SSS} %p %c{1} %m%n
rootLogger.level = warn
rootLogger.appenderRef.err.ref = err
";
/// Longest wait for the server to answer, seconds.
const START_SECONDS_MAX: u64 = 120;

/// A running server. It stops, and its folder goes, when this is dropped.
#[derive(Debug)]
pub struct Search {
    folder: tempfile::TempDir,
    port: u16,
    settings: Vec<String>,
    server: Option<Child>,
}

impl Search {
    /// Starts it with these settings (`name=value`).
    ///
    /// # Errors
    /// The packages cannot be fetched, or it does not start; the text is its log.
    pub fn start(settings: &[&str]) -> Result<Self, String> {
        let folder = tempfile::Builder::new().prefix("millrace-search-").tempdir().map_err(|e| e.to_string())?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|e| format!("no free port: {e}"))?;
        let port = listener.local_addr().map_err(|e| format!("no free port: {e}"))?.port();
        drop(listener);
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let mut search = Search { folder, port, settings, server: None };
        search.resume()?;
        Ok(search)
    }

    /// Where it answers.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Kills it; its data stay for [`resume`](Self::resume).
    pub fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().ok();
            server.wait().ok();
        }
    }

    /// Starts it on its data, after [`kill`](Self::kill).
    ///
    /// # Errors
    /// It does not start; the text is its log.
    pub fn resume(&mut self) -> Result<(), String> {
        let jars = jars()?;
        let home = self.folder.path().join("home");
        fs::create_dir_all(&home).map_err(|e| e.to_string())?;
        let ready = home.join("http.port");
        fs::remove_file(&ready).ok();
        let log = self.folder.path().join("log");
        let file = File::create(&log).map_err(|e| e.to_string())?;
        let mut java = Command::new("java");
        java.args(["-Xms512m", "-Xmx1g", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
        java.arg(format!("-Dlog4j2.configurationFile={}", jars.join("log4j2.properties").display()));
        java.args(["-Dlog4j2.disable.jmx=true", "-Dlog4j.shutdownHookEnabled=false", "-Dio.netty.noUnsafe=true"]);
        java.args([
            "-Dio.netty.noKeySetOptimization=true",
            "-Dopensearch.set.netty.runtime.available.processors=false",
        ]);
        java.arg("-cp").arg(format!("{0}/classes:{0}/libs/*", jars.display())).arg("SearchNode").arg(&home);
        java.arg(self.port.to_string()).args(&self.settings);
        java.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).current_dir(self.folder.path());
        self.server = Some(java.spawn().map_err(|e| format!("java: {e}"))?);
        let start = Instant::now();
        while !ready.exists() {
            let ended = self.server.as_mut().and_then(|server| server.try_wait().ok().flatten());
            if ended.is_some() || start.elapsed() > Duration::from_secs(START_SECONDS_MAX) {
                self.kill();
                return Err(format!(
                    "the search server does not start:\n{}",
                    fs::read_to_string(&log).unwrap_or_default()
                ));
            }
            std::thread::park_timeout(Duration::from_millis(100));
        }
        Ok(())
    }
}

impl Drop for Search {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The folder of jars and the compiled node, filled once.
fn jars() -> Result<PathBuf, String> {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = variable("XDG_CACHE_HOME").or_else(|| variable("HOME").map(|home| home.join(".cache")));
    let cache = cache.filter(|cache| cache.is_dir()).unwrap_or_else(std::env::temp_dir).join("millrace-tests");
    let folder = cache.join("search-2.19.1");
    let failed = |e: std::io::Error| format!("{}: {e}", folder.display());
    fs::create_dir_all(&cache).map_err(failed)?;
    let lock = File::create(cache.join("search.lock")).map_err(failed)?;
    lock.lock().map_err(failed)?;
    if folder.join("complete").exists() {
        return Ok(folder);
    }
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(failed)?;
    }
    fs::create_dir_all(&folder).map_err(failed)?;
    for (name, text) in [("pom.xml", POM), ("log4j2.properties", LOGGING), ("SearchNode.java", NODE)] {
        fs::write(folder.join(name), text).map_err(failed)?;
    }
    let mvn = ["-B", "-q", "dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory=libs"];
    end("mvn", &mvn, &folder)?;
    end("javac", &["-nowarn", "-proc:none", "-cp", "libs/*", "-d", "classes", "SearchNode.java"], &folder)?;
    fs::write(folder.join("complete"), "").map_err(failed)?;
    Ok(folder)
}

fn end(program: &str, args: &[&str], folder: &Path) -> Result<(), String> {
    let output = Command::new(program).args(args).current_dir(folder).stdin(Stdio::null()).output();
    let output = output.map_err(|e| format!("{program}: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Err(format!("{program} ended with {}:\n{out}{err}", output.status))
}
