-- The named statements of the PostgreSQL store.

-- name: decide
SELECT granted, verdicts, statuses, finished, watchers FROM
decide($1::acquire_command[], $2::offer[], $3::complete_command[], $4::release_command[], $5::request_command[], $6::limits);
-- name: renew
SELECT * FROM renew($1::renewal[], $2::limits);
-- name: put_part
SELECT put_part($1, $2, $3, $4);
-- name: read_parts
SELECT data FROM read_parts($1, $2, $3, $4, $5::limits) data;
-- name: see_gateway
SELECT see_gateway($1, $2::limits);
-- name: sweep
SELECT * FROM sweep($1, $2::limits);
-- name: waiting_count
SELECT count(*) FROM (SELECT FROM jobs WHERE state = 'waiting' ORDER BY rank, id LIMIT $1) AS counted;
-- name: tick
SELECT tick_clock($1::limits);
-- name: use_functions
UPDATE roost.function_sets SET used_at = now() WHERE name = $1 AND used_at < now() - interval '1 hour';
-- name: end_overdue
SELECT end_overdue($1, $2::limits);
-- name: leave_detached
SELECT leave_detached($1, $2::limits);
-- name: leave_dead_gateways
SELECT leave_dead_gateways($1, $2, $3::limits);
-- name: delete_old
SELECT delete_old($1, $2::limits);
