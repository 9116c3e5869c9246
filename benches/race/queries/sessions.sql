-- Sessions of visitors, closed after thirty minutes of silence.
SELECT session_window.start AS start, user_id AS item, count(*) AS events, sum(price) AS price
FROM events GROUP BY session_window(event_time, '30 minutes'), user_id
