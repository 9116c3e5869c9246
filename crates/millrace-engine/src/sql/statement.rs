//! Statement heads: what is created, its properties, and the tokens of its query.

use std::collections::BTreeMap;
use std::time::Duration;

use millrace_model::{Contract, Role, contract::TopicSettings};
use sqlparser::tokenizer::{Location, Token, TokenWithSpan};

use super::properties::{self, OutputMode};
use super::tokens::{Tokens, byte_of, tokenize};
use super::watermark::Read;
use super::{columns, watermark};
use crate::SqlError;

/// A pipeline file, parsed.
#[derive(Clone, Debug, Default)]
pub struct Pipeline {
    /// Sources the file declares itself.
    pub sources: Vec<DeclaredSource>,
    /// Tables that are read whole and again at an interval.
    pub static_tables: Vec<StaticTable>,
    /// Named queries.
    pub views: Vec<View>,
    /// Results.
    pub tables: Vec<StreamingTable>,
}

/// `CREATE TABLE name (…) USING kafka | json OPTIONS (…)`.
#[derive(Clone, Debug)]
pub struct DeclaredSource {
    /// Its contract, named as the table. For Kafka the topic may have another name.
    pub contract: Contract,
    /// Where its records come from.
    pub origin: Origin,
}

/// Where a declared source's records come from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    /// A topic.
    Topic(String),
    /// A file of one JSON record a line: a bounded source.
    Ndjson(String),
}

/// `CREATE TEMPORARY VIEW name USING csv | parquet | jdbc OPTIONS (…)`.
#[derive(Clone, Debug)]
pub struct StaticTable {
    /// Name in SQL.
    pub name: String,
    /// `csv`, `parquet` or `jdbc`.
    pub format: String,
    /// Options as written.
    pub options: BTreeMap<String, String>,
    /// How often it is read again.
    pub refresh: Duration,
    /// Place of the statement.
    pub place: Location,
}

/// `CREATE TEMPORARY VIEW name AS query`.
#[derive(Clone, Debug)]
pub struct View {
    /// Name in SQL.
    pub name: String,
    /// Place of the statement.
    pub place: Location,
    /// Its query as written.
    pub sql: String,
    /// The tables its query reads, in the order of its text.
    pub reads: Vec<Read>,
    pub(crate) query: watermark::StreamQuery,
}

/// `CREATE STREAMING TABLE name … AS query`.
#[derive(Clone, Debug)]
pub struct StreamingTable {
    /// Table = topic = tile.
    pub name: String,
    /// Its COMMENT.
    pub comment: String,
    /// When rows are given.
    pub output_mode: OutputMode,
    /// Columns of a row's identity.
    pub key: Vec<String>,
    /// Its own trigger, if it asks for one.
    pub trigger: Option<Duration>,
    /// Place of the statement.
    pub place: Location,
    /// Its query as written.
    pub sql: String,
    /// The tables its query reads, in the order of its text.
    pub reads: Vec<Read>,
    pub(crate) query: watermark::StreamQuery,
}

/// A static table is read again this often unless it says otherwise.
const REFRESH_DEFAULT: Duration = Duration::from_secs(60);

pub(super) fn parse(text: &str) -> Result<Pipeline, SqlError> {
    let tokens = tokenize(text)?;
    let mut pipeline = Pipeline::default();
    let mut names: BTreeMap<String, Location> = BTreeMap::new();
    for statement in tokens.split(|token| token.token == Token::SemiColon) {
        let Some(first) = statement.first() else { continue };
        let place = first.span.start;
        let name = read(text, statement, place, &mut pipeline)?;
        if let Some(earlier) = names.insert(name.clone(), place) {
            return Err(SqlError::at(
                place,
                format!("`{name}` is created twice; the first time on line {}", earlier.line),
            ));
        }
    }
    if pipeline.tables.is_empty() {
        let place = Location { line: 1, column: 1 };
        return Err(SqlError::at(place, "the file creates no streaming table").hint(
            "write CREATE STREAMING TABLE name TBLPROPERTIES ('output_mode' = 'update', 'key' = '…') AS SELECT …",
        ));
    }
    Ok(pipeline)
}

/// Reads one statement into the pipeline; gives the name it creates.
fn read(text: &str, statement: &[TokenWithSpan], place: Location, pipeline: &mut Pipeline) -> Result<String, SqlError> {
    let mut tokens = Tokens::new(statement);
    if !tokens.word("CREATE") {
        return Err(tokens
            .unexpected("CREATE")
            .hint("a pipeline file holds CREATE statements; run queries with `millrace query`"));
    }
    if tokens.word("OR") && !tokens.word("REPLACE") {
        tokens.expect_word("REFRESH")?;
    }
    if tokens.word("STREAMING") {
        tokens.expect_word("TABLE")?;
        let table = streaming_table(text, &mut tokens, place)?;
        pipeline.tables.push(table);
        return Ok(pipeline.tables.last().map(|table| table.name.clone()).unwrap_or_default());
    }
    if tokens.word("TEMPORARY") || tokens.word("TEMP") {
        tokens.expect_word("VIEW")?;
        let name = tokens.name("the name of the view")?;
        if tokens.word("COMMENT") {
            tokens.string("a comment in quotes")?;
        }
        if tokens.word("USING") {
            let table = static_table(&mut tokens, name.clone(), place)?;
            pipeline.static_tables.push(table);
        } else {
            let Written { query, sql, reads } = query(text, &mut tokens)?;
            pipeline.views.push(View { name: name.clone(), place, sql, reads, query });
        }
        return Ok(name);
    }
    if tokens.word("TABLE") {
        let source = declared_source(&mut tokens)?;
        let name = source.contract.name.clone();
        pipeline.sources.push(source);
        return Ok(name);
    }
    if tokens.word("MATERIALIZED") || tokens.word("VIEW") {
        return Err(SqlError::at(place, "only streaming tables and temporary views can be created here")
            .hint("write CREATE STREAMING TABLE … or CREATE TEMPORARY VIEW …"));
    }
    Err(tokens.unexpected("STREAMING TABLE, TEMPORARY VIEW or TABLE"))
}

fn streaming_table(text: &str, tokens: &mut Tokens<'_>, place: Location) -> Result<StreamingTable, SqlError> {
    if tokens.word("IF") {
        tokens.expect_word("NOT")?;
        tokens.expect_word("EXISTS")?;
    }
    let name_place = tokens.place();
    let name = tokens.name("the name of the table")?;
    check_name(&name, name_place)?;
    let mut comment = String::new();
    let mut raw = Vec::new();
    loop {
        if tokens.word("COMMENT") {
            comment = tokens.string("a comment in quotes")?;
        } else if tokens.word("TBLPROPERTIES") {
            raw.extend(tokens.properties()?);
        } else {
            break;
        }
    }
    let properties = properties::read(&raw)?;
    let Written { query, sql, reads } = query(text, tokens)?;
    Ok(StreamingTable {
        name,
        comment,
        output_mode: properties.output_mode,
        key: properties.key,
        trigger: properties.trigger,
        place,
        sql,
        reads,
        query,
    })
}

/// A query, parsed and as written.
struct Written {
    query: watermark::StreamQuery,
    sql: String,
    reads: Vec<Read>,
}

fn query(text: &str, tokens: &mut Tokens<'_>) -> Result<Written, SqlError> {
    tokens.expect_word("AS")?;
    let rest = tokens.rest();
    let query = watermark::parse_query(rest)?;
    let start = rest.first().map_or(text.len(), |token| byte_of(text, token.span.start));
    let end = rest.last().map_or(start, |token| byte_of(text, token.span.end));
    let reads = watermark::reads(&query, text, start);
    Ok(Written { query, sql: text[start..end].to_owned(), reads })
}

/// A table is a topic and a table of the store, so its name must be one everywhere.
fn check_name(name: &str, place: Location) -> Result<(), SqlError> {
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let starts = name.starts_with(|c: char| c.is_ascii_lowercase());
    if starts && name.chars().all(legal) && name.len() <= 63 {
        return Ok(());
    }
    Err(SqlError::at(place, format!("`{name}` cannot be the name of a topic and a table"))
        .hint("a letter first, then lower-case letters, digits and underscores, at most 63"))
}

fn static_table(tokens: &mut Tokens<'_>, name: String, place: Location) -> Result<StaticTable, SqlError> {
    let format_place = tokens.place();
    let format = tokens.name("a format")?;
    if !["csv", "parquet", "jdbc"].contains(&format.as_str()) {
        return Err(SqlError::at(format_place, format!("a static table cannot be read from `{format}`"))
            .hint("write USING csv, parquet or jdbc"));
    }
    let (options, _) = options(tokens)?;
    let refresh = match options.get("refresh") {
        Some(text) => millrace_model::time::parse_duration(text)
            .map_err(|error| SqlError::at(place, format!("option `refresh`: {error}")))?,
        None => REFRESH_DEFAULT,
    };
    Ok(StaticTable { name, format, options, refresh, place })
}

fn options(tokens: &mut Tokens<'_>) -> Result<(BTreeMap<String, String>, Location), SqlError> {
    tokens.expect_word("OPTIONS")?;
    let place = tokens.place();
    let pairs = tokens.properties()?;
    if tokens.peek().is_some() {
        return Err(tokens.unexpected("the end of the statement"));
    }
    Ok((pairs.into_iter().map(|(key, value, _)| (key.to_lowercase(), value)).collect(), place))
}

fn declared_source(tokens: &mut Tokens<'_>) -> Result<DeclaredSource, SqlError> {
    let name = tokens.name("the name of the table")?;
    let columns = columns::columns(tokens)?;
    tokens.expect_word("USING")?;
    let format_place = tokens.place();
    let format = tokens.name("kafka or json")?;
    let (options, place) = options(tokens)?;
    let option = |key: &str| {
        options.get(key).cloned().ok_or_else(|| {
            SqlError::at(place, format!("option `{key}` is missing"))
                .hint("for example OPTIONS ('topic' = 'bids', 'format' = 'json')")
        })
    };
    let origin = match format.as_str() {
        "kafka" => {
            if options.get("format").is_some_and(|f| f != "json") {
                return Err(SqlError::at(place, "only records in JSON can be read").hint("write 'format' = 'json'"));
            }
            Origin::Topic(option("topic")?)
        }
        "json" => Origin::Ndjson(option("path")?),
        _ => {
            return Err(SqlError::at(format_place, format!("a stream cannot be read from `{format}`"))
                .hint("write USING kafka or USING json"));
        }
    };
    let contract = Contract {
        name,
        description: String::new(),
        role: Role::Source,
        columns,
        key: Vec::new(),
        event_time: None,
        watermark_delay_micros: 0,
        deduplicate_by: Vec::new(),
        topic: TopicSettings { partitions: 1, config: BTreeMap::new() },
    };
    Ok(DeclaredSource { contract, origin })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_kept_as_written() {
        let text = "-- Größe: a comment before\nCREATE TEMPORARY VIEW v AS\n  SELECT 'ü;' AS a, t\n  FROM STREAM raw WATERMARK t DELAY OF INTERVAL 10 SECONDS -- why\n  WHERE a > 1\n;\nCREATE STREAMING TABLE x TBLPROPERTIES ('key' = 'a')\nAS SELECT a, b.t FROM STREAM(`raw`) JOIN v b ON a = b.a ;";
        let pipeline = parse(text).expect("a pipeline");
        let view = &pipeline.views[0];
        assert_eq!(
            view.sql,
            "SELECT 'ü;' AS a, t\n  FROM STREAM raw WATERMARK t DELAY OF INTERVAL 10 SECONDS -- why\n  WHERE a > 1"
        );
        let read = &view.reads[0];
        assert_eq!(&view.sql[read.name_at.clone()], "raw");
        assert_eq!(read.watermark, Some(("t".into(), 10_000_000)));
        let clause = read.clause_at.clone().expect("a clause");
        assert_eq!(&view.sql[clause], "WATERMARK t DELAY OF INTERVAL 10 SECONDS");
        let table = &pipeline.tables[0];
        assert_eq!(table.sql, "SELECT a, b.t FROM STREAM(`raw`) JOIN v b ON a = b.a");
        let names: Vec<_> = table.reads.iter().map(|read| &table.sql[read.name_at.clone()]).collect();
        assert_eq!(names, ["`raw`", "v"]);
        assert!(table.reads.iter().all(|read| read.watermark.is_none() && read.clause_at.is_none()));
    }
}
