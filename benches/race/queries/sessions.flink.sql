-- sessions.sql as Flink SQL says it.
SELECT window_start AS `start`, user_id AS item, count(*) AS events, sum(price) AS price
FROM SESSION(TABLE events PARTITION BY user_id, DESCRIPTOR(event_time), INTERVAL '30' MINUTE)
GROUP BY window_start, window_end, user_id
