//! The pipelines that ship can be planned.

use millrace_model::Contracts;

use super::{NoStatics, shipped_files};
use crate::plan::TableState;
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
    // What a move to another backend needs to know of each table.
    for table in jobs.iter().flat_map(|job| &job.tables) {
        let name = table.contract.name.as_str();
        let expected = match name {
            "sessions" | "refunds_without_return" => Some("session_end"),
            "stock_levels" | "seen_together" | "bought_together" | "abandoned_carts" | "fraud_signals" => None,
            _ => Some("window_end"),
        };
        assert_eq!(table.window_end.as_deref(), expected, "{name}");
        let state = match name {
            "abandoned_carts" | "fraud_signals" => TableState::Nothing,
            "stock_levels" | "seen_together" | "bought_together" => TableState::Groups,
            _ => TableState::Windows,
        };
        assert_eq!(table.state, state, "{name}");
        let endless = table.explanation.iter().find(|line| line.contains("nothing is ever final"));
        assert_eq!(endless, None, "{name}");
    }
}
