//! Spark's texts of types, as `from_json` takes them: `a INT, b ARRAY<STRING>` or `STRUCT<a: INT>`.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields};

use super::simple::timestamp_type;

/// The type a text names; a list of columns is a STRUCT.
///
/// # Errors
/// What is wrong with the text.
pub(super) fn parse(text: &str) -> Result<DataType, String> {
    let mut reader = Reader { words: words(text), at: 0 };
    let first = reader.peek().to_uppercase();
    let nested = ["ARRAY", "MAP", "STRUCT"].contains(&first.as_str()) && reader.words.get(1).is_some_and(|w| w == "<");
    let of = if nested { reader.data_type()? } else { DataType::Struct(reader.fields(None)?) };
    match reader.peek() {
        "" => Ok(of),
        more => Err(format!("`{more}` is left over in the schema '{text}'")),
    }
}

/// Names, numbers and signs.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut in_word = false;
    let mut quoted = false;
    for c in text.chars() {
        match c {
            '`' => {
                quoted = !quoted;
                if quoted {
                    words.push(String::new());
                }
                in_word = quoted;
            }
            c if quoted || c.is_alphanumeric() || c == '_' => {
                if !in_word {
                    words.push(String::new());
                }
                in_word = true;
                words.last_mut().expect("pushed above").push(c);
            }
            c => {
                in_word = false;
                if !c.is_whitespace() {
                    words.push(c.to_string());
                }
            }
        }
    }
    words
}

struct Reader {
    words: Vec<String>,
    at: usize,
}

impl Reader {
    fn peek(&self) -> &str {
        self.words.get(self.at).map_or("", String::as_str)
    }

    fn next(&mut self) -> String {
        self.at += 1;
        self.words.get(self.at - 1).cloned().unwrap_or_default()
    }

    fn expect(&mut self, sign: &str) -> Result<(), String> {
        match self.next() {
            found if found == sign => Ok(()),
            found => Err(format!("expected `{sign}`, found `{found}` in a schema")),
        }
    }

    fn fields(&mut self, close: Option<&str>) -> Result<Fields, String> {
        let mut fields = Vec::new();
        loop {
            let name = self.next();
            if self.peek() == ":" {
                self.at += 1;
            }
            fields.push(Field::new(name, self.data_type()?, true));
            while self.peek().eq_ignore_ascii_case("NOT") || self.peek().eq_ignore_ascii_case("NULL") {
                self.at += 1;
            }
            match self.peek() {
                "," => self.at += 1,
                other if close.is_some_and(|close| close == other) || other.is_empty() => return Ok(fields.into()),
                other => return Err(format!("expected `,`, found `{other}` in a schema")),
            }
        }
    }

    fn data_type(&mut self) -> Result<DataType, String> {
        let name = self.next();
        Ok(match name.to_uppercase().as_str() {
            "STRING" | "VARCHAR" | "CHAR" => {
                if self.peek() == "(" {
                    self.at += 3;
                }
                DataType::Utf8
            }
            "BOOLEAN" => DataType::Boolean,
            "TINYINT" | "BYTE" => DataType::Int8,
            "SMALLINT" | "SHORT" => DataType::Int16,
            "INT" | "INTEGER" => DataType::Int32,
            "BIGINT" | "LONG" => DataType::Int64,
            "FLOAT" | "REAL" => DataType::Float32,
            "DOUBLE" => DataType::Float64,
            "DATE" => DataType::Date32,
            "TIMESTAMP" => timestamp_type(),
            "DECIMAL" | "NUMERIC" => {
                let (mut precision, mut scale) = (10, 0);
                if self.peek() == "(" {
                    self.at += 1;
                    precision = self.next().parse().map_err(|_| "a DECIMAL has digits, as in DECIMAL(10, 2)")?;
                    if self.peek() == "," {
                        self.at += 1;
                        scale = self.next().parse().map_err(|_| "a DECIMAL has digits, as in DECIMAL(10, 2)")?;
                    }
                    self.expect(")")?;
                }
                DataType::Decimal128(precision, scale)
            }
            "ARRAY" => {
                self.expect("<")?;
                let element = self.data_type()?;
                self.expect(">")?;
                super::collections::list_of(&element)
            }
            "MAP" => {
                self.expect("<")?;
                let key = self.data_type()?;
                self.expect(",")?;
                let value = self.data_type()?;
                self.expect(">")?;
                let fields = Fields::from(vec![Field::new("key", key, false), Field::new("value", value, true)]);
                DataType::Map(Arc::new(Field::new("entries", DataType::Struct(fields), false)), false)
            }
            "STRUCT" => {
                self.expect("<")?;
                let fields = self.fields(Some(">"))?;
                self.expect(">")?;
                DataType::Struct(fields)
            }
            "" => return Err("a type is missing in the schema".to_owned()),
            _ => return Err(format!("type {name} is not known in a schema")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::functions::type_name;

    #[test]
    fn schemas() {
        for (text, expected) in [
            ("a INT, b DOUBLE", "STRUCT<a: INT, b: DOUBLE>"),
            ("`my col`: STRING NOT NULL, d DECIMAL(10,2)", "STRUCT<my col: STRING, d: DECIMAL(10,2)>"),
            ("ARRAY<STRUCT<a: INT, t: TIMESTAMP>>", "ARRAY<STRUCT<a: INT, t: TIMESTAMP>>"),
            ("MAP<STRING, ARRAY<BIGINT>>", "MAP<STRING, ARRAY<BIGINT>>"),
            ("array STRING", "STRUCT<array: STRING>"),
        ] {
            assert_eq!(parse(text).map(|of| type_name(&of)).as_deref(), Ok(expected), "{text}");
        }
        for text in ["a", "a INT b", "a GEOMETRY", "ARRAY<INT", "a INT,"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
