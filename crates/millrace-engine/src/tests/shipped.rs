//! The pipelines that ship can be planned.

use millrace_model::Contracts;

use super::{NoStatics, shipped_files};
use crate::plan_pipelines;

#[test]
fn every_shipped_pipeline_is_planned() {
    let files = shipped_files();
    let planned = plan_pipelines(&files, &Contracts::builtin(), &NoStatics);
    let (jobs, _) = planned.unwrap_or_else(|errors| {
        let text = |error: &crate::SqlError| {
            let file = files.iter().find(|file| file.path == error.file).expect("one of them");
            error.with_excerpt(&file.text)
        };
        panic!("{}", errors.iter().map(text).collect::<Vec<_>>().join("\n\n"))
    });
    assert_eq!(jobs.len(), 5);
}
