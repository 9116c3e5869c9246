-- Makes a role that reads the store's tables and can do nothing else, for dashboards; again, to bring it up to date.
--
--   psql -v reader=shop_reader -f contracts/reader.sql "postgres://OWNER@HOST/DATABASE"
--   psql -v reader=grafana -v without_bytes=1 -f contracts/reader.sql "postgres://OWNER@HOST/DATABASE"
--
-- OWNER is the role of `store.url` with which Millrace makes its tables: those it makes later are covered by default privileges. It
-- needs CREATEROLE when the role is not there yet. A password is set with \password shop_reader. With `without_bytes` the role does
-- not see the bytes of dead letters, which hold whatever people wrote into them; Millrace's own page, which masks them, needs them.

\set ON_ERROR_STOP on

SELECT format(text, :'reader')
FROM (VALUES
    (1, 'CREATE ROLE %I LOGIN'),
    (2, 'ALTER ROLE %I SET statement_timeout = ''30s'''),
    (3, 'ALTER ROLE %I SET idle_in_transaction_session_timeout = ''60s''')
) AS steps (place, text)
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'reader')
ORDER BY place
\gexec

BEGIN;

SELECT format(text, :'reader', current_database(), current_schema())
FROM (VALUES
    (1, 'GRANT CONNECT ON DATABASE %2$I TO %1$I'),
    (2, 'GRANT USAGE ON SCHEMA %3$I TO %1$I'),
    (3, 'GRANT SELECT ON ALL TABLES IN SCHEMA %3$I TO %1$I'),
    (4, 'ALTER DEFAULT PRIVILEGES IN SCHEMA %3$I GRANT SELECT ON TABLES TO %1$I')
) AS steps (place, text)
ORDER BY place
\gexec

\if :{?without_bytes}
REVOKE SELECT ON dead_letters, dead_letter_repairs FROM :"reader";
SELECT format(
    'GRANT SELECT (%s) ON %I.%I TO %I',
    string_agg(quote_ident(column_name), ', ' ORDER BY ordinal_position), table_schema, table_name, :'reader'
)
FROM information_schema.columns
WHERE table_schema = current_schema()
  AND table_name IN ('dead_letters', 'dead_letter_repairs')
  AND column_name NOT IN ('key_base64', 'value_base64', 'headers')
GROUP BY table_schema, table_name
\gexec
\endif

-- A role that had more rights before, or has them as everybody has, is none that only reads: nothing is granted then.
SELECT set_config('millrace.reader', :'reader', TRUE) AS reader
\gset
DO $$
DECLARE
    reader CONSTANT TEXT := current_setting('millrace.reader');
    writable TEXT;
BEGIN
    IF has_schema_privilege(reader, current_schema(), 'CREATE') THEN
        RAISE EXCEPTION 'role % may make tables in schema %', reader, current_schema()
            USING HINT = format('REVOKE CREATE ON SCHEMA %I FROM PUBLIC, %I', current_schema(), reader);
    END IF;
    SELECT c.oid::REGCLASS::TEXT INTO writable
    FROM pg_class AS c
    WHERE c.relnamespace = current_schema()::REGNAMESPACE
      AND c.relkind IN ('r', 'p', 'v')
      AND has_table_privilege(reader, c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
    LIMIT 1;
    IF writable IS NOT NULL THEN
        RAISE EXCEPTION 'role % may write table %', reader, writable
            USING HINT = 'choose another name for the role, or take that right from it';
    END IF;
END
$$;

COMMIT;
