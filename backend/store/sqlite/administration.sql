-- The named statements of `roost store`, with the names and columns of ../postgres/administration.sql.
-- :now is the store's time, :before a number of seconds before it.

-- name: clock
SELECT max(now, :wall) AS now, ticked_at, max(0, now - :wall) AS ahead FROM clock;
-- name: expired_leases
SELECT count(*) AS count, min(lease_until) AS since FROM jobs WHERE lease_until <= :now - :before;
-- name: waiting
SELECT count(*) AS count, min(created_at) AS since
FROM jobs WHERE state = 'waiting' AND max(created_at, not_before) <= :now - :before;
-- name: lost_requests
SELECT count(*) AS count FROM requests r
WHERE created_at > :now - :before AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.id = r.job) AND job IS NOT NULL;
-- name: stray_results
SELECT count(*) AS count FROM results r WHERE NOT EXISTS (SELECT 1 FROM jobs j WHERE j.id = r.job);
-- name: numbers
SELECT (SELECT coalesce(max(token), 0) FROM jobs) AS greatest_token,
  max((SELECT coalesce(max(id), 0) FROM jobs), (SELECT coalesce(max(job), 0) FROM requests)) AS greatest_job,
  last_token, last_job FROM clock;

-- name: backup
SELECT c.ticked_at, max(c.now, :wall) AS now, count(*) FILTER (WHERE state = 'waiting') AS waiting,
  count(*) FILTER (WHERE state = 'running') AS running,
  count(*) FILTER (WHERE finished_at IS NULL AND deadline <= max(c.now, :wall)) AS overdue, count(finished_at) AS ended,
  count(*) FILTER (WHERE keep_until <= max(c.now, :wall)) AS forgotten
FROM clock c LEFT JOIN jobs;
-- name: last_numbers
SELECT max(last_token, (SELECT coalesce(max(token), 0) FROM jobs)) AS token,
  max(last_job, (SELECT coalesce(max(id), 0) FROM jobs), (SELECT coalesce(max(job), 0) FROM requests)) AS job FROM clock;
-- name: set_numbers
UPDATE clock SET last_token = :token, last_job = :job;
-- name: running
SELECT id FROM jobs WHERE state = 'running';
-- A token of its own, so that whoever had the lease is told that it is lost.
-- name: void_lease
UPDATE jobs SET state = 'waiting', token = :token, nonce = NULL, master = NULL, lease_until = NULL, renewed = 0
WHERE id = :job;
-- name: void_reservations
UPDATE jobs SET reserved_master = NULL, reserved_until = NULL WHERE reserved_until IS NOT NULL;

-- name: indexes
SELECT name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL;

-- name: jobs
SELECT kind, state, count(*) AS count FROM jobs GROUP BY kind, state ORDER BY kind, state;
-- name: requests
SELECT '' AS kind, state, count(*) AS count FROM requests GROUP BY state ORDER BY state;
-- name: parts
SELECT count(*) AS parts, coalesce(sum(length(data)), 0) AS part_bytes FROM results;
-- name: waiting_since
SELECT min(created_at) AS since FROM (SELECT created_at FROM jobs WHERE state = 'waiting' ORDER BY rank, id LIMIT 100000);
-- name: oldest_outcome
SELECT finished_at AS oldest_outcome, keep_until AS oldest_outcome_kept_until
FROM jobs WHERE keep_until IS NOT NULL ORDER BY keep_until LIMIT 1;
