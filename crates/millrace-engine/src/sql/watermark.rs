//! `FROM STREAM t WATERMARK c DELAY OF INTERVAL …`: taken out of a query before sqlparser reads it.
//!
//! What a clause said is kept by the place of the table's name. After parsing, every table reference gets a name of its
//! own (`user_events#2`) with the written name as its alias, so two references with different delays stay apart.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};

use millrace_model::time::parse_interval;
use sqlparser::ast::{Ident, ObjectName, Query, TableAlias, TableFactor, VisitMut, VisitorMut};
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan};

use super::tokens::{DIALECT, byte_of, is_word};
use crate::SqlError;

/// A query, and what its stream clauses said.
#[derive(Clone, Debug)]
pub(crate) struct StreamQuery {
    pub(crate) query: Query,
    /// By the place of the table's name.
    clauses: Clauses,
}

#[derive(Clone, Debug, Default)]
struct Clause {
    watermark: Option<Watermark>,
    /// Where the clause begins and ends in the file.
    span: Option<Span>,
}

/// A table a query reads, as its text names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Read {
    /// The table, view or stream.
    pub table: String,
    /// Its name in the query's text, bytes.
    pub name_at: Range<usize>,
    /// Event-time column and delay in microseconds of its WATERMARK clause.
    pub watermark: Option<(String, i64)>,
    /// The WATERMARK clause in the query's text, bytes.
    pub clause_at: Option<Range<usize>>,
}

/// An event-time column and how late its records may come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Watermark {
    pub(crate) column: String,
    pub(crate) delay_micros: i64,
}

/// One reference to a table in a statement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct StreamInstance {
    /// The table as written.
    pub(crate) table: String,
    /// Its WATERMARK clause.
    pub(crate) watermark: Option<Watermark>,
    pub(crate) place: Location,
}

/// References by the unique name they have in the rewritten query.
pub(crate) type Instances = BTreeMap<String, StreamInstance>;

/// Words that cannot be the name of a table: a STREAM before one of them is a column of that name.
const NOT_A_TABLE: [&str; 26] = [
    "FROM",
    "AS",
    "WHERE",
    "GROUP",
    "HAVING",
    "ORDER",
    "LIMIT",
    "UNION",
    "EXCEPT",
    "INTERSECT",
    "MINUS",
    "JOIN",
    "INNER",
    "LEFT",
    "RIGHT",
    "FULL",
    "CROSS",
    "SEMI",
    "ANTI",
    "NATURAL",
    "ON",
    "USING",
    "LATERAL",
    "WATERMARK",
    "WINDOW",
    "QUALIFY",
];

pub(super) fn parse_query(tokens: &[TokenWithSpan]) -> Result<StreamQuery, SqlError> {
    let (plain, clauses) = take_clauses(tokens)?;
    let start = tokens.first().map_or(Location { line: 1, column: 1 }, |token| token.span.start);
    let mut parser = Parser::new(&DIALECT).with_tokens_with_locations(plain);
    let query = parser.parse_query().map_err(|error| syntax(&error, start))?;
    let after = parser.peek_token();
    if after.token != Token::EOF {
        return Err(SqlError::at(
            after.span.start,
            format!("expected the end of the statement, found `{}`", after.token),
        ));
    }
    Ok(StreamQuery { query: *query, clauses })
}

fn syntax(error: &ParserError, start: Location) -> SqlError {
    let text = match error {
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => text.clone(),
        ParserError::RecursionLimitExceeded => "the query is nested too deeply".into(),
    };
    // sqlparser ends its texts with " at Line: 3, Column: 14".
    let (message, place) = match text.rsplit_once(" at Line: ") {
        Some((message, place)) => {
            let mut numbers = place.split(", Column: ").map(|n| n.trim().parse().unwrap_or(0));
            let line = numbers.next().unwrap_or(start.line);
            (message.to_owned(), Location { line, column: numbers.next().unwrap_or(start.column) })
        }
        None => (text, start),
    };
    SqlError::at(place, message.replacen("Expected:", "expected", 1).replacen(", found:", ", found", 1))
}

/// The clauses of the tables, by line and column of their names.
type Clauses = BTreeMap<(u64, u64), Clause>;

/// Takes STREAM words and WATERMARK clauses out of the tokens.
fn take_clauses(tokens: &[TokenWithSpan]) -> Result<(Vec<TokenWithSpan>, Clauses), SqlError> {
    let mut plain: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut clauses: Clauses = BTreeMap::new();
    // Place of the table name a WATERMARK clause would belong to.
    let mut table: Option<Location> = None;
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        let after_from = plain.last().is_some_and(|last| {
            is_word(&last.token, "FROM") || is_word(&last.token, "JOIN") || last.token == Token::Comma
        });
        let word_follows = matches!(tokens.get(at + 1).map(|next| &next.token), Some(Token::Word(word))
            if word.quote_style.is_some() || !NOT_A_TABLE.contains(&word.value.to_uppercase().as_str()));
        if is_word(&token.token, "STREAM") && after_from && word_follows {
            at += 1;
            continue;
        }
        if is_word(&token.token, "STREAM") && after_from && tokens.get(at + 1).is_some_and(|t| t.token == Token::LParen)
        {
            // STREAM(t): the name stands in parentheses.
            let (Some(name), Some(close)) = (tokens.get(at + 2), tokens.get(at + 3)) else {
                return Err(SqlError::at(token.span.start, "STREAM( without a table name"));
            };
            if close.token != Token::RParen {
                return Err(SqlError::at(close.span.start, format!("expected `)`, found `{}`", close.token)));
            }
            table = Some(name.span.start);
            plain.push(name.clone());
            at += 4;
            continue;
        }
        if is_word(&token.token, "WATERMARK") && tokens.get(at + 2).is_some_and(|t| is_word(&t.token, "DELAY")) {
            let Some(name) = table else {
                return Err(SqlError::at(token.span.start, "WATERMARK must follow the name of a stream"));
            };
            let (watermark, used) = clause(&tokens[at..])?;
            let end = tokens[at + used - 1].span.end;
            let span = Some(Span::new(token.span.start, end));
            clauses.insert((name.line, name.column), Clause { watermark: Some(watermark), span });
            at += used;
            continue;
        }
        if after_from && matches!(token.token, Token::Word(_)) {
            table = Some(token.span.start);
        }
        plain.push(token.clone());
        at += 1;
    }
    Ok((plain, clauses))
}

/// `WATERMARK column DELAY OF INTERVAL 10 SECONDS` or `… INTERVAL '10 seconds'`; gives the number of tokens it takes.
fn clause(tokens: &[TokenWithSpan]) -> Result<(Watermark, usize), SqlError> {
    let mut cursor = super::tokens::Tokens::new(tokens);
    cursor.expect_word("WATERMARK")?;
    let column = cursor.name("the event-time column")?;
    cursor.expect_word("DELAY")?;
    cursor.expect_word("OF")?;
    cursor.expect_word("INTERVAL")?;
    let place = cursor.place();
    let text = match cursor.next() {
        Some(Token::Number(number, _)) => number.clone(),
        Some(Token::SingleQuotedString(text) | Token::DoubleQuotedString(text)) => text.clone(),
        _ => return Err(SqlError::at(place, "expected a length of time").hint("for example INTERVAL 10 SECONDS")),
    };
    // A bare number needs its unit; a quoted text may carry it.
    let text = if text.trim().bytes().all(|b| b.is_ascii_digit()) {
        format!("{text} {}", cursor.name("a unit of time, for example SECONDS")?)
    } else {
        text
    };
    let delay_micros = parse_interval(&text).map_err(|error| SqlError::at(place, error))?;
    Ok((Watermark { column, delay_micros }, tokens.len() - cursor.rest().len()))
}

/// The tables a query reads, in the order of its text. `text` is the file, of which the query is the part from byte `start` on.
pub(super) fn reads(query: &StreamQuery, text: &str, start: usize) -> Vec<Read> {
    let (_, instances) = name_instances(query, "");
    let within = |span: Span| byte_of(text, span.start) - start..byte_of(text, span.end) - start;
    let read = |instance: StreamInstance| {
        let place = (instance.place.line, instance.place.column);
        let name = byte_of(text, instance.place);
        Read {
            name_at: name - start..name - start + name_length(&text[name..]),
            clause_at: query.clauses.get(&place).and_then(|clause| clause.span).map(within),
            watermark: instance.watermark.map(|watermark| (watermark.column, watermark.delay_micros)),
            table: instance.table,
        }
    };
    let mut reads: Vec<Read> = instances.into_values().map(read).collect();
    reads.sort_by_key(|read| read.name_at.start);
    reads
}

/// Bytes of the name a text begins with, its backticks included.
fn name_length(text: &str) -> usize {
    match text.strip_prefix('`').and_then(|rest| rest.find('`')) {
        Some(end) => end + 2,
        None => text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len()),
    }
}

/// Gives every table reference a unique name, with the written one as its alias; tells what each refers to. Names of
/// common table expressions stay as they are.
pub(crate) fn name_instances(query: &StreamQuery, prefix: &str) -> (Query, Instances) {
    let mut renamed = query.query.clone();
    let mut namer = Namer { clauses: &query.clauses, prefix, instances: Instances::new(), ctes: Vec::new() };
    let _ = renamed.visit(&mut namer);
    (renamed, namer.instances)
}

struct Namer<'a> {
    clauses: &'a Clauses,
    prefix: &'a str,
    instances: Instances,
    ctes: Vec<String>,
}

impl VisitorMut for Namer<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let names = query.with.iter().flat_map(|with| &with.cte_tables).map(|cte| cte.alias.name.value.to_lowercase());
        self.ctes.extend(names);
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        let TableFactor::Table { name, alias, args: None, .. } = factor else { return ControlFlow::Continue(()) };
        let Some(ident) = name.0.last().and_then(|part| part.as_ident()).cloned() else {
            return ControlFlow::Continue(());
        };
        let table = if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() };
        if self.ctes.contains(&table) || table.contains('#') {
            return ControlFlow::Continue(());
        }
        let place = ident.span.start;
        let watermark = self.clauses.get(&(place.line, place.column)).and_then(|clause| clause.watermark.clone());
        let unique = format!("{}{table}#{}", self.prefix, self.instances.len() + 1);
        self.instances.insert(unique.clone(), StreamInstance { table, watermark, place });
        let mut quoted = Ident::with_quote('`', unique);
        quoted.span = ident.span;
        *name = ObjectName::from(vec![quoted]);
        if alias.is_none() {
            *alias = Some(TableAlias { explicit: true, name: ident, columns: Vec::new(), at: None });
        }
        ControlFlow::Continue(())
    }
}
