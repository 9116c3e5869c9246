-- The queries tried on Spark 4.2 that need one stream and no chain of operators. Above each: the modes it is accepted in
-- (a append, u update, c complete), the modes it is refused in, and the key of its rows.
-- auc - w
SELECT window(event_time,'5 minutes','1 minute') AS w, category, count(*) AS cnt, sum(price*quantity) AS revenue FROM events GROUP BY window(event_time,'5 minutes','1 minute'), category HAVING count(*) > 2
-- - auc w
SELECT window(event_time,'5 minutes') AS w, count(DISTINCT user_id) AS users FROM events GROUP BY window(event_time,'5 minutes')
-- auc - w
SELECT window(event_time,'5 minutes') AS w, approx_count_distinct(user_id) AS users, max_by(product_id, event_time) AS lastp, percentile_approx(price,0.5) AS p50 FROM events GROUP BY window(event_time,'5 minutes')
-- auc - w
SELECT window(event_time,'5 minutes') AS w, stddev(price) AS s, first(page) AS f, max(struct(price, page)) AS m, count_if(price > 1) AS n, sum(price) FILTER (WHERE quantity > 1) AS b FROM events GROUP BY window(event_time,'5 minutes')
-- auc - w
SELECT window(event_time,'5 minutes') AS w, size(collect_set(user_id)) AS users FROM events GROUP BY window(event_time,'5 minutes')
-- ac u user_id
SELECT session_window(event_time,'30 minutes') AS w, user_id, count(*) AS n, collect_list(event_type) AS evs, array_agg(page) AS pages, min_by(page, event_time) AS entry FROM events GROUP BY session_window(event_time,'30 minutes'), user_id
-- a u user_id
SELECT w.start AS s, user_id, array_sort(evs) AS path FROM (SELECT session_window(event_time,'30 minutes') AS w, user_id, collect_list(struct(event_time, event_type, page)) AS evs FROM events GROUP BY session_window(event_time,'30 minutes'), user_id)
-- ac u user_id
SELECT session_window(event_time,'30 minutes') AS w, user_id, count(*) AS n FROM events GROUP BY session_window(event_time,'30 minutes'), user_id HAVING sum(CASE WHEN event_type='add_to_cart' THEN 1 ELSE 0 END) > 0
-- auc - w
SELECT window(e.event_time,'5 minutes') AS w, p.product_name, sum((e.price-p.cost)*e.quantity) AS margin FROM events e JOIN mk p ON e.product_id=p.product_id GROUP BY window(e.event_time,'5 minutes'), p.product_name
-- a c event_id
SELECT e.event_id, p.product_name FROM events e LEFT JOIN mk p ON e.product_id=p.product_id
-- a c event_id
SELECT event_id FROM events WHERE product_id IN (SELECT product_id FROM mk WHERE cost > 5)
-- a c event_id
SELECT event_id FROM events WHERE price > (SELECT max(cost) FROM mk)
-- uc a category
SELECT category, count(*) AS c FROM events GROUP BY category
-- - au user_id
SELECT user_id, event_time, row_number() OVER (PARTITION BY user_id ORDER BY event_time) AS rn FROM events
-- - au user_id
SELECT user_id, event_time, lag(event_time) OVER (PARTITION BY user_id ORDER BY event_time) AS prev FROM events
-- c au category
SELECT category, count(*) AS c FROM events GROUP BY category ORDER BY c DESC LIMIT 2
-- a c user_id
SELECT user_id, event_time, 'ev' AS k FROM events UNION ALL SELECT user_id, event_time, 'ord' FROM events
-- a - s
WITH w AS (SELECT window(event_time,'5 minutes') AS w, count(*) AS c FROM events GROUP BY window(event_time,'5 minutes')) SELECT w.w.start AS s, c FROM w WHERE c > 3
-- a - w
SELECT window(event_time,'5 minutes') AS w, count(*) AS c FROM STREAM raw WATERMARK event_time DELAY OF INTERVAL 10 SECONDS GROUP BY window(event_time,'5 minutes')
-- a - w
SELECT window(event_time,'5 minutes') AS w, count(*) AS c FROM raw WATERMARK event_time DELAY OF INTERVAL 10 SECONDS GROUP BY window(event_time,'5 minutes')
-- u a w
SELECT window(event_time,'5 minutes') AS w, count(*) AS c FROM raw GROUP BY window(event_time,'5 minutes')
-- a u s
SELECT session.s, u, x FROM (SELECT session_window(event_time,'30 minutes').start AS s, user_id AS u, collect_set(category) AS cs FROM events GROUP BY session_window(event_time,'30 minutes'), user_id) session LATERAL VIEW explode(cs) v AS x
-- a c user_id
FROM events |> WHERE event_type='purchase' |> SELECT user_id, price
-- auc - w
SELECT window(event_time,'5 minutes') AS w, category, page, count(*) AS c FROM events GROUP BY window(event_time,'5 minutes'), ROLLUP(category, page)
-- auc - w
SELECT window(event_time,'5 minutes') AS w, category, count(*) AS c FROM events GROUP BY ALL
