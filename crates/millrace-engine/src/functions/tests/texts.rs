//! Texts, regular expressions and JSON.

use super::{answers, errors};

#[tokio::test]
async fn documented() {
    answers(&[
        ("concat('Spark', 'SQL')", "STRING", "SparkSQL"),
        ("concat('Spark', NULL)", "STRING", "NULL"),
        ("concat(array(1, 2, 3), array(4, 5), array(6))", "ARRAY<BIGINT>", "[1, 2, 3, 4, 5, 6]"),
        ("'a' || NULL", "STRING", "NULL"),
        ("concat_ws(' ', 'Spark', 'SQL')", "STRING", "Spark SQL"),
        ("concat_ws('/', 'foo', null, 'bar')", "STRING", "foo/bar"),
        ("concat_ws(null, 'Spark', 'SQL')", "STRING", "NULL"),
        ("concat_ws(':', 'a', 5)", "STRING", "a:5"),
        ("split('oneAtwoBthreeC', '[ABC]')", "ARRAY<STRING>", "[one, two, three, ]"),
        ("split('oneAtwoBthreeC', '[ABC]', 2)", "ARRAY<STRING>", "[one, twoBthreeC]"),
        ("split('a,b', ',')[0]", "STRING", "a"),
        ("split_part('11.12.13', '.', 3)", "STRING", "13"),
        ("regexp_extract('100-200', '([0-9]+)-([0-9]+)', 1)", "STRING", "100"),
        ("regexp_extract('abc', '([0-9]+)', 1)", "STRING", ""),
        ("regexp_extract_all('100-200, 300-400', '([0-9]+)-([0-9]+)', 1)", "ARRAY<STRING>", "[100, 300]"),
        ("regexp_replace('100-200', '([0-9]+)', 'num')", "STRING", "num-num"),
        ("regexp_like('abc', 'a.c')", "BOOLEAN", "true"),
        ("rlike('abc', 'b')", "BOOLEAN", "true"),
        ("regexp_count('Steven Jones and Stephen Smith', 'Ste(v|ph)en')", "BIGINT", "2"),
        ("substring('Spark SQL', 5)", "STRING", "k SQL"),
        ("substring('Spark SQL', -3)", "STRING", "SQL"),
        ("substring('Spark SQL', 5, 1)", "STRING", "k"),
        ("substring('Spark SQL', 0, 2)", "STRING", "Sp"),
        ("substr('Spark SQL' FROM 5 FOR 1)", "STRING", "k"),
        ("left('Spark SQL', 3)", "STRING", "Spa"),
        ("right('Spark SQL', 3)", "STRING", "SQL"),
        ("lower('SparkSql')", "STRING", "sparksql"),
        ("upper('SparkSql')", "STRING", "SPARKSQL"),
        ("lcase('SparkSql')", "STRING", "sparksql"),
        ("ucase('SparkSql')", "STRING", "SPARKSQL"),
        ("trim('    SparkSQL   ')", "STRING", "SparkSQL"),
        ("trim(BOTH 'SL' FROM 'SSparkSQLS')", "STRING", "parkSQ"),
        ("ltrim('    SparkSQL   ')", "STRING", "SparkSQL   "),
        ("rtrim('    SparkSQL   ')", "STRING", "    SparkSQL"),
        ("btrim('SSparkSQLS', 'SL')", "STRING", "parkSQ"),
        ("initcap('sPark sql')", "STRING", "Spark Sql"),
        ("lpad('hi', 5, '??')", "STRING", "???hi"),
        ("rpad('hi', 5)", "STRING", "hi   "),
        ("repeat('123', 2)", "STRING", "123123"),
        ("replace('ABCabc', 'abc', 'DEF')", "STRING", "ABCDEF"),
        ("translate('AaBbCc', 'abc', '123')", "STRING", "A1B2C3"),
        ("instr('SparkSQL', 'SQL')", "INT", "6"),
        ("locate('bar', 'foobarbar')", "INT", "4"),
        ("position('bar' in 'foobarbar')", "INT", "4"),
        ("charindex('bar', 'foobarbar')", "INT", "4"),
        ("contains('Spark SQL', 'Spark')", "BOOLEAN", "true"),
        ("startswith('Spark SQL', 'Spark')", "BOOLEAN", "true"),
        ("endswith('Spark SQL', 'SQL')", "BOOLEAN", "true"),
        ("length('Spark SQL ')", "INT", "10"),
        ("char_length('Spark')", "INT", "5"),
        ("levenshtein('kitten', 'sitting')", "INT", "3"),
        ("ascii('222')", "INT", "50"),
        ("chr(65)", "STRING", "A"),
        ("format_string('Hello World %d %s', 100, 'days')", "STRING", "Hello World 100 days"),
        ("printf('Hello World %d %s', 100, 'days')", "STRING", "Hello World 100 days"),
        ("md5('Spark')", "STRING", "8cde774d6f7333752ed72cacddb05126"),
        ("sha1('Spark')", "STRING", "85f5955f4b27a9a4c2aab6ffe5d7189fc298b92c"),
        ("sha2('Spark', 256)", "STRING", "529bc3b07127ecb7e53a4dcf1991d9152c24537d919178022b2c42657f79a26b"),
        ("crc32('Spark')", "BIGINT", "1557323817"),
        ("to_json(named_struct('a', 1, 'b', 2))", "STRING", r#"{"a":1,"b":2}"#),
        (
            "to_json(named_struct('time', TIMESTAMP '2015-08-26 00:00:00'))",
            "STRING",
            r#"{"time":"2015-08-26T00:00:00.000Z"}"#,
        ),
        ("to_json(array(named_struct('a', 1, 'b', 2)))", "STRING", r#"[{"a":1,"b":2}]"#),
        ("to_json(map('a', named_struct('b', 1)))", "STRING", r#"{"a":{"b":1}}"#),
        (r#"get_json_object('{"a":"b"}', '$.a')"#, "STRING", "b"),
        (r#"get_json_object('{"a":{"b":[1,2]}}', '$.a.b[1]')"#, "STRING", "2"),
        (r#"get_json_object('[{"a":"b"},{"a":"c"}]', '$[*].a')"#, "STRING", r#"["b","c"]"#),
    ])
    .await;
}

#[tokio::test]
async fn refused() {
    errors(&[
        (
            "regexp_extract('abc', '(b)', 2)",
            "[INVALID_PARAMETER_VALUE.REGEX_GROUP_INDEX] group 2 of an expression with 1",
        ),
        ("split('abc', '(')", "[INVALID_PARAMETER_VALUE.PATTERN] '(' is not a regular expression here"),
        ("rlike('abc', '(?=b)')", "look-around"),
        ("to_json(5)", "[DATATYPE_MISMATCH] to_json() takes a STRUCT, an ARRAY or a MAP, not BIGINT"),
        ("concat('a', array(1))", "[DATATYPE_MISMATCH]"),
    ])
    .await;
}
