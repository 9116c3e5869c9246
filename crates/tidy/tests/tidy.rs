//! Holds every file of the repository, and the arrows between its crates, against the rules.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use tidy::rules::faults;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Files that git tracks, or would: generated and ignored ones do not count.
fn files() -> Vec<String> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git lists the files");
    let listed = String::from_utf8(listed.stdout).expect("names are UTF-8");
    listed.lines().map(str::to_owned).filter(|path| root().join(path).is_file()).collect()
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(root().join(path)).ok()
}

#[test]
fn every_file_is_tidy() {
    let files = files();
    assert!(files.len() > 50, "the walk found only {} files", files.len());
    let faults: Vec<String> = files
        .iter()
        .filter_map(|path| Some((path, read(path)?)))
        .flat_map(|(path, text)| faults(path, &text))
        .collect();
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// Which crates may name which libraries: the architecture's arrows.
#[test]
fn libraries_stay_in_their_rooms() {
    let rooms: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("datafusion", &["millrace-engine"][..]),
        ("datafusion-spark", &["millrace-engine"]),
        ("sqlparser", &["millrace-engine"]),
        ("rdkafka", &["millrace-connectors"]),
        ("sqlx", &["millrace-connectors"]),
        ("reqwest", &["millrace-connectors"]),
        ("lettre", &["millrace-connectors"]),
        ("parquet", &["millrace-connectors"]),
        ("kafka-protocol", &["millrace-broker"]),
        ("axum", &["millrace-dashboard"]),
        ("apache-spark-connect-core", &["millrace-spark"]),
        ("apache-spark-connect-proto", &["millrace-spark"]),
        ("maud", &["millrace-dashboard"]),
        ("clap", &["millrace"]),
        ("anyhow", &["millrace"]),
    ]);
    let mut faults = Vec::new();
    for path in files().iter().filter(|path| path.starts_with("crates/") && path.ends_with("/Cargo.toml")) {
        let text = read(path).expect("a manifest");
        let name = path.split('/').nth(1).expect("the crate's folder");
        for library in dependencies(&text) {
            if rooms.get(library.as_str()).is_some_and(|allowed| !allowed.contains(&name)) {
                faults.push(format!("{path}: {library} may be named by {:?} only", rooms[library.as_str()]));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Names below `[dependencies]`; what only tests need may be named anywhere.
fn dependencies(manifest: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut inside = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line == "[dependencies]";
        } else if inside && let Some((name, _)) = line.split_once(['.', ' ', '=']) {
            names.push(name.to_owned());
        }
    }
    names
}

/// The pure crates read no clock, file or socket.
#[test]
fn pure_crates_have_no_effects() {
    let mut faults = Vec::new();
    let pure = [
        "crates/millrace-model/src/",
        "crates/millrace-codec/src/",
        "crates/millrace-intelligence/src/",
        "crates/millrace-simulate/src/",
    ];
    for path in files().iter().filter(|path| pure.iter().any(|room| path.starts_with(room)) && path.ends_with(".rs")) {
        let text = read(path).expect("a source file");
        let product = text.split("#[cfg(test)]").next().unwrap_or_default();
        for effect in ["SystemTime::now", "Instant::now", "std::fs::", "std::net::", "tokio::"] {
            if product.contains(effect) {
                faults.push(format!("{path}: {effect}"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Links between documents lead somewhere.
#[test]
fn links_lead_somewhere() {
    let mut faults = Vec::new();
    for path in files().iter().filter(|path| path.ends_with(".md")) {
        let text = read(path).expect("a document");
        let folder = Path::new(path).parent().unwrap_or(Path::new(""));
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap_or_default();
            let outside = target.is_empty() || target.contains("://") || target.starts_with("mailto:");
            if !outside && !root().join(folder).join(target).exists() {
                faults.push(format!("{path}: {link} leads nowhere"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
