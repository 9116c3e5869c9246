//! Python clients: scripts run in a virtual environment of their own.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{cache, process};

/// The two Kafka clients Python users have: one on the C library, one all Python.
pub const CLIENTS: &[&str] = &["confluent-kafka==2.16.1", "kafka-python==3.0.12"];

/// Runs a script to its end in an environment with these packages; what it wrote to its standard output.
///
/// # Errors
/// The packages cannot be fetched, Python 3 is missing, or the script ended with an error; the text has all it wrote.
pub fn run(packages: &[&str], script: &Path, args: &[&str]) -> Result<String, String> {
    let mut python = Command::new(interpreter(packages)?);
    python.arg(script).args(args);
    process::run(&mut python, "").map_err(|why| format!("{}: {why}", script.display()))
}

/// The Python of an environment with these packages, made once.
///
/// # Errors
/// The packages cannot be fetched, or Python 3 is missing.
pub fn interpreter(packages: &[&str]) -> Result<PathBuf, String> {
    let name: String = packages.join("-").chars().filter(|c| c.is_alphanumeric() || ".-".contains(*c)).collect();
    let python = |folder: &Path| folder.join("bin/python");
    let folder = cache::folder(&format!("python-{name}"), |folder| {
        process::run(Command::new("python3").args(["-m", "venv"]).arg(folder), "")?;
        let mut pip = Command::new(python(folder));
        pip.args(["-m", "pip", "install", "--quiet", "--no-input"]).args(packages);
        process::run(&mut pip, "").map(drop)
    })?;
    Ok(python(&folder))
}
