-- Business metrics: what the shop does, this second, these five minutes and today.
--
-- Lateness: 10 seconds. Every table is in update mode: an open window is shown and corrected until the watermark passes
-- its end; from then on it is final.
-- Read by: the dashboard's overview, `millrace audit` (ledger), anyone with SQL on the store.

-- Both streams as one sequence of things that happened, so that one window holds traffic and money.
CREATE TEMPORARY VIEW shop_activity AS
SELECT event_time,
       coalesce(store_id, 'main') AS store_id,
       event_type,
       anonymous_id AS visitor_id,
       CAST(NULL AS STRING) AS currency,
       CAST(0 AS BIGINT) AS amount_minor
FROM STREAM user_events WATERMARK event_time DELAY OF INTERVAL 10 SECONDS
UNION ALL
SELECT event_time,
       coalesce(store_id, 'main') AS store_id,
       event_type,
       anonymous_id AS visitor_id,
       currency,
       coalesce(amount_minor, 0) AS amount_minor
FROM STREAM transactions WATERMARK event_time DELAY OF INTERVAL 10 SECONDS;

CREATE STREAMING TABLE store_metrics
COMMENT 'Traffic, funnel, orders and revenue by store, 5-minute windows sliding by 1 minute'
TBLPROPERTIES ('output_mode' = 'update', 'key' = 'window_start, store_id')
AS SELECT window.start AS window_start,
          window.end AS window_end,
          store_id,
          max(currency) AS currency,
          approx_count_distinct(visitor_id) AS visitors,
          count_if(event_type = 'page_viewed') AS page_views,
          count_if(event_type = 'products_searched') AS searches,
          count_if(event_type = 'product_viewed') AS product_views,
          count_if(event_type = 'product_added') AS cart_adds,
          count_if(event_type = 'checkout_started') AS checkouts,
          count_if(event_type = 'order_placed') AS orders,
          count_if(event_type = 'payment_authorized') AS payments_authorized,
          count_if(event_type = 'payment_declined') AS payments_declined,
          count_if(event_type = 'order_refunded') AS refunds,
          coalesce(sum(amount_minor) FILTER (WHERE event_type = 'order_placed'), 0) AS gross_minor,
          coalesce(sum(amount_minor) FILTER (WHERE event_type = 'order_refunded'), 0) AS refunded_minor,
          coalesce(sum(amount_minor) FILTER (WHERE event_type = 'order_placed'), 0)
            - coalesce(sum(amount_minor) FILTER (WHERE event_type = 'order_refunded'), 0) AS net_minor
FROM shop_activity
GROUP BY window(event_time, '5 minutes', '1 minute'), store_id;

CREATE STREAMING TABLE vitals
COMMENT 'The pulse of the shop: events, orders and revenue by second'
TBLPROPERTIES ('output_mode' = 'update', 'key' = 'window_start, store_id')
AS SELECT window.start AS window_start,
          window.end AS window_end,
          store_id,
          max(currency) AS currency,
          count(*) AS events,
          count_if(event_type = 'page_viewed') AS page_views,
          count_if(event_type = 'product_added') AS cart_adds,
          count_if(event_type = 'order_placed') AS orders,
          count_if(event_type = 'payment_declined') AS payments_declined,
          coalesce(sum(amount_minor) FILTER (WHERE event_type = 'order_placed'), 0) AS gross_minor
FROM shop_activity
GROUP BY window(event_time, '1 second'), store_id;

CREATE STREAMING TABLE revenue_daily
COMMENT 'Orders, refunds and revenue by store and day (UTC)'
TBLPROPERTIES ('output_mode' = 'update', 'key' = 'window_start, store_id, currency')
AS SELECT window.start AS window_start,
          window.end AS window_end,
          coalesce(store_id, 'main') AS store_id,
          currency,
          count_if(event_type = 'order_placed') AS orders,
          count_if(event_type = 'order_refunded') AS refunds,
          coalesce(sum(amount_minor) FILTER (WHERE event_type = 'order_placed'), 0) AS gross_minor,
          coalesce(sum(amount_minor) FILTER (WHERE event_type = 'order_refunded'), 0) AS refunded_minor,
          coalesce(sum(amount_minor) FILTER (WHERE event_type = 'order_placed'), 0)
            - coalesce(sum(amount_minor) FILTER (WHERE event_type = 'order_refunded'), 0) AS net_minor
FROM STREAM transactions WATERMARK event_time DELAY OF INTERVAL 10 SECONDS
WHERE event_type IN ('order_placed', 'order_refunded')
GROUP BY window(event_time, '1 day'), coalesce(store_id, 'main'), currency;

-- What was looked at and what was bought, in the terms of the catalogue. An order has many lines.
CREATE TEMPORARY VIEW category_activity AS
SELECT event_time,
       coalesce(category, 'unknown') AS category,
       event_type,
       CAST(0 AS BIGINT) AS units,
       CAST(0 AS BIGINT) AS amount_minor
FROM STREAM user_events WATERMARK event_time DELAY OF INTERVAL 10 SECONDS
WHERE event_type IN ('product_viewed', 'product_added')
UNION ALL
SELECT event_time,
       coalesce(line.category, 'unknown') AS category,
       event_type,
       line.quantity AS units,
       line.quantity * line.price_minor AS amount_minor
FROM STREAM transactions WATERMARK event_time DELAY OF INTERVAL 10 SECONDS
LATERAL VIEW explode(lines) order_lines AS line
WHERE event_type = 'order_placed';

CREATE STREAMING TABLE category_metrics
COMMENT 'Views, cart adds, units and line revenue by category, 5-minute windows sliding by 1 minute'
TBLPROPERTIES ('output_mode' = 'update', 'key' = 'window_start, category')
AS SELECT window.start AS window_start,
          window.end AS window_end,
          category,
          count_if(event_type = 'product_viewed') AS product_views,
          count_if(event_type = 'product_added') AS cart_adds,
          count_if(event_type = 'order_placed') AS order_lines,
          sum(units) AS units,
          sum(amount_minor) AS gross_minor
FROM category_activity
GROUP BY window(event_time, '5 minutes', '1 minute'), category;

-- One row a minute and stream: what `millrace audit` holds against the topics.
CREATE TEMPORARY VIEW all_records AS
SELECT event_time, 'user_events' AS stream
FROM STREAM user_events WATERMARK event_time DELAY OF INTERVAL 10 SECONDS
UNION ALL
SELECT event_time, 'transactions' AS stream
FROM STREAM transactions WATERMARK event_time DELAY OF INTERVAL 10 SECONDS
UNION ALL
SELECT event_time, 'inventory_updates' AS stream
FROM STREAM inventory_updates WATERMARK event_time DELAY OF INTERVAL 10 SECONDS;

CREATE STREAMING TABLE ledger
COMMENT 'Records counted by source stream and minute of event time'
TBLPROPERTIES ('output_mode' = 'update', 'key' = 'window_start, stream')
AS SELECT window.start AS window_start,
          window.end AS window_end,
          stream,
          count(*) AS records
FROM all_records
GROUP BY window(event_time, '1 minute'), stream;
