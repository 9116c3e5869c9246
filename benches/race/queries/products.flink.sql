-- products.sql as Flink SQL says it.
SELECT window_start AS `start`, product_id AS item, count(*) AS events, sum(price) AS price
FROM HOP(TABLE events, DESCRIPTOR(event_time), INTERVAL '1' MINUTE, INTERVAL '1' HOUR)
GROUP BY window_start, window_end, product_id
