//! Settings: plain data, from `millrace.toml`, the environment and the command line, in that order of strength.
//!
//! | from | how |
//! |---|---|
//! | file | `--config FILE`, else `./millrace.toml`, else `$XDG_CONFIG_HOME/millrace/millrace.toml` |
//! | environment | `MILLRACE_DATA_DIR`, `MILLRACE_STORE_URL`, `MILLRACE_KAFKA_BOOTSTRAP_SERVERS`, `MILLRACE_PIPELINES`, `MILLRACE_LAKE_DIR`, `MILLRACE_LISTEN`, `MILLRACE_HOSTS_ALLOWED`, `MILLRACE_SPARK_UI`, `MILLRACE_KAFKA_UI`, `MILLRACE_BACKEND`, `MILLRACE_SPARK_URL`, `MILLRACE_SPARK_CHECKPOINT_DIR` |
//! | command line | the options of each command |
//!
//! A key that is not known is an error that names the nearest one that is.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use millrace_connectors::sink::search::SearchSettings;
use millrace_model::names::did_you_mean;
use millrace_model::time::parse_duration;
use serde::{Deserialize, Deserializer};

use crate::roles::recommend::RecommendSettings;
use crate::roles::score::ScoreSettings;

/// Everything that can be set in the file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    /// Folder of everything the product keeps.
    pub(crate) data_dir: Option<PathBuf>,
    /// Folder of pipeline files.
    pub(crate) pipelines: Option<PathBuf>,
    /// Folder of further contracts.
    pub(crate) contracts: Option<PathBuf>,
    /// What runs the pipelines, unless a job says otherwise.
    pub(crate) backend: Backend,
    /// Of single jobs, by the name of the pipeline file.
    pub(crate) jobs: BTreeMap<String, JobOptions>,
    pub(crate) kafka: Kafka,
    pub(crate) broker: Broker,
    pub(crate) store: Store,
    pub(crate) sink: Sink,
    pub(crate) dashboard: Dashboard,
    pub(crate) engine: Engine,
    pub(crate) spark: Spark,
    pub(crate) lake: Lake,
    pub(crate) notify: crate::roles::notify::settings::Notify,
    pub(crate) simulate: Simulate,
    pub(crate) recommend: RecommendSettings,
    pub(crate) score: ScoreSettings,
}

/// What runs a pipeline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Backend {
    /// The engine of this program
    #[default]
    Embedded,
    /// Apache Spark Structured Streaming, over Spark Connect
    Spark,
}

/// What can be set of one job.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct JobOptions {
    /// What runs it.
    pub(crate) backend: Option<Backend>,
}

/// The Spark backend.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Spark {
    /// Spark Connect server.
    pub(crate) url: String,
    /// Folder of checkpoints, any path or URL all of Spark's machines can write; default: `spark/checkpoints` in the data
    /// folder, which is right only when Spark runs on this machine.
    pub(crate) checkpoint_dir: Option<String>,
    /// When a batch starts, for tables that do not say.
    #[serde(deserialize_with = "duration")]
    pub(crate) trigger: Duration,
    /// Most records of a source in one batch; 0: no limit.
    pub(crate) records_per_batch_max: u64,
    /// The cluster as Spark's machines reach it, when that is another address than ours.
    pub(crate) bootstrap_servers: String,
    /// Settings of the Spark session.
    pub(crate) conf: BTreeMap<String, String>,
}

impl Default for Spark {
    fn default() -> Self {
        Spark {
            url: "sc://127.0.0.1:15002".into(),
            checkpoint_dir: None,
            trigger: Duration::from_secs(30),
            records_per_batch_max: 1_000_000,
            bootstrap_servers: String::new(),
            conf: BTreeMap::new(),
        }
    }
}

/// A Kafka cluster to use instead of the embedded broker.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Kafka {
    /// `host:port,…`; empty: the embedded broker.
    pub(crate) bootstrap_servers: String,
    /// Ordinary Kafka client properties.
    pub(crate) properties: BTreeMap<String, String>,
    /// Copies of each partition of topics we make.
    pub(crate) replication: Option<u16>,
}

/// The embedded broker.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Broker {
    /// Address of the Kafka port; port 0 takes any free one.
    pub(crate) listen: SocketAddr,
    /// Allow an address that is not loopback.
    pub(crate) listen_beyond_loopback: bool,
    /// `interval` (every second) or `always` (before every acknowledgement).
    pub(crate) fsync: String,
}

impl Default for Broker {
    fn default() -> Self {
        Broker { listen: loopback(9092), listen_beyond_loopback: false, fsync: "interval".into() }
    }
}

/// The store.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Store {
    /// `postgres://…` or `sqlite://…`; empty: SQLite in the data folder.
    pub(crate) url: String,
    /// How long result rows are kept: a duration, or `contracts`; empty or `0s`: for ever.
    pub(crate) retention: String,
}

/// Where results go besides the store.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Sink {
    /// Elasticsearch or OpenSearch.
    pub(crate) elasticsearch: SearchSettings,
}

/// The dashboard.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Dashboard {
    /// Address of the page; port 0 takes any free one.
    pub(crate) listen: SocketAddr,
    /// Host names a browser may use for it, without port; none: on a loopback address only `localhost`, else any.
    #[serde(deserialize_with = "host_names")]
    pub(crate) hosts_allowed: Vec<String>,
    /// Address of Spark's own pages, for a link.
    #[serde(deserialize_with = "web_address")]
    pub(crate) spark_ui: Option<String>,
    /// Address of a Kafka UI, for a link.
    #[serde(deserialize_with = "web_address")]
    pub(crate) kafka_ui: Option<String>,
}

impl Default for Dashboard {
    fn default() -> Self {
        Dashboard { listen: loopback(8080), hosts_allowed: Vec::new(), spark_ui: None, kafka_ui: None }
    }
}

/// The embedded engine.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Engine {
    /// Shortest time between the beginnings of two epochs; the first record after a longer silence is run at once.
    #[serde(deserialize_with = "duration")]
    pub(crate) trigger: Duration,
    /// Most records of an epoch.
    pub(crate) epoch_records_max: usize,
    /// Most bytes of records of an epoch.
    pub(crate) epoch_bytes_max: usize,
    /// A caught-up partition that is silent this long holds the watermark back no longer.
    #[serde(deserialize_with = "duration")]
    pub(crate) idle_timeout: Duration,
    /// How often state is written as a snapshot.
    #[serde(deserialize_with = "duration")]
    pub(crate) snapshot_interval: Duration,
    /// Most open groups of one table.
    pub(crate) groups_max: usize,
    /// Most bytes of state of all jobs together, estimated.
    pub(crate) state_bytes_max: usize,
    /// Longest record value, bytes.
    pub(crate) record_bytes_max: usize,
}

impl Default for Engine {
    fn default() -> Self {
        Engine {
            trigger: Duration::from_millis(20),
            epoch_records_max: 50_000,
            epoch_bytes_max: 16 << 20,
            idle_timeout: Duration::from_secs(5),
            snapshot_interval: Duration::from_secs(30),
            groups_max: 100_000_000,
            state_bytes_max: 4 << 30,
            record_bytes_max: 1 << 20,
        }
    }
}

/// The lake.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Lake {
    /// Archive the source topics.
    pub(crate) enabled: bool,
    /// Folder; default: `lake` in the data folder.
    pub(crate) dir: Option<PathBuf>,
    /// Longest time a record waits for its file.
    #[serde(deserialize_with = "duration")]
    pub(crate) flush_interval: Duration,
    /// Days that ended longer ago are deleted; `0s`: none are.
    #[serde(deserialize_with = "duration")]
    pub(crate) retention: Duration,
}

impl Default for Lake {
    fn default() -> Self {
        Lake { enabled: true, dir: None, flush_interval: Duration::from_secs(60), retention: Duration::ZERO }
    }
}

/// The simulated shop.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Simulate {
    /// Run it with `millrace up`.
    pub(crate) enabled: bool,
    /// Records a second.
    pub(crate) rate: f64,
    /// Everything random follows from it.
    pub(crate) seed: u64,
    /// How fast its clock runs.
    pub(crate) speed: f64,
    /// How much past a new shop has when it opens.
    #[serde(deserialize_with = "duration")]
    pub(crate) history: Duration,
}

impl Default for Simulate {
    fn default() -> Self {
        Simulate { enabled: true, rate: 300.0, seed: 42, speed: 1.0, history: Duration::from_secs(45 * 60) }
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

pub(crate) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_duration(&text).map_err(serde::de::Error::custom)
}

/// An address a browser opens; empty: none.
pub(crate) fn web_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    check_web_address(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

fn check_web_address(text: String) -> Result<Option<String>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let host = rest.and_then(|rest| rest.split(['/', '?', '#']).next()).unwrap_or_default();
    let is_plain = text.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '"' | '\'' | '<' | '>' | '\\'));
    match (host.is_empty() || host.starts_with(':') || !is_plain, host.contains('@')) {
        (true, _) => Err(format!("`{text}` is not the address of a page; write http://HOST:PORT")),
        (false, true) => Err("the address of a page must hold no name or password: every viewer sees it".into()),
        (false, false) => Ok(Some(text)),
    }
}

fn host_names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    check_host_names(Vec::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

fn check_host_names(names: Vec<String>) -> Result<Vec<String>, String> {
    let is_name = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
    match names.iter().find(|name| !is_name(name)) {
        Some(wrong) => Err(format!("`{wrong}` is not a host name; write it without http:// and without port")),
        None => Ok(names),
    }
}

impl Settings {
    /// Reads the file (a named one must exist) and the environment.
    ///
    /// # Errors
    /// The file cannot be read, or a key or value in it is wrong: with line and column.
    pub(crate) fn load(named: Option<&Path>) -> anyhow::Result<Self> {
        let mut settings = match find(named) {
            None => Settings::default(),
            Some(path) => {
                let text = std::fs::read_to_string(&path)
                    .with_context(|| format!("cannot read the settings in {}", path.display()))?;
                Settings::parse(&text, &path.display().to_string())?
            }
        };
        settings.environment(|name| std::env::var(name).ok())?;
        Ok(settings)
    }

    pub(crate) fn parse(text: &str, file: &str) -> anyhow::Result<Self> {
        toml::from_str(text).map_err(|error| {
            let (line, column) = error.span().map_or((1, 1), |span| place(text, span.start));
            anyhow::anyhow!("{file}:{line}:{column}: {}", explain(error.message()))
        })
    }

    fn environment(&mut self, variable: impl Fn(&str) -> Option<String>) -> anyhow::Result<()> {
        if let Some(dir) = variable("MILLRACE_DATA_DIR") {
            self.data_dir = Some(dir.into());
        }
        if let Some(url) = variable("MILLRACE_STORE_URL") {
            self.store.url = url;
        }
        if let Some(servers) = variable("MILLRACE_KAFKA_BOOTSTRAP_SERVERS") {
            self.kafka.bootstrap_servers = servers;
        }
        if let Some(dir) = variable("MILLRACE_PIPELINES") {
            self.pipelines = Some(dir.into());
        }
        if let Some(dir) = variable("MILLRACE_LAKE_DIR") {
            self.lake.dir = Some(dir.into());
        }
        if let Some(address) = variable("MILLRACE_LISTEN") {
            self.dashboard.listen =
                address.parse().with_context(|| format!("MILLRACE_LISTEN is `{address}`; write ADDRESS:PORT"))?;
        }
        if let Some(names) = variable("MILLRACE_HOSTS_ALLOWED") {
            let names = names.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
            self.dashboard.hosts_allowed =
                check_host_names(names).map_err(|why| anyhow::anyhow!("MILLRACE_HOSTS_ALLOWED: {why}"))?;
        }
        for (name, link) in
            [("MILLRACE_SPARK_UI", &mut self.dashboard.spark_ui), ("MILLRACE_KAFKA_UI", &mut self.dashboard.kafka_ui)]
        {
            if let Some(text) = variable(name) {
                *link = check_web_address(text).map_err(|why| anyhow::anyhow!("{name}: {why}"))?;
            }
        }
        if let Some(name) = variable("MILLRACE_BACKEND") {
            self.backend = Backend::from_str(&name, false)
                .map_err(|_| anyhow::anyhow!("MILLRACE_BACKEND is `{name}`; write embedded or spark"))?;
        }
        if let Some(url) = variable("MILLRACE_SPARK_URL") {
            self.spark.url = url;
        }
        if let Some(dir) = variable("MILLRACE_SPARK_CHECKPOINT_DIR") {
            self.spark.checkpoint_dir = Some(dir);
        }
        Ok(())
    }

    /// What runs a job.
    pub(crate) fn backend(&self, job: &str) -> Backend {
        self.jobs.get(job).and_then(|job| job.backend).unwrap_or(self.backend)
    }

    /// The data folder: as set, else `$XDG_DATA_HOME/millrace`, else `~/.local/share/millrace`.
    ///
    /// # Errors
    /// Neither is known.
    pub(crate) fn data_dir(&self) -> anyhow::Result<PathBuf> {
        if let Some(dir) = &self.data_dir {
            return Ok(dir.clone());
        }
        match xdg("XDG_DATA_HOME", ".local/share") {
            Some(dir) => Ok(dir.join("millrace")),
            None => bail!("no data folder is known: set --data-dir, MILLRACE_DATA_DIR or HOME"),
        }
    }
}

fn find(named: Option<&Path>) -> Option<PathBuf> {
    if let Some(path) = named {
        return Some(path.to_owned());
    }
    let here = PathBuf::from("millrace.toml");
    let user = xdg("XDG_CONFIG_HOME", ".config").map(|dir| dir.join("millrace/millrace.toml"));
    [Some(here), user].into_iter().flatten().find(|path| path.is_file())
}

fn xdg(variable: &str, below_home: &str) -> Option<PathBuf> {
    let set = std::env::var_os(variable).filter(|dir| Path::new(dir).is_absolute()).map(PathBuf::from);
    set.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(below_home)))
}

/// Line and column, from 1, of a byte.
fn place(text: &str, at: usize) -> (usize, usize) {
    let before = &text[..at.min(text.len())];
    (before.matches('\n').count() + 1, before.chars().rev().take_while(|c| *c != '\n').count() + 1)
}

/// "unknown field `a`, expected one of `b`, `c`" → names the nearest.
fn explain(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    match (message.starts_with("unknown field"), quoted.next()) {
        (true, Some(wrong)) => {
            let known: Vec<&str> = quoted.collect();
            let hint = did_you_mean(wrong, known.iter().copied());
            format!("unknown setting `{wrong}`{hint} (known here: {})", known.join(", "))
        }
        _ => message.trim_end().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_is_known() {
        let settings = Settings::parse(
            "data_dir = '/d'\n[engine]\ntrigger = '250ms'\n[simulate]\nrate = 20000\n[kafka.properties]\n'linger.ms' = '5'\n",
            "f",
        );
        let settings = settings.expect("good");
        assert_eq!(settings.engine.trigger, Duration::from_millis(250));
        assert_eq!(settings.engine.epoch_records_max, Engine::default().epoch_records_max);
        assert_eq!((settings.simulate.rate, settings.data_dir), (20_000.0, Some("/d".into())));
    }

    #[test]
    fn names_the_place_and_the_nearest() {
        for (text, expected) in [
            ("\n[engin]\n", "f:2:2: unknown setting `engin`; did you mean `engine`?"),
            ("[engine]\n  triger = '1s'\n", "f:2:3: unknown setting `triger`; did you mean `trigger`?"),
            ("[engine]\ntrigger = 'soon'\n", "f:2:11: `soon` is not a length of time"),
            ("[simulate]\nrate = 'fast'\n", "f:2:8: invalid type"),
        ] {
            let error = Settings::parse(text, "f").expect_err(text).to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn the_dashboards_links_and_names_are_checked() {
        let text = "[dashboard]\nspark_ui = 'http://127.0.0.1:4040'\nkafka_ui = ''\nhosts_allowed = ['dash.example']\n";
        let mut settings = Settings::parse(text, "f").expect("good").dashboard;
        assert_eq!((settings.spark_ui.take(), settings.kafka_ui.take()), (Some("http://127.0.0.1:4040".into()), None));
        assert_eq!(settings.hosts_allowed, ["dash.example"]);
        for (text, told) in [
            ("spark_ui = '127.0.0.1:4040'", "is not the address of a page; write http://HOST:PORT"),
            ("kafka_ui = 'javascript:alert(1)'", "is not the address of a page"),
            ("kafka_ui = 'http://'", "is not the address of a page"),
            ("kafka_ui = 'https://me:secret@ui.example/'", "must hold no name or password"),
            ("hosts_allowed = ['http://dash.example']", "without http:// and without port"),
            ("hosts_allowed = ['dash.example:8080']", "is not a host name"),
            ("sparkui = 'http://x'", "did you mean `spark_ui`?"),
        ] {
            let error = Settings::parse(&format!("[dashboard]\n{text}\n"), "f").expect_err(text).to_string();
            assert!(error.starts_with("f:2:") && error.contains(told) && !error.contains("secret"), "{error}");
        }
        let mut settings = Settings::default();
        let variables = |name: &str| match name {
            "MILLRACE_HOSTS_ALLOWED" => Some("a.example, b.example".into()),
            "MILLRACE_KAFKA_UI" => Some("https://ui.example".into()),
            _ => None,
        };
        settings.environment(variables).expect("good");
        assert_eq!(settings.dashboard.hosts_allowed, ["a.example", "b.example"]);
        assert_eq!(settings.dashboard.kafka_ui.as_deref(), Some("https://ui.example"));
        let error = settings.environment(|name| (name == "MILLRACE_SPARK_UI").then(|| "ftp://x".into()));
        assert!(error.expect_err("not a page").to_string().starts_with("MILLRACE_SPARK_UI: "));
    }

    #[test]
    fn a_job_may_have_a_backend_of_its_own() {
        let settings = Settings::parse("backend = 'spark'\n[jobs.fraud]\nbackend = 'embedded'\n", "f").expect("good");
        assert_eq!((settings.backend("fraud"), settings.backend("metrics")), (Backend::Embedded, Backend::Spark));
    }

    #[test]
    fn the_environment_is_stronger_than_the_file() {
        let mut settings = Settings::parse("[store]\nurl = 'sqlite:a'\n", "f").expect("good");
        settings.environment(|name| (name == "MILLRACE_STORE_URL").then(|| "postgres://b".into())).expect("good");
        assert_eq!(settings.store.url, "postgres://b");
        let error = settings.environment(|name| (name == "MILLRACE_BACKEND").then(|| "flink".into()));
        assert!(error.expect_err("unknown").to_string().contains("embedded or spark"));
    }
}
