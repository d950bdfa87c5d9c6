-- Decisions. A batch is one call of `decide`. It takes its locks first, in one order for all: clients and run keys
-- (advisory), gateways, jobs by id. What it finds later it takes only if nobody else has it, so it waits for nobody.
--
-- Plans are made once for a connection, often while the tables are empty. So that they are right for large ones too,
-- what is looked up for each of several things is a subquery of its own, LATERAL (... OFFSET 0), which is never
-- rearranged, and asks just for what its index is made for.

-- Whoever adds, moves or ends a request of the client holds this; who adds or joins a run holds that of its key.
CREATE FUNCTION client_lock(client bytea) RETURNS bigint LANGUAGE sql IMMUTABLE AS
$$SELECT hashtextextended(encode(client, 'hex'), 1)$$;
CREATE FUNCTION run_lock(kind text, run_key bytea) RETURNS bigint LANGUAGE sql IMMUTABLE AS
$$SELECT hashtextextended(kind || encode(run_key, 'hex'), 2)$$;

CREATE FUNCTION nonce_lock(nonce bytea) RETURNS bigint LANGUAGE sql IMMUTABLE AS
$$SELECT hashtextextended(encode(nonce, 'hex'), 3)$$;

-- Takes the locks of a batch.
CREATE FUNCTION lock_batch(asks ask[], offers offer[], m moment) RETURNS scope LANGUAGE plpgsql AS $$
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

-- Each decision as if in order, and who waits for the jobs that were granted or ended, as it is after all of them.
CREATE FUNCTION decide(asks ask[], offers offer[], r rules) RETURNS fact[] LANGUAGE plpgsql AS $$
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

-- The connected requests that wait for the job, 1000 at most (P24).
CREATE FUNCTION watchers(of bigint) RETURNS SETOF waiters LANGUAGE sql STABLE AS $$
  SELECT * FROM (SELECT * FROM waiters WHERE job = of OFFSET 0) AS its
  WHERE state = 'waiting' AND detached_at IS NULL
  ORDER BY client, request LIMIT 1000
$$;

-- --- acquire ------------------------------------------------------------------------------------

CREATE FUNCTION acquire(a ask, offers offer[], r rules, m moment) RETURNS fact[] LANGUAGE plpgsql AS $$
DECLARE
  facts fact[] := '{}';
  one fact;
  room bigint := a.slots;
  expired bigint[] := '{}';
  candidate bigint;
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
  END LOOP;
  IF room <= 0 THEN RETURN facts; END IF;
  IF m.may_reap THEN
    expired := ARRAY(SELECT id FROM jobs WHERE lease_until <= m.now AND not_before <= m.now
                     ORDER BY lease_until, id LIMIT room FOR UPDATE SKIP LOCKED);
  END IF;
  FOREACH candidate IN ARRAY expired || ARRAY(
    SELECT id FROM jobs WHERE state = 'waiting' AND not_before <= m.now
    ORDER BY rank, id LIMIT room - cardinality(expired) FOR UPDATE SKIP LOCKED)
  LOOP
    one := try_grant(candidate, a, a.running = 0 AND room = a.slots, r, m);
    CONTINUE WHEN one.what IS NULL;
    facts := facts || one;
    room := room - 1;
    EXIT WHEN one.attempt >= r.alone_from;
  END LOOP;
  RETURN facts;
END $$;

-- What is to be told of the offer at once; nothing of one that was taken.
CREATE FUNCTION store_offer(place integer, o offer, r rules, m moment) RETURNS fact LANGUAGE plpgsql AS $$
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

-- A repeated offer starts nothing (P3). Made over a newer connection, it brings the request there (P2). A request that
-- has ended meanwhile is knocked for again; an id that is used up is answered as taken.
CREATE FUNCTION repeat_offer(place integer, o offer, known waiters) RETURNS fact LANGUAGE plpgsql AS $$
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

-- The run that this offer may share (P9), or a new one.
CREATE FUNCTION join_or_add(o offer, r rules, m moment) RETURNS bigint LANGUAGE plpgsql AS $$
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

-- Grants the job, or ends it, or holds it back (P16).
CREATE FUNCTION try_grant(candidate bigint, a ask, is_alone boolean, r rules, m moment) RETURNS fact
LANGUAGE plpgsql AS $$
DECLARE
  job record;
  is_lost boolean;
BEGIN
  SELECT state, attempt, beaten, cancel INTO job FROM jobs WHERE id = candidate;
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
      lease_until = m.now + r.lease_s, beaten = false, attempt = job.attempt, started_at = coalesce(started_at, m.now)
    WHERE id = candidate;
    RETURN grant_fact(a.place, candidate, m);
  END IF;
  RETURN NULL;
END $$;

CREATE FUNCTION grant_fact(place integer, granted bigint, m moment) RETURNS fact LANGUAGE plpgsql AS $$
DECLARE
  told fact;
BEGIN
  SELECT place, 'grant', id, token, NULL, NULL, attempt, NULL, NULL, NULL, NULL, kind, spec,
    greatest(0, deadline - m.now)
  INTO told FROM jobs WHERE id = granted;
  RETURN told;
END $$;

CREATE FUNCTION knock_fact(place integer, client bytea, request text, gateway text, state text) RETURNS fact
LANGUAGE sql IMMUTABLE AS $$
  SELECT ROW(place, 'knock', 0, 0, state, NULL, NULL, client, request, gateway, NULL, NULL, NULL, NULL)::fact
$$;

-- --- endings ------------------------------------------------------------------------------------

CREATE FUNCTION complete(a ask, m moment) RETURNS fact LANGUAGE plpgsql AS $$
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

-- The job is over; parts of other tokens than the last go, and all when the ending has none.
CREATE FUNCTION end_job(over bigint, ended text, how bytea, has_parts boolean, attempts integer, m moment) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  last_token bigint;
BEGIN
  UPDATE jobs SET state = ended, ending = how, attempt = coalesce(attempts, attempt), run_key = NULL,
    finished_at = m.now, nonce = NULL, lease_until = NULL
  WHERE id = over AND state IN ('waiting', 'running') RETURNING token INTO last_token;
  DELETE FROM results WHERE job = over AND (token <> last_token OR NOT has_parts);
END $$;

-- --- requests -----------------------------------------------------------------------------------

-- What a client is told of its request: waiting, gone, left, refused, or how its job ended.
CREATE FUNCTION status_fact(place integer, request text, row_state text, of bigint) RETURNS fact LANGUAGE plpgsql AS $$
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

CREATE FUNCTION move_waiter(whose bytea, which text, to_gateway text, to_epoch bigint) RETURNS void LANGUAGE sql AS $$
  UPDATE waiters SET gateway = to_gateway, epoch = to_epoch, detached_at = NULL
  WHERE client = whose AND request = which AND epoch <= to_epoch
$$;

CREATE FUNCTION attach(a ask, m moment) RETURNS fact[] LANGUAGE plpgsql AS $$
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

-- Acknowledge or leave; a request that is not stored yet gets its row, so that its offer finds it (P12).
CREATE FUNCTION settle(a ask, m moment) RETURNS fact LANGUAGE plpgsql AS $$
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

-- The client gives the request up; a job that nobody else waits for is cancelled, and its ending is theirs.
CREATE FUNCTION leave(whose bytea, which text, row_state text, of bigint, m moment) RETURNS text LANGUAGE plpgsql AS $$
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
