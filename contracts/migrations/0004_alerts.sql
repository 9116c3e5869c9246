-- Alerts: what fired, what channels were told, and what people said about it.

-- One row an occurrence of an alert; alert_id is ROUTE/KEY of the row that fired it.
CREATE TABLE alerts_fired (
    alert_id TEXT,
    occurrence BIGINT,
    route TEXT,
    source_table TEXT,
    entity TEXT,
    severity TEXT,
    title TEXT,
    evidence JSONB,
    hits BIGINT,
    event_time TIMESTAMPTZ,
    fired_at TIMESTAMPTZ,
    updated_at TIMESTAMPTZ,
    resolved_at TIMESTAMPTZ,
    UNIQUE (alert_id, occurrence)
);

CREATE INDEX alerts_fired_updated_at_idx ON alerts_fired (updated_at);

-- What is to be told, was told, or need not be: one row an alert, cause (fired, escalated, resolved) and channel.
-- state: waiting, sending (message_id is fixed, so that a repeat is the same message), sent, failed, acknowledged.
CREATE TABLE alert_deliveries (
    alert_id TEXT,
    occurrence BIGINT,
    cause TEXT,
    channel TEXT,
    route TEXT,
    state TEXT,
    message_id TEXT,
    queued_at TIMESTAMPTZ,
    sent_at TIMESTAMPTZ,
    error TEXT,
    UNIQUE (alert_id, occurrence, cause, channel)
);

CREATE INDEX alert_deliveries_state_idx ON alert_deliveries (channel, state);

-- Somebody looks after it: this occurrence is told no more.
CREATE TABLE alert_acks (
    alert_id TEXT,
    occurrence BIGINT,
    acked_at TIMESTAMPTZ,
    acked_by TEXT,
    UNIQUE (alert_id, occurrence)
);

-- Nothing about this entity of this table until then.
CREATE TABLE alert_snoozes (
    source_table TEXT,
    entity TEXT,
    until TIMESTAMPTZ,
    snoozed_at TIMESTAMPTZ,
    snoozed_by TEXT,
    UNIQUE (source_table, entity)
);
