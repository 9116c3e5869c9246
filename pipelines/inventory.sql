-- Stock: what is on the shelf, promised and left to sell, and how long it lasts.
--
-- Levels are sums of signed changes, so the order of arrival does not matter. Lateness: 10 seconds for the speed of sale;
-- levels take every record.
-- Read by: the dashboard's stock page, the merchandiser's low-stock list.

CREATE STREAMING TABLE stock_levels
COMMENT 'Units on hand, reserved and available by product'
TBLPROPERTIES ('output_mode' = 'update', 'key' = 'product_id')
AS SELECT product_id,
          max(product_name) AS product_name,
          max(category) AS category,
          sum(on_hand_change) AS on_hand,
          sum(reserved_change) AS reserved,
          sum(on_hand_change) - sum(reserved_change) AS available,
          max(reorder_point) AS reorder_point,
          CASE WHEN sum(on_hand_change) - sum(reserved_change) < 0 THEN 'oversold'
               WHEN sum(on_hand_change) - sum(reserved_change) = 0 THEN 'out_of_stock'
               WHEN sum(on_hand_change) - sum(reserved_change) <= max(reorder_point) THEN 'low'
               ELSE 'in_stock' END AS status,
          count_if(event_type = 'stock_adjusted') AS adjustments,
          max(event_time) AS last_change
   FROM STREAM inventory_updates
   GROUP BY product_id;

CREATE STREAMING TABLE stock_cover
COMMENT 'Speed of sale over an hour and hours the available stock lasts at that speed, refreshed every five minutes'
TBLPROPERTIES ('output_mode' = 'update', 'key' = 'window_start, product_id')
AS SELECT window.start AS window_start,
          window.end AS window_end,
          product_id,
          max(category) AS category,
          coalesce(sum(quantity) FILTER (WHERE event_type = 'stock_reserved'), 0) AS units_sold,
          max_by(on_hand - reserved, event_time) AS available,
          CASE WHEN sum(quantity) FILTER (WHERE event_type = 'stock_reserved') > 0
               THEN round(max_by(on_hand - reserved, event_time)
                          / sum(quantity) FILTER (WHERE event_type = 'stock_reserved'), 1) END AS hours_of_cover
   FROM STREAM inventory_updates WATERMARK event_time DELAY OF INTERVAL 10 SECONDS
   GROUP BY window(event_time, '1 hour', '5 minutes'), product_id;
