//! Backtests that somebody starts on the page or over HTTP: one at a time, in the background, within limits.
//!
//! ```text
//!  begin ─▶ running (step, done of how many) ─┬─▶ done: figures
//!                 │                           ├─▶ failed: why
//!                 └── stop, or time_max ──────┴─▶ stopped
//! ```
//!
//! The newest one stays to be looked at until the next begins; nothing of it is kept over a restart.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use millrace_connectors::kafka::ClientSettings;
use millrace_connectors::{Ending, Shutdown};
use millrace_dashboard::service::{Backtests, Refused};
use millrace_intelligence::fraud::live::JudgeSettings;
use millrace_model::Timestamp;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::asked::wanted;
use super::{Step, Told, Wanted, Watch, run};
use crate::roles::score::ScoreSettings;

/// Payments held by one version only that are named in an answer.
const NAMED_MAX: usize = 20;

/// Makes backtests of one product.
pub(crate) struct Desk {
    kafka: ClientSettings,
    lake: PathBuf,
    settings: ScoreSettings,
    live: JudgeSettings,
    runtime: Handle,
    shutdown: Shutdown,
    newest: Arc<Mutex<Option<Backtest>>>,
}

/// The newest backtest.
struct Backtest {
    by: String,
    asked: Value,
    started_at: Timestamp,
    course: Arc<Course>,
    end: Option<(Timestamp, End)>,
}

enum End {
    Done(Box<Value>),
    Failed(String),
    Stopped(String),
}

/// How far it is, and whether it shall go on.
struct Course {
    step: Mutex<(Step, Option<u64>)>,
    done: AtomicU64,
    stopped: AtomicBool,
    stop: Notify,
    shutdown: Shutdown,
}

impl Watch for Course {
    fn begins(&self, step: Step, records: Option<u64>) {
        *lock(&self.step) = (step, records);
        self.done.store(0, Ordering::Relaxed);
    }

    fn goes_on(&self, records: u64) {
        self.done.fetch_add(records, Ordering::Relaxed);
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed) || self.shutdown.asked() != Ending::None
    }
}

impl Course {
    fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        self.stop.notify_one();
    }
}

fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now() -> Timestamp {
    Timestamp::from_system_time(SystemTime::now())
}

impl Desk {
    /// For a cluster, a lake and the settings that run. It stops with `shutdown`.
    pub(crate) fn open(
        kafka: &ClientSettings,
        lake: PathBuf,
        settings: &ScoreSettings,
        shutdown: Shutdown,
    ) -> Arc<dyn Backtests> {
        let (kafka, settings, live) = (kafka.clone(), settings.clone(), settings.judge());
        Arc::new(Desk { kafka, lake, settings, live, runtime: Handle::current(), shutdown, newest: Arc::default() })
    }

    async fn make(
        kafka: ClientSettings,
        lake: PathBuf,
        live: JudgeSettings,
        (wanted, settings): (Wanted, ScoreSettings),
        course: Arc<Course>,
    ) -> End {
        let watch: Arc<dyn Watch> = course.clone();
        let mut shutdown = course.shutdown.clone();
        let time_max = settings.backtest.time_max;
        let end = tokio::select! {
            told = run(&kafka, &lake, &live, &wanted, &watch) => match told {
                Ok(told) => End::Done(Box::new(brief(&told))),
                Err(error) => End::Failed(format!("{error:#}")),
            },
            () = course.stop.notified() => End::Stopped(String::new()),
            () = shutdown.at_least(Ending::Drain) => End::Stopped(String::new()),
            () = tokio::time::sleep(time_max) => End::Failed(format!(
                "it took longer than {} seconds (score.backtest.time_max); choose a shorter span, or use `millrace fraud backtest`",
                time_max.as_secs()
            )),
        };
        // Whatever still computes ends, too.
        course.stop();
        end
    }
}

/// The figures, with some of what differs by name.
fn brief(told: &Told) -> Value {
    let mut value = json!(told);
    for name in ["held_more", "held_less"] {
        if let Some(held) = value[name].as_array_mut() {
            held.truncate(NAMED_MAX);
        }
    }
    value
}

impl Backtests for Desk {
    fn backtest(&self) -> Value {
        let newest = lock(&self.newest);
        let state = match newest.as_ref().map(|newest| newest.end.as_ref()) {
            None => "none",
            Some(None) => "running",
            Some(Some((_, End::Done(_)))) => "done",
            Some(Some((_, End::Failed(_)))) => "failed",
            Some(Some((_, End::Stopped(_)))) => "stopped",
        };
        let rules = self.live.merged();
        let rules = rules.iter().map(
            |(name, rule)| json!({ "name": name, "when": rule.when, "points": rule.points, "state": rule.state() }),
        );
        let mut told = json!({ "state": state, "rules": rules.collect::<Vec<_>>(), "review_at": self.live.review_at,
            "block_at": self.live.block_at, "records_max": self.settings.backtest.records_max,
            "seconds_max": self.settings.backtest.time_max.as_secs() });
        let Some(newest) = newest.as_ref() else { return told };
        told["by"] = json!(newest.by);
        told["asked"] = newest.asked.clone();
        told["started_at"] = json!(newest.started_at);
        match &newest.end {
            None => {
                let (step, records) = *lock(&newest.course.step);
                told["step"] = json!(step);
                told["told"] = json!(step.words());
                told["records_done"] = json!(newest.course.done.load(Ordering::Relaxed));
                told["records"] = json!(records);
            }
            Some((ended_at, end)) => {
                told["ended_at"] = json!(ended_at);
                match end {
                    End::Done(result) => told["result"] = (**result).clone(),
                    End::Failed(why) => told["why"] = json!(why),
                    End::Stopped(by) => told["stopped_by"] = json!(by),
                }
            }
        }
        told
    }

    fn begin(&self, asked: &Value) -> Result<Value, Refused> {
        let (wanted, by) = wanted(asked, &self.live, self.settings.backtest.records_max).map_err(Refused::Invalid)?;
        {
            let mut newest = lock(&self.newest);
            if let Some(running) = newest.as_ref().filter(|newest| newest.end.is_none()) {
                let text = format!("a backtest of {} is running; wait for it, or stop it", running.by);
                return Err(Refused::Conflict(text));
            }
            let course = Arc::new(Course {
                step: Mutex::default(),
                done: AtomicU64::new(0),
                stopped: AtomicBool::new(false),
                stop: Notify::new(),
                shutdown: self.shutdown.clone(),
            });
            let (kafka, lake, live) = (self.kafka.clone(), self.lake.clone(), self.live.clone());
            let made = Desk::make(kafka, lake, live, (wanted, self.settings.clone()), course.clone());
            let backtest = Backtest { by, asked: asked.clone(), started_at: now(), course: course.clone(), end: None };
            *newest = Some(backtest);
            let kept = self.newest.clone();
            self.runtime.spawn(async move {
                let end = made.await;
                // One that was stopped has its end, and another may have begun.
                if let Some(newest) = lock(&kept).as_mut()
                    && Arc::ptr_eq(&newest.course, &course)
                    && newest.end.is_none()
                {
                    newest.end = Some((now(), end));
                }
            });
        }
        Ok(self.backtest())
    }

    fn stop(&self, by: &str) -> Result<Value, Refused> {
        {
            let mut newest = lock(&self.newest);
            let Some(running) = newest.as_mut().filter(|newest| newest.end.is_none()) else {
                return Err(Refused::Conflict("no backtest is running".into()));
            };
            running.course.stop();
            running.end = Some((now(), End::Stopped(by.to_owned())));
        }
        Ok(self.backtest())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn desk(time_max: Duration) -> (Arc<dyn Backtests>, millrace_connectors::ShutdownSwitch) {
        let mut settings = ScoreSettings::default();
        settings.backtest.time_max = time_max;
        let (switch, shutdown) = millrace_connectors::shutdown();
        // Nobody answers there: it waits for the cluster until somebody ends it.
        let kafka = ClientSettings::new("127.0.0.1:9".to_owned());
        (Desk::open(&kafka, PathBuf::from("nowhere"), &settings, shutdown), switch)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn there_is_one_at_a_time_and_it_can_be_stopped() {
        let (desk, _switch) = desk(Duration::from_secs(60));
        assert_eq!(desk.backtest()["state"], "none");
        assert!(desk.backtest()["rules"].as_array().is_some_and(|rules| rules.len() > 10));
        assert!(matches!(desk.stop("ann"), Err(Refused::Conflict(_))));
        assert!(matches!(desk.begin(&json!({})), Err(Refused::Invalid(why)) if why.contains("`by` is missing")));
        let asked = json!({ "by": "ann", "off": ["velocity"] });
        let begun = desk.begin(&asked).expect("begun");
        assert_eq!((&begun["state"], &begun["asked"], &begun["step"]), (&json!("running"), &asked, &json!("topics")));
        assert!(matches!(desk.begin(&asked), Err(Refused::Conflict(why)) if why.contains("of ann is running")));
        let stopped = desk.stop("bob").expect("stopped");
        assert_eq!((&stopped["state"], &stopped["stopped_by"]), (&json!("stopped"), &json!("bob")));
        assert_eq!(desk.begin(&asked).expect("begun")["state"], "running", "the next one");
        desk.stop("bob").expect("stopped");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_takes_too_long_ends_with_what_to_do() {
        let (desk, _switch) = desk(Duration::from_millis(50));
        desk.begin(&json!({ "by": "ann" })).expect("begun");
        let told = loop {
            let told = desk.backtest();
            if told["state"] != "running" {
                break told;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        assert!(told["why"].as_str().is_some_and(|why| why.contains("choose a shorter span")), "{told}");
    }
}
