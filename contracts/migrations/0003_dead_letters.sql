-- What was done about dead letters: repaired values that wait to be sent, and what was sent again.

-- The value that is sent instead of the one received, one row a dead letter: the last repair counts.
CREATE TABLE dead_letter_repairs (
    dead_letter_id TEXT,
    value_base64 TEXT,
    how TEXT,
    repaired_at TIMESTAMPTZ,
    repaired_by TEXT,
    UNIQUE (dead_letter_id)
);

-- What contracts/topics/dead_letter_redrives.json says, one row a sending.
CREATE TABLE dead_letter_redrives (
    dead_letter_id TEXT,
    attempt BIGINT,
    topic TEXT,
    source_partition BIGINT,
    source_offset BIGINT,
    code TEXT,
    repaired BOOLEAN,
    value_bytes BIGINT,
    redriven_at TIMESTAMPTZ,
    redriven_by TEXT,
    UNIQUE (dead_letter_id, attempt)
);

CREATE INDEX dead_letter_redrives_redriven_at_idx ON dead_letter_redrives (redriven_at);
