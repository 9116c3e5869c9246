//! What can go wrong: in a pipeline's text (with line and column), or while it runs.

use std::fmt;

use datafusion::common::DataFusionError;
use millrace_model::{Classified, ErrorKind};
use sqlparser::tokenizer::Location;

/// A pipeline text that cannot run: where, what, and what to write instead.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SqlError {
    /// The file, as the user named it; empty for a text without one.
    pub file: String,
    /// Line, from 1; 0 when unknown.
    pub line: u64,
    /// Column, from 1, in characters.
    pub column: u64,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
}

impl SqlError {
    pub(crate) fn at(place: Location, message: impl Into<String>) -> Self {
        SqlError { file: String::new(), line: place.line, column: place.column, message: message.into(), hint: None }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn in_file(mut self, file: &str) -> Self {
        self.file = file.to_owned();
        self
    }

    /// From the planner: its own place when it knows one, else the place of the statement.
    pub(crate) fn planning(error: &DataFusionError, statement: Location) -> Self {
        if let DataFusionError::External(inner) = root(error)
            && let Some(own) = inner.downcast_ref::<SqlError>()
        {
            let mut own = own.clone();
            if let Some((said, hint)) = own.message.split_once("; hint: ") {
                (own.hint, own.message) = (Some(hint.to_owned()), said.to_owned());
            }
            if own.line == 0 {
                (own.line, own.column) = (statement.line, statement.column);
            }
            return own;
        }
        let diagnostic = error.diagnostic();
        let span = diagnostic
            .and_then(|d| d.span)
            .map_or(statement, |span| Location { line: span.start.line, column: span.start.column });
        let mut message = root(error).strip_backtrace();
        for prefix in ["Error during planning: ", "Schema error: ", "This feature is not implemented: "] {
            if let Some(rest) = message.strip_prefix(prefix) {
                message = rest.to_owned();
            }
        }
        message = crate::functions::in_sparks_words(&message);
        let hint = message.split_once("; hint: ").map(|(said, hint)| (said.to_owned(), hint.to_owned()));
        let (mut message, hint) = hint.map_or((message, None), |(said, hint)| (said, Some(hint)));
        if message.ends_with('.') {
            message.pop();
        }
        SqlError { hint, ..SqlError::at(span, message) }
    }

    /// Into DataFusion's error type, to travel through its planner; [`planning`](Self::planning) takes it out again.
    pub(crate) fn through(self) -> DataFusionError {
        DataFusionError::External(Box::new(self))
    }

    /// The error with the line of `text` it is about, and a caret under the place.
    pub fn with_excerpt(&self, text: &str) -> String {
        let line = usize::try_from(self.line).ok().and_then(|n| n.checked_sub(1)).and_then(|n| text.lines().nth(n));
        let Some(line) = line else { return self.to_string() };
        let caret = " ".repeat(self.column.saturating_sub(1) as usize);
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        let mut shown = format!("{}\n {margin} |\n {number} | {line}\n {margin} | {caret}^", self.headline());
        if let Some(hint) = &self.hint {
            shown += &format!("\n {margin} = hint: {hint}");
        }
        shown
    }

    fn headline(&self) -> String {
        let file = if self.file.is_empty() { "<sql>" } else { &self.file };
        format!("{file}:{}:{}: {}", self.line, self.column, self.message)
    }
}

/// The error below the planner's wrappings.
fn root(error: &DataFusionError) -> &DataFusionError {
    match error {
        DataFusionError::Diagnostic(_, inner) | DataFusionError::Context(_, inner) => root(inner),
        DataFusionError::Shared(inner) => root(inner),
        DataFusionError::Collection(errors) => errors.first().map_or(error, root),
        _ => error,
    }
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.headline())?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for SqlError {}

impl Classified for SqlError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

/// What stops a running job.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The pipeline's text.
    #[error(transparent)]
    Sql(#[from] SqlError),
    /// An expression failed on the data (overflow, division by zero …): the statement is at fault.
    #[error("table {table}: {message}")]
    Expression {
        /// Streaming table.
        table: String,
        /// What the evaluation said.
        message: String,
    },
    /// A named limit was reached.
    #[error("table {table}: {limit} reached: {detail}")]
    Limit {
        /// Streaming table.
        table: String,
        /// Name of the limit, as in the settings.
        limit: &'static str,
        /// How much, and what to do.
        detail: String,
    },
    /// State on disk that cannot be used.
    #[error("state of job {job}: {detail}")]
    State {
        /// Job.
        job: String,
        /// What is wrong, and what to do.
        detail: String,
    },
    /// Reading or writing a file.
    #[error("{what}: {error}")]
    Io {
        /// What was being done, with the path.
        what: String,
        /// What the system said.
        error: std::io::Error,
    },
}

impl Classified for EngineError {
    fn kind(&self) -> ErrorKind {
        match self {
            EngineError::Sql(_) | EngineError::Expression { .. } | EngineError::Limit { .. } => ErrorKind::Invalid,
            EngineError::State { .. } | EngineError::Io { .. } => ErrorKind::Internal,
        }
    }
}
