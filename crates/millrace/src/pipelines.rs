//! Which pipelines run: the files of a folder, or the ones that ship.

use std::path::Path;

use anyhow::{Context as _, bail};
use millrace_engine::{JobPlan, PipelineFile, SqlError, StaticTables, plan_pipelines};
use millrace_model::{Contract, Contracts, Role};

/// The pipelines that ship, compiled in.
const SHIPPED: &[(&str, &str)] = &[
    ("pipelines/metrics.sql", include_str!("../../../pipelines/metrics.sql")),
    ("pipelines/sessions.sql", include_str!("../../../pipelines/sessions.sql")),
    ("pipelines/fraud.sql", include_str!("../../../pipelines/fraud.sql")),
    ("pipelines/recommendations.sql", include_str!("../../../pipelines/recommendations.sql")),
    ("pipelines/inventory.sql", include_str!("../../../pipelines/inventory.sql")),
];

/// Pipeline files and the contracts they may read.
#[derive(Clone, Debug)]
pub(crate) struct Pipelines {
    pub(crate) files: Vec<PipelineFile>,
    pub(crate) contracts: Contracts,
    /// Where the files come from, for people.
    pub(crate) origin: String,
}

/// Planned pipelines: a job a file, and the contracts of all topics.
pub(crate) struct Planned {
    pub(crate) jobs: Vec<JobPlan>,
    pub(crate) contracts: Contracts,
}

impl Pipelines {
    /// The files of `folder`; without one those of `./pipelines`, if that folder exists, else those that ship.
    ///
    /// # Errors
    /// A folder that cannot be read or holds no `.sql` file; a contract that cannot be used.
    pub(crate) fn find(folder: Option<&Path>, contracts: Option<&Path>) -> anyhow::Result<Self> {
        let contracts = read_contracts(contracts)?;
        let local = Path::new("pipelines");
        match folder.or_else(|| local.is_dir().then_some(local)) {
            Some(folder) => {
                Ok(Pipelines { files: read_folder(folder)?, contracts, origin: format!("folder {}", folder.display()) })
            }
            None => {
                let file = |(path, text): &(&str, &str)| PipelineFile { path: (*path).into(), text: (*text).into() };
                Ok(Pipelines { files: SHIPPED.iter().map(file).collect(), contracts, origin: "those that ship".into() })
            }
        }
    }

    /// These files and folders of files.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub(crate) fn named(paths: &[std::path::PathBuf], contracts: Option<&Path>) -> anyhow::Result<Self> {
        let mut files = Vec::new();
        for path in paths {
            if path.is_dir() {
                files.extend(read_folder(path)?);
            } else {
                files.push(read_file(path)?);
            }
        }
        Ok(Pipelines { files, contracts: read_contracts(contracts)?, origin: "the files named".into() })
    }

    /// Plans all of them.
    ///
    /// # Errors
    /// The first error of every file.
    pub(crate) fn plan(&self, statics: &dyn StaticTables) -> Result<Planned, Vec<SqlError>> {
        let (jobs, catalog) = plan_pipelines(&self.files, &self.contracts, statics)?;
        Ok(Planned { jobs, contracts: catalog.contracts })
    }

    /// The file of each of these jobs: a job is named after its file's stem.
    #[cfg(feature = "spark")]
    pub(crate) fn of_jobs<'a>(&'a self, jobs: &'a [JobPlan]) -> Vec<(&'a PipelineFile, &'a JobPlan)> {
        let stem =
            |file: &PipelineFile| Path::new(&file.path).file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let file = |job: &JobPlan| self.files.iter().find(|file| stem(file).as_deref() == Some(job.name.as_str()));
        jobs.iter().filter_map(|job| Some((file(job)?, job))).collect()
    }

    /// The errors with the lines they are about.
    pub(crate) fn explain(&self, errors: &[SqlError]) -> String {
        let excerpt = |error: &SqlError| {
            let file = self.files.iter().find(|file| file.path == error.file);
            file.map_or_else(|| error.to_string(), |file| error.with_excerpt(&file.text))
        };
        errors.iter().map(excerpt).collect::<Vec<_>>().join("\n\n")
    }
}

impl Planned {
    /// Contracts of the result tables.
    pub(crate) fn results(&self) -> Vec<Contract> {
        self.contracts.of_role(Role::Result).cloned().collect()
    }
}

fn read_folder(folder: &Path) -> anyhow::Result<Vec<PipelineFile>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read the folder {}", folder.display()))?;
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "sql"));
    paths.sort();
    if paths.is_empty() {
        bail!("the folder {} holds no .sql file", folder.display());
    }
    paths.iter().map(|path| read_file(path)).collect()
}

fn read_file(path: &Path) -> anyhow::Result<PipelineFile> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read the pipeline {}", path.display()))?;
    Ok(PipelineFile { path: path.display().to_string(), text })
}

fn read_contracts(folder: Option<&Path>) -> anyhow::Result<Contracts> {
    let mut contracts = Contracts::builtin();
    let Some(folder) = folder else { return Ok(contracts) };
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read the folder {}", folder.display()))?;
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.extension().is_some_and(|extension| extension == "json") {
            let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            contracts.insert_text(&text).with_context(|| path.display().to_string())?;
        }
    }
    Ok(contracts)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct NoStatics;

    impl StaticTables for NoStatics {
        fn load(
            &self,
            table: &millrace_engine::sql::StaticTable,
        ) -> Result<(arrow_schema::SchemaRef, Vec<arrow_array::RecordBatch>), String> {
            Err(format!("no shipped pipeline reads `{}`", table.name))
        }
    }

    /// What a table of a pipeline holds is derived from its SQL; the file in `contracts/results` is what others may rely on.
    #[test]
    fn results_have_the_contracts_that_are_written_down() {
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../contracts/results"));
        let pipelines = Pipelines {
            files: SHIPPED
                .iter()
                .map(|(path, text)| PipelineFile { path: (*path).into(), text: (*text).into() })
                .collect(),
            contracts: Contracts::builtin(),
            origin: String::new(),
        };
        let planned = pipelines.plan(&NoStatics).unwrap_or_else(|errors| panic!("{}", pipelines.explain(&errors)));
        let results = planned.results();
        if std::env::var_os("MILLRACE_WRITE_CONTRACTS").is_some() {
            std::fs::create_dir_all(folder).expect("a folder");
            for contract in &results {
                std::fs::write(folder.join(format!("{}.json", contract.name)), contract.to_json()).expect("written");
            }
        }
        for contract in &results {
            let written = std::fs::read_to_string(folder.join(format!("{}.json", contract.name))).unwrap_or_default();
            let remedy = "if the change is meant, run this test with MILLRACE_WRITE_CONTRACTS=1 and commit the file";
            assert_eq!(contract.to_json(), written, "contract of {}: {remedy}", contract.name);
        }
        assert_eq!(std::fs::read_dir(folder).expect("a folder").count(), results.len(), "a file of no table");
    }

    #[test]
    fn every_shipped_pipeline_is_compiled_in() {
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../pipelines"));
        let files = read_folder(folder).expect("the folder of pipelines");
        let mut shipped: Vec<&str> = SHIPPED.iter().map(|(_, text)| *text).collect();
        let mut found: Vec<&str> = files.iter().map(|file| file.text.as_str()).collect();
        shipped.sort_unstable();
        found.sort_unstable();
        assert_eq!(shipped, found);
    }
}
