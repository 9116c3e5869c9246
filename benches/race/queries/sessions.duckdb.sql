-- sessions.sql as DuckDB says it, in batch.
WITH gaps AS (
  SELECT user_id, event_time, price,
    coalesce(event_time - lag(event_time) OVER (PARTITION BY user_id ORDER BY event_time) > INTERVAL 30 MINUTES, false) AS breaks
  FROM events),
numbered AS (
  SELECT *, count_if(breaks) OVER (PARTITION BY user_id ORDER BY event_time) AS session FROM gaps)
SELECT min(event_time) AS start, user_id AS item, count(*) AS events, sum(price) AS price
FROM numbered GROUP BY user_id, session
