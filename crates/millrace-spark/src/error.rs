//! What can go wrong with Spark: which job and table it is about, Spark's error class and words, and what to do.

use std::fmt;

use millrace_model::{Classified, ErrorKind};

/// An error of the Spark backend.
#[derive(Clone, Debug)]
pub struct SparkError {
    /// What the caller is to do.
    pub kind: ErrorKind,
    /// Job it happened in, once known.
    pub job: Option<String>,
    /// Streaming table, view or source it is about, once known.
    pub table: Option<String>,
    /// Spark's error class, for example `UNRESOLVED_COLUMN.WITH_SUGGESTION`.
    pub class: Option<String>,
    /// What was wrong.
    pub message: String,
    /// Line and column in the statement's query, both from 1, where Spark tells them.
    pub position: Option<(u32, u32)>,
}

impl SparkError {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        SparkError { kind, job: None, table: None, class: None, message: message.into(), position: None }
    }

    /// From the words Spark reports an error with: `[CLASS] text; line 1 pos 7`.
    pub(crate) fn reported(kind: ErrorKind, class: Option<String>, text: &str) -> Self {
        let class = class.or_else(|| class_in(text)).filter(|class| !class.is_empty());
        SparkError { class, position: position_in(text), ..SparkError::new(kind, shortened(text)) }
    }

    pub(crate) fn of_job(mut self, job: &str) -> Self {
        self.job.get_or_insert_with(|| job.to_owned());
        self
    }

    pub(crate) fn of_table(mut self, table: &str) -> Self {
        self.table.get_or_insert_with(|| table.to_owned());
        self
    }

    /// The server no longer knows the session: a new one is needed.
    pub(crate) fn session_lost(&self) -> bool {
        self.class.as_deref().is_some_and(|class| class.starts_with("INVALID_HANDLE.SESSION"))
    }
}

impl From<spark_connect_core::error::SparkError> for SparkError {
    fn from(error: spark_connect_core::error::SparkError) -> Self {
        let class = error.get_condition();
        let mut text = error.message();
        // The client puts the class before a message that begins with it.
        if let Some(class) = &class
            && let Some(rest) = text.strip_prefix(&format!("[{class}]"))
            && rest.trim_start().starts_with(&format!("[{class}]"))
        {
            text = rest.trim_start().to_owned();
        }
        SparkError::reported(kind_of(error.grpc_code, class.as_deref(), &text), class, &text)
    }
}

/// gRPC's codes for "try again later": DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, ABORTED, UNAVAILABLE, and CANCELLED and
/// UNKNOWN, which broken connections report.
const AWAY: [i32; 6] = [1, 2, 4, 8, 10, 14];

fn kind_of(grpc_code: Option<i32>, class: Option<&str>, text: &str) -> ErrorKind {
    match (grpc_code, class) {
        // The statement or its plan is at fault, or a setting Spark does not take.
        (_, Some(class)) if class.starts_with("INVALID_HANDLE") => ErrorKind::Unavailable,
        (_, Some(_)) => ErrorKind::Invalid,
        (Some(code), None) if AWAY.contains(&code) => ErrorKind::Unavailable,
        (None, None) => ErrorKind::Invalid,
        _ if text.contains("AnalysisException") || text.contains("ParseException") => ErrorKind::Invalid,
        _ => ErrorKind::Internal,
    }
}

/// The class in front of a message: `[CLASS.SUBCLASS] text`.
fn class_in(text: &str) -> Option<String> {
    let (_, rest) = text.split_once('[')?;
    let (class, _) = rest.split_once(']')?;
    let legal = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_' || c == '.';
    (class.len() > 3 && class.contains('_') && class.chars().all(legal)).then(|| class.to_owned())
}

/// The place behind a message: `line 3 pos 7`, where the position counts from 0.
fn position_in(text: &str) -> Option<(u32, u32)> {
    let number = |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>().parse::<u32>().ok();
    let (_, rest) = text.split_once("line ")?;
    let line = number(rest)?;
    let (_, rest) = rest.split_once("pos ").or_else(|| rest.split_once("position "))?;
    Some((line, number(rest)?.saturating_add(1)))
}

/// Longest message kept, characters: Spark appends whole plans and stack traces.
const MESSAGE_CHARS_MAX: usize = 1_000;

fn shortened(text: &str) -> String {
    let end = ["\n\tat ", "\nJVM stacktrace", ";\n'", ";\n~", "\n=== Streaming Query ==="]
        .iter()
        .filter_map(|mark| text.find(mark))
        .min();
    let text = text[..end.unwrap_or(text.len())].trim();
    match text.char_indices().nth(MESSAGE_CHARS_MAX) {
        Some((at, _)) => format!("{} …", &text[..at]),
        None => text.to_owned(),
    }
}

impl fmt::Display for SparkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.job, &self.table) {
            (Some(job), Some(table)) => write!(f, "job {job}, table {table}: ")?,
            (Some(job), None) => write!(f, "job {job}: ")?,
            (None, Some(table)) => write!(f, "table {table}: ")?,
            (None, None) => {}
        }
        if let Some((line, column)) = self.position {
            write!(f, "line {line} column {column} of its query: ")?;
        }
        if let Some(class) = &self.class
            && !self.message.contains(class.as_str())
        {
            write!(f, "[{class}] ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for SparkError {}

impl Classified for SparkError {
    fn kind(&self) -> ErrorKind {
        self.kind
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_class_and_place() {
        let text = "[UNRESOLVED_COLUMN.WITH_SUGGESTION] A column `x` cannot be resolved. SQLSTATE: 42703; line 3 pos 7;\n'Project ['x]\n+- Relation";
        let error = SparkError::reported(ErrorKind::Invalid, None, text).of_job("shop").of_table("orders");
        assert_eq!(error.class.as_deref(), Some("UNRESOLVED_COLUMN.WITH_SUGGESTION"));
        assert_eq!(error.position, Some((3, 8)));
        assert_eq!(
            error.to_string(),
            "job shop, table orders: line 3 column 8 of its query: [UNRESOLVED_COLUMN.WITH_SUGGESTION] A column `x` cannot \
             be resolved. SQLSTATE: 42703; line 3 pos 7"
        );
    }

    #[test]
    fn plans_are_left_out() {
        let text = "Sorting is not supported on streaming DataFrames/Datasets;\n~Sort [a#1 ASC], true\n+- ~Relation";
        let error = SparkError::reported(ErrorKind::Invalid, Some("_LEGACY_ERROR_TEMP_3102".into()), text);
        assert_eq!(
            error.to_string(),
            "[_LEGACY_ERROR_TEMP_3102] Sorting is not supported on streaming DataFrames/Datasets"
        );
    }

    #[test]
    fn kinds() {
        for (code, class, expected) in [
            (Some(14), None, ErrorKind::Unavailable),
            (Some(13), Some("UNRESOLVED_COLUMN"), ErrorKind::Invalid),
            (Some(13), Some("INVALID_HANDLE.SESSION_CLOSED"), ErrorKind::Unavailable),
            (Some(13), None, ErrorKind::Internal),
        ] {
            assert_eq!(kind_of(code, class, ""), expected, "{code:?} {class:?}");
        }
    }
}
