-- The named statements of `roost store`. $1 is often the store's time, $2 a number of seconds before it.
-- Those about rows have the names and columns of ../sqlite/administration.sql.

-- name: clock
SELECT extract(epoch FROM clock_timestamp() + ahead)::float8 AS now, extract(epoch FROM ticked_at)::float8 AS ticked_at,
  extract(epoch FROM ahead)::float8 AS ahead FROM clock;
-- name: expired_leases
SELECT count(*) AS count, extract(epoch FROM min(lease_until))::float8 AS since
FROM jobs WHERE lease_until <= to_timestamp($1::float8 - $2::float8);
-- name: waiting
SELECT count(*) AS count, extract(epoch FROM min(created_at))::float8 AS since
FROM jobs WHERE state = 'waiting' AND greatest(created_at, not_before) <= to_timestamp($1::float8 - $2::float8);
-- name: lost_requests
SELECT count(*) AS count FROM requests r
WHERE created_at > to_timestamp($1::float8 - $2::float8) AND NOT EXISTS (SELECT FROM jobs j WHERE j.id = r.job) AND job IS NOT NULL;
-- name: stray_results
SELECT count(*) AS count FROM results r WHERE NOT EXISTS (SELECT FROM jobs j WHERE j.id = r.job);
-- A sequence that this user may not read counts as right.
-- name: numbers
SELECT (SELECT coalesce(max(token), 0) FROM jobs) AS greatest_token,
  greatest((SELECT max(id) FROM jobs), (SELECT max(job) FROM requests), 0) AS greatest_job,
  CASE WHEN has_sequence_privilege('tokens', 'USAGE, SELECT') THEN coalesce(pg_sequence_last_value('tokens'), 0) END
    AS last_token,
  CASE WHEN has_sequence_privilege('job_ids', 'USAGE, SELECT') THEN coalesce(pg_sequence_last_value('job_ids'), 0) END
    AS last_job;

-- name: backup
SELECT extract(epoch FROM c.ticked_at)::float8 AS ticked_at,
  extract(epoch FROM greatest(c.ticked_at, clock_timestamp() + c.ahead))::float8 AS now, j.*
FROM clock c CROSS JOIN LATERAL (
  SELECT count(*) FILTER (WHERE state = 'waiting') AS waiting, count(*) FILTER (WHERE state = 'running') AS running,
    count(*) FILTER (WHERE finished_at IS NULL AND deadline <= clock_timestamp() + c.ahead) AS overdue,
    count(finished_at) AS ended, count(*) FILTER (WHERE keep_until <= clock_timestamp() + c.ahead) AS forgotten
  FROM jobs) j;
-- name: lock_clock
SELECT extract(epoch FROM ticked_at)::float8 AS ticked_at FROM clock FOR UPDATE;
-- name: last_numbers
SELECT greatest((SELECT last_value FROM tokens), (SELECT max(token) FROM jobs)) AS token,
  greatest((SELECT last_value FROM job_ids), (SELECT max(id) FROM jobs), (SELECT max(job) FROM requests)) AS job;
-- name: set_numbers
SELECT setval('tokens', $1), setval('job_ids', $2);
-- A token of their own, so that those who had the leases are told that they lost them.
-- name: void_leases
UPDATE jobs SET state = 'waiting', token = nextval('tokens'), nonce = NULL, master = NULL, lease_until = NULL,
  renewed = false WHERE state = 'running';
-- name: void_reservations
UPDATE jobs SET reserved_master = NULL, reserved_until = NULL WHERE reserved_until IS NOT NULL;

-- name: functions
SELECT proname AS name, prosrc AS body FROM pg_proc WHERE pronamespace = $1::regnamespace;
-- name: indexes
SELECT c.relname AS name, i.indisvalid AND i.indisready AS is_valid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE c.relnamespace = 'roost'::regnamespace;
-- name: constraints
SELECT conname AS name, 'roost.' || c.relname AS of, convalidated AS is_valid
FROM pg_constraint JOIN pg_class c ON c.oid = conrelid WHERE connamespace = 'roost'::regnamespace AND contype IN ('c', 'f');
-- name: settings
SELECT name, setting FROM pg_settings
WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit', 'autovacuum', 'track_counts');
-- name: unvacuumed
SELECT relname AS name FROM pg_class
WHERE relnamespace = 'roost'::regnamespace AND reloptions && ARRAY['autovacuum_enabled=false', 'autovacuum_enabled=off'];
-- name: standbys
SELECT count(*) AS count, count(*) FILTER (WHERE sync_state IN ('sync', 'quorum', 'potential')) AS synchronous
FROM pg_stat_replication WHERE sync_state IS NOT NULL AND application_name NOT IN ('pg_basebackup', 'pg_receivewal');

-- $SAMPLE stands for nothing, or for which part of the table is read.
-- name: jobs
SELECT kind, state, count(*) AS count FROM jobs $SAMPLE GROUP BY kind, state ORDER BY kind, state;
-- name: requests
SELECT '' AS kind, state, count(*) AS count FROM requests $SAMPLE GROUP BY state ORDER BY state;
-- name: parts
SELECT count(*) AS parts, coalesce(sum(octet_length(data)), 0)::bigint AS part_bytes FROM results $SAMPLE;
-- name: waiting_since
SELECT extract(epoch FROM min(created_at))::float8 AS since
FROM (SELECT created_at FROM jobs WHERE state = 'waiting' ORDER BY rank, id LIMIT 100000) AS first;
-- name: oldest_outcome
SELECT extract(epoch FROM finished_at)::float8 AS oldest_outcome,
  extract(epoch FROM keep_until)::float8 AS oldest_outcome_kept_until
FROM jobs WHERE keep_until IS NOT NULL ORDER BY keep_until LIMIT 1;
-- name: sizes
SELECT relname AS name, pg_total_relation_size(oid) AS bytes FROM pg_class
WHERE relnamespace = 'roost'::regnamespace AND relkind = 'r' ORDER BY 2 DESC, 1;
-- name: pages
SELECT pg_relation_size(('roost.' || $1)::regclass) / current_setting('block_size')::bigint;
