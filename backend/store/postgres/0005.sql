-- A job that wants a master for itself gets one; a request without an offer is told so ever more seldom; to read keeps.
-- Lock servers of the version before are answered with errors from here on, and their clients ask the new ones.

ALTER TYPE rules ADD ATTRIBUTE alone_wait_s double precision, ADD ATTRIBUTE reserved_s double precision,
  ADD ATTRIBUTE read_keeps_s double precision;
ALTER TABLE jobs
  ADD COLUMN reserved_by text,                        -- the master that is kept free for it (P16)
  ADD COLUMN reserved_until double precision;
CREATE INDEX jobs_reserved ON jobs (reserved_until) WHERE reserved_until IS NOT NULL;
ALTER TABLE waiters ADD COLUMN unknown_at double precision;  -- when to tell again that its offer has not come (P12)

-- The job that a master is kept free for, and still waits for it; one at a time, so that others go on.
CREATE FUNCTION reserved(m moment) RETURNS TABLE (job bigint, master text) LANGUAGE sql STABLE AS $$
  SELECT id, reserved_by FROM (
    SELECT id, reserved_by, state, lease_until FROM jobs WHERE reserved_until > m.now OFFSET 0) AS its
  WHERE state = 'waiting' OR state = 'running' AND lease_until <= m.now
  ORDER BY id LIMIT 1
$$;

CREATE OR REPLACE FUNCTION acquire(a ask, offers offer[], r rules, m moment) RETURNS fact[] LANGUAGE plpgsql AS $$
DECLARE
  facts fact[] := '{}';
  one fact;
  room bigint := a.slots;
  expired bigint[] := '{}';
  candidate bigint;
  is_granted boolean := false;
  reserved record;
BEGIN
  FOR number IN a.first_offer .. a.last_offer LOOP
    one := store_offer(a.place, offers[number], r, m);
    IF one.what IS NOT NULL THEN facts := facts || one; END IF;
  END LOOP;
  FOR candidate IN
    SELECT id FROM jobs WHERE nonce = a.nonce AND owner = a.who AND lease_until > m.now ORDER BY token
  LOOP
    facts := facts || grant_fact(a.place, candidate, m);
    room := room - 1;
    is_granted := true;
  END LOOP;
  IF room <= 0 THEN RETURN facts; END IF;
  SELECT * INTO reserved FROM reserved(m);
  IF reserved.master = a.who THEN
    SELECT id INTO candidate FROM jobs
    WHERE id = reserved.job AND reserved_by = a.who AND (state = 'waiting' OR lease_until <= m.now)
    FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN RETURN facts; END IF;
    UPDATE jobs SET reserved_until = m.now + r.reserved_s WHERE id = reserved.job;
    IF a.running > 0 OR NOT m.may_reap THEN RETURN facts; END IF;
    expired := ARRAY[reserved.job];
    room := 1;
  ELSIF m.may_reap THEN
    expired := ARRAY(SELECT id FROM jobs WHERE lease_until <= m.now AND not_before <= m.now
                     ORDER BY lease_until, id LIMIT room FOR UPDATE SKIP LOCKED);
  END IF;
  FOREACH candidate IN ARRAY expired || ARRAY(
    SELECT id FROM jobs WHERE state = 'waiting' AND not_before <= m.now
    ORDER BY rank, id LIMIT room - cardinality(expired) FOR UPDATE SKIP LOCKED)
  LOOP
    one := try_grant(candidate, a, a.running = 0 AND NOT is_granted, r, m);
    EXIT WHEN one.what = 'reserved';
    CONTINUE WHEN one.what IS NULL;
    facts := facts || one;
    is_granted := true;
    EXIT WHEN one.attempt >= r.alone_from;
  END LOOP;
  RETURN facts;
END $$;

-- Grants the job, or ends it, or holds it back, or keeps this master free for it (P16).
CREATE OR REPLACE FUNCTION try_grant(candidate bigint, a ask, is_alone boolean, r rules, m moment) RETURNS fact
LANGUAGE plpgsql AS $$
DECLARE
  job record;
  is_lost boolean;
  told fact;
BEGIN
  SELECT state, attempt, beaten, cancel, greatest(coalesce(lease_until, created_at), not_before) AS ready_at
  INTO job FROM jobs WHERE id = candidate;
  is_lost := job.state = 'running' AND job.beaten;
  job.attempt := job.attempt + is_lost::integer;
  IF job.cancel THEN
    PERFORM end_job(candidate, 'cancelled', NULL, false, job.attempt, m);
  ELSIF job.attempt >= r.attempts THEN
    PERFORM end_job(candidate, 'failed', NULL, false, job.attempt, m);
  ELSIF is_lost AND job.attempt > 1 THEN
    UPDATE jobs SET attempt = job.attempt, beaten = false, not_before = m.now + r.backoff_s * (job.attempt - 1)
    WHERE id = candidate;
  ELSIF job.attempt < r.alone_from OR is_alone THEN
    UPDATE jobs SET state = 'running', token = nextval('tokens'), nonce = a.nonce, owner = a.who,
      lease_until = m.now + r.lease_s, beaten = false, attempt = job.attempt, started_at = coalesce(started_at, m.now),
      reserved_by = NULL, reserved_until = NULL
    WHERE id = candidate;
    RETURN grant_fact(a.place, candidate, m);
  ELSIF m.now - job.ready_at >= r.alone_wait_s AND NOT EXISTS (SELECT 1 FROM reserved(m))
    AND pg_try_advisory_xact_lock(1) THEN
    UPDATE jobs SET reserved_by = a.who, reserved_until = m.now + r.reserved_s WHERE id = candidate;
    told.what := 'reserved';
    RETURN told;
  END IF;
  RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION are_plain(asks ask[], offers offer[], s scope, r rules, m moment) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
  RETURN NOT s.is_known
    AND r.live_requests > 0
    AND EXISTS (SELECT 1 FROM unnest(asks) a WHERE a.what = 'Acquire')
    AND NOT EXISTS (SELECT 1 FROM jobs WHERE reserved_until > m.now OFFSET 0)
    AND NOT EXISTS (SELECT 1 FROM unnest(asks) a WHERE a.what = 'Release')
    AND (SELECT count(DISTINCT a.nonce) = count(a.nonce) FROM unnest(asks) a)
    AND (SELECT count(DISTINCT o.run_key) = count(*) AND count(DISTINCT o.client) = count(*)
           AND count(DISTINCT o.priority) <= 1 FROM unnest(offers) o)
    AND NOT EXISTS (SELECT 1 FROM (SELECT * FROM unnest(asks) u WHERE u.client IS NOT NULL OR u.clients IS NOT NULL) a
                    CROSS JOIN unnest(offers) o WHERE a.client = o.client OR o.client = ANY (a.clients))
    AND NOT EXISTS (SELECT 1 FROM unnest(s.awaited) w (job)
                    CROSS JOIN LATERAL (
                      SELECT 1 FROM jobs WHERE id = w.job AND state IN ('waiting', 'running') OFFSET 0) j)
    AND NOT EXISTS (SELECT 1 FROM unnest(offers) o
                    CROSS JOIN LATERAL (
                      SELECT 1 FROM waiters WHERE client = o.client AND request = o.request OFFSET 0) w)
    AND NOT (m.may_reap AND EXISTS (SELECT 1 FROM jobs WHERE lease_until <= m.now ORDER BY lease_until OFFSET 0));
END $$;

-- The gateway lives; how its connected clients' unacknowledged requests ended, and whose offer has not come: they are
-- told after a while, then each time their age has doubled (P12).
CREATE OR REPLACE FUNCTION sweep(swept text, r rules) RETURNS SETOF fact LANGUAGE plpgsql AS $$
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
    WITH told AS (
      UPDATE waiters SET unknown_at = m.now + (m.now - created_at)
      WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM waiters
        WHERE gateway = swept AND state = 'expected' AND detached_at IS NULL
          AND coalesce(unknown_at, created_at + r.expect_s) <= m.now
        ORDER BY random() LIMIT r.ids FOR UPDATE SKIP LOCKED))
      RETURNING *)
    SELECT 0, 'unknown', NULL::bigint, NULL::bigint, NULL, NULL::bytea, NULL::integer,
      w.client, w.request, w.gateway, w.stream, NULL::text, NULL::bytea, NULL::double precision
    FROM told w;
END $$;

-- Parts of a result, which stays a while for the next ones (P28).
CREATE FUNCTION read_parts(of bigint, under bigint, first bigint, many bigint, r rules) RETURNS SETOF bytea
LANGUAGE plpgsql AS $$
DECLARE
  kept_from double precision := (look_at_clock(r)).now - r.retention_s + r.read_keeps_s;
BEGIN
  UPDATE jobs SET finished_at = kept_from WHERE id = of AND token = under AND finished_at < kept_from;
  RETURN QUERY SELECT data FROM results WHERE job = of AND token = under AND seq >= first ORDER BY seq LIMIT many;
END $$;
