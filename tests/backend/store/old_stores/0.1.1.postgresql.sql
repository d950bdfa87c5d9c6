-- PostgreSQL database dump
SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
-- Name: roost; Type: SCHEMA; Schema: -; Owner: -
CREATE SCHEMA roost;
-- Name: ask; Type: TYPE; Schema: roost; Owner: -
CREATE TYPE roost.ask AS (
	place integer,
	what text,
	who text,
	nonce bytea,
	slots bigint,
	running bigint,
	first_offer integer,
	last_offer integer,
	job bigint,
	token bigint,
	state text,
	ending bytea,
	has_parts boolean,
	client bytea,
	requests text[],
	clients bytea[],
	epoch bigint
);
-- Name: beat; Type: TYPE; Schema: roost; Owner: -
CREATE TYPE roost.beat AS (
	job bigint,
	token bigint,
	level bigint,
	growth bigint,
	progress bytea
);
-- Name: fact; Type: TYPE; Schema: roost; Owner: -
CREATE TYPE roost.fact AS (
	place integer,
	what text,
	job bigint,
	token bigint,
	state text,
	ending bytea,
	attempt integer,
	client bytea,
	request text,
	gateway text,
	stream boolean,
	kind text,
	spec bytea,
	remaining_s double precision
);
-- Name: moment; Type: TYPE; Schema: roost; Owner: -
CREATE TYPE roost.moment AS (
	now double precision,
	no_reap_before double precision,
	may_reap boolean
);
-- Name: offer; Type: TYPE; Schema: roost; Owner: -
CREATE TYPE roost.offer AS (
	client bytea,
	request text,
	gateway text,
	epoch bigint,
	kind text,
	spec bytea,
	run_key bytea,
	fresh_s double precision,
	max_seconds double precision,
	priority bigint,
	stream boolean,
	digest bytea
);
-- Name: rules; Type: TYPE; Schema: roost; Owner: -
CREATE TYPE roost.rules AS (
	lease_s double precision,
	retention_s double precision,
	grace_s double precision,
	expect_s double precision,
	live_requests bigint,
	ageing_s double precision,
	attempts integer,
	tick_gap_s double precision,
	backoff_s double precision,
	alone_from integer,
	ids integer,
	alone_wait_s double precision,
	reserved_s double precision,
	read_keeps_s double precision
);
-- Name: scope; Type: TYPE; Schema: roost; Owner: -
CREATE TYPE roost.scope AS (
	jobs bigint[],
	awaited bigint[],
	is_known boolean
);
-- Name: taker; Type: TYPE; Schema: roost; Owner: -
CREATE TYPE roost.taker AS (
	serial integer,
	place integer,
	master text,
	nonce bytea
);
-- Name: acquire(roost.ask, roost.offer[], roost.rules, roost.moment); Type: FUNCTION; Schema: roost; Owner: -
CREATE FUNCTION roost.acquire(a roost.ask, offers roost.offer[], r roost.rules, m roost.moment) RETURNS roost.fact[]
    LANGUAGE plpgsql
    AS $$
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
-- Name: acquire_many(roost.ask[], roost.offer[], roost.scope, roost.rules, roost.moment); Type: FUNCTION; Schema: roost; Owner: -
CREATE FUNCTION roost.acquire_many(asks roost.ask[], offers roost.offer[], s roost.scope, r roost.rules, m roost.moment) RETURNS roost.fact[]
    LANGUAGE plpgsql
    AS $$
DECLARE
  wanted bigint := (SELECT sum(least(a.slots, 100000)) FROM unnest(asks) a WHERE a.what = 'Acquire');
  offers_rank double precision := m.now - offers[1].priority * r.ageing_s;
  waiting record;
  taken integer := 0;       -- of the waiting jobs
  offers_taken integer := 0;
  last_serial integer := 0; -- of grants: a master hears of the most urgent first
  job_takers taker[] := '{}';
  offer_takers taker[] := '{}';
  a ask;
  facts fact[];
BEGIN
  SELECT coalesce(array_agg(id), '{}') AS ids, array_agg(rank) AS ranks, count(*) AS count,
    coalesce(bool_or(cancel OR attempt >= least(r.alone_from, r.attempts) OR id = ANY (s.jobs)), false)
      AS are_special
  INTO waiting FROM (
    SELECT id, rank, cancel, attempt FROM jobs WHERE state = 'waiting' AND not_before <= m.now
    ORDER BY rank, id LIMIT wanted FOR UPDATE SKIP LOCKED) AS oldest;
  IF waiting.are_special THEN RETURN NULL; END IF;
  FOREACH a IN ARRAY asks LOOP
    CONTINUE WHEN a.what <> 'Acquire';
    FOR slot IN 1 .. least(a.slots, 100000) LOOP
      last_serial := last_serial + 1;
      IF taken < waiting.count AND (offers_taken = a.last_offer OR waiting.ranks[taken + 1] <= offers_rank) THEN
        taken := taken + 1;
        job_takers[taken] := ROW(last_serial, a.place, a.who, a.nonce)::taker;
      ELSIF offers_taken < a.last_offer THEN
        offers_taken := offers_taken + 1;
        offer_takers[offers_taken] := ROW(last_serial, a.place, a.who, a.nonce)::taker;
      ELSE
        EXIT;
      END IF;
    END LOOP;
  END LOOP;
  WITH fresh AS MATERIALIZED (
    SELECT o.*, nextval('job_ids') AS job, CASE WHEN o.serial IS NULL THEN 0 ELSE nextval('tokens') END AS token
    FROM unnest(offers, offer_takers) AS o (client, request, gateway, epoch, kind, spec, run_key, fresh_s, max_seconds,
                                            priority, stream, digest, serial, place, master, nonce)
  ), added AS (
    INSERT INTO jobs (id, run_key, kind, spec, rank, state, token, nonce, owner, lease_until, deadline, created_at,
                      started_at)
    SELECT job, run_key, kind, spec, offers_rank, CASE WHEN serial IS NULL THEN 'waiting' ELSE 'running' END, token,
      nonce, master, CASE WHEN serial IS NOT NULL THEN m.now + r.lease_s END, m.now + max_seconds, m.now,
      CASE WHEN serial IS NOT NULL THEN m.now END
    FROM fresh
  ), asked AS (
    INSERT INTO waiters (client, request, spec_digest, job, gateway, epoch, state, stream, created_at)
    SELECT client, request, digest, job, gateway, epoch, 'waiting', stream, m.now FROM fresh
  ), granted AS (
    UPDATE jobs j SET state = 'running', token = nextval('tokens'), nonce = t.nonce, owner = t.master,
      lease_until = m.now + r.lease_s, beaten = false, started_at = coalesce(j.started_at, m.now)
    FROM unnest(waiting.ids, job_takers) AS t (job, serial, place, master, nonce)
    CROSS JOIN LATERAL (SELECT ctid AS place_on_disk FROM jobs WHERE id = t.job OFFSET 0) found
    WHERE j.ctid = found.place_on_disk AND t.serial IS NOT NULL
    RETURNING t.serial, t.place, j.id, j.token, j.attempt, j.kind, j.spec,
      greatest(0, j.deadline - m.now) AS remaining_s
  )
  SELECT coalesce(array_agg(ROW(place, 'grant', id, token, NULL, NULL, attempt, NULL, NULL, NULL, NULL, kind, spec,
                                remaining_s)::fact ORDER BY serial), '{}')
  INTO facts FROM (
    SELECT * FROM granted
    UNION ALL
    SELECT serial, place, job, token, 0, kind, spec, greatest(0, max_seconds) FROM fresh WHERE serial IS NOT NULL
  ) AS grants;
  RETURN facts;
END $$;
-- Name: are_plain(roost.ask[], roost.offer[], roost.scope, roost.rules, roost.moment); Type: FUNCTION; Schema: roost; Owner: -
CREATE FUNCTION roost.are_plain(asks roost.ask[], offers roost.offer[], s roost.scope, r roost.rules, m roost.moment) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
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
-- Name: attach(roost.ask, roost.moment); Type: FUNCTION; Schema: roost; Owner: -
CREATE FUNCTION roost.attach(a roost.ask, m roost.moment) RETURNS roost.fact[]
    LANGUAGE plpgsql
    AS $$
DECLARE
  facts fact[] := '{}';
  known waiters;
  asked text;
BEGIN
  FOREACH asked IN ARRAY a.requests LOOP
    SELECT * INTO known FROM waiters WHERE client = a.client AND request = asked;
    IF FOUND THEN
      PERFORM move_waiter(a.client, asked, a.who, a.epoch);
      facts := facts || status_fact(a.place, asked, known.state, known.job);
    ELSE
      INSERT INTO waiters (client, request, gateway, epoch, state, created_at)
      VALUES (a.client, asked, a.who, a.epoch, 'expected', m.now);
      facts := facts || status_fact(a.place, asked, 'expected', NULL);
    END IF;
  END LOOP;
  RETURN facts;
END $$;
-- Name: beat_all(roost.beat[], roost.rules); Type: FUNCTION; Schema: roost; Owner: -
CREATE FUNCTION roost.beat_all(beats roost.beat[], r roost.rules) RETURNS TABLE(place bigint, is_cancelled boolean, client bytea, request text, gateway text, stream boolean)
    LANGUAGE plpgsql
    AS $$
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
-- Name: beat_gateway(text, roost.rules); Type: FUNCTION; Schema: roost; Owner: -
CREATE FUNCTION roost.beat_gateway(sender text, r roost.rules) RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
  m moment := look_at_clock(r);
BEGIN
  INSERT INTO gateways AS g (incarnation, beat_at) VALUES (sender, m.now)
    ON CONFLICT (incarnation) DO UPDATE SET beat_at = greatest(g.beat_at, m.now);
END $$;
-- Name: client_lock(bytea); Type: FUNCTION; Schema: roost; Owner: -
CREATE FUNCTION roost.client_lock(client bytea) RETURNS bigint
    LANGUAGE sql IMMUTABLE
    AS $$SELECT hashtextextended(encode(client, 'hex'), 1)$$;
-- Name: complete(roost.ask, roost.moment); Type: FUNCTION; Schema: roost; Owner: -
CREATE FUNCTION roost.complete(a roost.ask, m roost.moment) RETURNS roost.fact
    LANGUAGE plpgsql
    AS $$
DECLARE
  job record;
  told fact;
BEGIN
  told.place := a.place;
  told.what := 'verdict';
  told.job := a.job;
  SELECT state, token INTO job FROM jobs WHERE id = a.job;
  IF job.token IS DISTINCT FROM a.token THEN
    told.state := 'lost';
    RETURN told;
  END IF;
  told.state := 'ok';
  IF job.state = 'waiting' AND a.state = 'done' THEN
    told.what := 'refused';
    told.state := 'the job was given back and nobody runs it';
  ELSIF job.state IN ('waiting', 'running') THEN
    PERFORM end_job(a.job, a.state, a.ending, a.has_parts, NULL, m);
  END IF;
  RETURN told;
END $$;
-- Name: complete_many(roost.ask[], roost.scope, roost.moment); Type: FUNCTION; Schema: roost; Owner: -
CREATE FUNCTION roost.complete_many(asks roost.ask[], s roost.scope, m roost.moment) RETURNS roost.fact[]
    LANGUAGE plpgsql
    AS $$
DECLARE
  facts fact[];
BEGIN
  WITH done AS (
    UPDATE jobs SET state = a.state, ending = a.ending, run_key = NULL, finished_at = m.now, nonce = NULL,
      lease_until = NULL
    FROM (SELECT *, count(*) OVER (PARTITION BY u.job) AS count FROM unnest(asks) u WHERE u.what = 'Complete') a
    CROSS JOIN LATERAL (
      SELECT ctid AS place_on_disk FROM jobs WHERE id = a.job AND token = a.token
        AND (lease_until > m.now OR NOT m.may_reap) OFFSET 0) j
    WHERE jobs.state = 'running' AND jobs.ctid = j.place_on_disk AND a.count = 1 AND a.job <> ALL (s.jobs)
    RETURNING a.place, id, jobs.token, a.has_parts
  ), cleared AS (
    DELETE FROM results USING done
    CROSS JOIN LATERAL (
      SELECT ctid AS place_on_disk FROM results p
      WHERE p.job = done.id AND (p.token <> done.token OR NOT done.has_parts) OFFSET 0) p
    WHERE results.ctid = p.place_on_disk
  )
  SELECT coalesce(array_agg(ROW(place, 'verdict', id, NULL, 'ok', NULL, NULL,
                                NULL, NULL, NULL, NULL, NULL, NULL, NULL)::fact), '{}')
  INTO facts FROM done;
  RETURN facts;
END $$;
-- Name: decide(roost.ask[], roost.offer[], roost.rules); Type: FUNCTION; Schema: roost; Owner: -
CREATE FUNCTION roost.decide(asks roost.ask[], offers roost.offer[], r roost.rules) RETURNS roost.fact[]
    LANGUAGE plpgsql
    AS $$
DECLARE
  s scope := lock_batch(asks, offers, look_at_clock(r));
  m moment := look_at_clock(r);
  facts fact[] := complete_many(asks, s, m);
  grants fact[];
  is_done boolean[] := array_fill(false, ARRAY[cardinality(asks)], ARRAY[0]);
  one fact;
  a ask;
BEGIN
  FOREACH one IN ARRAY facts LOOP is_done[one.place] := true; END LOOP;
  IF are_plain(asks, offers, s, r, m) THEN grants := acquire_many(asks, offers, s, r, m); END IF;
  facts := facts || grants;
  FOREACH a IN ARRAY asks LOOP
    CONTINUE WHEN is_done[a.place] OR grants IS NOT NULL AND a.what = 'Acquire';
    CASE a.what
      WHEN 'Acquire' THEN facts := facts || acquire(a, offers, r, m);
      WHEN 'Complete' THEN facts := facts || complete(a, m);
      WHEN 'Release' THEN
        UPDATE jobs SET state = 'waiting', nonce = NULL, owner = NULL, lease_until = NULL
        WHERE id = a.job AND token = a.token AND state = 'running';
      WHEN 'Attach' THEN facts := facts || attach(a, m);
      WHEN 'Detach' THEN
        UPDATE waiters SET detached_at = m.now
        FROM unnest(a.clients) AS c (client)
        CROSS JOIN LATERAL (SELECT ctid AS place_on_disk FROM waiters WHERE client = c.client AND is_open OFFSET 0) w
        WHERE waiters.ctid = w.place_on_disk AND gateway = a.who AND epoch <= a.epoch AND detached_at IS NULL
          AND (a.requests IS NULL OR request = ANY (a.requests));
      ELSE facts := facts || settle(a, m);
    END CASE;
  END LOOP;
  RETURN facts || (
    SELECT array_agg(ROW(NULL, 'watcher', w.job, NULL, NULL, NULL, NULL,
                         w.client, w.request, w.gateway, w.stream, NULL, NULL, NULL)::fact)
    FROM (SELECT DISTINCT f.job FROM unnest(facts) f
          WHERE f.what = 'grant' OR f.what = 'verdict' AND f.state = 'ok') AS told
    CROSS JOIN LATERAL watchers(told.job) w);
END $$;
-- Name: delete_old(integer, roost.rules); Type: FUNCTION; Schema: roost; Owner: -
CREATE FUNCTION roost.delete_old(many integer, r roost.rules) RETURNS integer
    LANGUAGE plpgsql
    AS $$
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
-- Name: end_job(bigint, text, bytea, boolean, integer, roost.moment); Type: FUNCTION; Schema: roost; Owner: -
CREATE FUNCTION roost.end_job(over bigint, ended text, how bytea, has_parts boolean, attempts integer, m roost.moment) RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
  last_token bigint;
BEGIN
  UPDATE jobs SET state = ended, ending = how, attempt = coalesce(attempts, attempt), run_key = NULL,
    finished_at = m.now, nonce = NULL, lease_until = NULL
  WHERE id = over AND state IN ('waiting', 'running') RETURNING token INTO last_token;
  DELETE FROM results WHERE job = over AND (token <> last_token OR NOT has_parts);
END $$;
-- Name: end_overdue(integer, roost.rules); Type: FUNCTION; Schema: roost; Owner: -
CREATE FUNCTION roost.end_overdue(many integer, r roost.rules) RETURNS integer
    LANGUAGE plpgsql
    AS $$
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
-- Name: grant_fact(integer, bigint, roost.moment); Type: FUNCTION; Schema: roost; Owner: -
CREATE FUNCTION roost.grant_fact(place integer, granted bigint, m roost.moment) RETURNS roost.fact
    LANGUAGE plpgsql
    AS $$
DECLARE
  told fact;
BEGIN
  SELECT place, 'grant', id, token, NULL, NULL, attempt, NULL, NULL, NULL, NULL, kind, spec,
    greatest(0, deadline - m.now)
  INTO told FROM jobs WHERE id = granted;
  RETURN told;
END $$;
-- Name: join_or_add(roost.offer, roost.rules, roost.moment); Type: FUNCTION; Schema: roost; Owner: -
CREATE FUNCTION roost.join_or_add(o roost.offer, r roost.rules, m roost.moment) RETURNS bigint
    LANGUAGE plpgsql
    AS $$
DECLARE
  run record;
  added bigint;
BEGIN
  SELECT j.id, j.started_at INTO run FROM jobs j WHERE j.kind = o.kind AND j.run_key = o.run_key;
  IF FOUND AND (run.started_at IS NULL OR run.started_at >= m.now - o.fresh_s) THEN RETURN run.id; END IF;
  IF FOUND THEN UPDATE jobs SET run_key = NULL WHERE id = run.id; END IF;
  INSERT INTO jobs (run_key, kind, spec, rank, state, deadline, created_at)
  VALUES (o.run_key, o.kind, o.spec, m.now - o.priority * r.ageing_s, 'waiting', m.now + o.max_seconds, m.now)
  RETURNING id INTO added;
  RETURN added;
END $$;
-- Name: knock_fact(integer, bytea, text, text, text); Type: FUNCTION; Schema: roost; Owner: -
CREATE FUNCTION roost.knock_fact(place integer, client bytea, request text, gateway text, state text) RETURNS roost.fact
    LANGUAGE sql IMMUTABLE
    AS $$
  SELECT ROW(place, 'knock', 0, 0, state, NULL, NULL, client, request, gateway, NULL, NULL, NULL, NULL)::fact
$$;
-- Name: leave(bytea, text, text, bigint, roost.moment); Type: FUNCTION; Schema: roost; Owner: -
CREATE FUNCTION roost.leave(whose bytea, which text, row_state text, of bigint, m roost.moment) RETURNS text
    LANGUAGE plpgsql
    AS $$
DECLARE
  job_state text;
BEGIN
  SELECT state INTO job_state FROM jobs WHERE id = of;
  IF row_state NOT IN ('expected', 'waiting') OR job_state NOT IN ('waiting', 'running') THEN RETURN row_state; END IF;
  IF of IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM (SELECT * FROM waiters WHERE job = of OFFSET 0) AS its
    WHERE state = 'waiting' AND (client, request) <> (whose, which))
  THEN
    IF job_state = 'waiting' THEN
      PERFORM end_job(of, 'cancelled', NULL, false, NULL, m);
    ELSE
      UPDATE jobs SET cancel = true, run_key = NULL WHERE id = of;
    END IF;
    RETURN row_state;
  END IF;
  UPDATE waiters SET state = 'left' WHERE client = whose AND request = which;
  RETURN 'left';
END $$;
-- Name: leave_alone(bytea, text, double precision, roost.moment); Type: FUNCTION; Schema: roost; Owner: -
CREATE FUNCTION roost.leave_alone(whose bytea, which text, before double precision, m roost.moment) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
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
-- Name: leave_dead_gateways(integer, double precision, roost.rules); Type: FUNCTION; Schema: roost; Owner: -
CREATE FUNCTION roost.leave_dead_gateways(many integer, again_s double precision, r roost.rules) RETURNS integer
    LANGUAGE plpgsql
    AS $$
DECLARE
  m moment := look_at_clock(r);
  done integer := 0;
  dead text;
  gone record;
BEGIN
  IF NOT may_leave(m, r) THEN RETURN 0; END IF;
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
-- Name: leave_detached(integer, roost.rules); Type: FUNCTION; Schema: roost; Owner: -
CREATE FUNCTION roost.leave_detached(many integer, r roost.rules) RETURNS integer
    LANGUAGE plpgsql
    AS $$
DECLARE
  m moment := look_at_clock(r);
  done integer := 0;
  gone record;
BEGIN
  IF NOT may_leave(m, r) THEN RETURN 0; END IF;
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
-- Name: lock_batch(roost.ask[], roost.offer[], roost.moment); Type: FUNCTION; Schema: roost; Owner: -
CREATE FUNCTION roost.lock_batch(asks roost.ask[], offers roost.offer[], m roost.moment) RETURNS roost.scope
    LANGUAGE plpgsql
    AS $$
DECLARE
  s scope;
  keys bigint[];
  found bigint[];
BEGIN
  keys := ARRAY(
    SELECT client_lock(o.client) AS key FROM unnest(offers) o
    UNION SELECT run_lock(o.kind, o.run_key) FROM unnest(offers) o
    UNION SELECT nonce_lock(a.nonce) FROM unnest(asks) a WHERE a.nonce IS NOT NULL
    UNION SELECT client_lock(a.client) FROM unnest(asks) a WHERE a.client IS NOT NULL
    UNION SELECT client_lock(c) FROM unnest(asks) a, unnest(a.clients) c
    ORDER BY key);
  IF cardinality(keys) <= 1000 THEN
    PERFORM pg_advisory_xact_lock_shared(0);
    PERFORM pg_advisory_xact_lock(key) FROM unnest(keys) key;
  ELSE
    PERFORM pg_advisory_xact_lock(0);  -- the server has room for some 6,000 locks: this one stands for all
  END IF;
  INSERT INTO gateways (incarnation, beat_at)
    SELECT named.gateway, m.now FROM (
      SELECT o.gateway FROM unnest(offers) o UNION SELECT a.who FROM unnest(asks) a WHERE a.what = 'Attach') AS named
    WHERE NOT EXISTS (SELECT 1 FROM gateways g WHERE g.incarnation = named.gateway)
    ORDER BY named.gateway ON CONFLICT DO NOTHING;
  s.awaited := ARRAY(
    SELECT w.job FROM unnest(offers) o
    CROSS JOIN LATERAL (SELECT job, state FROM waiters WHERE client = o.client AND is_open OFFSET 0) w
    WHERE w.state = 'waiting');
  found := ARRAY(
    SELECT j.id FROM unnest(asks) a CROSS JOIN LATERAL (SELECT id FROM jobs WHERE nonce = a.nonce OFFSET 0) j
    UNION ALL SELECT j.id FROM unnest(offers) o
      CROSS JOIN LATERAL (SELECT id FROM jobs WHERE kind = o.kind AND run_key = o.run_key OFFSET 0) j);
  s.is_known := found <> '{}';
  s.jobs := s.awaited || found || ARRAY(
    SELECT a.job FROM unnest(asks) a WHERE a.what = 'Release'
    UNION ALL SELECT w.job FROM unnest(asks) a
      CROSS JOIN LATERAL (SELECT job FROM waiters WHERE client = a.client AND request = ANY (a.requests) OFFSET 0) w
      WHERE w.job IS NOT NULL);
  PERFORM 1 FROM jobs
    WHERE id = ANY (s.jobs || ARRAY(SELECT a.job FROM unnest(asks) a WHERE a.what = 'Complete'))
    ORDER BY id FOR UPDATE;
  RETURN s;
END $$;
-- Name: look_at_clock(roost.rules); Type: FUNCTION; Schema: roost; Owner: -
CREATE FUNCTION roost.look_at_clock(r roost.rules) RETURNS roost.moment
    LANGUAGE plpgsql
    AS $$
DECLARE
  c clock;
  m moment;
  seen double precision;
BEGIN
  SELECT * INTO c FROM clock;
  seen := c.ahead_s + server_time();
  m.now := greatest(c.ticked_at, seen);
  m.no_reap_before := CASE WHEN abs(seen - c.ticked_at) > r.tick_gap_s THEN m.now + r.lease_s ELSE c.no_reap_before END;
  m.may_reap := m.now >= m.no_reap_before;
  RETURN m;
END $$;
-- Name: may_leave(roost.moment, roost.rules); Type: FUNCTION; Schema: roost; Owner: -
CREATE FUNCTION roost.may_leave(m roost.moment, r roost.rules) RETURNS boolean
    LANGUAGE sql IMMUTABLE
    AS $$
  SELECT m.now >= m.no_reap_before - r.lease_s + greatest(r.grace_s, 32)
$$;
-- Name: move_waiter(bytea, text, text, bigint); Type: FUNCTION; Schema: roost; Owner: -
CREATE FUNCTION roost.move_waiter(whose bytea, which text, to_gateway text, to_epoch bigint) RETURNS void
    LANGUAGE sql
    AS $$
  UPDATE waiters SET gateway = to_gateway, epoch = to_epoch, detached_at = NULL
  WHERE client = whose AND request = which AND epoch <= to_epoch
$$;
-- Name: nonce_lock(bytea); Type: FUNCTION; Schema: roost; Owner: -
CREATE FUNCTION roost.nonce_lock(nonce bytea) RETURNS bigint
    LANGUAGE sql IMMUTABLE
    AS $$SELECT hashtextextended(encode(nonce, 'hex'), 3)$$;
-- Name: read_parts(bigint, bigint, bigint, bigint, roost.rules); Type: FUNCTION; Schema: roost; Owner: -
CREATE FUNCTION roost.read_parts(of bigint, under bigint, first bigint, many bigint, r roost.rules) RETURNS SETOF bytea
    LANGUAGE plpgsql
    AS $$
DECLARE
  kept_from double precision := (look_at_clock(r)).now - r.retention_s + r.read_keeps_s;
BEGIN
  UPDATE jobs SET finished_at = kept_from WHERE id = of AND token = under AND finished_at < kept_from;
  RETURN QUERY SELECT data FROM results WHERE job = of AND token = under AND seq >= first ORDER BY seq LIMIT many;
END $$;
SET default_tablespace = '';
SET default_table_access_method = heap;
-- Name: waiters; Type: TABLE; Schema: roost; Owner: -
CREATE TABLE roost.waiters (
    client bytea NOT NULL,
    request text NOT NULL,
    spec_digest bytea,
    job bigint,
    gateway text NOT NULL,
    epoch bigint NOT NULL,
    state text NOT NULL,
    stream boolean DEFAULT false NOT NULL,
    created_at double precision NOT NULL,
    detached_at double precision,
    is_open boolean GENERATED ALWAYS AS ((state <> 'acked'::text)) STORED,
    unknown_at double precision
)
WITH (fillfactor='80', autovacuum_vacuum_scale_factor='0.02', autovacuum_vacuum_insert_scale_factor='0.1');
-- Name: repeat_offer(integer, roost.offer, roost.waiters); Type: FUNCTION; Schema: roost; Owner: -
CREATE FUNCTION roost.repeat_offer(place integer, o roost.offer, known roost.waiters) RETURNS roost.fact
    LANGUAGE plpgsql
    AS $$
DECLARE
  told fact := status_fact(place, o.request, known.state, known.job);
BEGIN
  IF known.spec_digest <> o.digest OR told.state = 'gone' THEN
    RETURN CASE WHEN o.epoch >= known.epoch THEN knock_fact(place, o.client, o.request, o.gateway, 'taken') END;
  END IF;
  IF o.epoch > known.epoch THEN PERFORM move_waiter(o.client, o.request, o.gateway, o.epoch); END IF;
  IF told.state = 'waiting' THEN RETURN NULL; END IF;
  told.what := 'knock';
  told.client := o.client;
  told.gateway := CASE WHEN o.epoch > known.epoch THEN o.gateway ELSE known.gateway END;
  RETURN told;
END $$;
-- Name: reserved(roost.moment); Type: FUNCTION; Schema: roost; Owner: -
CREATE FUNCTION roost.reserved(m roost.moment) RETURNS TABLE(job bigint, master text)
    LANGUAGE sql STABLE
    AS $$
  SELECT id, reserved_by FROM (
    SELECT id, reserved_by, state, lease_until FROM jobs WHERE reserved_until > m.now OFFSET 0) AS its
  WHERE state = 'waiting' OR state = 'running' AND lease_until <= m.now
  ORDER BY id LIMIT 1
$$;
-- Name: run_lock(text, bytea); Type: FUNCTION; Schema: roost; Owner: -
CREATE FUNCTION roost.run_lock(kind text, run_key bytea) RETURNS bigint
    LANGUAGE sql IMMUTABLE
    AS $$SELECT hashtextextended(kind || encode(run_key, 'hex'), 2)$$;
-- Name: server_time(); Type: FUNCTION; Schema: roost; Owner: -
CREATE FUNCTION roost.server_time() RETURNS double precision
    LANGUAGE sql
    AS $$SELECT now FROM test_clock$$;
-- Name: settle(roost.ask, roost.moment); Type: FUNCTION; Schema: roost; Owner: -
CREATE FUNCTION roost.settle(a roost.ask, m roost.moment) RETURNS roost.fact
    LANGUAGE plpgsql
    AS $$
DECLARE
  asked text := a.requests[1];
  known waiters;
  state_now text;
BEGIN
  SELECT * INTO known FROM waiters WHERE client = a.client AND request = asked;
  IF NOT FOUND THEN
    state_now := CASE a.what WHEN 'Acknowledge' THEN 'acked' ELSE 'left' END;
    INSERT INTO waiters (client, request, gateway, epoch, state, created_at)
    VALUES (a.client, asked, '', 0, state_now, m.now);
    RETURN status_fact(a.place, asked, state_now, NULL);
  END IF;
  state_now := leave(a.client, asked, known.state, known.job, m);  -- who acknowledges unfinished work gives it up
  IF a.what = 'Acknowledge' AND state_now <> 'acked' THEN
    state_now := 'acked';
    UPDATE waiters SET state = 'acked', detached_at = NULL WHERE client = a.client AND request = asked;
  END IF;
  RETURN status_fact(a.place, asked, state_now, known.job);
END $$;
-- Name: status_fact(integer, text, text, bigint); Type: FUNCTION; Schema: roost; Owner: -
CREATE FUNCTION roost.status_fact(place integer, request text, row_state text, of bigint) RETURNS roost.fact
    LANGUAGE plpgsql
    AS $$
DECLARE
  told fact;
BEGIN
  IF row_state = 'waiting' THEN
    SELECT place, 'status', of, token, CASE WHEN state = 'running' THEN 'waiting' ELSE state END, ending, attempt,
      NULL, request, NULL, NULL, NULL, NULL, NULL INTO told FROM jobs WHERE id = of;
    IF FOUND THEN RETURN told; END IF;
  END IF;
  told.place := place;
  told.what := 'status';
  told.request := request;
  told.job := of;
  told.state := CASE row_state WHEN 'expected' THEN 'waiting' WHEN 'left' THEN 'left' WHEN 'refused' THEN 'refused'
    ELSE 'gone' END;
  RETURN told;
END $$;
-- Name: store_offer(integer, roost.offer, roost.rules, roost.moment); Type: FUNCTION; Schema: roost; Owner: -
CREATE FUNCTION roost.store_offer(place integer, o roost.offer, r roost.rules, m roost.moment) RETURNS roost.fact
    LANGUAGE plpgsql
    AS $$
DECLARE
  known waiters;
  is_full boolean;
  run bigint;
BEGIN
  SELECT * INTO known FROM waiters w WHERE w.client = o.client AND w.request = o.request;
  IF known.state <> 'expected' THEN RETURN repeat_offer(place, o, known); END IF;
  is_full := r.live_requests <= (
    SELECT count(*) FROM (SELECT job, state FROM waiters w WHERE w.client = o.client AND is_open OFFSET 0) w
    CROSS JOIN LATERAL (SELECT 1 FROM jobs WHERE id = w.job AND state IN ('waiting', 'running') OFFSET 0) j
    WHERE w.state = 'waiting');
  IF NOT is_full THEN run := join_or_add(o, r, m); END IF;
  IF known.state IS NULL THEN
    INSERT INTO waiters (client, request, spec_digest, job, gateway, epoch, state, stream, created_at)
    VALUES (o.client, o.request, o.digest, run, o.gateway, o.epoch, CASE WHEN is_full THEN 'refused' ELSE 'waiting' END,
            o.stream, m.now);
  ELSE
    UPDATE waiters w SET spec_digest = o.digest, job = run, state = CASE WHEN is_full THEN 'refused' ELSE 'waiting' END,
      stream = o.stream WHERE w.client = o.client AND w.request = o.request;
    IF o.epoch > known.epoch THEN PERFORM move_waiter(o.client, o.request, o.gateway, o.epoch); END IF;
  END IF;
  RETURN CASE WHEN is_full THEN knock_fact(place, o.client, o.request, o.gateway, 'refused') END;
END $$;
-- Name: sweep(text, roost.rules); Type: FUNCTION; Schema: roost; Owner: -
CREATE FUNCTION roost.sweep(swept text, r roost.rules) RETURNS SETOF roost.fact
    LANGUAGE plpgsql
    AS $$
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
-- Name: tick_clock(roost.rules); Type: FUNCTION; Schema: roost; Owner: -
CREATE FUNCTION roost.tick_clock(r roost.rules) RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
  m moment;
BEGIN
  PERFORM 1 FROM clock FOR UPDATE;
  m := look_at_clock(r);
  UPDATE clock SET ahead_s = greatest(ahead_s, ticked_at - server_time()), ticked_at = m.now,
    no_reap_before = m.no_reap_before;
END $$;
-- Name: try_grant(bigint, roost.ask, boolean, roost.rules, roost.moment); Type: FUNCTION; Schema: roost; Owner: -
CREATE FUNCTION roost.try_grant(candidate bigint, a roost.ask, is_alone boolean, r roost.rules, m roost.moment) RETURNS roost.fact
    LANGUAGE plpgsql
    AS $$
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
-- Name: watchers(bigint); Type: FUNCTION; Schema: roost; Owner: -
CREATE FUNCTION roost.watchers(of bigint) RETURNS SETOF roost.waiters
    LANGUAGE sql STABLE
    AS $$
  SELECT * FROM (SELECT * FROM waiters WHERE job = of OFFSET 0) AS its
  WHERE state = 'waiting' AND detached_at IS NULL
  ORDER BY client, request LIMIT 1000
$$;
-- Name: clock; Type: TABLE; Schema: roost; Owner: -
CREATE TABLE roost.clock (
    single boolean DEFAULT true NOT NULL,
    ahead_s double precision DEFAULT 0 NOT NULL,
    ticked_at double precision DEFAULT 0 NOT NULL,
    no_reap_before double precision DEFAULT 0 NOT NULL,
    CONSTRAINT clock_single_check CHECK (single)
);
-- Name: gateways; Type: TABLE; Schema: roost; Owner: -
CREATE TABLE roost.gateways (
    incarnation text NOT NULL,
    beat_at double precision NOT NULL,
    look_at double precision DEFAULT 0 NOT NULL
);
-- Name: job_ids; Type: SEQUENCE; Schema: roost; Owner: -
CREATE SEQUENCE roost.job_ids
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
-- Name: jobs; Type: TABLE; Schema: roost; Owner: -
CREATE TABLE roost.jobs (
    id bigint DEFAULT nextval('roost.job_ids'::regclass) NOT NULL,
    run_key bytea,
    kind text NOT NULL,
    spec bytea NOT NULL,
    rank double precision NOT NULL,
    state text NOT NULL,
    token bigint DEFAULT 0 NOT NULL,
    nonce bytea,
    owner text,
    lease_until double precision,
    beaten boolean DEFAULT false NOT NULL,
    level bigint DEFAULT 0 NOT NULL,
    growth bigint DEFAULT 0 NOT NULL,
    progress bytea,
    attempt integer DEFAULT 0 NOT NULL,
    not_before double precision DEFAULT 0 NOT NULL,
    cancel boolean DEFAULT false NOT NULL,
    deadline double precision NOT NULL,
    ending bytea,
    created_at double precision NOT NULL,
    started_at double precision,
    finished_at double precision,
    reserved_by text,
    reserved_until double precision
)
WITH (fillfactor='80', autovacuum_vacuum_scale_factor='0.02', autovacuum_vacuum_insert_scale_factor='0.1');
-- Name: migrations; Type: TABLE; Schema: roost; Owner: -
CREATE TABLE roost.migrations (
    number integer NOT NULL,
    applied_at timestamp with time zone DEFAULT now()
);
-- Name: results; Type: TABLE; Schema: roost; Owner: -
CREATE TABLE roost.results (
    job bigint NOT NULL,
    token bigint NOT NULL,
    seq bigint NOT NULL,
    data bytea NOT NULL
);
ALTER TABLE ONLY roost.results ALTER COLUMN data SET STORAGE EXTERNAL;
-- Name: test_clock; Type: TABLE; Schema: roost; Owner: -
CREATE TABLE roost.test_clock (
    now double precision
);
-- Name: tokens; Type: SEQUENCE; Schema: roost; Owner: -
CREATE SEQUENCE roost.tokens
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
-- Data for Name: clock; Type: TABLE DATA; Schema: roost; Owner: -
INSERT INTO roost.clock VALUES (true, 0, 1750000267, 1750000006);
-- Data for Name: gateways; Type: TABLE DATA; Schema: roost; Owner: -
INSERT INTO roost.gateways VALUES ('g1', 1750000267, 0);
-- Data for Name: jobs; Type: TABLE DATA; Schema: roost; Owner: -
INSERT INTO roost.jobs VALUES (1, NULL, 'crawl', '\x73706563206f6620646f6e652c206e6f2070617274', 1750000060, 'done', 1, NULL, 'm1', NULL, false, 0, 0, NULL, 0, 0, false, 1750003660, '\x95a4646f6e650000c4027b7dc0', 1750000060, 1750000060, 1750000060, NULL, NULL);
INSERT INTO roost.jobs VALUES (2, NULL, 'crawl', '\x73706563206f6620646f6e652c2070617274', 1750000060, 'done', 2, NULL, 'm1', NULL, false, 0, 0, NULL, 0, 0, false, 1750003660, '\x95a4646f6e650001c4027b7dc0', 1750000060, 1750000060, 1750000060, NULL, NULL);
INSERT INTO roost.jobs VALUES (3, NULL, 'crawl', '\x73706563206f6620646f6e652c207061727473', 1750000060, 'done', 3, NULL, 'm1', NULL, false, 0, 0, NULL, 0, 0, false, 1750003660, '\x95a4646f6e650003c4027b7dc0', 1750000060, 1750000060, 1750000060, NULL, NULL);
INSERT INTO roost.jobs VALUES (4, NULL, 'crawl', '\x73706563206f66206661696c6564', 1750000060, 'failed', 4, NULL, 'm1', NULL, false, 0, 0, NULL, 0, 0, false, 1750003660, '\x95a66661696c65640000c40082a4636f6465a462757379a76d657373616765b2617320697473206d61737465722073616964', 1750000060, 1750000060, 1750000060, NULL, NULL);
INSERT INTO roost.jobs VALUES (5, NULL, 'crawl', '\x73706563206f662063616e63656c6c6564', 1750000060, 'cancelled', 5, NULL, 'm1', NULL, false, 0, 0, NULL, 0, 0, true, 1750003660, '\x95a963616e63656c6c65640000c400c0', 1750000060, 1750000060, 1750000060, NULL, NULL);
INSERT INTO roost.jobs VALUES (6, NULL, 'crawl', '\x73706563206f6620676f6e65206561726c79', 1750000060, 'cancelled', 0, NULL, NULL, NULL, false, 0, 0, NULL, 0, 0, false, 1750003660, NULL, 1750000060, NULL, 1750000060, NULL, NULL);
INSERT INTO roost.jobs VALUES (7, NULL, 'crawl', '\x73706563206f662065787069726564', 1750000060, 'expired', 0, NULL, NULL, NULL, false, 0, 0, NULL, 0, 0, false, 1750000065, NULL, 1750000060, NULL, 1750000065, NULL, NULL);
INSERT INTO roost.jobs VALUES (8, NULL, 'crawl', '\x73706563206f6620676976656e207570', 1750000067, 'failed', 7, NULL, 'm1', NULL, true, 0, 0, '\x', 2, 0, false, 1750003667, NULL, 1750000067, 1750000067, 1750000081, NULL, NULL);
INSERT INTO roost.jobs VALUES (9, NULL, 'crawl', '\x73706563206f662061636b6564', 1750000081, 'done', 8, NULL, 'm1', NULL, false, 0, 0, NULL, 0, 0, false, 1750003681, '\x95a4646f6e650000c4027b7dc0', 1750000081, 1750000081, 1750000081, NULL, NULL);
INSERT INTO roost.jobs VALUES (11, NULL, 'crawl', '\x73706563206f6620677261636520656e646564', 1750000081, 'done', 10, NULL, 'm1', NULL, false, 0, 0, NULL, 0, 0, false, 1750003681, '\x95a4646f6e650000c4027b7dc0', 1750000081, 1750000081, 1750000081, NULL, NULL);
INSERT INTO roost.jobs VALUES (10, NULL, 'crawl', '\x73706563206f6620736861726564', 1750000081, 'done', 9, NULL, 'm1', NULL, true, 0, 0, '\x', 0, 0, false, 1750003681, '\x95a4646f6e650000c4027b7dc0', 1750000081, 1750000081, 1750000221, NULL, NULL);
INSERT INTO roost.jobs VALUES (12, NULL, 'crawl', '\x73706563206f662061776179', 1750000221, 'done', 11, NULL, 'm1', NULL, false, 0, 0, NULL, 0, 0, false, 1750003821, '\x95a4646f6e650000c4027b7dc0', 1750000221, 1750000221, 1750000221, NULL, NULL);
INSERT INTO roost.jobs VALUES (15, '\x6c65617365206c6f7374', 'crawl', '\x73706563206f66206c65617365206c6f7374', 1750000261, 'running', 16, '\x00000000000000000000000000000013', 'm1', 1750000267, true, 3, 0, '\x', 0, 0, false, 1750003861, NULL, 1750000261, 1750000261, NULL, NULL, NULL);
INSERT INTO roost.jobs VALUES (14, '\x68656c64206261636b', 'crawl', '\x73706563206f662068656c64206261636b', 1750000221, 'running', 15, '\x00000000000000000000000000000012', 'm1', 1750000265, false, 0, 0, '\x', 2, 1750000268, false, 1750003821, NULL, 1750000221, 1750000221, NULL, NULL, NULL);
INSERT INTO roost.jobs VALUES (16, '\x72756e6e696e672c2072656e65776564', 'crawl', '\x73706563206f662072756e6e696e672c2072656e65776564', 1750000266, 'running', 17, '\x00000000000000000000000000000015', 'm1', 1750000272, true, 2, 0, '\x', 0, 0, false, 1750003866, NULL, 1750000266, 1750000266, NULL, NULL, NULL);
INSERT INTO roost.jobs VALUES (17, '\x72756e6e696e67', 'crawl', '\x73706563206f662072756e6e696e67', 1750000266, 'running', 18, '\x00000000000000000000000000000016', 'm1', 1750000272, false, 0, 0, NULL, 0, 0, false, 1750003866, NULL, 1750000266, 1750000266, NULL, NULL, NULL);
INSERT INTO roost.jobs VALUES (18, NULL, 'crawl', '\x73706563206f662072756e6e696e672c2063616e63656c6c6564', 1750000266, 'running', 19, '\x00000000000000000000000000000017', 'm1', 1750000272, false, 0, 0, NULL, 0, 0, true, 1750003866, NULL, 1750000266, 1750000266, NULL, NULL, NULL);
INSERT INTO roost.jobs VALUES (19, '\x72756e6e696e672c207769746820612070617274', 'crawl', '\x73706563206f662072756e6e696e672c207769746820612070617274', 1750000266, 'running', 20, '\x00000000000000000000000000000018', 'm1', 1750000272, false, 0, 0, NULL, 0, 0, false, 1750003866, NULL, 1750000266, 1750000266, NULL, NULL, NULL);
INSERT INTO roost.jobs VALUES (13, '\x706f69736f6e', 'crawl', '\x73706563206f6620706f69736f6e', 1750000221, 'running', 14, '\x00000000000000000000000000000011', 'm1', 1750000234, false, 0, 0, '\x', 2, 1750000237, false, 1750003821, NULL, 1750000221, 1750000221, NULL, 'm9', 1750000277);
INSERT INTO roost.jobs VALUES (20, '\x77616974696e67', 'crawl', '\x73706563206f662077616974696e67', 1750000267, 'waiting', 0, NULL, NULL, NULL, false, 0, 0, NULL, 0, 0, false, 1750003867, NULL, 1750000267, NULL, NULL, NULL, NULL);
INSERT INTO roost.jobs VALUES (21, '\x77616974696e6720746f6f', 'crawl', '\x73706563206f662077616974696e6720746f6f', 1750000087, 'waiting', 0, NULL, NULL, NULL, false, 0, 0, NULL, 0, 0, false, 1750003867, NULL, 1750000267, NULL, NULL, NULL, NULL);
-- Data for Name: migrations; Type: TABLE DATA; Schema: roost; Owner: -
INSERT INTO roost.migrations VALUES (1, '2026-12-01 14:53:39.296315+00');
INSERT INTO roost.migrations VALUES (2, '2026-12-01 14:53:39.345232+00');
INSERT INTO roost.migrations VALUES (3, '2026-12-01 14:53:39.357032+00');
INSERT INTO roost.migrations VALUES (4, '2026-12-01 14:53:39.363376+00');
INSERT INTO roost.migrations VALUES (5, '2026-12-01 14:53:39.367898+00');
INSERT INTO roost.migrations VALUES (6, '2026-12-01 14:53:39.376909+00');
-- Data for Name: results; Type: TABLE DATA; Schema: roost; Owner: -
INSERT INTO roost.results VALUES (2, 2, 0, '\x646f6e652c20706172742030');
INSERT INTO roost.results VALUES (3, 3, 0, '\x646f6e652c2070617274732030');
INSERT INTO roost.results VALUES (3, 3, 1, '\x646f6e652c2070617274732031');
INSERT INTO roost.results VALUES (3, 3, 2, '\x646f6e652c2070617274732032');
INSERT INTO roost.results VALUES (19, 20, 0, '\x6669727374');
-- Data for Name: test_clock; Type: TABLE DATA; Schema: roost; Owner: -
INSERT INTO roost.test_clock VALUES (1750000267);
-- Data for Name: waiters; Type: TABLE DATA; Schema: roost; Owner: -
INSERT INTO roost.waiters VALUES ('\x646f6e652c206e6f20706172742e2e2e', 'r1', '\x6d656e9bdb15748e21f08ff62843bee2db2e3eb5fc9aba32d6aa621da45ebace', 1, 'g1', 1, 'waiting', false, 1750000060, NULL, DEFAULT, NULL);
INSERT INTO roost.waiters VALUES ('\x646f6e652c20706172742e2e2e2e2e2e', 'r1', '\xc2d7b15b0c37fe94dbbc5ea1effbb28b89282708878dfde1ed6a81c20da451df', 2, 'g1', 1, 'waiting', false, 1750000060, NULL, DEFAULT, NULL);
INSERT INTO roost.waiters VALUES ('\x646f6e652c2070617274732e2e2e2e2e', 'r1', '\x63edb90007602216a01772d355d3bde1e58da3522faf9c3f459026e97b220aaf', 3, 'g1', 1, 'waiting', false, 1750000060, NULL, DEFAULT, NULL);
INSERT INTO roost.waiters VALUES ('\x6661696c65642e2e2e2e2e2e2e2e2e2e', 'r1', '\x16aa2bff17b2a05291ac3ca02e29af833399cf9abab167c08236a91ed3921187', 4, 'g1', 1, 'waiting', false, 1750000060, NULL, DEFAULT, NULL);
INSERT INTO roost.waiters VALUES ('\x63616e63656c6c65642e2e2e2e2e2e2e', 'r1', '\x04c2c4c7c1b87cdbfad2ecd11f6721b3f0e55c0ded0a1afa315ba875f96d1857', 5, 'g1', 1, 'waiting', false, 1750000060, NULL, DEFAULT, NULL);
INSERT INTO roost.waiters VALUES ('\x676f6e65206561726c792e2e2e2e2e2e', 'r1', '\x47ac2cb2d631929056d8bfe68b8e8f2e6f9fb5595c08c2840925da50a8054387', 6, 'g1', 1, 'waiting', false, 1750000060, NULL, DEFAULT, NULL);
INSERT INTO roost.waiters VALUES ('\x657870697265642e2e2e2e2e2e2e2e2e', 'r1', '\x6969aa433548f5a16253ce3f7b2c7d2eb3a9e4f2b05799a69784b7eaadacafa6', 7, 'g1', 1, 'waiting', false, 1750000060, NULL, DEFAULT, NULL);
INSERT INTO roost.waiters VALUES ('\x676976656e2075702e2e2e2e2e2e2e2e', 'r1', '\x8a250ec30e99f9cc0d157f18bff1efe1eca7c1fb2e6d30e0cc22a0a98efbd38a', 8, 'g1', 1, 'waiting', false, 1750000067, NULL, DEFAULT, NULL);
INSERT INTO roost.waiters VALUES ('\x61636b65642e2e2e2e2e2e2e2e2e2e2e', 'r1', '\xd5c7aa1b20caac4120676a4bcb8281fcc7c77c3760d3d94c1e319e6eb53fc01b', 9, 'g1', 1, 'acked', false, 1750000081, NULL, DEFAULT, NULL);
INSERT INTO roost.waiters VALUES ('\x73746179732e2e2e2e2e2e2e2e2e2e2e', 'r1', '\x91e52863358b6af597cb4302185cecf139f1f6586fc28b70107bc8a3ba9efa45', 10, 'g1', 1, 'waiting', false, 1750000081, NULL, DEFAULT, NULL);
INSERT INTO roost.waiters VALUES ('\x6c6566742e2e2e2e2e2e2e2e2e2e2e2e', 'r1', '\x91e52863358b6af597cb4302185cecf139f1f6586fc28b70107bc8a3ba9efa45', 10, 'g1', 1, 'left', false, 1750000081, NULL, DEFAULT, NULL);
INSERT INTO roost.waiters VALUES ('\x73746179732e2e2e2e2e2e2e2e2e2e2e', 'r2', '\xce8bf8cbb865e61c1460d8ab6ca44e0d596717a413c7fd028ca25338a25576ac', NULL, 'g1', 1, 'refused', false, 1750000081, NULL, DEFAULT, NULL);
INSERT INTO roost.waiters VALUES ('\x61636b6564206561726c792e2e2e2e2e', 'r1', NULL, NULL, '', 0, 'acked', false, 1750000081, NULL, DEFAULT, NULL);
INSERT INTO roost.waiters VALUES ('\x6c656674206561726c792e2e2e2e2e2e', 'r1', NULL, NULL, '', 0, 'left', false, 1750000081, NULL, DEFAULT, NULL);
INSERT INTO roost.waiters VALUES ('\x65787065637465642e2e2e2e2e2e2e2e', 'r1', NULL, NULL, 'g1', 3, 'expected', false, 1750000081, NULL, DEFAULT, 1750000321);
INSERT INTO roost.waiters VALUES ('\x677261636520656e6465642e2e2e2e2e', 'r1', '\x03429fee48d9c75b0779d03a611496985ae571efa6201f4626deb0b450f594ba', 11, 'g1', 1, 'waiting', false, 1750000081, 'Infinity', DEFAULT, NULL);
INSERT INTO roost.waiters VALUES ('\x617761792e2e2e2e2e2e2e2e2e2e2e2e', 'r1', '\x8d3bcac54660e761e5c58d7f92f874132e1c2d301d8881acda7c5ea520c3d756', 12, 'g1', 1, 'waiting', false, 1750000221, 1750000221, DEFAULT, NULL);
INSERT INTO roost.waiters VALUES ('\x706f69736f6e2e2e2e2e2e2e2e2e2e2e', 'r1', '\xccac090e8383113c737dc39fc54b02e7152843090974fcae5c867e78d16a0a17', 13, 'g1', 1, 'waiting', false, 1750000221, NULL, DEFAULT, NULL);
INSERT INTO roost.waiters VALUES ('\x68656c64206261636b2e2e2e2e2e2e2e', 'r1', '\xe66fa9d90913ba13056154a2b497990d374f2c846ec97adbf9bd7142a3db508e', 14, 'g1', 1, 'waiting', false, 1750000221, NULL, DEFAULT, NULL);
INSERT INTO roost.waiters VALUES ('\x6c65617365206c6f73742e2e2e2e2e2e', 'r1', '\xc165f37c2dd6481934354438eb82832539bf68007890f3368a2537b0a4f91feb', 15, 'g1', 1, 'waiting', false, 1750000261, NULL, DEFAULT, NULL);
INSERT INTO roost.waiters VALUES ('\x72756e6e696e672c2072656e65776564', 'r1', '\xfe2802bf4f7ff23b44926a334f3acbe4ffb6d53126d5dba6f1ec3dd47b30bb79', 16, 'g1', 1, 'waiting', false, 1750000266, NULL, DEFAULT, NULL);
INSERT INTO roost.waiters VALUES ('\x72756e6e696e672e2e2e2e2e2e2e2e2e', 'r1', '\xa521f812156b4452b4d9d3a4190fc31be38c3c52c6f6ce8d4afac1dd0d4d88e8', 17, 'g1', 1, 'waiting', false, 1750000266, NULL, DEFAULT, NULL);
INSERT INTO roost.waiters VALUES ('\x72756e6e696e672c2063616e63656c6c6564', 'r1', '\x62b2cfd2325268c50eb06d979e4cc9ad9ca0304c831387eb10efe62ce9133862', 18, 'g1', 1, 'waiting', false, 1750000266, NULL, DEFAULT, NULL);
INSERT INTO roost.waiters VALUES ('\x72756e6e696e672c207769746820612070617274', 'r1', '\x53c916cfff3cd4913bd551fc21aa0e821dfb01809dd29bbc3cac44a45eec8c20', 19, 'g1', 1, 'waiting', false, 1750000266, NULL, DEFAULT, NULL);
INSERT INTO roost.waiters VALUES ('\x77616974696e672e2e2e2e2e2e2e2e2e', 'r1', '\xdd4cb8720727cf5ae7adc5a7607565dbd1ce2b9058cbda81dd7c10af13be29bc', 20, 'g1', 1, 'waiting', false, 1750000267, NULL, DEFAULT, NULL);
INSERT INTO roost.waiters VALUES ('\x77616974696e6720746f6f2e2e2e2e2e', 'r1', '\xe7cc93c52b742ef6a89f7dbb8090fc229e02cee872191970f5c0f2af2f9af6f5', 21, 'g1', 1, 'waiting', false, 1750000267, NULL, DEFAULT, NULL);
INSERT INTO roost.waiters VALUES ('\x77616974696e672c206a6f696e65642e', 'r1', '\xdd4cb8720727cf5ae7adc5a7607565dbd1ce2b9058cbda81dd7c10af13be29bc', 20, 'g1', 1, 'waiting', false, 1750000267, 1750000267, DEFAULT, NULL);
-- Name: job_ids; Type: SEQUENCE SET; Schema: roost; Owner: -
SELECT pg_catalog.setval('roost.job_ids', 21, true);
-- Name: tokens; Type: SEQUENCE SET; Schema: roost; Owner: -
SELECT pg_catalog.setval('roost.tokens', 20, true);
-- Name: clock clock_pkey; Type: CONSTRAINT; Schema: roost; Owner: -
ALTER TABLE ONLY roost.clock
    ADD CONSTRAINT clock_pkey PRIMARY KEY (single);
-- Name: gateways gateways_pkey; Type: CONSTRAINT; Schema: roost; Owner: -
ALTER TABLE ONLY roost.gateways
    ADD CONSTRAINT gateways_pkey PRIMARY KEY (incarnation);
-- Name: jobs jobs_pkey; Type: CONSTRAINT; Schema: roost; Owner: -
ALTER TABLE ONLY roost.jobs
    ADD CONSTRAINT jobs_pkey PRIMARY KEY (id);
-- Name: migrations migrations_pkey; Type: CONSTRAINT; Schema: roost; Owner: -
ALTER TABLE ONLY roost.migrations
    ADD CONSTRAINT migrations_pkey PRIMARY KEY (number);
-- Name: results results_pkey; Type: CONSTRAINT; Schema: roost; Owner: -
ALTER TABLE ONLY roost.results
    ADD CONSTRAINT results_pkey PRIMARY KEY (job, token, seq);
-- Name: waiters waiters_pkey; Type: CONSTRAINT; Schema: roost; Owner: -
ALTER TABLE ONLY roost.waiters
    ADD CONSTRAINT waiters_pkey PRIMARY KEY (client, request);
-- Name: jobs_finished; Type: INDEX; Schema: roost; Owner: -
CREATE INDEX jobs_finished ON roost.jobs USING btree (finished_at) WHERE (finished_at IS NOT NULL);
-- Name: jobs_leased; Type: INDEX; Schema: roost; Owner: -
CREATE INDEX jobs_leased ON roost.jobs USING btree (lease_until, id) WHERE (lease_until IS NOT NULL);
-- Name: jobs_live_run; Type: INDEX; Schema: roost; Owner: -
CREATE UNIQUE INDEX jobs_live_run ON roost.jobs USING btree (kind, run_key) WHERE (run_key IS NOT NULL);
-- Name: jobs_nonce; Type: INDEX; Schema: roost; Owner: -
CREATE INDEX jobs_nonce ON roost.jobs USING btree (nonce) WHERE (nonce IS NOT NULL);
-- Name: jobs_reserved; Type: INDEX; Schema: roost; Owner: -
CREATE INDEX jobs_reserved ON roost.jobs USING btree (reserved_until) WHERE (reserved_until IS NOT NULL);
-- Name: jobs_waiting; Type: INDEX; Schema: roost; Owner: -
CREATE INDEX jobs_waiting ON roost.jobs USING btree (rank, id) WHERE (state = 'waiting'::text);
-- Name: jobs_waiting_deadline; Type: INDEX; Schema: roost; Owner: -
CREATE INDEX jobs_waiting_deadline ON roost.jobs USING btree (deadline) WHERE ((lease_until IS NULL) AND (finished_at IS NULL));
-- Name: waiters_created; Type: INDEX; Schema: roost; Owner: -
CREATE INDEX waiters_created ON roost.waiters USING btree (created_at);
-- Name: waiters_detached; Type: INDEX; Schema: roost; Owner: -
CREATE INDEX waiters_detached ON roost.waiters USING btree (detached_at) WHERE (detached_at IS NOT NULL);
-- Name: waiters_job; Type: INDEX; Schema: roost; Owner: -
CREATE INDEX waiters_job ON roost.waiters USING btree (job) WHERE (job IS NOT NULL);
-- Name: waiters_open; Type: INDEX; Schema: roost; Owner: -
CREATE INDEX waiters_open ON roost.waiters USING btree (gateway) WHERE (state <> 'acked'::text);
-- Name: waiters_open_of_client; Type: INDEX; Schema: roost; Owner: -
CREATE INDEX waiters_open_of_client ON roost.waiters USING btree (client) WHERE is_open;
-- PostgreSQL database dump complete
