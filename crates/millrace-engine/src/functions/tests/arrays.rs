//! Arrays, maps and structs.

use super::{answers, errors};

#[tokio::test]
async fn documented() {
    answers(&[
        ("slice(array(1, 2, 3, 4), 2, 2)", "ARRAY<BIGINT>", "[2, 3]"),
        ("slice(array(1, 2, 3, 4), -2, 2)", "ARRAY<BIGINT>", "[3, 4]"),
        ("element_at(array(1, 2, 3), 2)", "BIGINT", "2"),
        ("element_at(array(1, 2, 3), -1)", "BIGINT", "3"),
        ("try_element_at(array(1, 2, 3), 5)", "BIGINT", "NULL"),
        ("element_at(map('a', 1, 'b', 2), 'b')", "BIGINT", "2"),
        ("get(array(1,2,3), 0)", "BIGINT", "1"),
        ("get(array(1,2,3), 3)", "BIGINT", "NULL"),
        ("array_distinct(array(1, 2, 3, null, 3))", "ARRAY<BIGINT>", "[1, 2, 3, NULL]"),
        ("array_contains(array(1, 2, 3), 2)", "BOOLEAN", "true"),
        ("array_contains(array(1, NULL, 3), 2)", "BOOLEAN", "NULL"),
        ("array_contains(CAST(NULL AS ARRAY<INT>), 2)", "BOOLEAN", "NULL"),
        ("array_max(array(1, 20, null, 3))", "BIGINT", "20"),
        ("array_min(array(1, 20, null, 3))", "BIGINT", "1"),
        ("array_join(array('hello', null ,'world'), ' ')", "STRING", "hello world"),
        ("array_join(array('hello', null ,'world'), ' ', ',')", "STRING", "hello , world"),
        ("array_position(array(3, 2, 1), 1)", "BIGINT", "3"),
        ("array_position(array(3, 2, 1), 7)", "BIGINT", "0"),
        ("array_remove(array(1, 2, 3, null, 3), 3)", "ARRAY<BIGINT>", "[1, 2, NULL]"),
        ("array_repeat('123', 2)", "ARRAY<STRING>", "[123, 123]"),
        ("array_union(array(1, 2, 3), array(1, 3, 5))", "ARRAY<BIGINT>", "[1, 2, 3, 5]"),
        ("array_intersect(array(1, 2, 3), array(1, 3, 5))", "ARRAY<BIGINT>", "[1, 3]"),
        ("array_except(array(1, 2, 3), array(1, 3, 5))", "ARRAY<BIGINT>", "[2]"),
        ("arrays_overlap(array(1, 2, 3), array(3, 4, 5))", "BOOLEAN", "true"),
        ("array_append(array('b', 'd'), 'e')", "ARRAY<STRING>", "[b, d, e]"),
        ("array_compact(array(1, 2, 3, null))", "ARRAY<BIGINT>", "[1, 2, 3]"),
        ("flatten(array(array(1, 2), array(3, 4)))", "ARRAY<BIGINT>", "[1, 2, 3, 4]"),
        ("sequence(1, 5)", "ARRAY<BIGINT>", "[1, 2, 3, 4, 5]"),
        ("sequence(5, 1)", "ARRAY<BIGINT>", "[5, 4, 3, 2, 1]"),
        ("reverse(array(2, 1, 4, 3))", "ARRAY<BIGINT>", "[3, 4, 1, 2]"),
        ("reverse('Spark SQL')", "STRING", "LQS krapS"),
        ("map_keys(map(1, 'a', 2, 'b'))", "ARRAY<BIGINT>", "[1, 2]"),
        ("map_values(map(1, 'a', 2, 'b'))", "ARRAY<STRING>", "[a, b]"),
        ("map_contains_key(map(1, 'a', 2, 'b'), 1)", "BOOLEAN", "true"),
        ("cardinality(array('b', 'd'))", "INT", "2"),
        ("named_struct('a', 1, 'b', 2)", "STRUCT<a: BIGINT, b: BIGINT>", "{a: 1, b: 2}"),
        ("struct(1, 2, 3)", "STRUCT<c0: BIGINT, c1: BIGINT, c2: BIGINT>", "{c0: 1, c1: 2, c2: 3}"),
        ("array(1, 2, 3)", "ARRAY<BIGINT>", "[1, 2, 3]"),
        ("map(1.0, '2', 3.0, '4')", "MAP<DOUBLE, STRING>", "{1.0: 2, 3.0: 4}"),
        ("map_from_arrays(array(1.0, 3.0), array('2', '4'))", "MAP<DOUBLE, STRING>", "{1.0: 2, 3.0: 4}"),
        ("map_from_entries(array(struct(1, 'a'), struct(2, 'b')))", "MAP<BIGINT, STRING>", "{1: a, 2: b}"),
        ("str_to_map('a:1,b:2,c:3', ',', ':')", "MAP<STRING, STRING>", "{a: 1, b: 2, c: 3}"),
        ("isnull(1)", "BOOLEAN", "false"),
        ("isnotnull(1)", "BOOLEAN", "true"),
        ("isnan(cast('NaN' as double))", "BOOLEAN", "true"),
        ("equal_null(1, NULL)", "BOOLEAN", "false"),
        ("typeof(1)", "STRING", "bigint"),
        ("current_date() IS NOT NULL", "BOOLEAN", "true"),
        ("elt(1, 'scala', 'java')", "STRING", "scala"),
        ("find_in_set('ab','abc,b,ab,c,def')", "INT", "3"),
        ("substring_index('www.apache.org', '.', 2)", "STRING", "www.apache"),
        ("soundex('Miller')", "STRING", "M460"),
        ("parse_url('http://spark.apache.org/path?query=1', 'HOST')", "STRING", "spark.apache.org"),
        ("parse_url('http://spark.apache.org/path?query=1', 'QUERY', 'query')", "STRING", "1"),
        ("url_encode('https://spark.apache.org')", "STRING", "https%3A%2F%2Fspark.apache.org"),
        ("shiftleft(2, 1)", "BIGINT", "4"),
        ("bit_count(0)", "INT", "0"),
    ])
    .await;
}

#[tokio::test]
async fn refused() {
    errors(&[
        ("slice(array(1,2), 0, 1)", "Start index must not be zero"),
        ("element_at(array(1, 2, 3), 5)", "[INVALID_ARRAY_INDEX_IN_ELEMENT_AT] element 5 of an array of 3; hint: "),
    ])
    .await;
}
