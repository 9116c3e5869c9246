-- The tables Millrace keeps beside the results. One text for PostgreSQL and SQLite; result tables come from contracts.

-- Where a sink goes on: written in the transaction of the rows it tells of.
CREATE TABLE sink_offsets (
    sink TEXT NOT NULL,
    topic TEXT NOT NULL,
    "partition" BIGINT NOT NULL,
    next_offset BIGINT NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (sink, topic, "partition")
);

-- Records that could not be counted: what contracts/topics/dead_letters.json says, one row an id.
CREATE TABLE dead_letters (
    dead_letter_id TEXT,
    kind TEXT,
    code TEXT,
    reason TEXT,
    field TEXT,
    topic TEXT,
    "partition" BIGINT,
    "offset" BIGINT,
    record_time TIMESTAMPTZ,
    event_time TIMESTAMPTZ,
    watermark TIMESTAMPTZ,
    "table" TEXT,
    job TEXT,
    first_seen TIMESTAMPTZ,
    key_base64 TEXT,
    value_base64 TEXT,
    headers JSONB,
    UNIQUE (dead_letter_id)
);

CREATE INDEX dead_letters_first_seen_idx ON dead_letters (first_seen);

-- How far each streaming table has come: contracts/topics/job_progress.json, the latest row of a table.
CREATE TABLE job_progress (
    "table" TEXT,
    job TEXT,
    backend TEXT,
    epoch BIGINT,
    time TIMESTAMPTZ,
    watermark TIMESTAMPTZ,
    output_mode TEXT,
    records_in BIGINT,
    records_counted BIGINT,
    records_late BIGINT,
    records_malformed BIGINT,
    records_duplicate BIGINT,
    rows_out BIGINT,
    state_groups BIGINT,
    state_bytes BIGINT,
    epoch_micros BIGINT,
    sources JSONB,
    UNIQUE ("table")
);

CREATE INDEX job_progress_time_idx ON job_progress (time);

-- The last progress of each minute: what survives a restart, for trends. Rows older than a week are deleted.
CREATE TABLE job_progress_history (
    "minute" TIMESTAMPTZ,
    "table" TEXT,
    job TEXT,
    epoch BIGINT,
    watermark TIMESTAMPTZ,
    records_in BIGINT,
    records_counted BIGINT,
    records_late BIGINT,
    records_malformed BIGINT,
    records_duplicate BIGINT,
    rows_out BIGINT,
    records_behind BIGINT,
    state_groups BIGINT,
    state_bytes BIGINT,
    epoch_micros BIGINT,
    UNIQUE ("minute", "table")
);
