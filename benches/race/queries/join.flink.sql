-- join.sql as Flink SQL says it.
SELECT CAST(c.event_time AS TIMESTAMP(3)) AS `start`, CONCAT(c.event_id, ' ', o.event_id) AS item, o.quantity AS events, o.price AS price
FROM events c JOIN orders o
  ON o.user_id = c.user_id AND o.event_time BETWEEN c.event_time AND c.event_time + INTERVAL '15' MINUTE
