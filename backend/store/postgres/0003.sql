-- What most batches are full of, done in a few statements for all of them: masters that complete what they run, and new
-- requests that masters with free slots bring along. Only what does not depend on the rest of its batch is done so; the
-- outcome is that of making the decisions one by one, in order.

CREATE TYPE taker AS (serial integer, place integer, master text, nonce bytea);

-- Completes jobs that run under the token and that nothing else in the batch concerns, before the rest.
CREATE FUNCTION complete_many(asks ask[], s scope, m moment) RETURNS fact[] LANGUAGE plpgsql AS $$
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

-- Whether granting is only sharing out waiting jobs and offers, oldest first: no lease was lost, no nonce is repeated,
-- and every offer is a new request, of a client with no other, for a new run, as urgent as the others.
CREATE FUNCTION are_plain(asks ask[], offers offer[], s scope, r rules, m moment) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  RETURN NOT s.is_known
    AND r.live_requests > 0
    AND EXISTS (SELECT 1 FROM unnest(asks) a WHERE a.what = 'Acquire')
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

-- Shares out waiting jobs and plain offers among the masters in the order in which they ask, and writes it all at once.
-- Null, and nothing done, when one of the waiting jobs needs a closer look.
CREATE FUNCTION acquire_many(asks ask[], offers offer[], s scope, r rules, m moment) RETURNS fact[]
LANGUAGE plpgsql AS $$
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
