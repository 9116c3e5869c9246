//! TBLPROPERTIES of a streaming table: known names only, the nearest one named when it is not.

use std::time::Duration;

use millrace_model::names::did_you_mean;
use millrace_model::time::parse_duration;
use sqlparser::tokenizer::Location;

use crate::SqlError;

/// When and how often a result row is given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OutputMode {
    /// A row is shown while its window is open and corrected until it closes.
    Update,
    /// A row is given once, when it is final.
    Append,
    /// The whole result is given again whenever a row of it changes.
    Complete,
}

impl OutputMode {
    /// As in the property and in `job_progress`.
    pub fn name(self) -> &'static str {
        match self {
            OutputMode::Update => "update",
            OutputMode::Append => "append",
            OutputMode::Complete => "complete",
        }
    }
}

/// What TBLPROPERTIES say.
#[derive(Clone, Debug)]
pub(crate) struct Properties {
    pub(crate) output_mode: OutputMode,
    pub(crate) key: Vec<String>,
    pub(crate) trigger: Option<Duration>,
}

const KNOWN: [&str; 3] = ["output_mode", "key", "trigger"];

pub(crate) fn read(properties: &[(String, String, Location)]) -> Result<Properties, SqlError> {
    let mut read = Properties { output_mode: OutputMode::Append, key: Vec::new(), trigger: None };
    for (name, value, place) in properties {
        match name.as_str() {
            "output_mode" => read.output_mode = output_mode(value, *place)?,
            "key" => {
                read.key = value.split(',').map(|column| column.trim().to_lowercase()).collect();
                if read.key.iter().any(String::is_empty) {
                    return Err(SqlError::at(*place, "property `key` has an empty column name")
                        .hint("write the columns with commas: 'key' = 'window_start, category'"));
                }
            }
            "trigger" => {
                read.trigger =
                    Some(parse_duration(value).map_err(|e| SqlError::at(*place, format!("property `trigger`: {e}")))?);
            }
            // Spark's own switches about pipelines are for Spark.
            _ if name.starts_with("pipelines.") || name.starts_with("spark.") => {}
            _ => {
                let known = KNOWN.join(", ");
                return Err(SqlError::at(
                    *place,
                    format!("unknown table property `{name}`{}", did_you_mean(name, KNOWN)),
                )
                .hint(format!("known properties: {known}")));
            }
        }
    }
    Ok(read)
}

fn output_mode(value: &str, place: Location) -> Result<OutputMode, SqlError> {
    match value {
        "update" => Ok(OutputMode::Update),
        "append" => Ok(OutputMode::Append),
        "complete" => Ok(OutputMode::Complete),
        _ => Err(SqlError::at(place, format!("unknown output mode `{value}`"))
            .hint("write 'update', 'append' or 'complete'")),
    }
}
