-- Fraud rules over payments, refunds and account events. Each rule is one table; fraud_signals brings them together.
--
-- A rule row says whom it is about (entity), how bad it is (severity), and shows its evidence: the values it judged by and
-- the payments behind them. Rules are in update mode, so a signal is out within a second of the payment that completes it,
-- and grows with the attack. Lateness: 10 seconds.
-- Read by: the dashboard's fraud page, alert routes.

CREATE TEMPORARY VIEW payments AS
SELECT event_time, event_type, payment_id, order_id, user_id, device_id, ip, card_token, card_bin, amount_minor, currency,
       decline_code
FROM STREAM transactions WATERMARK event_time DELAY OF INTERVAL 10 SECONDS
WHERE event_type IN ('payment_authorized', 'payment_declined');

-- Many payments with one card in a few minutes: a stolen card being emptied.
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
   FROM STREAM fraud_refund_abuse;
