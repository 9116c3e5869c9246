-- Windows of an hour sliding by one minute, by product: many groups, and each event is in sixty windows.
SELECT window.start AS start, product_id AS item, count(*) AS events, sum(price) AS price
FROM events GROUP BY window(event_time, '1 hour', '1 minute'), product_id
