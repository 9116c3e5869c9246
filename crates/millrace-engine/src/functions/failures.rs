//! What DataFusion and Arrow say when an expression fails, in Spark's words: its error class, what happened, what to write.

use std::sync::LazyLock;

use regex::{Captures, Regex};

/// What is recognised, and what is said of it instead.
struct Failure {
    pattern: Regex,
    said: fn(&Captures<'_>) -> String,
}

static FAILURES: LazyLock<Vec<Failure>> = LazyLock::new(|| {
    let failure = |pattern: &str, said| Failure { pattern: Regex::new(pattern).expect("the pattern is right"), said };
    vec![
        failure(r"Cannot cast (?:string|value) '(.*)' to value of (.+?) type", |found| invalid(&found[1], &found[2])),
        failure(r"Error parsing timestamp from '(.*?)'", |found| invalid(&found[1], "Timestamp")),
        failure(r"Cannot parse '(.*?)' as", |found| invalid(&found[1], "Decimal128")),
        failure(r"Can't cast value (.*) to type (\w+)", |found| {
            let of = spark_type(&found[2]);
            format!(
                "[CAST_OVERFLOW] the value {} left the range of {of}; hint: try_cast(x AS {of}) gives NULL instead",
                &found[1]
            )
        }),
        failure(r"(\S+) is too large to store in a Decimal\d+ of precision (\d+)", |found| {
            format!(
                "[NUMERIC_VALUE_OUT_OF_RANGE.WITH_SUGGESTION] {} has more than the {} digits of its type; hint: \
                 try_cast(x AS DECIMAL(38, s)) gives NULL where it is still too large",
                &found[1], &found[2]
            )
        }),
        failure(r"Start index must not be zero", |_| {
            "[INVALID_PARAMETER_VALUE.START] slice() counts from 1, and from the end with -1, -2 …".to_owned()
        }),
        failure(r"Length must be non-negative, but got (\S+)", |found| {
            format!("[INVALID_PARAMETER_VALUE.LENGTH] slice() of the length {}", &found[1])
        }),
        failure(r"(?:Month|Day) value '?(\S+?)'? is out of range", |found| {
            format!("[DATETIME_FIELD_OUT_OF_BOUNDS.WITH_SUGGESTION] there is no such date: {}", &found[1])
        }),
        failure(r"The index (\S+) is out of bounds. The array has (\S+) elements", |found| {
            format!("[INVALID_ARRAY_INDEX] element {} of {}", &found[1], &found[2])
        }),
        failure(r"map key must be unique, duplicate key found: (.*)", |found| {
            format!("[DUPLICATED_MAP_KEY] a map has the key {} twice; hint: leave one of them out", &found[1])
        }),
        failure(r"Divide by zero error", |_| {
            "[DIVIDE_BY_ZERO] division by zero; hint: try_divide(a, b) gives NULL instead".to_owned()
        }),
        failure(r"Arithmetic overflow: Overflow happened on: (.*)", |found| {
            format!(
                "[ARITHMETIC_OVERFLOW] {} left the range of its type; hint: try_add(a, b) gives NULL instead",
                &found[1]
            )
        }),
        failure(r"Invalid function '(\w+)'\.?(?:\s*Did you mean '(\w+)'\?)?", |found| {
            let near = found.get(2).map_or(String::new(), |near| format!("; did you mean {}()?", near.as_str()));
            format!(
                "[UNRESOLVED_ROUTINE] there is no function {}(){near}; hint: docs/sql/functions.md lists all functions",
                &found[1]
            )
        }),
        failure(r"(?s)coercion failed with: Error during planning: ([^\[].*?)\.? No function matches", |found| {
            found[1].to_owned()
        }),
        failure(r"(\[[A-Z][A-Z0-9_.]+\] (?s:.*?))\.? No function matches the given name and argument types", |found| {
            found[1].to_owned()
        }),
        failure(r"(?s)^(.*?)\.? No function matches the given name and argument types '([^']*)'", |found| {
            format!("{}: {}", found[1].trim_start_matches("Error during planning: "), spark_types(&found[2]))
        }),
        failure(r"(?s)(\[[A-Z][A-Z0-9_.]+\] .*)", |found| found[1].to_owned()),
    ]
});

/// The message as Spark would say it; itself when nothing better is known.
pub(crate) fn in_sparks_words(message: &str) -> String {
    let found =
        FAILURES.iter().find_map(|failure| failure.pattern.captures(message).map(|found| (failure.said)(&found)));
    found.unwrap_or_else(|| {
        let last = message.rsplit("caused by\n").next().unwrap_or(message);
        last.trim_start_matches("Execution error: ").trim_start_matches("Arrow error: ").to_owned()
    })
}

fn invalid(text: &str, arrow_type: &str) -> String {
    let of = spark_type(arrow_type);
    format!("[CAST_INVALID_INPUT] the text '{text}' is no {of}; hint: try_cast(x AS {of}) gives NULL instead")
}

/// Spark's name for Arrow's.
fn spark_type(arrow: &str) -> &str {
    let name = arrow.split('(').next().unwrap_or(arrow);
    match name {
        "Int8" => "TINYINT",
        "Int16" => "SMALLINT",
        "Int32" => "INT",
        "Int64" => "BIGINT",
        "Float32" => "FLOAT",
        "Float64" => "DOUBLE",
        "Boolean" => "BOOLEAN",
        "Date32" => "DATE",
        "Timestamp" => "TIMESTAMP",
        "Utf8" | "Utf8View" => "STRING",
        name if name.starts_with("Decimal") => "DECIMAL",
        other => other,
    }
}

/// `f(Int64, Utf8)` as `f(BIGINT, STRING)`.
fn spark_types(call: &str) -> String {
    static NAME: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"[A-Z]\w*").expect("the pattern is right"));
    NAME.replace_all(call, |found: &Captures<'_>| spark_type(&found[0]).to_owned()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages() {
        for (given, expected) in [
            (
                "Arrow error: Cast error: Cannot cast string 'a' to value of Int32 type",
                "[CAST_INVALID_INPUT] the text 'a' is no INT; hint: try_cast(x AS INT) gives NULL instead",
            ),
            (
                "Arrow error: Cast error: Can't cast value 300 to type Int8",
                "[CAST_OVERFLOW] the value 300 left the range of TINYINT; hint: try_cast(x AS TINYINT) gives NULL instead",
            ),
            (
                "Execution error: Function 'f' user-defined coercion failed with: Error during planning: [WRONG_NUM_ARGS] f() \
                 takes 1. No function matches the given name and argument types 'f(Int64)'.",
                "[WRONG_NUM_ARGS] f() takes 1",
            ),
            (
                "Function 'space' failed. No function matches the given name and argument types 'space(Int64)'. You …",
                "Function 'space' failed: space(BIGINT)",
            ),
            ("something else", "something else"),
        ] {
            assert_eq!(in_sparks_words(given), expected);
        }
        assert!(in_sparks_words("Invalid function 'foo'.\nDid you mean 'floor'?").contains("did you mean floor()?"));
    }
}
