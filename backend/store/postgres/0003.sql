-- What most batches are full of, done in a few statements for all of them: masters that complete what they run, and new
-- requests that masters with free slots bring along. Only what does not depend on the rest of its batch is done so; the
-- outcome is that of making the decisions one by one, in order.

-- Completes jobs that run under the token and that nothing else in the batch concerns, before the rest.
CREATE FUNCTION complete_many(asks ask[], concerned bigint[], m moment) RETURNS fact[] LANGUAGE plpgsql AS $$
DECLARE
  facts fact[];
BEGIN
  WITH done AS (
    UPDATE jobs j SET state = a.state, ending = a.ending, run_key = NULL, finished_at = m.now, nonce = NULL,
      lease_until = NULL
    FROM (SELECT *, count(*) OVER (PARTITION BY u.job) AS count FROM unnest(asks) u WHERE u.what = 'Complete') a
    WHERE j.id = a.job AND j.token = a.token AND j.state = 'running' AND a.count = 1
      AND j.lease_until > m.now AND j.id <> ALL (concerned)
    RETURNING a.place, j.id, j.token, a.has_parts
  ), cleared AS (
    DELETE FROM results p USING done WHERE p.job = done.id AND (p.token <> done.token OR NOT done.has_parts)
  )
  SELECT coalesce(array_agg(ROW(place, 'verdict', id, NULL, 'ok', NULL, NULL,
                                NULL, NULL, NULL, NULL, NULL, NULL, NULL)::fact), '{}')
  INTO facts FROM done;
  RETURN facts;
END $$;

-- Whether each master that acquires is granted just what it offers: no other job could be granted or becomes so in this
-- batch, there is a slot for each offer, and every offer is a new request, of a client with no other, for a new run.
CREATE FUNCTION may_acquire_at_once(asks ask[], offers offer[], concerned bigint[], r rules, m moment) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
  RETURN r.live_requests > 0
    AND NOT EXISTS (SELECT 1 FROM jobs WHERE state = 'waiting' LIMIT 1)
    AND NOT EXISTS (SELECT 1 FROM jobs WHERE state = 'running' AND lease_until <= m.now LIMIT 1)
    AND NOT EXISTS (
      SELECT 1 FROM unnest(asks) a WHERE a.what = 'Release' OR a.slots <= a.last_offer - a.first_offer)
    AND (SELECT count(DISTINCT (o.kind, o.run_key)) = count(*) AND count(DISTINCT o.client) = count(*)
         FROM unnest(offers) o)
    AND (SELECT count(DISTINCT a.nonce) = count(a.nonce) FROM unnest(asks) a)
    AND NOT EXISTS (SELECT 1 FROM unnest(asks) a JOIN jobs j ON j.nonce = a.nonce AND j.state = 'running')
    AND NOT EXISTS (SELECT 1 FROM unnest(offers) o JOIN jobs j ON j.kind = o.kind AND j.run_key = o.run_key)
    AND NOT EXISTS (SELECT 1 FROM unnest(offers) o JOIN waiters w ON w.client = o.client AND w.request = o.request)
    AND NOT EXISTS (SELECT 1 FROM unnest(offers) o JOIN waiters w ON w.client = o.client AND w.state = 'waiting'
                    JOIN jobs j ON j.id = w.job AND j.state IN ('waiting', 'running'))
    AND NOT EXISTS (SELECT 1 FROM unnest(asks) a JOIN unnest(offers) o ON a.client = o.client OR o.client = ANY (a.clients)
                    WHERE a.what <> 'Acquire');
END $$;

-- Stores the offers and grants each to the master that brought it.
CREATE FUNCTION acquire_many(offers offer[], r rules, m moment) RETURNS fact[] LANGUAGE plpgsql AS $$
DECLARE
  facts fact[];
BEGIN
  WITH fresh AS MATERIALIZED (
    SELECT o.*, m.now - o.priority * r.ageing_s AS rank, nextval('job_ids') AS job, nextval('tokens') AS token
    FROM unnest(offers) o
  ), added AS (
    INSERT INTO jobs (id, run_key, kind, spec, rank, state, token, nonce, owner, lease_until, deadline, created_at, started_at)
    SELECT job, run_key, kind, spec, rank, 'running', token, nonce, master, m.now + r.lease_s, m.now + max_seconds, m.now,
      m.now
    FROM fresh
  ), asked AS (
    INSERT INTO waiters (client, request, spec_digest, job, gateway, epoch, state, stream, created_at)
    SELECT client, request, digest, job, gateway, epoch, 'waiting', stream, m.now FROM fresh
  )
  SELECT coalesce(array_agg(ROW(place, 'grant', job, token, NULL, NULL, 0, NULL, NULL, NULL, NULL, kind, spec,
                                greatest(0, max_seconds))::fact ORDER BY place, rank), '{}')
  INTO facts FROM fresh;
  RETURN facts;
END $$;
