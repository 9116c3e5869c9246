//! What the Spark processes are started with: environment, logging, arguments. Pure functions.

use std::path::{Path, PathBuf};

/// Version of Spark and of its Kafka connector: 4.3.0 has no connector in the public repositories.
pub const VERSION: &str = "4.2.0";
/// Heap of the master and of the worker (not of executors), MiB.
const DAEMON_MEMORY_MIB: u32 = 256;
/// Heap of a Connect server that runs its tasks itself, MiB.
const LOCAL_DRIVER_MEMORY_MIB: u32 = 2048;
/// Heap of a Connect server that leaves the tasks to executors, MiB.
const DRIVER_MEMORY_MIB: u32 = 1024;
/// How long Spark keeps a session, with its queries, of which it hears nothing. Spark's default of an hour would end a
/// quiet night's jobs.
const SESSION_TIMEOUT: &str = "24h";
/// Main class of the master.
const MASTER: &str = "org.apache.spark.deploy.master.Master";
/// Main class of the worker.
const WORKER: &str = "org.apache.spark.deploy.worker.Worker";
/// Main class of the Connect server.
const CONNECT: &str = "org.apache.spark.sql.connect.service.SparkConnectServer";
/// What an executor's command line has.
pub const EXECUTOR: &str = "CoarseGrainedExecutorBackend";

/// `log4j2.properties` of all Spark processes.
pub const LOGGING: &str = "rootLogger.level = warn
rootLogger.appenderRef.err.ref = err
appender.err.type = Console
appender.err.name = err
appender.err.target = SYSTEM_ERR
appender.err.layout.type = PatternLayout
appender.err.layout.pattern = %d{HH:mm:ss} %p %c{1}: %m%n%ex
logger.connect.name = org.apache.spark.sql.connect.service.SparkConnectServer
logger.connect.level = info
";

/// Where Spark's things are in a cluster's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SparkPaths {
    /// The unpacked distribution.
    pub home: PathBuf,
    /// Folder of the cluster's Spark: conf, work, local, warehouse, recovery.
    pub dir: PathBuf,
}

impl SparkPaths {
    /// `SPARK_CONF_DIR`.
    pub fn conf(&self) -> PathBuf {
        self.dir.join("conf")
    }

    /// Where the worker's executors have their folders: an executor is known by its working folder below it.
    pub fn executors(&self) -> PathBuf {
        self.dir.join("executors")
    }

    /// Where the master keeps who is registered, so that a new one takes over.
    pub fn recovery(&self) -> PathBuf {
        self.dir.join("recovery")
    }

    /// The script that starts a class of Spark; it becomes the JVM, so its process id is the JVM's.
    pub fn spark_class(&self) -> PathBuf {
        self.home.join("bin/spark-class")
    }

    /// The script that starts an application; it becomes the JVM too.
    pub fn spark_submit(&self) -> PathBuf {
        self.home.join("bin/spark-submit")
    }

    /// The environment of a Spark process; a daemon is a master or a worker. The Connect server must not have a daemon's
    /// memory: Spark would take it for the driver's, whatever `--driver-memory` says.
    pub fn environment(&self, daemon: bool) -> Vec<(String, String)> {
        let recovery = self.recovery().display().to_string();
        let mut all = vec![
            ("SPARK_HOME", self.home.display().to_string()),
            ("SPARK_CONF_DIR", self.conf().display().to_string()),
            ("SPARK_LOCAL_IP", "127.0.0.1".into()),
            ("SPARK_LOCAL_HOSTNAME", "127.0.0.1".into()),
            ("SPARK_LOCAL_DIRS", self.dir.join("local").display().to_string()),
        ];
        if daemon {
            let keep = format!("-Dspark.deploy.recoveryMode=FILESYSTEM -Dspark.deploy.recoveryDirectory={recovery}");
            all.push(("SPARK_DAEMON_MEMORY", format!("{DAEMON_MEMORY_MIB}m")));
            all.push(("SPARK_DAEMON_JAVA_OPTS", "-XX:+UseSerialGC".into()));
            all.push(("SPARK_MASTER_OPTS", keep));
        }
        all.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

/// Arguments of `spark-class` for the master.
pub fn master_args(port: u16, web: u16) -> Vec<String> {
    let (port, web) = (port.to_string(), web.to_string());
    [MASTER, "--host", "127.0.0.1", "--port", &port, "--webui-port", &web].map(str::to_owned).into()
}

/// Arguments of `spark-class` for the worker.
pub fn worker_args(master: u16, web: u16, cores: u32, memory_mib: u32, executors: &Path) -> Vec<String> {
    let (web, cores, memory) = (web.to_string(), cores.to_string(), format!("{memory_mib}m"));
    let (executors, master) = (executors.display().to_string(), format!("spark://127.0.0.1:{master}"));
    let mut args = vec![WORKER, "--host", "127.0.0.1", "--cores", &cores, "--memory", &memory];
    args.extend(["--webui-port", &web, "--work-dir", &executors, &master]);
    args.into_iter().map(str::to_owned).collect()
}

/// Who runs the tasks of the Connect server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tasks {
    /// Itself.
    Own {
        /// Threads.
        cores: u32,
    },
    /// Executors of the cluster of the master on this port.
    Executors {
        /// Port of the master.
        master: u16,
        /// Cores over all executors.
        cores: u32,
        /// Heap of each, MiB.
        memory_mib: u32,
    },
}

/// Arguments of `spark-submit` for the Connect server.
pub fn connect_args(paths: &SparkPaths, jars: &[PathBuf], connect: u16, web: u16, tasks: Tasks) -> Vec<String> {
    let (master, cores, driver_mib) = match tasks {
        Tasks::Own { cores } => (format!("local[{cores}]"), cores, LOCAL_DRIVER_MEMORY_MIB),
        Tasks::Executors { master, cores, .. } => (format!("spark://127.0.0.1:{master}"), cores, DRIVER_MEMORY_MIB),
    };
    let jars: Vec<String> = jars.iter().map(|jar| jar.display().to_string()).collect();
    let mut args: Vec<String> = vec!["--class".into(), CONNECT.into(), "--name".into(), "millrace".into()];
    args.extend(["--master".into(), master, "--driver-memory".into(), format!("{driver_mib}m")]);
    if let Tasks::Executors { cores, memory_mib, .. } = tasks {
        args.extend(["--executor-memory".into(), format!("{memory_mib}m")]);
        args.extend(["--total-executor-cores".into(), cores.to_string()]);
    }
    if !jars.is_empty() {
        args.extend(["--jars".into(), jars.join(",")]);
    }
    let dir = paths.dir.display();
    for conf in [
        format!("spark.connect.grpc.binding.port={connect}"),
        "spark.connect.grpc.binding.address=127.0.0.1".into(),
        format!("spark.connect.session.manager.defaultSessionTimeout={SESSION_TIMEOUT}"),
        "spark.driver.host=127.0.0.1".into(),
        "spark.driver.bindAddress=127.0.0.1".into(),
        format!("spark.driver.extraJavaOptions=-XX:+UseSerialGC -Dderby.system.home={dir}"),
        "spark.executor.extraJavaOptions=-XX:+UseSerialGC".into(),
        "spark.ui.enabled=true".into(),
        format!("spark.ui.port={web}"),
        "spark.sql.session.timeZone=UTC".into(),
        format!("spark.sql.shuffle.partitions={cores}"),
        format!("spark.sql.warehouse.dir={dir}/warehouse"),
        "spark.sql.catalogImplementation=in-memory".into(),
        "spark.sql.streaming.stateStore.providerClass=\
         org.apache.spark.sql.execution.streaming.state.RocksDBStateStoreProvider"
            .into(),
    ] {
        args.extend(["--conf".into(), conf]);
    }
    args.push("spark-internal".into());
    args
}

/// The number of an executor in its command line; `None`: it is none.
pub fn executor_id(command_line: &[String]) -> Option<&str> {
    command_line.iter().find(|word| word.contains(EXECUTOR))?;
    let at = command_line.iter().position(|word| word == "--executor-id")?;
    command_line.get(at + 1).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths() -> SparkPaths {
        SparkPaths { home: "/s".into(), dir: "/d".into() }
    }

    #[test]
    fn a_connect_server_with_executors_names_its_master_and_their_size() {
        let tasks = Tasks::Executors { master: 7077, cores: 2, memory_mib: 1024 };
        let args = connect_args(&paths(), &["/j/a.jar".into(), "/j/b.jar".into()], 15_002, 4040, tasks).join(" ");
        for part in [
            "--master spark://127.0.0.1:7077",
            "--executor-memory 1024m",
            "--jars /j/a.jar,/j/b.jar",
            "--conf spark.connect.grpc.binding.port=15002",
            "--conf spark.sql.shuffle.partitions=2",
            "--conf spark.sql.session.timeZone=UTC",
            "state.RocksDBStateStoreProvider",
        ] {
            assert!(args.contains(part), "{part} is not in {args}");
        }
        assert!(args.ends_with(" spark-internal"));
    }

    #[test]
    fn a_local_connect_server_has_no_executors() {
        let args = connect_args(&paths(), &[], 1, 2, Tasks::Own { cores: 3 }).join(" ");
        assert!(args.contains("--master local[3]") && !args.contains("--executor-memory"), "{args}");
    }

    #[test]
    fn only_daemons_have_a_daemons_memory() {
        let names = |daemon| paths().environment(daemon).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert!(names(true).contains(&"SPARK_DAEMON_MEMORY".to_owned()));
        assert!(!names(false).contains(&"SPARK_DAEMON_MEMORY".to_owned()));
    }

    #[test]
    fn the_worker_knows_its_master() {
        let args = worker_args(7077, 8082, 2, 1024, Path::new("/d/executors"));
        assert_eq!(args.last().map(String::as_str), Some("spark://127.0.0.1:7077"));
        assert!(args.join(" ").contains("--cores 2 --memory 1024m"));
        assert_eq!(
            master_args(7077, 8081).join(" "),
            format!("{MASTER} --host 127.0.0.1 --port 7077 --webui-port 8081")
        );
    }

    #[test]
    fn an_executor_is_known_by_its_command_line() {
        let line = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let class = "org.apache.spark.executor.CoarseGrainedExecutorBackend";
        assert_eq!(executor_id(&line(&format!("java -cp x {class} --executor-id 4 --cores 2"))), Some("4"));
        assert_eq!(executor_id(&line("java -cp x Main --executor-id 4")), None);
    }
}
