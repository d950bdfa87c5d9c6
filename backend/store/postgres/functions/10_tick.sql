-- What time does, once a second from each lock server, in bounded steps. None of it waits for a lock that a batch holds.

-- Ends jobs past their deadline and cancelled ones whose master is gone; returns how many, `many` at most.
CREATE FUNCTION end_overdue(many integer, l limits) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
  m moment := look_at_clock(l);
  late bigint[];
  late_running bigint[];
  left_alone bigint[];
BEGIN
  IF NOT m.may_reap THEN RETURN 0; END IF;
  late := ARRAY(
    SELECT id FROM jobs WHERE deadline <= m.now AND lease_until IS NULL AND finished_at IS NULL
    ORDER BY deadline LIMIT many FOR UPDATE SKIP LOCKED);
  late_running := ARRAY(
    SELECT id FROM jobs WHERE lease_until <= m.now AND deadline <= m.now
    ORDER BY lease_until LIMIT many - cardinality(late) FOR UPDATE SKIP LOCKED);
  late := late || late_running;
  PERFORM end_jobs(late, 'expired', l, m);
  left_alone := ARRAY(
    SELECT id FROM jobs WHERE lease_until <= m.now AND cancel
    ORDER BY lease_until LIMIT many - cardinality(late) FOR UPDATE SKIP LOCKED);
  PERFORM end_jobs(left_alone, 'cancelled', l, m);
  RETURN cardinality(late) + cardinality(left_alone);
END $$;

-- Who was away for longer than their grace leaves their unfinished requests (P26); each is looked at once. Returns how
-- many were looked at, `many` at most.
CREATE FUNCTION leave_detached(many integer, l limits) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
  m moment := look_at_clock(l);
  before timestamptz := m.now - l.grace;
  done integer := 0;
  gone record;
BEGIN
  IF NOT may_leave(m, l) THEN RETURN 0; END IF;
  FOR gone IN
    SELECT client, request FROM requests
    WHERE detached_at <= before AND NOT grace_ended ORDER BY detached_at LIMIT many
  LOOP
    IF leave_alone(gone.client, gone.request, before, l, m) THEN
      UPDATE requests SET grace_ended = true
      WHERE client = gone.client AND request = gone.request AND detached_at <= before AND NOT grace_ended;
      done := done + 1;
    END IF;
  END LOOP;
  RETURN done;
END $$;

-- Clients of gateways that died are away since it was last seen. A dead one is searched until nothing is left to do, and
-- then every `again_s`, for offers that come late.
CREATE FUNCTION leave_dead_gateways(many integer, again_s double precision, l limits) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
  m moment := look_at_clock(l);
  done integer := 0;
  dead text;
  gone record;
BEGIN
  IF NOT may_leave(m, l) THEN RETURN 0; END IF;
  FOR dead IN
    SELECT incarnation FROM gateways WHERE seen_at <= m.now - l.grace AND search_at <= m.now
    ORDER BY search_at LIMIT many FOR UPDATE SKIP LOCKED
  LOOP
    FOR gone IN
      SELECT r.client, r.request
      FROM (SELECT * FROM requests WHERE gateway = dead AND state <> 'acked' AND detached_at IS NULL OFFSET 0) r
      LEFT JOIN LATERAL (SELECT finished_at, cancel FROM jobs WHERE id = r.job OFFSET 0) j ON true
      WHERE r.state IN ('expected', 'waiting') AND (r.job IS NULL OR j.finished_at IS NULL AND NOT j.cancel)
      LIMIT many - done
    LOOP
      done := done + leave_alone(gone.client, gone.request, NULL, l, m)::integer;
    END LOOP;
    IF NOT FOUND THEN
      UPDATE gateways SET search_at = m.now + make_interval(secs => again_s) WHERE incarnation = dead;
    END IF;
    EXIT WHEN done >= many;
  END LOOP;
  RETURN done;
END $$;

-- Leaves a request in nobody's way: false when its client or job is busy in another transaction. With `before`, only
-- if it has been detached since then; else only if it is not detached.
CREATE FUNCTION leave_alone(whose bytea, which text, before timestamptz, l limits, m moment) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
  known record;
BEGIN
  IF NOT try_client_lock(whose) THEN RETURN false; END IF;
  SELECT state, job, detached_at INTO known FROM requests WHERE client = whose AND request = which;
  IF NOT FOUND THEN RETURN true; END IF;
  IF NOT coalesce(known.detached_at <= before, known.detached_at IS NULL AND before IS NULL) THEN RETURN true; END IF;
  PERFORM 1 FROM jobs WHERE id = known.job FOR UPDATE SKIP LOCKED;
  IF NOT FOUND AND EXISTS (SELECT 1 FROM jobs WHERE id = known.job) THEN RETURN false; END IF;
  PERFORM leave(whose, which, known.state, known.job, l, m);
  RETURN true;
END $$;

-- Forgets outcomes past the retention, with their parts; their requests stay for twice the retention, to be told
-- `expired` (P28). Returns how many of either went, `many` at most.
CREATE FUNCTION delete_old(many integer, l limits) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
  m moment := look_at_clock(l);
  old bigint[] := ARRAY(
    SELECT id FROM jobs WHERE keep_until <= m.now ORDER BY keep_until LIMIT many FOR UPDATE SKIP LOCKED);
  done integer := 0;
BEGIN
  DELETE FROM jobs WHERE id = ANY (old);
  IF pg_try_advisory_xact_lock_shared(special_space(), 0) THEN
    DELETE FROM requests WHERE ctid = ANY (ARRAY(
      SELECT old_ones.place_on_disk FROM (
        SELECT r.ctid AS place_on_disk, r.client FROM requests r WHERE r.created_at <= m.now - 2 * l.retention
          AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.id = r.job OFFSET 0)
        ORDER BY r.created_at LIMIT many - cardinality(old) FOR UPDATE SKIP LOCKED) AS old_ones
      WHERE try_client_lock(old_ones.client)));  -- not while its client is heard
    GET DIAGNOSTICS done = ROW_COUNT;
  END IF;
  DELETE FROM gateways g WHERE g.seen_at <= m.now - l.retention
    AND NOT EXISTS (SELECT 1 FROM requests r WHERE r.gateway = g.incarnation AND r.state <> 'acked' OFFSET 0);
  RETURN done + cardinality(old);
END $$;
