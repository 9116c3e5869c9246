//! A contract as Spark expressions: which records keep it, and what their columns are.
//!
//! The verdict is the decoder's (`millrace-codec`), said in SQL. `from_json` alone is too kind: it reads a number into a
//! text, takes the last of two fields of one name, and stops reading where the first value ends. So the text is parsed
//! into a map of VARIANTs, which keep the JSON type of every value and a repeated name, inside an object whose last field
//! proves that nothing follows the value (it is the text's hash, which no text holds):
//!
//! ```text
//!  value ─▶ text (UTF-8, not too long) ─▶ {"r": text, "end": hash} ─▶ from_json ─▶ map of variants
//!        ─▶ _good: each field's type, required, null, repeated, depth, times  ─▶ counted ─▶ filtered ─▶ typed columns
//! ```
//!
//! Each step is a relation of its own; `explode` and the metrics keep Spark from merging them, which would parse a
//! record once for every column.

use millrace_model::{Column, ColumnType, Contract, Role};

/// Bounds on a record: the decoder's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) value_bytes_max: usize,
    pub(crate) depth_max: u32,
    pub(crate) future_micros_max: i64,
}

/// Column of the verdict.
pub(crate) const GOOD: &str = "_millrace_good";
const TEXT: &str = "_millrace_text";
const TIME: &str = "_millrace_time";
const JSON: &str = "_millrace_json";
const RECORD: &str = "_millrace_json.r";

/// Kafka's place of a record, carried along where it is asked for.
pub(crate) const PLACE: [&str; 2] = ["_millrace_partition", "_millrace_offset"];

/// The [`stages`] with the record's [`PLACE`] in the last.
pub(crate) fn stages_with_place(contract: &Contract, limits: Limits) -> Vec<Vec<String>> {
    let mut stages = stages(contract, limits);
    for (at, stage) in stages.iter_mut().enumerate() {
        match at {
            0 => stage.extend([format!("partition AS {}", PLACE[0]), format!("offset AS {}", PLACE[1])]),
            _ => stage.extend(PLACE.map(str::to_owned)),
        }
    }
    stages
}

/// Projections over Kafka's columns, one after the other; the last has [`GOOD`].
pub(crate) fn stages(contract: &Contract, limits: Limits) -> Vec<Vec<String>> {
    let bytes = limits.value_bytes_max;
    let text = format!(
        "CASE WHEN octet_length(value) <= {bytes} AND is_valid_utf8(CAST(value AS STRING)) THEN CAST(value AS STRING) END AS {TEXT}"
    );
    // A record without a time has -1 for it.
    let time = format!("CASE WHEN unix_millis(timestamp) >= 0 THEN unix_micros(timestamp) END AS {TIME}");
    let options = format!(
        "map('allowSingleQuotes', 'false', 'allowNonNumericNumbers', 'false', 'maxNumLen', '{bytes}', 'maxNestingDepth', '1000')"
    );
    let parsed = format!(
        "explode(array(from_json(concat('{{\"r\":', {TEXT}, ',\"end\":', xxhash64({TEXT}), '}}'), \
         'STRUCT<r: MAP<STRING, VARIANT>, end: BIGINT>', {options}))) AS {JSON}"
    );
    vec![
        vec![text, time],
        vec![TEXT.to_owned(), TIME.to_owned(), parsed],
        vec![JSON.to_owned(), format!("coalesce({}, false) AS {GOOD}", verdict(contract, limits))],
    ]
}

/// The contract's columns, over the last of the [`stages`].
pub(crate) fn columns(contract: &Contract) -> Vec<String> {
    let column = |column: &Column| {
        let value = value_of(RECORD, &column.name);
        format!("{} AS {}", typed(&value, &column.column_type, 0), quoted(&column.name))
    };
    contract.columns.iter().map(column).collect()
}

fn verdict(contract: &Contract, limits: Limits) -> String {
    let mut all =
        vec![format!("{RECORD} IS NOT NULL"), format!("{JSON}.end = xxhash64({TEXT})"), shallow(limits.depth_max)];
    let names: Vec<String> = contract.columns.iter().map(|column| literal(&column.name)).collect();
    let names = names.join(", ");
    // Only a record that repeats a name at all is looked at closely.
    all.push(format!(
        "CASE WHEN size(array_distinct(map_keys({RECORD}))) = size({RECORD}) THEN true ELSE \
         size(array_distinct(filter(map_keys({RECORD}), k -> k IN ({names})))) = size(filter(map_keys({RECORD}), k -> k IN ({names}))) END"
    ));
    all.extend(contract.columns.iter().map(|column| field(RECORD, column, 0)));
    // A row of another table is of a window, and that may end days after the row was written.
    if let Some(event_time) = contract.event_time.as_ref().filter(|_| contract.role != Role::Result) {
        let time = time(&text_of(&value_of(RECORD, event_time)));
        let limit = limits.future_micros_max;
        all.push(format!("coalesce(unix_micros({time}) - {TIME} <= {limit}, true)"));
    }
    all.join(" AND ")
}

/// Nested at most this deep. Counting brackets is enough for all but the strangest records; those are walked through.
fn shallow(depth_max: u32) -> String {
    let brackets = format!("length({TEXT}) - length(translate({TEXT}, '[{{', ''))");
    // Without escapes a string is what stands between two quotes; the parser has already found the text to be JSON.
    let plain = format!(r#"regexp_replace(regexp_replace({TEXT}, r'(?s)\\.', ''), r'"[^"]*"', '')"#);
    let bare = format!("regexp_replace({plain}, r'[^\\[\\]{{}}]', '')");
    let walk = "(a, c) -> named_struct('d', a.d + IF(c IN ('[', '{'), 1, -1), 'm', greatest(a.m, a.d + IF(c IN ('[', '{'), 1, -1)))";
    let start = "named_struct('d', 0, 'm', 0)";
    let deepest = format!("aggregate(filter(split({bare}, ''), c -> c <> ''), {start}, {walk}, a -> a.m)");
    format!("CASE WHEN {brackets} <= {depth_max} THEN true ELSE {deepest} <= {depth_max} END")
}

/// The field keeps its contract.
fn field(object: &str, column: &Column, depth: usize) -> String {
    let value = value_of(object, &column.name);
    let kind = format!("schema_of_variant({value})");
    let mut good = of_type(&value, &column.column_type, depth);
    if column.not_empty && column.column_type == ColumnType::Text {
        good = format!("{good} AND {} <> ''", text_of(&value));
    }
    let (missing, null) = (!column.required, column.nullable);
    format!(
        "CASE WHEN {value} IS NULL THEN {missing} WHEN {kind} = 'VOID' THEN {null} ELSE coalesce({good}, false) END"
    )
}

/// The value, which is not null, has this type.
fn of_type(value: &str, column_type: &ColumnType, depth: usize) -> String {
    let kind = format!("schema_of_variant({value})");
    let item = format!("v{depth}");
    let each = |list: String, item_type: &ColumnType| {
        let good = of_type(&item, item_type, depth + 1);
        format!(
            "forall({list}, {item} -> {item} IS NULL OR schema_of_variant({item}) = 'VOID' OR coalesce({good}, false))"
        )
    };
    match column_type {
        ColumnType::Text => format!("{kind} = 'STRING'"),
        ColumnType::Integer => format!("{kind} = 'BIGINT'"),
        ColumnType::Number => format!("({kind} IN ('BIGINT', 'DOUBLE') OR startswith({kind}, 'DECIMAL'))"),
        ColumnType::Boolean => format!("{kind} = 'BOOLEAN'"),
        ColumnType::Timestamp => format!("{kind} = 'STRING' AND {} IS NOT NULL", time(&text_of(value))),
        ColumnType::List(item_type) => {
            let items = format!("try_variant_get({value}, '$', 'ARRAY<VARIANT>')");
            format!("startswith({kind}, 'ARRAY<') AND {}", each(items, item_type))
        }
        ColumnType::Map(value_type) => {
            let values = format!("map_values({})", object_of(value));
            format!("startswith({kind}, 'OBJECT<') AND {}", each(values, value_type))
        }
        ColumnType::Struct(columns) => {
            let object = object_of(value);
            let fields: Vec<String> = columns.iter().map(|column| field(&object, column, depth)).collect();
            format!("startswith({kind}, 'OBJECT<') AND {}", fields.join(" AND "))
        }
    }
}

/// The value as the column's type; null where it is null.
fn typed(value: &str, column_type: &ColumnType, depth: usize) -> String {
    if !holds_time(column_type) {
        return format!("try_variant_get({value}, '$', '{}')", ddl(column_type));
    }
    let item = format!("v{depth}");
    match column_type {
        ColumnType::List(item_type) => {
            let items = format!("try_variant_get({value}, '$', 'ARRAY<VARIANT>')");
            format!("transform({items}, {item} -> {})", typed(&item, item_type, depth + 1))
        }
        ColumnType::Map(value_type) => {
            let good = typed(&item, value_type, depth + 1);
            format!("transform_values({}, (k{depth}, {item}) -> {good})", object_of(value))
        }
        ColumnType::Struct(columns) => {
            let object = object_of(value);
            let fields = columns.iter().map(|column| {
                format!(
                    "{}, {}",
                    literal(&column.name),
                    typed(&value_of(&object, &column.name), &column.column_type, depth)
                )
            });
            let fields: Vec<String> = fields.collect();
            format!("IF({object} IS NULL, NULL, named_struct({}))", fields.join(", "))
        }
        _ => time(&text_of(value)),
    }
}

fn holds_time(column_type: &ColumnType) -> bool {
    match column_type {
        ColumnType::Timestamp => true,
        ColumnType::List(item) | ColumnType::Map(item) => holds_time(item),
        ColumnType::Struct(columns) => columns.iter().any(|column| holds_time(&column.column_type)),
        _ => false,
    }
}

/// The type as Spark writes it.
fn ddl(column_type: &ColumnType) -> String {
    match column_type {
        ColumnType::Text => "STRING".into(),
        ColumnType::Integer => "BIGINT".into(),
        ColumnType::Number => "DOUBLE".into(),
        ColumnType::Boolean => "BOOLEAN".into(),
        ColumnType::Timestamp => "TIMESTAMP".into(),
        ColumnType::List(item) => format!("ARRAY<{}>", ddl(item)),
        ColumnType::Map(value) => format!("MAP<STRING, {}>", ddl(value)),
        ColumnType::Struct(columns) => {
            let fields = columns.iter().map(|column| format!("{}: {}", quoted(&column.name), ddl(&column.column_type)));
            format!("STRUCT<{}>", fields.collect::<Vec<_>>().join(", "))
        }
    }
}

/// A time in RFC 3339 as the model reads it: `T`, `t` or a space, one to nine digits of a fraction, of which six count, a
/// second of 60, and offsets up to 23:59; Spark's own cast knows none of the last three. Null when it is none.
fn time(text: &str) -> String {
    let usual = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]{1,6})?Z\z";
    let any = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ]([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)([.][0-9]{1,9})?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])\z";
    let minute = format!(
        "unix_micros(try_cast(concat(substr({text}, 1, 10), 'T', substr({text}, 12, 5), ':00Z') AS TIMESTAMP))"
    );
    let second = format!("try_cast(substr({text}, 18, 2) AS BIGINT)");
    let fraction = format!("try_cast(rpad(substr(regexp_extract({text}, r'[.]([0-9]+)', 1), 1, 6), 6, '0') AS BIGINT)");
    let hours = format!("try_cast(substr({text}, -5, 2) AS BIGINT)");
    let minutes = format!("try_cast(substr({text}, -2, 2) AS BIGINT)");
    let sign = format!("IF(substr({text}, -6, 1) = '-', -1, 1)");
    let offset = format!("IF(lower(substr({text}, -1, 1)) = 'z', 0L, {sign} * ({hours} * 60 + {minutes}))");
    let micros = format!("{minute} + {second} * 1000000 + {fraction} - {offset} * 60000000");
    // Years 0000 to 9999, also after the offset.
    let legal = format!("IF({micros} BETWEEN -62167219200000000 AND 253402300799999999, {micros}, NULL)");
    format!(
        "CASE WHEN {text} RLIKE r'{usual}' THEN try_cast({text} AS TIMESTAMP) WHEN {text} RLIKE r'{any}' THEN timestamp_micros({legal}) END"
    )
}

fn value_of(object: &str, name: &str) -> String {
    format!("try_element_at({object}, {})", literal(name))
}

fn text_of(value: &str) -> String {
    format!("try_variant_get({value}, '$', 'STRING')")
}

fn object_of(value: &str) -> String {
    format!("try_variant_get({value}, '$', 'MAP<STRING, VARIANT>')")
}

/// A text as a SQL literal.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// A name in backticks.
pub(crate) fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

#[cfg(test)]
mod tests {
    use millrace_model::Contracts;

    use super::*;

    fn limits() -> Limits {
        Limits { value_bytes_max: 1 << 20, depth_max: 64, future_micros_max: 3_600_000_000 }
    }

    #[test]
    fn every_shipped_contract_has_expressions() {
        for contract in Contracts::builtin().iter() {
            let stages = stages(contract, limits());
            assert_eq!(stages.last().and_then(|stage| stage.last()).map(|verdict| verdict.ends_with(GOOD)), Some(true));
            let columns = columns(contract);
            assert_eq!(columns.len(), contract.columns.len());
            for text in stages.iter().flatten().chain(&columns) {
                let depth = text.chars().try_fold(0_i32, |depth, c| match c {
                    '(' => Some(depth + 1),
                    ')' if depth == 0 => None,
                    ')' => Some(depth - 1),
                    _ => Some(depth),
                });
                assert_eq!(depth, Some(0), "{text}");
            }
        }
    }

    #[test]
    fn names_and_texts_are_quoted() {
        assert_eq!(literal(r"it's \ here"), r"'it\'s \\ here'");
        assert_eq!(quoted("a`b"), "`a``b`");
    }

    #[test]
    fn types_in_sparks_words() {
        let transactions = Contracts::builtin().get("transactions").expect("shipped").clone();
        let lines = transactions.column("lines").expect("a column");
        assert_eq!(
            ddl(&lines.column_type),
            "ARRAY<STRUCT<`product_id`: STRING, `category`: STRING, `quantity`: BIGINT, `price_minor`: BIGINT>>"
        );
        assert!(!holds_time(&lines.column_type) && holds_time(&ColumnType::List(Box::new(ColumnType::Timestamp))));
    }
}
