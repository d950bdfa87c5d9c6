-- Copies a file of 0.1 (schema 2) into the tables of `schema` in statements.sql. Schema 1 becomes schema 2 before.

-- name: schema_1_to_2
ALTER TABLE jobs ADD COLUMN reserved_by TEXT;
ALTER TABLE jobs ADD COLUMN reserved_until REAL;
CREATE INDEX jobs_reserved ON jobs (reserved_until) WHERE reserved_until IS NOT NULL;
ALTER TABLE waiters ADD COLUMN unknown_at REAL;

-- name: set_aside
DROP INDEX jobs_live_run;
DROP INDEX jobs_waiting;
DROP INDEX jobs_leased;
DROP INDEX jobs_nonce;
DROP INDEX jobs_reserved;
ALTER TABLE jobs RENAME TO old_jobs;
ALTER TABLE results RENAME TO old_results;
ALTER TABLE gateways RENAME TO old_gateways;
ALTER TABLE clock RENAME TO old_clock;

-- The packed endings of jobs that the store ended itself are kept. A grace that was over had an infinite `detached_at`.
-- name: copy
INSERT INTO jobs (id, run_key, kind, spec, rank, state, token, nonce, master, lease_until, renewed, level, progress, attempt,
                  not_before, cancel, deadline, ending, created_at, started_at, finished_at, keep_until,
                  reserved_master, reserved_until)
SELECT id, CASE WHEN finished_at IS NULL THEN run_key END, kind, spec, rank, state, token,
  CASE WHEN state = 'running' THEN nonce END, owner,
  CASE WHEN state = 'running' THEN coalesce(lease_until, created_at) END, beaten, level, progress, attempt,
  CASE WHEN not_before > 0 THEN not_before ELSE -9e999 END, cancel, deadline, ending, created_at, started_at, finished_at,
  finished_at + :retention_s,
  CASE WHEN reserved_until IS NOT NULL THEN reserved_by END, CASE WHEN reserved_by IS NOT NULL THEN reserved_until END
FROM old_jobs;
INSERT INTO requests (client, request, spec_digest, job, gateway, epoch, state, stream, created_at, detached_at,
                      grace_ended, unknown_at)
SELECT client, request, spec_digest, job, gateway, epoch, state, stream, created_at,
  CASE WHEN state = 'acked' THEN NULL WHEN detached_at = 9e999 THEN created_at ELSE detached_at END,
  state <> 'acked' AND coalesce(detached_at = 9e999, 0), unknown_at
FROM waiters;
INSERT INTO results (job, token, seq, data)
SELECT job, token, seq, data FROM old_results WHERE job IN (SELECT id FROM old_jobs);
INSERT INTO gateways (incarnation, seen_at) SELECT incarnation, beat_at FROM old_gateways;
UPDATE clock SET now = old.now, ticked_at = old.ticked_at, no_reap_before = old.no_reap_before,
  last_token = old.last_token, last_job = max(old.last_token, (SELECT coalesce(max(id), 0) FROM old_jobs),
    (SELECT coalesce(max(job), 0) FROM waiters))
FROM old_clock AS old;
DROP TABLE old_jobs;
DROP TABLE waiters;
DROP TABLE old_results;
DROP TABLE old_gateways;
DROP TABLE old_clock;
