-- Fraud rules over payments, refunds, orders and account events. Each rule is one table; fraud_signals brings them together.
--
-- A rule row says whom it is about (entity), how bad it is (severity), and shows its evidence: the values it judged by and
-- the payments behind them. Rules are in update mode, so a signal is out within a second of the payment that completes it,
-- and grows with the attack. Lateness: 10 seconds.
-- Parameters are the numbers in a rule's HAVING, WHERE and window; the comment of each names them. To change one, change it
-- here: `millrace check` tells what is wrong, `millrace run pipelines/fraud.sql` tries it over files, `backfill` over the lake.
-- Read by: the dashboard's fraud page, alert routes.

CREATE TEMPORARY VIEW payments AS
SELECT event_time, event_type, store_id, payment_id, order_id, user_id, device_id, ip, card_token, card_bin, amount_minor,
       currency, decline_code
FROM STREAM transactions WATERMARK event_time DELAY OF INTERVAL 10 SECONDS
WHERE event_type IN ('payment_authorized', 'payment_declined');

-- Many payments with one card in a few minutes: a stolen card being emptied.
-- Parameters: 5 attempts (10: high) within 10 minutes.
CREATE STREAMING TABLE fraud_velocity
COMMENT 'Five or more payment attempts with one card within ten minutes'
TBLPROPERTIES ('output_mode' = 'update', 'key' = 'window_start, entity')
AS SELECT window.start AS window_start,
          window.end AS window_end,
          'velocity' AS rule,
          'card_token' AS entity_kind,
          card_token AS entity,
          CASE WHEN count(*) >= 10 THEN 'high' ELSE 'medium' END AS severity,
          count(*) AS payments,
          count_if(event_type = 'payment_declined') AS declines,
          CAST(1 AS BIGINT) AS cards,
          sum(amount_minor) AS amount_minor,
          max(currency) AS currency,
          min(event_time) AS first_seen,
          max(event_time) AS last_seen,
          array_sort(collect_set(payment_id)) AS payment_ids
FROM payments
WHERE card_token IS NOT NULL
GROUP BY window(event_time, '10 minutes', '5 minutes'), card_token
HAVING count(*) >= 5;

-- Many cards from one device: someone tries out which of them work.
-- Parameters: 4 cards (10: critical) within 10 minutes, half of the payments declined.
CREATE STREAMING TABLE fraud_card_testing
COMMENT 'Four or more cards from one device within ten minutes, most of them declined'
TBLPROPERTIES ('output_mode' = 'update', 'key' = 'window_start, entity')
AS SELECT window.start AS window_start,
          window.end AS window_end,
          'card_testing' AS rule,
          'device_id' AS entity_kind,
          device_id AS entity,
          CASE WHEN size(collect_set(card_token)) >= 10 THEN 'critical' ELSE 'high' END AS severity,
          count(*) AS payments,
          count_if(event_type = 'payment_declined') AS declines,
          CAST(size(collect_set(card_token)) AS BIGINT) AS cards,
          sum(amount_minor) AS amount_minor,
          max(currency) AS currency,
          min(event_time) AS first_seen,
          max(event_time) AS last_seen,
          array_sort(collect_set(payment_id)) AS payment_ids
FROM payments
WHERE device_id IS NOT NULL
GROUP BY window(event_time, '10 minutes', '5 minutes'), device_id
HAVING size(collect_set(card_token)) >= 4 AND count_if(event_type = 'payment_declined') * 2 >= count(*);

-- Declined again and again, then it works: a guessed security code or expiry date.
-- Parameters: 3 declines within 10 minutes.
CREATE STREAMING TABLE fraud_declines_then_success
COMMENT 'Three or more declines of a card followed by an authorisation within ten minutes'
TBLPROPERTIES ('output_mode' = 'update', 'key' = 'window_start, entity')
AS SELECT window.start AS window_start,
          window.end AS window_end,
          'declines_then_success' AS rule,
          'card_token' AS entity_kind,
          card_token AS entity,
          'high' AS severity,
          count(*) AS payments,
          count_if(event_type = 'payment_declined') AS declines,
          CAST(1 AS BIGINT) AS cards,
          sum(amount_minor) FILTER (WHERE event_type = 'payment_authorized') AS amount_minor,
          max(currency) AS currency,
          min(event_time) AS first_seen,
          max(event_time) AS last_seen,
          array_sort(collect_set(payment_id)) AS payment_ids
FROM payments
WHERE card_token IS NOT NULL
GROUP BY window(event_time, '10 minutes', '5 minutes'), card_token
HAVING count_if(event_type = 'payment_declined') >= 3
   AND max(event_time) FILTER (WHERE event_type = 'payment_authorized')
     > min(event_time) FILTER (WHERE event_type = 'payment_declined');

-- One payment far above what this account usually spends. The habit is the average of the account's other payments.
-- Parameters: 6 times (12: high) the average of at least 4 others, within 7 days.
CREATE STREAMING TABLE fraud_amount_out_of_habit
COMMENT 'A payment of more than six times the average of the account''s other payments (at least four of them)'
TBLPROPERTIES ('output_mode' = 'update', 'key' = 'window_start, entity')
AS SELECT window.start AS window_start,
          window.end AS window_end,
          'amount_out_of_habit' AS rule,
          'user_id' AS entity_kind,
          user_id AS entity,
          CASE WHEN max(amount_minor) * (count(*) - 1) > 12 * (sum(amount_minor) - max(amount_minor)) THEN 'high'
               ELSE 'medium' END AS severity,
          count(*) AS payments,
          count_if(event_type = 'payment_declined') AS declines,
          CAST(size(collect_set(card_token)) AS BIGINT) AS cards,
          max(amount_minor) AS amount_minor,
          max_by(currency, amount_minor) AS currency,
          min(event_time) AS first_seen,
          max_by(event_time, amount_minor) AS last_seen,
          array_sort(collect_set(payment_id)) AS payment_ids
FROM payments
WHERE user_id IS NOT NULL
GROUP BY window(event_time, '7 days'), user_id
HAVING count(*) >= 5 AND max(amount_minor) * (count(*) - 1) > 6 * (sum(amount_minor) - max(amount_minor));

-- An account that sends back most of what it orders.
-- Parameters: 3 refunds (6: high), half of what was ordered, within 7 days.
CREATE STREAMING TABLE fraud_refund_abuse
COMMENT 'Three or more refunds to one account, worth at least half of its orders, within a week'
TBLPROPERTIES ('output_mode' = 'update', 'key' = 'window_start, entity')
AS SELECT window.start AS window_start,
          window.end AS window_end,
          'refund_abuse' AS rule,
          'user_id' AS entity_kind,
          user_id AS entity,
          CASE WHEN count_if(event_type = 'order_refunded') >= 6 THEN 'high' ELSE 'medium' END AS severity,
          count_if(event_type = 'order_refunded') AS payments,
          CAST(0 AS BIGINT) AS declines,
          CAST(0 AS BIGINT) AS cards,
          sum(amount_minor) FILTER (WHERE event_type = 'order_refunded') AS amount_minor,
          max(currency) AS currency,
          min(event_time) FILTER (WHERE event_type = 'order_refunded') AS first_seen,
          max(event_time) FILTER (WHERE event_type = 'order_refunded') AS last_seen,
          array_sort(collect_set(refund_id)) AS payment_ids
FROM STREAM transactions WATERMARK event_time DELAY OF INTERVAL 10 SECONDS
WHERE user_id IS NOT NULL AND event_type IN ('order_placed', 'order_refunded')
GROUP BY window(event_time, '7 days'), user_id
HAVING count_if(event_type = 'order_refunded') >= 3
   AND 2 * sum(amount_minor) FILTER (WHERE event_type = 'order_refunded')
     >= sum(amount_minor) FILTER (WHERE event_type = 'order_placed');

-- What is paid back, and what comes back to the shelf, by order. A return is an order's goods put back; the count of a shelf is none.
-- Goods that are damaged stay where they are: refunds for that reason do not count.
CREATE TEMPORARY VIEW refunds_and_returns AS
SELECT event_time, order_id, refund_id, user_id, amount_minor, currency, CAST(0 AS BIGINT) AS units_returned
FROM STREAM transactions WATERMARK event_time DELAY OF INTERVAL 10 SECONDS
WHERE event_type = 'order_refunded' AND coalesce(reason, '') <> 'damaged'
UNION ALL
SELECT event_time, order_id,
       CAST(NULL AS STRING) AS refund_id,
       CAST(NULL AS STRING) AS user_id,
       CAST(NULL AS BIGINT) AS amount_minor,
       CAST(NULL AS STRING) AS currency,
       on_hand_change AS units_returned
FROM STREAM inventory_updates WATERMARK event_time DELAY OF INTERVAL 10 SECONDS
WHERE event_type IN ('restocked', 'stock_adjusted') AND on_hand_change > 0 AND order_id IS NOT NULL;

-- Orders that were paid back while nothing came back. A row is written once, when it is certain.
-- Parameters: goods are put back within 30 minutes of the refund, before or after it (most shops pay when the warehouse books the
-- return); a shop that pays before goods are back writes the time they take.
CREATE STREAMING TABLE refunds_without_return
COMMENT 'Orders that were refunded and whose goods were not put back on the shelf'
TBLPROPERTIES ('output_mode' = 'append', 'key' = 'session_start, order_id')
AS SELECT session.start AS session_start,
          session.end AS session_end,
          order_id, user_id, refunds, amount_minor, currency, first_seen, last_seen
   FROM (SELECT session_window(event_time, '30 minutes') AS session,
                order_id,
                max(user_id) AS user_id,
                count(refund_id) AS refunds,
                sum(amount_minor) AS amount_minor,
                max(currency) AS currency,
                min(event_time) AS first_seen,
                max(event_time) AS last_seen,
                sum(units_returned) AS units_returned
         FROM refunds_and_returns
         GROUP BY session_window(event_time, '30 minutes'), order_id)
   WHERE refunds > 0 AND units_returned = 0 AND user_id IS NOT NULL;

-- An account that is paid back and keeps the goods, again.
-- Parameters: 2 orders refunded without a return (4: high) within 7 days.
CREATE STREAMING TABLE fraud_refund_without_return
COMMENT 'Two or more orders of one account refunded within a week whose goods did not come back'
TBLPROPERTIES ('output_mode' = 'update', 'key' = 'window_start, entity')
AS SELECT window.start AS window_start,
          window.end AS window_end,
          'refund_without_return' AS rule,
          'user_id' AS entity_kind,
          user_id AS entity,
          CASE WHEN count(*) >= 4 THEN 'high' ELSE 'medium' END AS severity,
          count(*) AS payments,
          CAST(0 AS BIGINT) AS declines,
          CAST(0 AS BIGINT) AS cards,
          sum(amount_minor) AS amount_minor,
          max(currency) AS currency,
          min(first_seen) AS first_seen,
          max(last_seen) AS last_seen,
          array_sort(collect_set(order_id)) AS payment_ids
FROM STREAM refunds_without_return WATERMARK session_end DELAY OF INTERVAL 10 SECONDS
GROUP BY window(session_end, '7 days'), user_id
HAVING count(*) >= 2;

-- One person takes a promotion that is meant for many: order after order from one device, each under another name.
-- Parameters: 3 persons (6: high) on one device with a promotion within a day.
CREATE STREAMING TABLE fraud_promo_abuse
COMMENT 'Orders with a promotion under three or more names from one device within a day'
TBLPROPERTIES ('output_mode' = 'update', 'key' = 'window_start, entity')
AS SELECT window.start AS window_start,
          window.end AS window_end,
          'promo_abuse' AS rule,
          'device_id' AS entity_kind,
          device_id AS entity,
          CASE WHEN size(collect_set(coalesce(user_id, email_hash))) >= 6 THEN 'high' ELSE 'medium' END AS severity,
          count(*) AS payments,
          CAST(0 AS BIGINT) AS declines,
          CAST(size(collect_set(card_token)) AS BIGINT) AS cards,
          coalesce(sum(discount_minor), 0) AS amount_minor,
          max(currency) AS currency,
          min(event_time) AS first_seen,
          max(event_time) AS last_seen,
          array_sort(collect_set(coalesce(payment_id, order_id))) AS payment_ids
FROM STREAM transactions WATERMARK event_time DELAY OF INTERVAL 10 SECONDS
WHERE event_type = 'order_placed' AND promo_code IS NOT NULL AND device_id IS NOT NULL
GROUP BY window(event_time, '1 day', '12 hours'), device_id
HAVING size(collect_set(coalesce(user_id, email_hash))) >= 3;

-- The shop as a whole is under attack: far more of all its payments are declined than ever of honest ones (some 7 in 100), whatever
-- cards, devices and addresses they come from. The evidence is the declined ones, the first hundred by name.
-- Parameters: 20 declines within 5 minutes, a quarter of all payments (half: critical).
CREATE STREAMING TABLE fraud_decline_rate
COMMENT 'Twenty or more declines within five minutes that are a quarter or more of all payments of a store'
TBLPROPERTIES ('output_mode' = 'update', 'key' = 'window_start, entity')
AS SELECT window.start AS window_start,
          window.end AS window_end,
          'decline_rate' AS rule,
          'store_id' AS entity_kind,
          coalesce(store_id, 'shop') AS entity,
          CASE WHEN count_if(event_type = 'payment_declined') * 2 >= count(*) THEN 'critical' ELSE 'high' END AS severity,
          count(*) AS payments,
          count_if(event_type = 'payment_declined') AS declines,
          CAST(size(collect_set(card_token) FILTER (WHERE event_type = 'payment_declined')) AS BIGINT) AS cards,
          sum(amount_minor) FILTER (WHERE event_type = 'payment_declined') AS amount_minor,
          max(currency) AS currency,
          min(event_time) FILTER (WHERE event_type = 'payment_declined') AS first_seen,
          max(event_time) FILTER (WHERE event_type = 'payment_declined') AS last_seen,
          slice(array_sort(collect_set(payment_id) FILTER (WHERE event_type = 'payment_declined')), 1, 100) AS payment_ids
FROM payments
GROUP BY window(event_time, '5 minutes', '1 minute'), coalesce(store_id, 'shop')
HAVING count_if(event_type = 'payment_declined') >= 20
   AND count_if(event_type = 'payment_declined') * 4 >= count(*);

-- One card in two places, and nobody travels so fast. Places are those of network addresses, so short ways do not count. The way is
-- the diagonal of all places of the window: of two, the way between them.
-- Parameters: 500 km (3,000: high) within half an hour, which is more than 1,000 km/h.
CREATE TEMPORARY VIEW card_places AS
SELECT event_time, event_type, payment_id, card_token, amount_minor, currency,
       radians(ip_latitude) AS latitude,
       radians(ip_longitude) AS longitude
FROM STREAM transactions WATERMARK event_time DELAY OF INTERVAL 10 SECONDS
WHERE event_type IN ('payment_authorized', 'payment_declined')
  AND card_token IS NOT NULL AND ip_latitude IS NOT NULL AND ip_longitude IS NOT NULL;

CREATE STREAMING TABLE fraud_impossible_travel
COMMENT 'Payments with one card within half an hour at places 500 kilometres apart or more'
TBLPROPERTIES ('output_mode' = 'update', 'key' = 'window_start, entity')
AS SELECT half_hour.start AS window_start,
          half_hour.end AS window_end,
          'impossible_travel' AS rule,
          'card_token' AS entity_kind,
          entity,
          CASE WHEN kilometres >= 3000 THEN 'high' ELSE 'medium' END AS severity,
          payments,
          declines,
          CAST(1 AS BIGINT) AS cards,
          amount_minor,
          currency,
          first_seen,
          last_seen,
          payment_ids
   FROM (SELECT window(event_time, '30 minutes', '10 minutes') AS half_hour,
                card_token AS entity,
                count(*) AS payments,
                count_if(event_type = 'payment_declined') AS declines,
                sum(amount_minor) AS amount_minor,
                max(currency) AS currency,
                min(event_time) AS first_seen,
                max(event_time) AS last_seen,
                array_sort(collect_set(payment_id)) AS payment_ids,
                12742 * asin(sqrt(pow(sin((max(latitude) - min(latitude)) / 2), 2)
                                  + cos(max(latitude)) * cos(min(latitude))
                                    * pow(sin((max(longitude) - min(longitude)) / 2), 2))) AS kilometres
         FROM card_places
         GROUP BY window(event_time, '30 minutes', '10 minutes'), card_token)
   WHERE kilometres >= 500;

-- An account is taken over: its password is guessed, then changed, and then somebody pays.
-- Parameters: 3 failed sign-ins (6: critical) of one visitor, within an hour.
CREATE TEMPORARY VIEW account_steps AS
SELECT event_time, event_type, anonymous_id, user_id,
       CAST(NULL AS STRING) AS payment_id,
       CAST(NULL AS STRING) AS card_token,
       CAST(NULL AS BIGINT) AS amount_minor,
       CAST(NULL AS STRING) AS currency
FROM STREAM user_events WATERMARK event_time DELAY OF INTERVAL 10 SECONDS
WHERE event_type IN ('sign_in_failed', 'password_changed')
UNION ALL
SELECT event_time, event_type, anonymous_id, user_id, payment_id, card_token, amount_minor, currency
FROM STREAM transactions WATERMARK event_time DELAY OF INTERVAL 10 SECONDS
WHERE event_type IN ('payment_authorized', 'payment_declined') AND anonymous_id IS NOT NULL;

CREATE STREAMING TABLE fraud_account_takeover
COMMENT 'Three or more failed sign-ins, a new password and a payment by one visitor within an hour'
TBLPROPERTIES ('output_mode' = 'update', 'key' = 'window_start, entity')
AS SELECT window.start AS window_start,
          window.end AS window_end,
          'account_takeover' AS rule,
          'user_id' AS entity_kind,
          max(user_id) AS entity,
          CASE WHEN count_if(event_type = 'sign_in_failed') >= 6 THEN 'critical' ELSE 'high' END AS severity,
          count(payment_id) AS payments,
          count_if(event_type = 'payment_declined') AS declines,
          CAST(size(collect_set(card_token)) AS BIGINT) AS cards,
          sum(amount_minor) AS amount_minor,
          max(currency) AS currency,
          min(event_time) AS first_seen,
          max(event_time) AS last_seen,
          array_sort(collect_set(payment_id)) AS payment_ids
FROM account_steps
GROUP BY window(event_time, '1 hour', '30 minutes'), anonymous_id
HAVING count_if(event_type = 'sign_in_failed') >= 3
   AND max(user_id) IS NOT NULL
   AND max(event_time) FILTER (WHERE event_type IN ('payment_authorized', 'payment_declined'))
     > min(event_time) FILTER (WHERE event_type = 'password_changed');

-- What people and alert routes read: every rule's rows in one table, with an id that stays the same as a signal grows.
CREATE STREAMING TABLE fraud_signals
COMMENT 'Signals of all fraud rules, with entity, severity and evidence'
TBLPROPERTIES ('output_mode' = 'append', 'key' = 'signal_id')
AS SELECT concat_ws(':', rule, entity, CAST(unix_seconds(window_start) AS STRING)) AS signal_id, *
   FROM STREAM fraud_velocity
   UNION ALL
   SELECT concat_ws(':', rule, entity, CAST(unix_seconds(window_start) AS STRING)) AS signal_id, *
   FROM STREAM fraud_card_testing
   UNION ALL
   SELECT concat_ws(':', rule, entity, CAST(unix_seconds(window_start) AS STRING)) AS signal_id, *
   FROM STREAM fraud_declines_then_success
   UNION ALL
   SELECT concat_ws(':', rule, entity, CAST(unix_seconds(window_start) AS STRING)) AS signal_id, *
   FROM STREAM fraud_amount_out_of_habit
   UNION ALL
   SELECT concat_ws(':', rule, entity, CAST(unix_seconds(window_start) AS STRING)) AS signal_id, *
   FROM STREAM fraud_refund_abuse
   UNION ALL
   SELECT concat_ws(':', rule, entity, CAST(unix_seconds(window_start) AS STRING)) AS signal_id, *
   FROM STREAM fraud_refund_without_return
   UNION ALL
   SELECT concat_ws(':', rule, entity, CAST(unix_seconds(window_start) AS STRING)) AS signal_id, *
   FROM STREAM fraud_promo_abuse
   UNION ALL
   SELECT concat_ws(':', rule, entity, CAST(unix_seconds(window_start) AS STRING)) AS signal_id, *
   FROM STREAM fraud_decline_rate
   UNION ALL
   SELECT concat_ws(':', rule, entity, CAST(unix_seconds(window_start) AS STRING)) AS signal_id, *
   FROM STREAM fraud_impossible_travel
   UNION ALL
   SELECT concat_ws(':', rule, entity, CAST(unix_seconds(window_start) AS STRING)) AS signal_id, *
   FROM STREAM fraud_account_takeover;
