//! The Streamlit page beside the running product: its own tests, in Python and a real browser.

use std::process::Command;

use crate::support::workspace;

#[test]
#[ignore = "slow suite: starts Streamlit, PostgreSQL 15 and Chromium"]
fn the_streamlit_page_shows_the_shop() {
    let script = workspace().join("dashboards/streamlit/test.sh");
    let status = Command::new(&script).arg(env!("CARGO_BIN_EXE_millrace")).status().expect("the script runs");
    assert!(status.success(), "{}: {status}", script.display());
}
