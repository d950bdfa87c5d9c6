-- Copies what a store of 0.1 holds (schema roost_0_1, migrations 5 and 6) into the tables of 0007.sql. Lock servers of 0.1
-- must have stopped. $RETENTION stands for the retention in seconds, which 0.1 did not store.

CREATE FUNCTION pg_temp.at(s double precision) RETURNS timestamptz LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE WHEN s = 'infinity' THEN 'infinity' ELSE to_timestamp(s) END
$$;

INSERT INTO jobs (id, run_key, kind, spec, rank, state, token, nonce, master, lease_until, renewed, level, progress, attempt,
                  not_before, cancel, deadline, ending, created_at, started_at, finished_at, keep_until,
                  reserved_master, reserved_until)
SELECT id, CASE WHEN finished_at IS NULL THEN run_key END, kind, spec, rank, state, token,
  CASE WHEN state = 'running' THEN nonce END, owner,
  CASE WHEN state = 'running' THEN coalesce(pg_temp.at(lease_until), pg_temp.at(created_at)) END,
  beaten, level, progress, attempt,
  CASE WHEN not_before > 0 THEN pg_temp.at(not_before) ELSE '-infinity' END, cancel, pg_temp.at(deadline), ending,
  pg_temp.at(created_at), pg_temp.at(started_at), pg_temp.at(finished_at),
  pg_temp.at(finished_at) + make_interval(secs => $RETENTION),
  CASE WHEN reserved_until IS NOT NULL THEN reserved_by END,
  CASE WHEN reserved_by IS NOT NULL THEN pg_temp.at(reserved_until) END
FROM roost_0_1.jobs;

INSERT INTO requests (client, request, spec_digest, job, gateway, epoch, state, stream, created_at, detached_at,
                      grace_ended, unknown_at)
SELECT client, request, spec_digest, job, gateway, epoch, state, stream, pg_temp.at(created_at),
  CASE WHEN state = 'acked' THEN NULL WHEN detached_at = 'infinity' THEN pg_temp.at(created_at)
    ELSE pg_temp.at(detached_at) END,
  state <> 'acked' AND coalesce(detached_at = 'infinity', false), pg_temp.at(unknown_at)
FROM roost_0_1.waiters;

INSERT INTO results (job, token, seq, data)
SELECT job, token, seq, data FROM roost_0_1.results WHERE job IN (SELECT id FROM jobs);

INSERT INTO gateways (incarnation, seen_at, search_at)
SELECT incarnation, pg_temp.at(beat_at), pg_temp.at(look_at) FROM roost_0_1.gateways;

UPDATE clock SET ahead = make_interval(secs => c.ahead_s), ticked_at = pg_temp.at(c.ticked_at),
  no_reap_before = pg_temp.at(c.no_reap_before)
FROM roost_0_1.clock c;

SELECT setval('job_ids', s.last_value, s.is_called) FROM roost_0_1.job_ids s;
SELECT setval('tokens', s.last_value, s.is_called) FROM roost_0_1.tokens s;
DROP SCHEMA roost_0_1 CASCADE;
