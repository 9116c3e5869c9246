-- sliding.sql as Flink SQL says it.
SELECT window_start AS `start`, category AS item, count(*) AS events, sum(price) AS price
FROM HOP(TABLE events, DESCRIPTOR(event_time), INTERVAL '1' MINUTE, INTERVAL '5' MINUTE)
GROUP BY window_start, window_end, category
