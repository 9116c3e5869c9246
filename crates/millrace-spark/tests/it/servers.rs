//! Starts Spark Connect servers for tests, from a prepared Spark home or one prepared in the user's cache folder.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The jars Spark needs besides its own.
const POM: &str = include_str!("spark-pom.xml");
const LOGGING: &str = "rootLogger.level=warn
rootLogger.appenderRef.stderr.ref=stderr
appender.stderr.type=Console
appender.stderr.name=stderr
appender.stderr.target=SYSTEM_ERR
appender.stderr.layout.type=PatternLayout
appender.stderr.layout.pattern=%d{HH:mm:ss} %p %c{1}: %m%n%ex{12}
";
/// A cold start on a busy machine.
const START_MAX: Duration = Duration::from_secs(300);

/// A Spark Connect server on two cores; killed when dropped, with the processes it started.
pub(crate) struct Spark {
    server: Child,
    port: u16,
    dir: tempfile::TempDir,
}

impl Spark {
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let port = free_port();
        let server = launch(dir.path(), port);
        let mut spark = Spark { server, port, dir };
        spark.wait();
        spark
    }

    pub(crate) fn url(&self) -> String {
        format!("sc://127.0.0.1:{}", self.port)
    }

    /// Ends it without any warning, as a power cut does.
    pub(crate) fn kill(&mut self) {
        let group = format!("-{}", self.server.id());
        let _ = Command::new("kill").args(["-9", "--", &group]).status();
        let _ = self.server.wait();
    }

    /// Starts it again on the same port.
    pub(crate) fn start_again(&mut self) {
        self.server = launch(self.dir.path(), self.port);
        self.wait();
    }

    fn wait(&mut self) {
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            if let Some(status) = self.server.try_wait().expect("a status") {
                panic!("Spark ended with {status}: {}", self.log());
            }
            assert!(start.elapsed() < START_MAX, "Spark does not start: {}", self.log());
            std::thread::sleep(Duration::from_millis(250));
        }
        println!("Spark Connect is up after {:.1} s", start.elapsed().as_secs_f64());
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("spark.log")).unwrap_or_default()
    }
}

impl Drop for Spark {
    fn drop(&mut self) {
        self.kill();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port()
}

fn launch(dir: &Path, port: u16) -> Child {
    use std::os::unix::process::CommandExt;
    let (home, jars) = installed();
    let jars: Vec<String> = std::fs::read_dir(&jars)
        .expect("the folder of jars")
        .map(|entry| entry.expect("an entry").path().display().to_string())
        .filter(|path| path.ends_with(".jar"))
        .collect();
    let conf = dir.join("conf");
    std::fs::create_dir_all(&conf).expect("a folder");
    std::fs::write(conf.join("log4j2.properties"), LOGGING).expect("a file");
    let log = std::fs::File::options().create(true).append(true).open(dir.join("spark.log")).expect("a file");
    let mut command = Command::new(home.join("bin/spark-submit"));
    command.args(["--master", "local[2]", "--name", "millrace-test", "--driver-memory", "2g"]).args([
        "--class",
        "org.apache.spark.sql.connect.service.SparkConnectServer",
        "--jars",
        &jars.join(","),
    ]);
    for setting in [
        format!("spark.connect.grpc.binding.port={port}"),
        "spark.connect.grpc.binding.address=127.0.0.1".into(),
        "spark.driver.host=127.0.0.1".into(),
        "spark.driver.bindAddress=127.0.0.1".into(),
        "spark.ui.enabled=false".into(),
        "spark.sql.shuffle.partitions=2".into(),
        "spark.sql.catalogImplementation=in-memory".into(),
        format!("spark.sql.warehouse.dir={}", dir.join("warehouse").display()),
        format!("spark.local.dir={}", dir.join("local").display()),
        format!("spark.driver.extraJavaOptions=-XX:+UseSerialGC -Dderby.system.home={}", dir.display()),
    ] {
        command.args(["--conf", &setting]);
    }
    command
        .arg("spark-internal")
        .env("SPARK_HOME", &home)
        .env("SPARK_CONF_DIR", &conf)
        .env("SPARK_LOCAL_IP", "127.0.0.1")
        .env("SPARK_LOCAL_HOSTNAME", "127.0.0.1")
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a handle"))
        .stderr(log)
        // A group of its own, so that the shell and the JVM behind it end together.
        .process_group(0)
        .spawn()
        .expect("spark-submit starts")
}

/// Spark's home and the folder of extra jars: `SPARK_HOME` and `MILLRACE_SPARK_JARS`, or the cache folder's.
fn installed() -> (PathBuf, PathBuf) {
    let cluster = cache().join("millrace/cluster/spark");
    let jars = std::env::var_os("MILLRACE_SPARK_JARS").map_or_else(|| cluster.join("jars"), PathBuf::from);
    if !jars.join("spark-sql-kafka-0-10_2.13-4.2.0.jar").exists() {
        std::fs::create_dir_all(&jars).expect("a folder");
        let pom = cluster.join("pom.xml");
        std::fs::write(&pom, POM).expect("a file");
        let output = format!("-DoutputDirectory={}", jars.display());
        let pom = pom.display().to_string();
        run("mvn", &["-B", "-q", "-f", &pom, "dependency:copy-dependencies", &output, "-DincludeScope=runtime"]);
    }
    if let Some(home) = std::env::var_os("SPARK_HOME") {
        return (home.into(), jars);
    }
    let venv = cluster.join("venv");
    let home = || {
        let lib = std::fs::read_dir(venv.join("lib")).ok()?;
        let mut homes = lib.filter_map(Result::ok).map(|python| python.path().join("site-packages/pyspark"));
        homes.find(|home| home.join("jars").exists())
    };
    if let Some(home) = home() {
        return (home, jars);
    }
    run("python3", &["-m", "venv", &venv.display().to_string()]);
    let pip = venv.join("bin/pip").display().to_string();
    run(&pip, &["install", "--no-deps", "--no-compile", "pyspark==4.2.0"]);
    (home().expect("pip has installed Spark"), jars)
}

fn cache() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").expect("a home")).join(".cache");
    std::env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from)
}

fn run(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).status().expect("the program starts");
    assert!(status.success(), "{program} {arguments:?}: {status}");
}
