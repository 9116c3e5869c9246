-- Recommendations from behaviour: what is seen together, bought together, and in demand right now.
--
-- Pairs come from closed sessions (sessions.sql), so they follow a session by its gap of 30 minutes; trending follows by a
-- second. Running counts without a window: they grow with the number of pairs, which the catalogue bounds.
-- Read by: the dashboard's recommendations page, GET /api/recommendations.

CREATE STREAMING TABLE seen_together
COMMENT 'Sessions in which two products were both viewed'
TBLPROPERTIES ('output_mode' = 'update', 'key' = 'product_id, other_id')
AS SELECT product_id, other_id, count(*) AS sessions, max(session_start) AS last_session
   FROM STREAM sessions
   LATERAL VIEW explode(products_viewed) viewed AS product_id
   LATERAL VIEW explode(products_viewed) viewed_too AS other_id
   WHERE product_id <> other_id AND size(products_viewed) <= 30
   GROUP BY product_id, other_id;

CREATE STREAMING TABLE bought_together
COMMENT 'Orders that hold both products'
TBLPROPERTIES ('output_mode' = 'update', 'key' = 'product_id, other_id')
AS SELECT line.product_id AS product_id, other.product_id AS other_id, count(*) AS orders, max(event_time) AS last_order
   FROM STREAM transactions
   LATERAL VIEW explode(lines) order_lines AS line
   LATERAL VIEW explode(lines) other_lines AS other
   WHERE event_type = 'order_placed' AND line.product_id <> other.product_id AND size(lines) <= 30
   GROUP BY line.product_id, other.product_id;

CREATE TEMPORARY VIEW product_interest AS
SELECT event_time, product_id, category,
       CASE event_type WHEN 'product_viewed' THEN 1 ELSE 0 END AS views,
       CASE event_type WHEN 'product_added' THEN 1 ELSE 0 END AS adds,
       CAST(0 AS BIGINT) AS units
FROM STREAM user_events WATERMARK event_time DELAY OF INTERVAL 10 SECONDS
WHERE event_type IN ('product_viewed', 'product_added') AND product_id IS NOT NULL
UNION ALL
SELECT event_time, line.product_id AS product_id, line.category AS category, 0 AS views, 0 AS adds, line.quantity AS units
FROM STREAM transactions WATERMARK event_time DELAY OF INTERVAL 10 SECONDS
LATERAL VIEW explode(lines) order_lines AS line
WHERE event_type = 'order_placed';

CREATE STREAMING TABLE trending
COMMENT 'Interest in each product over half an hour, refreshed every five minutes: views + 3 per cart add + 10 per unit sold'
TBLPROPERTIES ('output_mode' = 'update', 'key' = 'window_start, product_id')
AS SELECT window.start AS window_start,
          window.end AS window_end,
          product_id,
          max(category) AS category,
          sum(views) AS views,
          sum(adds) AS cart_adds,
          sum(units) AS units,
          sum(views) + 3 * sum(adds) + 10 * sum(units) AS score
FROM product_interest
GROUP BY window(event_time, '30 minutes', '5 minutes'), product_id;
