//! Dates and times.

use super::{answers, errors};

#[tokio::test]
async fn documented() {
    answers(&[
        ("unix_seconds(TIMESTAMP '1970-01-01 00:00:01Z')", "BIGINT", "1"),
        ("unix_seconds(TIMESTAMP '1969-12-31 23:59:59.5Z')", "BIGINT", "-1"),
        ("unix_millis(TIMESTAMP '1970-01-01 00:00:01Z')", "BIGINT", "1000"),
        ("unix_micros(TIMESTAMP '1970-01-01 00:00:01Z')", "BIGINT", "1000000"),
        ("timestamp_seconds(1230219000)", "TIMESTAMP", "2008-12-25T15:30:00Z"),
        ("timestamp_seconds(1230219000.123)", "TIMESTAMP", "2008-12-25T15:30:00.123Z"),
        ("timestamp_millis(1230219000123)", "TIMESTAMP", "2008-12-25T15:30:00.123Z"),
        ("timestamp_micros(1230219000123123)", "TIMESTAMP", "2008-12-25T15:30:00.123123Z"),
        ("date_trunc('YEAR', TIMESTAMP '2015-03-05T09:32:05.359')", "TIMESTAMP", "2015-01-01T00:00:00Z"),
        ("date_trunc('MM', TIMESTAMP '2015-03-05T09:32:05.359')", "TIMESTAMP", "2015-03-01T00:00:00Z"),
        ("date_trunc('hour', TIMESTAMP '2015-03-05T09:32:05.359')", "TIMESTAMP", "2015-03-05T09:00:00Z"),
        ("date_trunc('WEEK', TIMESTAMP '2015-03-05T09:32:05.359')", "TIMESTAMP", "2015-03-02T00:00:00Z"),
        ("date_trunc('MILLISECOND', TIMESTAMP '2015-03-05T09:32:05.123456')", "TIMESTAMP", "2015-03-05T09:32:05.123Z"),
        ("date_trunc('nonsense', TIMESTAMP '2015-03-05T09:32:05.123456')", "TIMESTAMP", "NULL"),
        ("trunc('2019-08-04', 'week')", "DATE", "2019-07-29"),
        ("trunc(DATE '2019-08-04', 'quarter')", "DATE", "2019-07-01"),
        ("date_format(TIMESTAMP '2016-04-08 10:11:12', 'y')", "STRING", "2016"),
        (
            "date_format(TIMESTAMP '2016-04-08 10:11:12.5', 'yyyy-MM-dd HH:mm:ss.SSS')",
            "STRING",
            "2016-04-08 10:11:12.500",
        ),
        ("date_format('2016-04-08', 'EEEE d MMM yy')", "STRING", "Friday 8 Apr 16"),
        ("to_date('2009-07-30 04:17:52')", "DATE", "2009-07-30"),
        ("to_date('2016-12-31', 'yyyy-MM-dd')", "DATE", "2016-12-31"),
        ("to_timestamp('2016-12-31 00:12:00')", "TIMESTAMP", "2016-12-31T00:12:00Z"),
        ("to_timestamp('2016-12-31', 'yyyy-MM-dd')", "TIMESTAMP", "2016-12-31T00:00:00Z"),
        ("from_unixtime(0)", "STRING", "1970-01-01 00:00:00"),
        ("from_unixtime(0, 'yyyy-MM-dd HH:mm:ss')", "STRING", "1970-01-01 00:00:00"),
        ("unix_timestamp('2016-04-08', 'yyyy-MM-dd')", "BIGINT", "1460073600"),
        ("year(DATE '2016-07-30')", "INT", "2016"),
        ("quarter('2016-08-31')", "INT", "3"),
        ("month('2016-07-30')", "INT", "7"),
        ("day('2009-07-30')", "INT", "30"),
        ("dayofmonth('2009-07-30')", "INT", "30"),
        ("dayofweek('2009-07-30')", "INT", "5"),
        ("dayofyear('2016-04-09')", "INT", "100"),
        ("weekday('2009-07-30')", "INT", "3"),
        ("weekofyear('2008-02-20')", "INT", "8"),
        ("hour(TIMESTAMP '2009-07-30 12:58:59')", "INT", "12"),
        ("minute(TIMESTAMP '2009-07-30 12:58:59')", "INT", "58"),
        ("second(TIMESTAMP '2009-07-30 12:58:59')", "INT", "59"),
        ("extract(YEAR FROM TIMESTAMP '2019-08-12 01:00:00.123456')", "INT", "2019"),
        ("date_part('hour', TIMESTAMP '2019-08-12 01:00:00.123456')", "INT", "1"),
        ("date_add('2016-07-30', 1)", "DATE", "2016-07-31"),
        ("date_sub('2016-07-30', 1)", "DATE", "2016-07-29"),
        ("datediff('2009-07-31', '2009-07-30')", "INT", "1"),
        ("add_months('2016-08-31', 1)", "DATE", "2016-09-30"),
        ("add_months('2016-02-29', 12)", "DATE", "2017-02-28"),
        ("add_months('2016-01-31', -2)", "DATE", "2015-11-30"),
        ("last_day('2009-01-12')", "DATE", "2009-01-31"),
        ("next_day('2015-01-14', 'TU')", "DATE", "2015-01-20"),
        ("try_to_timestamp('foo', 'yyyy')", "TIMESTAMP", "NULL"),
        ("typeof(current_timestamp())", "STRING", "timestamp"),
        ("now() = current_timestamp()", "BOOLEAN", "true"),
        ("make_date(2013, 7, 15)", "DATE", "2013-07-15"),
        ("date '2026-01-02' - date '2026-01-01'", "BIGINT", "1"),
    ])
    .await;
}

#[tokio::test]
async fn refused() {
    errors(&[
        (
            "to_timestamp('yesterday', 'yyyy-MM-dd')",
            "[CANNOT_PARSE_TIMESTAMP] the text 'yesterday' is not of the pattern; hint: try_to_",
        ),
        (
            "date_format(TIMESTAMP '2016-04-08 10:11:12', 'bb')",
            "[INVALID_DATETIME_PATTERN] the letter b has no meaning",
        ),
        ("timestamp_seconds(9223372036854775807)", "[ARITHMETIC_OVERFLOW]"),
        ("hour(array(1))", "[DATATYPE_MISMATCH] hour() takes a TIMESTAMP, not ARRAY<BIGINT>"),
        ("date_trunc('hour')", "[WRONG_NUM_ARGS] date_trunc() takes 2 arguments, 1 were given"),
    ])
    .await;
}
