-- products.sql as DuckDB says it, in batch.
WITH panes AS (
  SELECT time_bucket(INTERVAL 1 MINUTE, event_time) AS pane, product_id, count(*) AS events, sum(price) AS price
  FROM events GROUP BY 1, 2)
SELECT pane - k * INTERVAL 1 MINUTE AS start, product_id AS item, sum(events)::BIGINT AS events, sum(price) AS price
FROM panes, range(60) AS window_of(k) GROUP BY 1, 2
