//! Where the programs come from: Maven, pip and the system's packages, through their ordinary clients.
//!
//! Fetched once into `${XDG_CACHE_HOME:-~/.cache}/millrace/cluster/` (`kafka/libs`, `spark/venv`, `spark/jars`) and used
//! from there ever after, without a network. A folder is filled under another name and renamed when it is whole.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::run;
use crate::{Error, kafka, spark};

/// In a folder that is whole: the version of what is in it.
const MARK: &str = "millrace-version";
/// Oldest Java that Kafka 4 and Spark 4 run on.
const JAVA_MIN: u32 = 17;
const JAVA_PACKAGE: &str = "openjdk-17-jre-headless";
const KAFKA_POM: &str = include_str!("kafka-pom.xml");
const SPARK_POM: &str = include_str!("spark-pom.xml");

/// The folder of everything fetched.
///
/// # Errors
/// Neither `XDG_CACHE_HOME` nor `HOME` is set.
pub fn cache() -> Result<PathBuf, Error> {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = variable("XDG_CACHE_HOME").or_else(|| variable("HOME").map(|home| home.join(".cache")));
    let cache = cache.ok_or_else(|| Error::Conflict("neither XDG_CACHE_HOME nor HOME is set; set one".into()))?;
    Ok(cache.join("millrace/cluster"))
}

/// The folder of Kafka's jars, fetched if it is not there; `tell` hears what takes its time.
pub(crate) fn kafka_libs(tell: &mut dyn FnMut(&str)) -> Result<PathBuf, Error> {
    let version = kafka::VERSION;
    let what = format!("Apache Kafka {version} (54 MB, once)");
    prepared(&cache()?.join("kafka/libs"), version, &mut || tell(&what), |folder| {
        jars(folder, KAFKA_POM, &format!("-Dkafka.version={version}"))?;
        expect(folder, &format!("kafka_2.13-{version}.jar"))
    })
}

/// The jars Spark needs beyond its own: Kafka connector, PostgreSQL driver.
pub(crate) fn spark_jars(tell: &mut dyn FnMut(&str)) -> Result<Vec<PathBuf>, Error> {
    let version = spark::VERSION;
    let what = format!("Spark's Kafka connector {version} (12 MB, once)");
    let folder = prepared(&cache()?.join("spark/jars"), version, &mut || tell(&what), |folder| {
        jars(folder, SPARK_POM, &format!("-Dspark.version={version}"))?;
        expect(folder, &format!("spark-sql-kafka-0-10_2.13-{version}.jar"))
    })?;
    let entries = fs::read_dir(&folder).map_err(Error::io("read", &folder))?;
    let mut jars: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    jars.retain(|path| path.extension().is_some_and(|extension| extension == "jar"));
    jars.sort();
    Ok(jars)
}

/// `SPARK_HOME`: the distribution that the Python package brings. Its Python is not used.
pub(crate) fn spark_home(tell: &mut dyn FnMut(&str)) -> Result<PathBuf, Error> {
    let version = spark::VERSION;
    let what = format!("Apache Spark {version} (about 450 MB, once)");
    let venv = prepared(&cache()?.join("spark/venv"), version, &mut || tell(&what), |folder| {
        let mut make = Command::new("python3");
        run(make.args(["-m", "venv"]).arg(folder), "making a Python environment", "python3-venv", "")?;
        let mut install = Command::new(folder.join("bin/python"));
        install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-compile"]);
        run(install.arg(format!("pyspark=={version}")), "fetching Spark with pip", "python3-venv", "")?;
        expect(&home_in(folder)?, "bin/spark-submit")
    })?;
    home_in(&venv)
}

/// The folder `pyspark` in a Python environment, of whichever Python.
fn home_in(venv: &Path) -> Result<PathBuf, Error> {
    let lib = venv.join("lib");
    let entries = fs::read_dir(&lib).map_err(Error::io("read", &lib))?;
    let homes = entries.flatten().map(|entry| entry.path().join("site-packages/pyspark"));
    let found = homes.into_iter().find(|home| home.is_dir());
    found.ok_or_else(|| Error::failed("fetching Spark with pip", format!("there is no pyspark in {}", lib.display())))
}

/// That `java` is there and new enough.
pub(crate) fn check_java() -> Result<(), Error> {
    // It writes its version to standard error; with `--version`, to standard output.
    let said = run(Command::new("java").arg("--version"), "asking Java for its version", JAVA_PACKAGE, "")?;
    match java_version(&said) {
        Some(version) if version < JAVA_MIN => {
            Err(Error::Missing { what: format!("Java {JAVA_MIN} (there is {version})"), package: JAVA_PACKAGE })
        }
        _ => Ok(()),
    }
}

/// The main version in what `java --version` writes: 17 of `openjdk 17.0.15 2025-04-15`.
fn java_version(said: &str) -> Option<u32> {
    let version = said.split_ascii_whitespace().nth(1)?;
    version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn jars(folder: &Path, pom: &str, version: &str) -> Result<(), Error> {
    let file = folder.join("pom.xml");
    fs::create_dir_all(folder).map_err(Error::io("make", folder))?;
    fs::write(&file, pom).map_err(Error::io("write", &file))?;
    let mut maven = Command::new("mvn");
    maven.args(["-B", "-q", "-f"]).arg(&file).arg("dependency:copy-dependencies").arg("-DincludeScope=runtime");
    maven.arg(format!("-DoutputDirectory={}", folder.display())).arg(version).current_dir(folder);
    run(&mut maven, "fetching jars with Maven", "maven", "").map(drop)
}

fn expect(folder: &Path, file: &str) -> Result<(), Error> {
    if folder.join(file).exists() {
        return Ok(());
    }
    Err(Error::failed("fetching", format!("{file} is not among what came into {}", folder.display())))
}

/// The folder, filled by `fill` if it is not there in this version. Whoever else wants it waits.
fn prepared(
    folder: &Path,
    version: &str,
    tell: &mut dyn FnMut(),
    fill: impl FnOnce(&Path) -> Result<(), Error>,
) -> Result<PathBuf, Error> {
    let whole = || fs::read_to_string(folder.join(MARK)).is_ok_and(|have| have.trim() == version);
    if whole() {
        return Ok(folder.to_owned());
    }
    tell();
    let beside = |end: &str| folder.with_extension(end);
    let (lock_file, partial) = (beside("lock"), beside("partial"));
    let parent = folder.parent().unwrap_or(folder);
    fs::create_dir_all(parent).map_err(Error::io("make", parent))?;
    let lock = File::create(&lock_file).map_err(Error::io("make", &lock_file))?;
    lock.lock().map_err(Error::io("lock", &lock_file))?;
    if whole() {
        return Ok(folder.to_owned());
    }
    remove(&partial)?;
    fill(&partial)?;
    let mark = partial.join(MARK);
    fs::write(&mark, version).map_err(Error::io("write", &mark))?;
    remove(folder)?;
    fs::rename(&partial, folder).map_err(Error::io("move into place", folder))?;
    Ok(folder.to_owned())
}

/// Removes a folder, if it is there.
pub(crate) fn remove(folder: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(folder) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", folder)(e)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill_with(text: &'static str) -> impl FnOnce(&Path) -> Result<(), Error> {
        move |folder| {
            fs::create_dir_all(folder).map_err(Error::io("make", folder))?;
            fs::write(folder.join("file"), text).map_err(Error::io("write", folder))
        }
    }

    #[test]
    fn a_folder_is_filled_once_and_anew_for_another_version() {
        let base = tempfile::tempdir().unwrap();
        let folder = base.path().join("a/libs");
        let mut told = 0;
        for (version, text, expected, told_by_now) in
            [("1", "one", "one", 1), ("1", "not this", "one", 1), ("2", "two", "two", 2)]
        {
            prepared(&folder, version, &mut || told += 1, fill_with(text)).unwrap();
            assert_eq!(fs::read_to_string(folder.join("file")).unwrap(), expected);
            assert_eq!(told, told_by_now);
        }
        assert!(!folder.with_extension("partial").exists());
    }

    #[test]
    fn half_a_folder_is_not_taken_for_a_whole_one() {
        let base = tempfile::tempdir().unwrap();
        let folder = base.path().join("libs");
        let broken = prepared(&folder, "1", &mut || {}, |partial| {
            fill_with("half")(partial)?;
            Err(Error::Conflict("the network is gone".into()))
        });
        assert!(broken.is_err() && !folder.exists());
        prepared(&folder, "1", &mut || {}, fill_with("whole")).unwrap();
        assert_eq!(fs::read_to_string(folder.join("file")).unwrap(), "whole");
    }

    #[test]
    fn two_at_once_fill_one_folder_once() {
        let base = tempfile::tempdir().unwrap();
        let folder = base.path().join("libs");
        let filled = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let fill = |partial: &Path| {
                        filled.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        fill_with("once")(partial)
                    };
                    prepared(&folder, "1", &mut || {}, fill).unwrap();
                });
            }
        });
        assert_eq!(filled.into_inner(), 1);
    }

    #[test]
    fn javas_version_is_read() {
        assert_eq!(java_version("openjdk 17.0.15 2025-04-15\nOpenJDK Runtime"), Some(17));
        assert_eq!(java_version("java 21 2023-09-19 LTS"), Some(21));
        assert_eq!(java_version(""), None);
    }
}
