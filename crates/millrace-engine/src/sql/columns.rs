//! The column list of `CREATE TABLE … USING kafka`: Spark's type names to contract columns.

use millrace_model::{Column, ColumnType};
use sqlparser::tokenizer::Token;

use super::tokens::Tokens;
use crate::SqlError;

/// `( name TYPE [NOT NULL] [COMMENT 'text'], … )`
pub(crate) fn columns(tokens: &mut Tokens<'_>) -> Result<Vec<Column>, SqlError> {
    tokens.expect(&Token::LParen)?;
    let mut columns = Vec::new();
    loop {
        let name = tokens.name("a column name")?;
        let column_type = column_type(tokens)?;
        let mut required = false;
        if tokens.word("NOT") {
            tokens.expect_word("NULL")?;
            required = true;
        }
        let description = if tokens.word("COMMENT") { tokens.string("a comment in quotes")? } else { String::new() };
        columns.push(Column { name, column_type, required, nullable: !required, not_empty: false, description });
        if tokens.token(&Token::RParen) {
            return Ok(columns);
        }
        tokens.expect(&Token::Comma)?;
    }
}

fn column_type(tokens: &mut Tokens<'_>) -> Result<ColumnType, SqlError> {
    let place = tokens.place();
    let name = tokens.name("a type")?;
    Ok(match name.as_str() {
        "string" | "varchar" | "char" => {
            if tokens.token(&Token::LParen) {
                tokens.next();
                tokens.expect(&Token::RParen)?;
            }
            ColumnType::Text
        }
        "bigint" | "long" | "int" | "integer" | "smallint" | "short" | "tinyint" | "byte" => ColumnType::Integer,
        "double" | "float" | "real" => ColumnType::Number,
        "boolean" => ColumnType::Boolean,
        "timestamp" => ColumnType::Timestamp,
        "array" => {
            tokens.expect(&Token::Lt)?;
            let item = column_type(tokens)?;
            close_angle(tokens)?;
            ColumnType::List(Box::new(item))
        }
        "map" => {
            tokens.expect(&Token::Lt)?;
            let key_place = tokens.place();
            if column_type(tokens)? != ColumnType::Text {
                return Err(SqlError::at(key_place, "the keys of a map are STRING: field names of a JSON object"));
            }
            tokens.expect(&Token::Comma)?;
            let value = column_type(tokens)?;
            close_angle(tokens)?;
            ColumnType::Map(Box::new(value))
        }
        "struct" => {
            tokens.expect(&Token::Lt)?;
            let mut fields = Vec::new();
            loop {
                let name = tokens.name("a field name")?;
                tokens.token(&Token::Colon);
                let column_type = column_type(tokens)?;
                fields.push(Column {
                    name,
                    column_type,
                    required: false,
                    nullable: true,
                    not_empty: false,
                    description: String::new(),
                });
                if !tokens.token(&Token::Comma) {
                    break;
                }
            }
            close_angle(tokens)?;
            ColumnType::Struct(fields)
        }
        _ => {
            return Err(SqlError::at(place, format!("type {} is not known for a source column", name.to_uppercase())).hint(
                "known types: STRING, BIGINT, INT, DOUBLE, BOOLEAN, TIMESTAMP, ARRAY<…>, MAP<STRING, …>, STRUCT<name: …>",
            ));
        }
    })
}

/// `>`. The tokenizer makes `>>` of two, so nested types need a space between them.
fn close_angle(tokens: &mut Tokens<'_>) -> Result<(), SqlError> {
    if tokens.peek() == Some(&Token::ShiftRight) {
        return Err(tokens.unexpected("`>`").hint("write `> >` with a space between"));
    }
    tokens.expect(&Token::Gt)
}
