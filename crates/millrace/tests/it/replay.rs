//! Real orders through the product: totals to the cent in result topics, both kinds of store, and the lake.
//!
//! The data is the UCI "Online Retail" set, kept beside the workspace, not in it; `MILLRACE_TEST_DATA` names another folder.

use std::path::PathBuf;

use millrace_connectors::testing::Postgres;

use crate::support::{run, workspace};

fn invoices() -> Option<PathBuf> {
    let data = std::env::var_os("MILLRACE_TEST_DATA").map(PathBuf::from);
    let file = data
        .unwrap_or_else(|| workspace().join("../shared/data"))
        .join("online_retail/online_retail_2010-12_2011-06.parquet");
    if !file.exists() {
        println!("NOT RUN: {} is not there; set MILLRACE_TEST_DATA", file.display());
    }
    file.exists().then_some(file)
}

fn totals_are_exact(store: &[&str]) {
    let Some(file) = invoices() else { return };
    let dir = tempfile::tempdir().expect("a folder");
    let mut arguments = vec!["replay", file.to_str().expect("a name"), "--as", "online-retail"];
    arguments.extend(store);
    let output = run(dir.path(), &arguments);
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}");
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    for place in ["result topic", "store", "lake"] {
        let line = format!(
            "{place:<13} 10031 orders, 2006 refunds: gross 4,826,466.49 GBP, refunded -428,515.73 GBP, net 4,397,950.76 GBP"
        );
        assert!(said.contains(&line), "{place}");
    }
    assert!(said.contains("invoices      12795"));
}

#[test]
#[ignore = "slow suite: seven months of orders"]
fn online_retail_is_exact_in_sqlite() {
    totals_are_exact(&[]);
}

#[test]
#[ignore = "slow suite: starts PostgreSQL 15"]
fn online_retail_is_exact_in_postgres() {
    let postgres = Postgres::start().expect("a server");
    totals_are_exact(&["--store", &postgres.create_database("shop").expect("a database")]);
}
