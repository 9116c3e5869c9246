//! Metrics in the text format of Prometheus (version 0.0.4).

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use crate::shared::{Shared, now};
use crate::view::health::{HealthParams, Job, health};

/// A value of a table's job.
type Measure = (&'static str, &'static str, &'static str, fn(&Job) -> Option<f64>);

const MEASURES: [Measure; 12] = [
    ("millrace_table_lag_records", "gauge", "Records of the sources not read yet.", |job| {
        job.lag_records.map(|lag| lag as f64)
    }),
    ("millrace_table_watermark_delay_seconds", "gauge", "Wall clock minus event-time watermark.", |job| {
        job.delay_seconds
    }),
    ("millrace_table_records_in_total", "counter", "Records read.", |job| Some(job.records_in as f64)),
    ("millrace_table_records_late_total", "counter", "Records set aside as late.", |job| Some(job.records_late as f64)),
    ("millrace_table_records_malformed_total", "counter", "Records that break the contract.", |job| {
        Some(job.records_malformed as f64)
    }),
    ("millrace_table_records_duplicate_total", "counter", "Repeats dropped.", |job| Some(job.records_duplicate as f64)),
    ("millrace_table_rows_out_total", "counter", "Result rows written.", |job| Some(job.rows_out as f64)),
    ("millrace_table_state_groups", "gauge", "Open groups in the state.", |job| Some(job.state_groups as f64)),
    ("millrace_table_state_bytes", "gauge", "Bytes of state, estimated.", |job| Some(job.state_bytes as f64)),
    ("millrace_table_epoch_seconds", "gauge", "Duration of the last epoch.", |job| Some(job.epoch_micros as f64 / 1e6)),
    ("millrace_table_books_balance", "gauge", "1 when every record read is accounted for.", |job| {
        Some(f64::from(u8::from(job.balances)))
    }),
    ("millrace_table_stands_still", "gauge", "1 when its job has stopped, or waits for memory.", |job| {
        Some(f64::from(u8::from(job.trouble.is_some())))
    }),
];

/// `GET /metrics`.
pub(super) async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let now = now();
    let mut out = String::new();
    let view = health(&shared.cache(), &shared.history(), &HealthParams::default(), now);
    for (name, kind, help, value) in MEASURES {
        head(&mut out, name, kind, help);
        for job in &view.jobs {
            if let Some(value) = value(job) {
                let (table, file) = (escaped(&job.table), escaped(&job.job));
                let _ = writeln!(out, "{name}{{table=\"{table}\",job_name=\"{file}\"}} {value}");
            }
        }
    }
    head(&mut out, "millrace_dashboard_rows_received_total", "counter", "Live and stored rows taken in.");
    for table in shared.cache().tables() {
        let name = escaped(&table.contract.name);
        let _ = writeln!(out, "millrace_dashboard_rows_received_total{{table=\"{name}\"}} {}", table.received);
    }
    let counts = shared.clients.counts();
    for (name, kind, help, value) in [
        ("millrace_dashboard_sse_clients", "gauge", "Pages that follow events.", counts.clients as f64),
        ("millrace_dashboard_sse_refused_total", "counter", "Pages turned away at the limit.", counts.refused as f64),
        ("millrace_dashboard_sse_snapshots_total", "counter", "Snapshots sent.", counts.snapshots as f64),
        ("millrace_dashboard_sse_deltas_total", "counter", "Changes sent.", counts.deltas as f64),
        ("millrace_dashboard_sse_bytes_total", "counter", "Bytes of events sent.", counts.bytes as f64),
        (
            "millrace_dashboard_push_delay_seconds",
            "gauge",
            "From a row's arrival to its push, last.",
            counts.delay_micros as f64 / 1e6,
        ),
        (
            "millrace_dashboard_http_requests_total",
            "counter",
            "Requests answered.",
            shared.requests.load(Ordering::Relaxed) as f64,
        ),
        ("millrace_dashboard_live", "gauge", "1 while live rows come.", f64::from(u8::from(shared.is_live()))),
        (
            "millrace_dashboard_start_time_seconds",
            "gauge",
            "When the dashboard started, since 1970.",
            shared.started.0 as f64 / 1e6,
        ),
    ] {
        head(&mut out, name, kind, help);
        let _ = writeln!(out, "{name} {value}");
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], out).into_response()
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn escaped(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
