-- Visitor sessions: who came, which way they went, what they left in the cart.
--
-- A session ends after 30 minutes without an event (of that visitor); its row is written once, when the watermark proves
-- the end. Lateness: 10 seconds.
-- Read by: the dashboard's sessions page, recommendations.sql, the abandoned-cart list.

CREATE TEMPORARY VIEW visits AS
SELECT event_time, anonymous_id, user_id, event_type, path, product_id, channel, country, device_type, store_id,
       price_minor, quantity,
       CAST(NULL AS STRING) AS order_id,
       CAST(NULL AS BIGINT) AS amount_minor,
       CAST(NULL AS STRING) AS currency
FROM STREAM user_events WATERMARK event_time DELAY OF INTERVAL 10 SECONDS
UNION ALL
SELECT event_time, anonymous_id, user_id, event_type,
       CAST(NULL AS STRING) AS path,
       CAST(NULL AS STRING) AS product_id,
       CAST(NULL AS STRING) AS channel,
       CAST(NULL AS STRING) AS country,
       CAST(NULL AS STRING) AS device_type,
       store_id,
       CAST(NULL AS BIGINT) AS price_minor,
       CAST(NULL AS BIGINT) AS quantity,
       order_id, amount_minor, currency
FROM STREAM transactions WATERMARK event_time DELAY OF INTERVAL 10 SECONDS
WHERE anonymous_id IS NOT NULL AND event_type IN ('order_placed', 'payment_declined');

CREATE STREAMING TABLE sessions
COMMENT 'One row a visitor session, closed by 30 minutes of silence'
TBLPROPERTIES ('output_mode' = 'append', 'key' = 'visitor_id, session_start')
AS SELECT session.start AS session_start,
          session.end AS session_end,
          visitor_id, user_id, store_id, channel, country, device_type,
          landing_path, exit_path,
          last_event_time,
          events, page_views, searches, product_views, cart_adds, cart_removes, checkouts, payment_entries,
          payments_declined, orders, revenue_minor, currency,
          CASE WHEN orders > 0 THEN 'purchase'
               WHEN payment_entries > 0 THEN 'payment'
               WHEN checkouts > 0 THEN 'checkout'
               WHEN cart_adds > 0 THEN 'cart'
               WHEN product_views > 0 THEN 'product'
               ELSE 'visit' END AS stage,
          products_viewed, products_added, products_removed, cart_minor,
          cart_adds > cart_removes AND orders = 0 AS cart_abandoned,
          journey
   FROM (SELECT session_window(event_time, '30 minutes') AS session,
                anonymous_id AS visitor_id,
                max(user_id) AS user_id,
                max(store_id) AS store_id,
                min_by(channel, event_time) AS channel,
                max(country) AS country,
                max(device_type) AS device_type,
                min_by(path, event_time) FILTER (WHERE path IS NOT NULL) AS landing_path,
                max_by(path, event_time) FILTER (WHERE path IS NOT NULL) AS exit_path,
                max(event_time) AS last_event_time,
                count(*) AS events,
                count_if(event_type = 'page_viewed') AS page_views,
                count_if(event_type = 'products_searched') AS searches,
                count_if(event_type = 'product_viewed') AS product_views,
                count_if(event_type = 'product_added') AS cart_adds,
                count_if(event_type = 'product_removed') AS cart_removes,
                count_if(event_type = 'checkout_started') AS checkouts,
                count_if(event_type = 'payment_info_entered') AS payment_entries,
                count_if(event_type = 'payment_declined') AS payments_declined,
                count_if(event_type = 'order_placed') AS orders,
                coalesce(sum(amount_minor) FILTER (WHERE event_type = 'order_placed'), 0) AS revenue_minor,
                max(currency) AS currency,
                array_sort(collect_set(product_id) FILTER (WHERE event_type = 'product_viewed')) AS products_viewed,
                array_sort(collect_set(product_id) FILTER (WHERE event_type = 'product_added')) AS products_added,
                array_sort(collect_set(product_id) FILTER (WHERE event_type = 'product_removed')) AS products_removed,
                coalesce(sum(price_minor * quantity) FILTER (WHERE event_type = 'product_added'), 0)
                  - coalesce(sum(price_minor * quantity) FILTER (WHERE event_type = 'product_removed'), 0) AS cart_minor,
                array_sort(collect_list(struct(event_time, event_type, path, product_id))) AS journey
         FROM visits
         GROUP BY session_window(event_time, '30 minutes'), anonymous_id);

-- Carts left behind: not empty, not bought, no longer active. The reason is the furthest obstacle met.
CREATE STREAMING TABLE abandoned_carts
COMMENT 'Carts of closed sessions without an order, with the likely reason'
TBLPROPERTIES ('output_mode' = 'append', 'key' = 'visitor_id, session_start')
AS SELECT session_start, session_end, visitor_id, user_id, store_id, channel, device_type,
          last_event_time,
          products_added, products_removed, cart_minor, stage,
          CASE WHEN payments_declined > 0 THEN 'payment declined'
               WHEN payment_entries > 0 THEN 'left at payment'
               WHEN checkouts > 0 THEN 'left at checkout'
               ELSE 'left in the shop' END AS reason
   FROM STREAM sessions
   WHERE cart_abandoned;

-- How far sessions came, by channel: the funnel over closed sessions.
CREATE STREAMING TABLE session_funnel
COMMENT 'Closed sessions by hour of their start, channel and the stage they reached'
TBLPROPERTIES ('output_mode' = 'update', 'key' = 'window_start, channel, stage')
AS SELECT window.start AS window_start,
          window.end AS window_end,
          coalesce(channel, 'unknown') AS channel,
          stage,
          count(*) AS sessions,
          sum(events) AS events,
          sum(revenue_minor) AS revenue_minor
   FROM STREAM sessions WATERMARK session_start DELAY OF INTERVAL 12 HOURS
   GROUP BY window(session_start, '1 hour'), coalesce(channel, 'unknown'), stage;
