-- Grants. What masters offer is stored, and jobs are given to their free slots, the most urgent first (P5). Masters that
-- ask in one batch are served in order from one list of candidates, and what comes of it is written at once.

CREATE TYPE reservation AS (job bigint, master text);
-- Jobs in the order in which they are granted, as parallel arrays: the id, null for the job of an offer of this batch; the
-- number of that offer, else 0; whether it needs a closer look; and the master to whom it went, by its number in the
-- batch: null while it is free, 0 when it is out of the question; and when, counted over the batch.
CREATE TYPE candidates AS (jobs bigint[], numbers integer[], are_special boolean[], takers integer[], serials integer[]);

-- Makes acquire decisions; `offers` is all of the batch, and theirs are `first` to `last`. No two of these offers have a
-- client in common, and no two decisions a nonce.
CREATE FUNCTION acquire(
  acquires acquire_command[], offers offer[], c concern, l limits, m moment,
  OUT grants granted[], OUT finished request_status[]
) LANGUAGE plpgsql AS $$
DECLARE
  first integer := acquires[1].first_offer;
  here offer[] := offers[first : acquires[cardinality(acquires)].last_offer];
  all_looked looked[] := look_at_offers(here, NOT c.are_distinct OR c.of_offers <> '{}', l, m);
  found candidates;
BEGIN
  finished := '{}';
  IF NOT all_looked <@ ARRAY[ROW('new', NULL, NULL)::looked] THEN
    finished := report_offers(acquires, here, all_looked);
    UPDATE jobs SET run_key = NULL WHERE id = ANY (ARRAY(SELECT k.stale_run FROM unnest(all_looked) k));
  END IF;
  grants := CASE WHEN c.are_distinct AND c.of_nonces = '{}' THEN '{}' ELSE grants_of_nonces(acquires, m) END;
  found := share_out(acquires, grants, find_candidates(acquires, here, all_looked, l, m), l, m);
  grants := grants || write_acquired(acquires, here, all_looked, found, l, m);
END $$;

CREATE FUNCTION report_offers(acquires acquire_command[], here offer[], all_looked looked[]) RETURNS request_status[]
LANGUAGE plpgsql AS $$
DECLARE
  finished request_status[] := '{}';
  first integer := acquires[1].first_offer;
  a acquire_command;
  told request_status;
BEGIN
  FOREACH a IN ARRAY acquires LOOP
    FOR n IN a.first_offer - first + 1 .. a.last_offer - first + 1 LOOP
      CONTINUE WHEN (all_looked[n]).what IN ('new', 'same', 'join');
      told := report_offer(a.place, here[n], (all_looked[n]).what);
      IF told.state IS NOT NULL THEN finished := finished || told; END IF;
    END LOOP;
  END LOOP;
  RETURN finished;
END $$;

-- What a master was granted by the same nonce, and still has (P8).
CREATE FUNCTION grants_of_nonces(acquires acquire_command[], m moment) RETURNS granted[] LANGUAGE plpgsql AS $$
DECLARE
  grants granted[];
BEGIN
  SELECT array_agg(ROW(a.place, j.id, j.token, j.kind, j.spec, j.attempt, greatest(0, seconds(j.deadline - m.now)))::granted
                   ORDER BY a.place, j.token)
  INTO grants FROM unnest(acquires) a
  CROSS JOIN LATERAL (SELECT * FROM jobs WHERE nonce = a.nonce OFFSET 0) j
  WHERE j.master = a.master AND j.lease_until > m.now;
  RETURN coalesce(grants, '{}');
END $$;

-- Expired leases first, by their end, then waiting jobs and those that the offers here bring, by rank and id (P5).
CREATE FUNCTION find_candidates(acquires acquire_command[], here offer[], all_looked looked[], l limits, m moment)
RETURNS candidates LANGUAGE plpgsql AS $$
DECLARE
  found candidates;
  wanted bigint := (SELECT sum(least(greatest(a.free_slots, 0), 100000)) FROM unnest(acquires) a);
  now_s double precision := extract(epoch FROM m.now);
BEGIN
  SELECT coalesce(array_agg(c.job), '{}'), array_agg(c.number), array_agg(c.is_special),
    array_agg(NULL::integer), array_agg(NULL::integer)
  INTO found FROM (
    SELECT expired.id AS job, 0 AS number, true AS is_special, 0 AS class, extract(epoch FROM lease_until) AS rank
    FROM (SELECT id, lease_until FROM jobs WHERE m.may_reap AND lease_until <= m.now AND not_before <= m.now
          ORDER BY lease_until, id LIMIT wanted FOR UPDATE SKIP LOCKED) AS expired
    UNION ALL
    SELECT id, 0, cancel OR attempt >= least(l.alone_from, l.attempts), 1, rank
    FROM (SELECT id, cancel, attempt, rank FROM jobs WHERE state = 'waiting' AND not_before <= m.now
          ORDER BY rank, id LIMIT wanted FOR UPDATE SKIP LOCKED) AS waiting
    UNION ALL
    SELECT NULL, n, false, 1, now_s - o.priority * l.ageing_s
    FROM unnest(here, all_looked) WITH ORDINALITY
      AS o (client, request, gateway, epoch, kind, spec, run_key, fresh_s, max_seconds, priority, stream, digest,
            what, run, stale_run, n)
    WHERE o.what = 'new' AND wanted > 0
    ORDER BY class, rank, job, number) AS c;
  RETURN found;
END $$;

-- Gives the candidates to the masters, in the order in which they ask. A master looks at no more candidates than it has
-- free slots, and at no offer that came after its own.
CREATE FUNCTION share_out(acquires acquire_command[], repeated granted[], found candidates, l limits, m moment)
RETURNS candidates LANGUAGE plpgsql AS $$
DECLARE
  jobs_in_order bigint[] := found.jobs;
  numbers integer[] := found.numbers;
  are_special boolean[] := found.are_special;
  takers integer[] := found.takers;
  serials integer[] := found.serials;
  held reservation := reserved_job(m);
  first integer := acquires[1].first_offer;
  start integer := 1;        -- all before it are taken
  serial integer := 0;
  a acquire_command;
  last_number integer;
  looks bigint;
  count_given bigint;
  n integer;
  verdict text;
BEGIN
  FOR k IN 1 .. cardinality(acquires) LOOP
    a := acquires[k];
    last_number := a.last_offer - first + 1;
    count_given := CASE WHEN repeated = '{}' THEN 0 ELSE (SELECT count(*) FROM unnest(repeated) g WHERE g.place = a.place) END;
    looks := a.free_slots - count_given;
    CONTINUE WHEN looks <= 0;
    n := start - 1;
    IF held.master = a.master THEN
      CONTINUE WHEN NOT keep_reservation(held.job, a, l, m);
      looks := 1;
      n := array_position(jobs_in_order, held.job);
      IF n IS NULL THEN
        n := cardinality(jobs_in_order) + 1;
        jobs_in_order[n] := held.job; numbers[n] := 0; are_special[n] := true; takers[n] := NULL; serials[n] := NULL;
      END IF;
      takers[n] := NULL;  -- if it was held back just now, it is looked at anew
      n := n - 1;
    END IF;
    WHILE looks > 0 AND n < cardinality(jobs_in_order) LOOP
      n := n + 1;
      IF takers[n] IS NOT NULL THEN
        IF n = start THEN start := start + 1; END IF;
        CONTINUE;
      END IF;
      CONTINUE WHEN numbers[n] > last_number;
      looks := looks - 1;
      verdict := 'grant';
      IF are_special[n] THEN
        verdict := try_candidate(jobs_in_order[n], a, a.running = 0 AND count_given = 0, held.job IS NULL, l, m);
      END IF;
      IF verdict LIKE 'grant%' THEN
        serial := serial + 1;
        takers[n] := k;
        serials[n] := serial;
        count_given := count_given + 1;
        IF jobs_in_order[n] = held.job THEN
          UPDATE jobs SET reserved_master = NULL, reserved_until = NULL WHERE id = held.job;  -- for `reserved_job`
          held := NULL;
        END IF;
        EXIT WHEN verdict = 'grant alone';
      ELSIF verdict = 'reserve' THEN
        held := ROW(jobs_in_order[n], a.master)::reservation;
        EXIT;
      ELSIF verdict = 'gone' THEN
        takers[n] := 0;
        IF jobs_in_order[n] = held.job THEN held := reserved_job(m); END IF;
      END IF;
    END LOOP;
  END LOOP;
  RETURN ROW(jobs_in_order, numbers, are_special, takers, serials)::candidates;
END $$;

-- Whether the job may be granted: `grant`, or `grant alone` when nothing else may run beside it; `no`, not to this master;
-- `reserve`, this master is kept free for it from now on; `gone`: it was ended or is held back (P16).
CREATE FUNCTION try_candidate(candidate bigint, a acquire_command, is_alone boolean, may_reserve boolean, l limits, m moment)
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  job record;
  is_lost boolean;
BEGIN
  SELECT attempt, cancel, lease_until IS NOT NULL AND renewed AS is_lost,
    greatest(coalesce(lease_until, created_at), not_before) AS ready_at
  INTO job FROM jobs WHERE id = candidate;
  job.attempt := job.attempt + job.is_lost::integer;
  IF job.cancel OR job.attempt >= l.attempts THEN
    PERFORM end_jobs(ARRAY[candidate], CASE WHEN job.cancel THEN 'cancelled' ELSE 'failed' END, l, m);
    RETURN 'gone';
  ELSIF job.is_lost AND job.attempt > 1 THEN
    UPDATE jobs SET attempt = job.attempt, renewed = false, not_before = m.now + l.backoff * (job.attempt - 1)
    WHERE id = candidate;
    RETURN 'gone';
  ELSIF job.attempt < l.alone_from THEN
    RETURN 'grant';
  ELSIF is_alone THEN
    RETURN 'grant alone';
  ELSIF may_reserve AND m.now - job.ready_at >= l.alone_wait AND try_reserve_lock() AND (reserved_job(m)).job IS NULL THEN
    UPDATE jobs SET reserved_master = a.master, reserved_until = m.now + l.reserved WHERE id = candidate;
    RETURN 'reserve';
  END IF;
  RETURN 'no';
END $$;

-- The job that a master is kept free for, and that still waits for it; one at a time, so that others go on (P16).
CREATE FUNCTION reserved_job(m moment) RETURNS reservation LANGUAGE plpgsql AS $$
DECLARE
  held reservation;
BEGIN
  SELECT id, reserved_master INTO held FROM (
    SELECT id, reserved_master, state, lease_until FROM jobs WHERE reserved_until > m.now OFFSET 0) AS its
  WHERE state = 'waiting' OR state = 'running' AND lease_until <= m.now
  ORDER BY id LIMIT 1;
  RETURN held;
END $$;

-- The reserved master asks: it stays reserved, and gets the job once it runs nothing. Whether that is now.
CREATE FUNCTION keep_reservation(held bigint, a acquire_command, l limits, m moment) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  PERFORM 1 FROM jobs
  WHERE id = held AND reserved_master = a.master AND (state = 'waiting' OR lease_until <= m.now) FOR UPDATE SKIP LOCKED;
  IF NOT FOUND THEN RETURN false; END IF;
  UPDATE jobs SET reserved_until = m.now + l.reserved WHERE id = held;
  RETURN a.running = 0 AND m.may_reap;
END $$;

-- Writes the offers, with their jobs already granted where they are, and the other grants; a master hears of the most
-- urgent first.
CREATE FUNCTION write_acquired(acquires acquire_command[], here offer[], all_looked looked[], found candidates, l limits, m moment)
RETURNS granted[] LANGUAGE plpgsql AS $$
DECLARE
  grants granted[];
  now_s double precision := extract(epoch FROM m.now);
  takers integer[] := array_fill(NULL::integer, ARRAY[cardinality(here)]);  -- by offer
  serials integer[] := takers;
  tokens bigint[] := ARRAY(  -- in the order of the grants
    SELECT nextval('tokens') FROM generate_series(1, (SELECT max(s) FROM unnest(found.serials) s)));
BEGIN
  FOR n IN 1 .. cardinality(found.jobs) LOOP
    CONTINUE WHEN found.numbers[n] = 0 OR found.takers[n] IS NULL;
    takers[found.numbers[n]] := found.takers[n];
    serials[found.numbers[n]] := found.serials[n];
  END LOOP;
  WITH fresh AS MATERIALIZED (
    SELECT o.*, (acquires[o.taker]).place, (acquires[o.taker]).master, (acquires[o.taker]).nonce,
      CASE o.what WHEN 'new' THEN nextval('job_ids') WHEN 'join' THEN o.run END AS job,
      coalesce(tokens[o.serial], 0) AS token
    FROM unnest(here, all_looked, takers, serials)
      AS o (client, request, gateway, epoch, kind, spec, run_key, fresh_s, max_seconds, priority, stream, digest,
            what, run, stale_run, taker, serial)
    WHERE o.what <> 'repeat'
  ), added AS (
    INSERT INTO jobs (id, run_key, kind, spec, rank, state, token, nonce, master, lease_until, deadline, created_at,
                      started_at)
    SELECT job, run_key, kind, spec, now_s - priority * l.ageing_s,
      CASE WHEN taker IS NULL THEN 'waiting' ELSE 'running' END, token, nonce, master,
      CASE WHEN taker IS NOT NULL THEN m.now + l.lease END, m.now + make_interval(secs => max_seconds), m.now,
      CASE WHEN taker IS NOT NULL THEN m.now END
    FROM fresh WHERE what = 'new'
  ), asked AS (
    INSERT INTO requests AS r (client, request, spec_digest, job, gateway, epoch, state, stream, created_at)
    SELECT client, request, digest,
      CASE what WHEN 'same' THEN max(job) FILTER (WHERE what = 'new') OVER (PARTITION BY kind, run_key) ELSE job END,
      gateway, epoch, CASE what WHEN 'refused' THEN 'refused' ELSE 'waiting' END, stream, m.now
    FROM fresh
    ON CONFLICT (client, request) DO UPDATE SET spec_digest = excluded.spec_digest, job = excluded.job,
      state = excluded.state, stream = excluded.stream,
      gateway = CASE WHEN excluded.epoch > r.epoch THEN excluded.gateway ELSE r.gateway END,
      epoch = greatest(excluded.epoch, r.epoch),
      detached_at = CASE WHEN excluded.epoch > r.epoch THEN NULL ELSE r.detached_at END,
      grace_ended = r.grace_ended AND excluded.epoch <= r.epoch
  ), given AS (
    UPDATE jobs j SET state = 'running', token = tokens[t.serial], nonce = (acquires[t.taker]).nonce,
      master = (acquires[t.taker]).master, lease_until = m.now + l.lease,
      attempt = j.attempt + coalesce(j.renewed AND j.lease_until IS NOT NULL, false)::integer, renewed = false,
      started_at = coalesce(j.started_at, m.now), reserved_master = NULL, reserved_until = NULL
    FROM unnest(found.jobs, found.takers, found.serials) AS t (job, taker, serial)
    CROSS JOIN LATERAL (SELECT ctid AS place_on_disk FROM jobs WHERE id = t.job OFFSET 0) its
    WHERE t.taker > 0 AND t.job IS NOT NULL AND j.ctid = its.place_on_disk
    RETURNING (acquires[t.taker]).place, j.id, j.token, j.kind, j.spec, j.attempt,
      greatest(0, seconds(j.deadline - m.now)) AS remaining_s, t.serial
  )
  SELECT coalesce(array_agg(ROW(place, id, token, kind, spec, attempt, remaining_s)::granted ORDER BY serial), '{}')
  INTO grants FROM (
    SELECT * FROM given
    UNION ALL
    SELECT place, job, token, kind, spec, 0, greatest(0, max_seconds), serial FROM fresh WHERE taker IS NOT NULL) AS g;
  RETURN grants;
END $$;
