-- What Spark 4.2 takes and refuses as streaming SQL, statement by statement. `cargo test -p millrace --features spark --test it
-- -- --ignored matrix` runs each on both backends over the same records and compares them; its table is
-- docs/spark-conformance.md.
--
-- A head is `-- name: modes`, a mode in brackets is one that Spark refuses, and `key` names the columns of the key in update
-- mode, where a reader ends with the last row of each.

-- sliding: append, update, complete; key w, category
SELECT window(event_time, '5 minutes', '1 minute') AS w, category, count(*) AS cnt, sum(price * quantity) AS revenue FROM events GROUP BY window(event_time, '5 minutes', '1 minute'), category HAVING count(*) > 2

-- tumbling_distinct: (append), (update); key w
SELECT window(event_time, '5 minutes') AS w, count(DISTINCT user_id) AS users FROM events GROUP BY window(event_time, '5 minutes')

-- tumbling_approx: append, update; key w
SELECT window(event_time, '5 minutes') AS w, approx_count_distinct(user_id) AS users, max_by(product_id, event_time) AS lastp, percentile_approx(price, 0.5) AS p50 FROM events GROUP BY window(event_time, '5 minutes')

-- statistics: append; key w
SELECT window(event_time, '5 minutes') AS w, stddev(price) AS dev, first(page) IS NOT NULL AS has_first, max(struct(event_time, page)) AS newest, count_if(event_type = 'purchase') AS bought, sum(price) FILTER (WHERE category = 'books') AS books FROM events GROUP BY window(event_time, '5 minutes')

-- distinct_via_collect_set: append, update; key w
SELECT window(event_time, '5 minutes') AS w, size(collect_set(user_id)) AS users FROM events GROUP BY window(event_time, '5 minutes')

-- distinct_in_two_levels: append
SELECT w, count(*) AS users FROM (SELECT window(event_time, '5 minutes') AS w, user_id, count(*) AS n FROM events GROUP BY window(event_time, '5 minutes'), user_id) GROUP BY w

-- session: append, (update)
SELECT session_window(event_time, '30 minutes') AS w, user_id, count(*) AS n, array_sort(collect_list(event_type)) AS evs, array_sort(array_agg(page)) AS pages, min_by(page, event_time) AS entry, max_by(page, event_time) AS exitp, approx_count_distinct(product_id) AS products, sum(CASE WHEN event_type = 'purchase' THEN 1 ELSE 0 END) AS buys FROM events GROUP BY session_window(event_time, '30 minutes'), user_id

-- session_distinct: (append)
SELECT session_window(event_time, '30 minutes') AS w, user_id, count(DISTINCT product_id) AS products FROM events GROUP BY session_window(event_time, '30 minutes'), user_id

-- session_sorted: append
SELECT w.start AS s, user_id, array_sort(evs) AS path FROM (SELECT session_window(event_time, '30 minutes') AS w, user_id, collect_list(struct(event_time, event_type, page)) AS evs FROM events GROUP BY session_window(event_time, '30 minutes'), user_id)

-- session_path: append
SELECT w.start AS s, user_id, transform(array_sort(evs), e -> e.page) AS pages, size(filter(evs, e -> e.event_type = 'purchase')) AS buys FROM (SELECT session_window(event_time, '30 minutes') AS w, user_id, collect_list(struct(event_time, event_type, page)) AS evs FROM events GROUP BY session_window(event_time, '30 minutes'), user_id)

-- session_having: append
SELECT session_window(event_time, '30 minutes') AS w, user_id, count(*) AS n FROM events GROUP BY session_window(event_time, '30 minutes'), user_id HAVING sum(CASE WHEN event_type = 'add_to_cart' THEN 1 ELSE 0 END) > 0 AND sum(CASE WHEN event_type = 'purchase' THEN 1 ELSE 0 END) > 1

-- session_dyn: append
SELECT session_window(event_time, CASE WHEN category = 'books' THEN '10 minutes' ELSE '30 minutes' END) AS w, user_id, count(*) AS n FROM events GROUP BY session_window(event_time, CASE WHEN category = 'books' THEN '10 minutes' ELSE '30 minutes' END), user_id

-- chained: append, (update); key w2
SELECT window(window_time(w), '10 minutes') AS w2, sum(c) AS total, max(c) AS peak FROM (SELECT window(event_time, '1 minute') AS w, category, count(*) AS c FROM events GROUP BY window(event_time, '1 minute'), category) GROUP BY window(window_time(w), '10 minutes')

-- chained_direct: append
SELECT window(w, '10 minutes') AS w2, sum(c) AS total FROM (SELECT window(event_time, '1 minute') AS w, category, count(*) AS c FROM events GROUP BY window(event_time, '1 minute'), category) GROUP BY window(w, '10 minutes')

-- session_chained: append
SELECT window(session_window, '1 hour') AS hr, count(*) AS sessions, avg(n) AS avg_events FROM (SELECT session_window, user_id, count(*) AS n FROM events GROUP BY session_window(event_time, '30 minutes'), user_id) GROUP BY window(session_window, '1 hour')

-- top_n_per_window: append
SELECT w, slice(sort_array(collect_list(struct(c, category)), false), 1, 2) AS best FROM (SELECT window(event_time, '5 minutes') AS w, category, count(*) AS c FROM events GROUP BY window(event_time, '5 minutes'), category) GROUP BY w

-- inner_join: append, update; key user_id, product_id, clicked, ordered
SELECT c.user_id, c.product_id, c.event_time AS clicked, o.event_time AS ordered FROM events c JOIN orders o ON c.user_id = o.user_id AND c.product_id = o.product_id AND o.event_time BETWEEN c.event_time AND c.event_time + INTERVAL 10 MINUTES

-- self_join: append
SELECT a.user_id, a.event_id AS added, b.event_id AS bought FROM events a JOIN events b ON a.user_id = b.user_id AND a.product_id = b.product_id AND b.event_time BETWEEN a.event_time AND a.event_time + INTERVAL 10 MINUTES WHERE a.event_type = 'add_to_cart' AND b.event_type = 'purchase'

-- left_join: append, (update); key user_id, event_id
SELECT c.user_id, c.event_id, o.event_id AS order_id FROM events c LEFT JOIN orders o ON c.user_id = o.user_id AND c.product_id = o.product_id AND o.event_time BETWEEN c.event_time AND c.event_time + INTERVAL 10 MINUTES WHERE c.event_type = 'add_to_cart'

-- full_join: append
SELECT c.event_id AS click, o.event_id AS order_id FROM events c FULL OUTER JOIN orders o ON c.user_id = o.user_id AND c.product_id = o.product_id AND o.event_time BETWEEN c.event_time AND c.event_time + INTERVAL 10 MINUTES

-- left_semi: append
SELECT c.user_id, c.event_id FROM events c LEFT SEMI JOIN orders o ON c.user_id = o.user_id AND o.event_time BETWEEN c.event_time AND c.event_time + INTERVAL 10 MINUTES WHERE c.event_type = 'add_to_cart'

-- left_anti: (append)
SELECT c.user_id, c.event_id FROM events c LEFT ANTI JOIN orders o ON c.user_id = o.user_id AND o.event_time BETWEEN c.event_time AND c.event_time + INTERVAL 10 MINUTES WHERE c.event_type = 'add_to_cart'

-- left_null: append
SELECT c.user_id, c.event_id, c.event_time FROM events c LEFT JOIN orders o ON c.user_id = o.user_id AND o.event_time BETWEEN c.event_time AND c.event_time + INTERVAL 10 MINUTES WHERE c.event_type = 'add_to_cart' AND o.event_id IS NULL

-- join_then_agg: append, update; key w
SELECT window(c.event_time, '10 minutes') AS w, count(*) AS conv FROM events c JOIN orders o ON c.user_id = o.user_id AND c.product_id = o.product_id AND o.event_time BETWEEN c.event_time AND c.event_time + INTERVAL 10 MINUTES GROUP BY window(c.event_time, '10 minutes')

-- left_join_then_agg: append
SELECT window(c.event_time, '10 minutes') AS w, count(*) AS added, count(o.event_id) AS conv FROM events c LEFT JOIN orders o ON c.user_id = o.user_id AND c.product_id = o.product_id AND o.event_time BETWEEN c.event_time AND c.event_time + INTERVAL 10 MINUTES WHERE c.event_type = 'add_to_cart' GROUP BY window(c.event_time, '10 minutes')

-- agg_join_agg: append
SELECT a.w, a.clicks, b.sold FROM (SELECT window(event_time, '10 minutes') AS w, count(*) AS clicks FROM events GROUP BY window(event_time, '10 minutes')) a JOIN (SELECT window(event_time, '10 minutes') AS w, count(*) AS sold FROM orders GROUP BY window(event_time, '10 minutes')) b ON a.w = b.w

-- static_join: append, update; key w, product_name
SELECT window(e.event_time, '5 minutes') AS w, p.product_name, sum((e.price - p.cost) * e.quantity) AS margin FROM events e JOIN mk p ON e.product_id = p.product_id GROUP BY window(e.event_time, '5 minutes'), p.product_name

-- static_left: append
SELECT e.event_id, p.product_name FROM events e LEFT JOIN mk p ON e.product_id = p.product_id

-- static_in: append
SELECT event_id, product_id FROM events WHERE product_id IN (SELECT product_id FROM mk WHERE cost > 3)

-- static_scalar: append
SELECT event_id, price FROM events WHERE price > (SELECT avg(cost) FROM mk)

-- select_distinct: append, update; key event_id, event_time
SELECT DISTINCT event_id, event_time FROM events

-- dedup_groupby: append, update; key event_id, event_time
SELECT event_id, event_time, min(user_id) AS user_id FROM events GROUP BY event_id, event_time

-- groupby_nowindow: (append), update, complete; key category
SELECT category, count(*) AS c FROM events GROUP BY category

-- row_number: (append)
SELECT user_id, event_time, row_number() OVER (PARTITION BY user_id ORDER BY event_time) AS rn FROM events

-- lag: (append)
SELECT user_id, event_time, lag(event_time) OVER (PARTITION BY user_id ORDER BY event_time) AS prev FROM events

-- orderby: (append), complete; key category
SELECT category, count(*) AS c, max(price) AS dearest FROM events GROUP BY category ORDER BY c DESC, category

-- session_totals: complete; key session_start, user_id
SELECT session_window.start AS session_start, user_id, count(*) AS c FROM events GROUP BY session_window(event_time, '10 minutes'), user_id

-- orderby_limit: (append)
SELECT category, count(*) AS c FROM events GROUP BY category ORDER BY c DESC LIMIT 2

-- union_all: append
SELECT user_id, event_time, 'ev' AS k FROM events UNION ALL SELECT user_id, event_time, 'ord' FROM orders

-- cte: append
WITH w AS (SELECT window(event_time, '5 minutes') AS w, count(*) AS c FROM events GROUP BY window(event_time, '5 minutes')) SELECT w.w.start AS s, c FROM w WHERE c > 3

-- rollup: append, update, complete; key w, category, event_type
SELECT window(event_time, '5 minutes') AS w, category, event_type, count(*) AS c FROM events GROUP BY window(event_time, '5 minutes'), ROLLUP (category, event_type)

-- group_by_all: append
SELECT window(event_time, '5 minutes') AS w, category, count(*) AS c FROM events GROUP BY ALL

-- wm_delayof: append
SELECT window(event_time, '5 minutes') AS w, count(*) AS c FROM STREAM raw WATERMARK event_time DELAY OF INTERVAL 10 SECONDS GROUP BY window(event_time, '5 minutes')

-- wm_delayof2: append
SELECT window(event_time, '5 minutes') AS w, count(*) AS c FROM raw WATERMARK event_time DELAY OF INTERVAL 10 SECONDS GROUP BY window(event_time, '5 minutes')

-- no_wm: (append), update; key w
SELECT window(event_time, '5 minutes') AS w, count(*) AS c FROM raw GROUP BY window(event_time, '5 minutes')

-- explode: append
SELECT session.s, u, x FROM (SELECT session_window(event_time, '30 minutes').start AS s, user_id AS u, collect_set(category) AS cs FROM events GROUP BY session_window(event_time, '30 minutes'), user_id) session LATERAL VIEW explode(cs) AS x

-- pipe: append
FROM events |> WHERE event_type = 'purchase' |> SELECT user_id, price
