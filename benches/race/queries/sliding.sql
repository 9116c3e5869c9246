-- Five-minute windows sliding by one minute, by category: few groups.
SELECT window.start AS start, category AS item, count(*) AS events, sum(price) AS price
FROM events GROUP BY window(event_time, '5 minutes', '1 minute'), category
