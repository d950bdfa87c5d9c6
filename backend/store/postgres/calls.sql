-- The named statements of the PostgreSQL store.

-- name: version
SELECT max(number) FROM roost.migrations;
-- name: decide
SELECT decide($1::ask[], $2::offer[], $3::rules);
-- name: beat
SELECT * FROM beat_all($1::beat[], $2::rules);
-- name: put_part
WITH held AS (SELECT id, token FROM jobs WHERE id = $1 AND token = $2 AND state = 'running' FOR SHARE)
INSERT INTO results AS r (job, token, seq, data) SELECT id, token, $3::bigint, $4::bytea FROM held
ON CONFLICT (job, token, seq) DO UPDATE SET data = excluded.data RETURNING 1;
-- name: read_parts
SELECT data FROM read_parts($1, $2, $3, $4, $5::rules) data;
-- name: beat_gateway
SELECT beat_gateway($1, $2::rules);
-- name: sweep
SELECT * FROM sweep($1, $2::rules);
-- name: waiting_count
SELECT count(*) FROM (SELECT FROM jobs WHERE state = 'waiting' ORDER BY rank, id LIMIT $1) AS counted;
-- name: tick
SELECT tick_clock($1::rules);
-- name: end_overdue
SELECT end_overdue($1, $2::rules);
-- name: leave_detached
SELECT leave_detached($1, $2::rules);
-- name: leave_dead_gateways
SELECT leave_dead_gateways($1, $2, $3::rules);
-- name: delete_old
SELECT delete_old($1, $2::rules);
