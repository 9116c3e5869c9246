//! An S3 server of one's own: moto's, which speaks S3 over HTTP, on a free loopback port, from Python packages fetched once. Its
//! objects outlive a kill. Needs Python 3 with venv.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// With what its S3 needs, and those that read Parquet as the lake's users do.
const PACKAGES: [&str; 4] = ["moto[s3,server]==5.2.5", "duckdb==2.0.0", "pandas==3.1.1", "pyarrow==26.0.1"];
const SERVER: &str = include_str!("objects_server.py");
/// Longest wait for the server to answer, seconds.
const START_SECONDS_MAX: u64 = 60;

/// A running server. It stops when this is dropped, and its objects are gone.
#[derive(Debug)]
pub struct Objects {
    port: u16,
    folder: tempfile::TempDir,
    server: Option<Child>,
}

impl Objects {
    /// Starts it; it has no bucket yet.
    ///
    /// # Errors
    /// The packages cannot be fetched, or it does not start; the text is its log.
    pub fn start() -> Result<Self, String> {
        let folder = tempfile::Builder::new().prefix("millrace-s3-").tempdir().map_err(|e| e.to_string())?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|e| format!("no free port: {e}"))?;
        let port = listener.local_addr().map_err(|e| format!("no free port: {e}"))?.port();
        drop(listener);
        let mut objects = Objects { port, folder, server: None };
        objects.resume()?;
        Ok(objects)
    }

    /// Kills it; its objects stay for [`resume`](Self::resume).
    pub fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().ok();
            server.wait().ok();
        }
    }

    /// Starts it with its objects, after [`kill`](Self::kill).
    ///
    /// # Errors
    /// It does not start; the text is its log.
    pub fn resume(&mut self) -> Result<(), String> {
        let log = self.folder.path().join("log");
        let file = File::create(&log).map_err(|e| e.to_string())?;
        let errors = file.try_clone().map_err(|e| e.to_string())?;
        let mut command = Command::new(python()?);
        command.args(["-c", SERVER, &self.port.to_string(), "kept"]).current_dir(self.folder.path());
        command.stdin(Stdio::null()).stdout(file).stderr(errors);
        self.server = Some(command.spawn().map_err(|e| e.to_string())?);
        let start = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            let ended = self.server.as_mut().and_then(|server| server.try_wait().ok().flatten());
            if ended.is_some() || start.elapsed() > Duration::from_secs(START_SECONDS_MAX) {
                self.kill();
                return Err(format!("the S3 server does not start: {}", fs::read_to_string(&log).unwrap_or_default()));
            }
            std::thread::park_timeout(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Where it answers.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What a client is to find in its environment.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT_URL", self.url()),
            ("AWS_ALLOW_HTTP", "true".into()),
            ("AWS_REGION", "us-east-1".into()),
            ("AWS_ACCESS_KEY_ID", "tests".into()),
            ("AWS_SECRET_ACCESS_KEY", "of-the-lake".into()),
        ]
    }

    /// Makes a bucket, with a client that is not ours.
    ///
    /// # Errors
    /// What the client says.
    pub fn create_bucket(&self, name: &str) -> Result<(), String> {
        let script = "import boto3, sys; boto3.client('s3').create_bucket(Bucket=sys.argv[1])";
        self.script(script, &[name]).map(drop)
    }

    /// Runs a Python script that finds the server in its environment; what it printed.
    ///
    /// # Errors
    /// All it wrote, when it failed.
    pub fn script(&self, script: &str, arguments: &[&str]) -> Result<String, String> {
        run(script, arguments, &self.environment())
    }
}

impl Drop for Objects {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs a Python script with DuckDB, pandas and pyarrow at hand; what it printed.
///
/// # Errors
/// The packages cannot be fetched; all the script wrote, when it failed.
pub fn run(script: &str, arguments: &[&str], environment: &[(&str, String)]) -> Result<String, String> {
    let mut command = Command::new(python()?);
    command.arg("-c").arg(script).args(arguments).envs(environment.iter().map(|(name, value)| (*name, value)));
    ended(&mut command)
}

/// The Python of the environment with the packages, made once.
fn python() -> Result<PathBuf, String> {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = variable("XDG_CACHE_HOME").or_else(|| variable("HOME").map(|home| home.join(".cache")));
    let cache = cache.filter(|cache| cache.is_dir()).unwrap_or_else(std::env::temp_dir).join("millrace-tests");
    let name: String = PACKAGES.join("-").chars().filter(|c| c.is_alphanumeric() || ".-".contains(*c)).collect();
    let folder = cache.join(format!("lake-{name}"));
    let failed = |e: std::io::Error| format!("{}: {e}", folder.display());
    fs::create_dir_all(&cache).map_err(failed)?;
    let lock = File::create(cache.join("lake.lock")).map_err(failed)?;
    lock.lock().map_err(failed)?;
    let python = folder.join("bin/python");
    if folder.join("complete").exists() {
        return Ok(python);
    }
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(failed)?;
    }
    ended(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
    let install = ["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"];
    ended(Command::new(&python).args(install).args(PACKAGES))?;
    fs::write(folder.join("complete"), "").map_err(failed)?;
    Ok(python)
}

fn ended(command: &mut Command) -> Result<String, String> {
    let program = Path::new(command.get_program()).display().to_string();
    let output = command.stdin(Stdio::null()).output().map_err(|e| format!("{program}: {e}"))?;
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    match output.status.success() {
        true => Ok(out.into_owned()),
        false => Err(format!("{program} ended with {}:\n{out}{err}", output.status)),
    }
}
