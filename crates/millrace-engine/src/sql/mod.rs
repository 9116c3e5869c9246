//! Pipeline text to statements: the part of Spark's declarative-pipeline SQL that sits around a SELECT.
//!
//! sqlparser has no `CREATE STREAMING TABLE`, no `FROM STREAM t` and no `WATERMARK … DELAY OF`. So the heads of statements
//! and the watermark clause are read here, on sqlparser's own tokens (which keep line and column), and what remains is a
//! plain query for sqlparser:
//!
//! ```text
//!  text ─▶ tokens ─▶ statements (heads)      ─▶ Statement { name, properties, query tokens }
//!                    watermark clauses out   ─▶ query tokens without STREAM / WATERMARK … + what they said
//!                    sqlparser               ─▶ Query (AST)
//!                    rewrite                 ─▶ Query DataFusion can plan (window.start, LATERAL VIEW, struct …)
//! ```

mod columns;
mod dialect;
mod generators;
mod pipe;
mod places;
mod properties;
mod rewrite;
mod spellings;
mod statement;
mod tokens;
mod watermark;

#[cfg(test)]
pub(crate) use generators::GENERATORS;
pub(crate) use places::place_of;
pub use properties::OutputMode;
pub(crate) use rewrite::rewrite;
#[cfg(test)]
pub(crate) use spellings::SPELLINGS;
pub use statement::{DeclaredSource, Origin, Pipeline, StaticTable, StreamingTable, View};
pub use watermark::Read;
pub(crate) use watermark::{Instances, StreamInstance, StreamQuery, name_instances};

/// Parses a pipeline file.
///
/// # Errors
/// The first thing wrong with the text, with line and column.
pub fn parse(file: &str, text: &str) -> Result<Pipeline, crate::SqlError> {
    statement::parse(text).map_err(|error| error.in_file(file))
}

/// Parses a query on its own.
pub(crate) fn parse_query(text: &str) -> Result<sqlparser::ast::Query, crate::SqlError> {
    let mut tokens = tokens::tokenize(text)?;
    while tokens.last().is_some_and(|last| last.token == sqlparser::tokenizer::Token::SemiColon) {
        tokens.pop();
    }
    Ok(watermark::parse_query(&tokens)?.query)
}

/// The tables a query names.
pub(crate) fn tables_of(query: &sqlparser::ast::Query) -> Vec<String> {
    let mut tables = Vec::new();
    let _ = sqlparser::ast::visit_relations(query, |name| {
        if let Some(ident) = name.0.last().and_then(|part| part.as_ident()) {
            let table = if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() };
            if !tables.contains(&table) {
                tables.push(table);
            }
        }
        std::ops::ControlFlow::<()>::Continue(())
    });
    tables
}
