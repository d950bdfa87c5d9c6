-- Leases, sweeps, and what time does. None of these waits for a lock that a batch of decisions holds, but beats,
-- which lock their jobs in the same order.

CREATE TYPE beat AS (job bigint, token bigint, level bigint, growth bigint, progress bytea);

-- Renews leases whose token is still the job's; every beat is answered, and who waits for the job.
CREATE FUNCTION beat_all(beats beat[], r rules)
RETURNS TABLE (place bigint, is_cancelled boolean, client bytea, request text, gateway text, stream boolean)
LANGUAGE plpgsql AS $$
DECLARE
  m moment;
BEGIN
  PERFORM 1 FROM jobs WHERE id IN (SELECT b.job FROM unnest(beats) b) ORDER BY id FOR UPDATE;
  m := look_at_clock(r);
  UPDATE jobs SET lease_until = m.now + r.lease_s, beaten = true, progress = b.progress,
    growth = greatest(jobs.growth, b.growth), level = greatest(jobs.level, b.level),
    attempt = CASE WHEN b.level > jobs.level THEN 0 ELSE jobs.attempt END
  FROM (SELECT DISTINCT ON (u.job, u.token) u.* FROM unnest(beats) u ORDER BY u.job, u.token, u.level DESC) b
  CROSS JOIN LATERAL (
    SELECT ctid AS place_on_disk FROM jobs WHERE id = b.job AND token = b.token AND state = 'running' OFFSET 0) j
  WHERE jobs.ctid = j.place_on_disk;
  RETURN QUERY
    SELECT b.place, j.cancel, w.client, w.request, w.gateway, w.stream
    FROM unnest(beats) WITH ORDINALITY b (job, token, level, growth, progress, place)
    CROSS JOIN LATERAL (
      SELECT id, cancel FROM jobs WHERE id = b.job AND token = b.token AND state = 'running' OFFSET 0) j
    LEFT JOIN LATERAL watchers(j.id) w ON true;
END $$;

-- The gateway lives; how its connected clients' unacknowledged requests ended, and whose offer never came.
CREATE FUNCTION sweep(swept text, r rules) RETURNS SETOF fact LANGUAGE plpgsql AS $$
DECLARE
  m moment := look_at_clock(r);
BEGIN
  INSERT INTO gateways AS g (incarnation, beat_at) VALUES (swept, m.now)
    ON CONFLICT (incarnation) DO UPDATE SET beat_at = greatest(g.beat_at, m.now);
  RETURN QUERY
    SELECT 0, 'knock', w.job, j.token, CASE w.state WHEN 'waiting' THEN j.state ELSE w.state END, j.ending, j.attempt,
      w.client, w.request, w.gateway, w.stream, NULL::text, NULL::bytea, NULL::double precision
    FROM (SELECT * FROM waiters WHERE gateway = swept AND state <> 'acked' AND detached_at IS NULL OFFSET 0) w
    LEFT JOIN LATERAL (
      SELECT token, state, ending, attempt, finished_at FROM jobs WHERE id = w.job OFFSET 0) j ON true
    WHERE (w.state IN ('left', 'refused') OR w.state = 'waiting' AND j.finished_at IS NOT NULL)
    ORDER BY random() LIMIT r.ids;
  RETURN QUERY
    SELECT 0, 'unknown', NULL::bigint, NULL::bigint, NULL, NULL::bytea, NULL::integer,
      w.client, w.request, w.gateway, w.stream, NULL::text, NULL::bytea, NULL::double precision
    FROM waiters w
    WHERE w.gateway = swept AND w.state = 'expected' AND w.created_at <= m.now - r.expect_s AND w.detached_at IS NULL
    ORDER BY random() LIMIT r.ids;
END $$;

-- Ends jobs past their deadline and cancelled ones whose master is gone; returns how many, `many` at most.
CREATE FUNCTION end_overdue(many integer, r rules) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
  m moment := look_at_clock(r);
  done integer := 0;
  job record;
BEGIN
  IF NOT m.may_reap THEN RETURN 0; END IF;
  FOR job IN
    SELECT id FROM jobs WHERE deadline <= m.now AND lease_until IS NULL AND finished_at IS NULL
    ORDER BY deadline LIMIT many FOR UPDATE SKIP LOCKED
  LOOP
    PERFORM end_job(job.id, 'expired', NULL, false, NULL, m);
    done := done + 1;
  END LOOP;
  FOR job IN
    SELECT id FROM jobs WHERE lease_until <= m.now AND deadline <= m.now
    ORDER BY lease_until LIMIT many - done FOR UPDATE SKIP LOCKED
  LOOP
    PERFORM end_job(job.id, 'expired', NULL, false, NULL, m);
    done := done + 1;
  END LOOP;
  FOR job IN
    SELECT id FROM jobs WHERE lease_until <= m.now AND cancel
    ORDER BY lease_until LIMIT many - done FOR UPDATE SKIP LOCKED
  LOOP
    PERFORM end_job(job.id, 'cancelled', NULL, false, NULL, m);
    done := done + 1;
  END LOOP;
  RETURN done;
END $$;

-- Who was away for longer than their grace leaves their unfinished requests (P26); each is looked at once. Returns how
-- many were looked at, `many` at most.
CREATE FUNCTION leave_detached(many integer, r rules) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
  m moment := look_at_clock(r);
  done integer := 0;
  gone record;
BEGIN
  IF NOT m.may_reap THEN RETURN 0; END IF;
  FOR gone IN
    SELECT client, request FROM waiters
    WHERE detached_at <= m.now - r.grace_s ORDER BY detached_at LIMIT many
  LOOP
    IF leave_alone(gone.client, gone.request, m.now - r.grace_s, m) THEN
      UPDATE waiters SET detached_at = 'infinity'
      WHERE client = gone.client AND request = gone.request AND detached_at <= m.now - r.grace_s;
      done := done + 1;
    END IF;
  END LOOP;
  RETURN done;
END $$;

-- Clients of gateways that died are away since its last beat. A dead one is looked at until nothing is left to do, and
-- then every `again_s`, for offers that come late.
CREATE FUNCTION leave_dead_gateways(many integer, again_s double precision, r rules) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
  m moment := look_at_clock(r);
  done integer := 0;
  dead text;
  gone record;
BEGIN
  IF NOT m.may_reap THEN RETURN 0; END IF;
  FOR dead IN
    SELECT incarnation FROM gateways WHERE beat_at <= m.now - r.grace_s AND look_at <= m.now
    ORDER BY look_at LIMIT many FOR UPDATE SKIP LOCKED
  LOOP
    FOR gone IN
      SELECT w.client, w.request
      FROM (SELECT * FROM waiters WHERE gateway = dead AND state <> 'acked' AND detached_at IS NULL OFFSET 0) w
      LEFT JOIN LATERAL (SELECT state, cancel FROM jobs WHERE id = w.job OFFSET 0) j ON true
      WHERE w.state IN ('expected', 'waiting') AND (w.job IS NULL OR j.state IN ('waiting', 'running') AND NOT j.cancel)
      LIMIT many - done
    LOOP
      done := done + leave_alone(gone.client, gone.request, NULL, m)::integer;
    END LOOP;
    IF NOT FOUND THEN UPDATE gateways SET look_at = m.now + again_s WHERE incarnation = dead; END IF;
    EXIT WHEN done >= many;
  END LOOP;
  RETURN done;
END $$;

-- Leaves a request in nobody's way: false when its client or job is busy in another transaction. With `before`, only
-- if it has been detached since then; else only if it is not detached.
CREATE FUNCTION leave_alone(whose bytea, which text, before double precision, m moment) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
  known waiters;
BEGIN
  IF NOT pg_try_advisory_xact_lock_shared(0) OR NOT pg_try_advisory_xact_lock(client_lock(whose)) THEN
    RETURN false;
  END IF;
  SELECT * INTO known FROM waiters WHERE client = whose AND request = which;
  IF NOT FOUND THEN RETURN true; END IF;
  IF NOT coalesce(known.detached_at <= before, known.detached_at IS NULL AND before IS NULL) THEN RETURN true; END IF;
  PERFORM 1 FROM jobs WHERE id = known.job FOR UPDATE SKIP LOCKED;
  IF NOT FOUND AND EXISTS (SELECT 1 FROM jobs WHERE id = known.job) THEN RETURN false; END IF;
  PERFORM leave(whose, which, known.state, known.job, m);
  RETURN true;
END $$;

-- Forgets outcomes past the retention; their requests stay as long again, to be told `expired` (P28). Returns how many
-- of either went, `many` at most.
CREATE FUNCTION delete_old(many integer, r rules) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
  before double precision := (look_at_clock(r)).now - r.retention_s;
  old bigint[] := ARRAY(
    SELECT id FROM jobs WHERE finished_at <= before ORDER BY finished_at LIMIT many FOR UPDATE SKIP LOCKED);
  done integer := 0;
BEGIN
  DELETE FROM results WHERE job = ANY (old);
  DELETE FROM jobs WHERE id = ANY (old);
  IF pg_try_advisory_xact_lock_shared(0) THEN
    DELETE FROM waiters WHERE ctid = ANY (ARRAY(
      SELECT old_ones.place_on_disk FROM (
        SELECT w.ctid AS place_on_disk, w.client FROM waiters w WHERE w.created_at <= before - r.retention_s
          AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.id = w.job OFFSET 0)
        ORDER BY w.created_at LIMIT many - cardinality(old) FOR UPDATE SKIP LOCKED) AS old_ones
      WHERE pg_try_advisory_xact_lock(client_lock(old_ones.client))));  -- not while its client is heard
    GET DIAGNOSTICS done = ROW_COUNT;
  END IF;
  DELETE FROM gateways g WHERE g.beat_at <= before
    AND NOT EXISTS (SELECT 1 FROM waiters w WHERE w.gateway = g.incarnation AND w.state <> 'acked' OFFSET 0);
  RETURN done + cardinality(old);
END $$;
