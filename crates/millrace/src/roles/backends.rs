//! Which job runs where: on the embedded engine or on Spark, as the settings say.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use millrace_codec::DecodeLimits;
use millrace_connectors::Shutdown;
use millrace_connectors::kafka::ClientSettings;
use millrace_engine::{JobPlan, JobSettings};
use millrace_model::names::did_you_mean;
use millrace_model::{Contract, Role};

use super::job::shared::Readers;
use super::job::{INTAKE, JobRunSettings, StateMemory};
use super::jobs::{self, JobHandle, MakePlan};
use crate::commands::Invalid;
use crate::pipelines::{Pipelines, Planned};
use crate::product::Roles;
use crate::settings::{Backend, Settings};
use crate::statics::Statics;

/// Where jobs run and what they are told.
pub(crate) struct JobPlace<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) kafka: &'a ClientSettings,
    pub(crate) data_dir: &'a Path,
    pub(crate) runtime: &'a tokio::runtime::Handle,
    pub(crate) shutdown: &'a Shutdown,
}

/// Refuses settings of jobs that are not there, and Spark where it is not built in.
///
/// # Errors
/// [`Invalid`].
pub(crate) fn check(settings: &Settings, jobs: &[JobPlan]) -> anyhow::Result<()> {
    for name in settings.jobs.keys() {
        if !jobs.iter().any(|job| job.name == *name) {
            let known = jobs.iter().map(|job| job.name.as_str());
            let text = format!("settings [jobs.{name}]: there is no job `{name}`{}", did_you_mean(name, known));
            return Err(Invalid(text).into());
        }
    }
    let on_spark = jobs.iter().find(|job| settings.backend(&job.name) == Backend::Spark);
    match on_spark {
        Some(job) if !cfg!(feature = "spark") => Err(Invalid(format!(
            "job `{}` is to run on Spark, but this program was built without it; build it with: cargo build --release \
             --features spark (it needs protoc: apt-get install protobuf-compiler libprotobuf-dev)",
            job.name
        ))
        .into()),
        _ => Ok(()),
    }
}

/// Starts the jobs, each on its backend.
///
/// # Errors
/// [`Invalid`] settings; no more threads.
pub(crate) fn start(
    place: &JobPlace<'_>,
    roles: Roles,
    planned: Planned,
    pipelines: Pipelines,
) -> anyhow::Result<Vec<JobHandle>> {
    check(place.settings, if roles.jobs { &planned.jobs } else { &[] })?;
    let sources: Vec<Contract> = planned.contracts.of_role(Role::Source).cloned().collect();
    let jobs = if roles.jobs { planned.jobs } else { Vec::new() };
    let (on_spark, mut embedded): (Vec<JobPlan>, Vec<JobPlan>) =
        jobs.into_iter().partition(|job| place.settings.backend(&job.name) == Backend::Spark);
    let mut handles = start_on_spark(place, &on_spark, &pipelines)?;
    if roles.intake {
        embedded.push(JobPlan::intake(INTAKE, sources.iter()));
    }
    let statics = Statics::new(place.runtime.clone());
    let make_plan: MakePlan = Arc::new(move |name| {
        if name == INTAKE {
            return Some(JobPlan::intake(INTAKE, sources.iter()));
        }
        let planned = pipelines.plan(&statics).ok()?;
        planned.jobs.into_iter().find(|job| job.name == name)
    });
    let settings = run_settings(place, &embedded);
    let started = jobs::start(embedded, &make_plan, &settings, place.runtime, place.shutdown);
    handles.extend(started.context("cannot start a job's thread")?);
    Ok(handles)
}

#[cfg(feature = "spark")]
fn start_on_spark(place: &JobPlace<'_>, jobs: &[JobPlan], pipelines: &Pipelines) -> anyhow::Result<Vec<JobHandle>> {
    use super::spark;
    let settings = spark::settings(place.settings, place.kafka, place.data_dir);
    let start = |(file, plan)| {
        let (job, kinds) = (spark::job(file, plan)?, spark::kinds(plan));
        let (kafka, runtime, shutdown) = (place.kafka.clone(), place.runtime.clone(), place.shutdown.clone());
        spark::start(job, kinds, settings.clone(), kafka, runtime, shutdown).context("cannot start a job's thread")
    };
    pipelines.of_jobs(jobs).into_iter().map(start).collect()
}

#[cfg(not(feature = "spark"))]
fn start_on_spark(_: &JobPlace<'_>, _: &[JobPlan], _: &Pipelines) -> anyhow::Result<Vec<JobHandle>> {
    // `check` has refused every job of Spark.
    Ok(Vec::new())
}

/// Checks these jobs against the Spark server of the settings, without starting any; gives everything that is wrong.
///
/// # Errors
/// The server cannot be asked.
#[cfg(feature = "spark")]
pub(crate) fn check_on_spark(
    place: &JobPlace<'_>,
    jobs: &[JobPlan],
    pipelines: &Pipelines,
) -> anyhow::Result<Vec<String>> {
    use super::spark;
    let settings = spark::settings(place.settings, place.kafka, place.data_dir);
    let jobs = pipelines.of_jobs(jobs).into_iter().map(|(file, plan)| spark::job(file, plan));
    let jobs: Vec<_> = jobs.collect::<anyhow::Result<_>>()?;
    let errors = millrace_spark::check(&settings, &jobs).with_context(|| format!("Spark at {}", settings.url))?;
    Ok(errors.iter().map(ToString::to_string).collect())
}

/// As it is without Spark.
///
/// # Errors
/// Always: [`Invalid`].
#[cfg(not(feature = "spark"))]
pub(crate) fn check_on_spark(place: &JobPlace<'_>, jobs: &[JobPlan], _: &Pipelines) -> anyhow::Result<Vec<String>> {
    check(place.settings, jobs).map(|()| Vec::new())
}

/// How these jobs run.
pub(crate) fn run_settings(place: &JobPlace<'_>, jobs: &[JobPlan]) -> JobRunSettings {
    let engine = &place.settings.engine;
    let job = JobSettings {
        decode: DecodeLimits { value_bytes_max: engine.record_bytes_max, ..DecodeLimits::default() },
        groups_max: engine.groups_max,
        state_bytes_max: engine.state_bytes_max,
        ..JobSettings::default()
    };
    JobRunSettings {
        kafka: place.kafka.clone(),
        state_root: place.data_dir.join("state"),
        trigger: engine.trigger,
        epoch_records_max: engine.epoch_records_max,
        epoch_bytes_max: engine.epoch_bytes_max,
        idle_timeout: engine.idle_timeout,
        snapshot_interval: engine.snapshot_interval,
        readers: Readers::new(jobs.iter().flat_map(|job| &job.sources), job.clone()),
        job,
        memory: StateMemory::new(engine.state_bytes_max),
        runtime: place.runtime.clone(),
        spark_sessions: place.data_dir.join("spark").join("sessions"),
    }
}
