-- Requests: what clients are told of them, and what gateways say of them.

-- What a client is told: waiting, gone, left, refused, or how its job ended (P11: looked up, never copied).
CREATE FUNCTION told_state(request_state text, job_state text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE request_state
    WHEN 'expected' THEN 'waiting'
    WHEN 'acked' THEN 'gone'
    WHEN 'waiting' THEN CASE WHEN job_state IS NULL THEN 'gone' WHEN job_state = 'running' THEN 'waiting' ELSE job_state END
    ELSE request_state
  END
$$;

-- The statuses of a client's requests, all of which are stored, in the order of the list.
CREATE FUNCTION statuses_of(place_of integer, whose bytea, ids text[]) RETURNS request_status[] LANGUAGE plpgsql AS $$
DECLARE
  statuses request_status[];
BEGIN
  SELECT array_agg(ROW(place_of, whose, r.request, r.gateway, told_state(r.state, j.state), r.job, j.token, j.ending,
                       j.attempt)::request_status ORDER BY named.n)
  INTO statuses FROM unnest(ids) WITH ORDINALITY AS named (id, n)
  CROSS JOIN LATERAL (SELECT * FROM requests WHERE client = whose AND request = named.id OFFSET 0) r
  LEFT JOIN LATERAL (SELECT state, token, ending, attempt FROM jobs WHERE id = r.job OFFSET 0) j ON true;
  RETURN coalesce(statuses, '{}');
END $$;

-- A connection with an older epoch moves nothing (P2).
CREATE FUNCTION move_requests(whose bytea, ids text[], to_gateway text, to_epoch bigint) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  UPDATE requests SET gateway = to_gateway, epoch = to_epoch, detached_at = NULL, grace_ended = false
  WHERE client = whose AND request = ANY (ids) AND epoch <= to_epoch;
END $$;

-- A client is connected; what it names and is not stored yet is expected (P12).
CREATE FUNCTION attach(q request_command, m moment) RETURNS request_status[] LANGUAGE plpgsql AS $$
BEGIN
  PERFORM move_requests(q.clients[1], q.requests, q.gateway, q.epoch);
  INSERT INTO requests (client, request, gateway, epoch, state, created_at)
    SELECT DISTINCT q.clients[1], named.id, q.gateway, q.epoch, 'expected', m.now FROM unnest(q.requests) AS named (id)
    ON CONFLICT DO NOTHING;
  RETURN statuses_of(q.place, q.clients[1], q.requests);
END $$;

-- Clients are no longer connected; a connection that came later is not concerned (P2).
CREATE FUNCTION detach(q request_command, m moment) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  UPDATE requests SET detached_at = m.now
  FROM unnest(q.clients) AS named (client)
  CROSS JOIN LATERAL (SELECT ctid AS place_on_disk FROM requests WHERE client = named.client AND is_open OFFSET 0) r
  WHERE requests.ctid = r.place_on_disk AND gateway = q.gateway AND epoch <= q.epoch AND detached_at IS NULL
    AND (q.requests IS NULL OR request = ANY (q.requests));
END $$;

-- Acknowledge or leave one request; what is not stored yet gets its row, so that its offer finds it (P12).
CREATE FUNCTION settle(q request_command, l limits, m moment) RETURNS request_status[] LANGUAGE plpgsql AS $$
DECLARE
  whose bytea := q.clients[1];
  which text := q.requests[1];
  is_acknowledged boolean := q.what = 'acknowledge';
  known record;
BEGIN
  SELECT state, job INTO known FROM requests WHERE client = whose AND request = which;
  IF NOT FOUND THEN
    INSERT INTO requests (client, request, gateway, epoch, state, created_at)
    VALUES (whose, which, '', 0, CASE WHEN is_acknowledged THEN 'acked' ELSE 'left' END, m.now);
  ELSE
    PERFORM leave(whose, which, known.state, known.job, l, m);  -- who acknowledges unfinished work gives it up
    IF is_acknowledged THEN
      UPDATE requests SET state = 'acked', detached_at = NULL, grace_ended = false
      WHERE client = whose AND request = which AND state <> 'acked';
    END IF;
  END IF;
  RETURN statuses_of(q.place, whose, q.requests);
END $$;

-- The client gives the request up; a job that nobody else waits for is cancelled, and its ending is the request's. The
-- job's row is locked.
CREATE FUNCTION leave(whose bytea, which text, request_state text, of bigint, l limits, m moment) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  job_state text := (SELECT state FROM jobs WHERE id = of);
BEGIN
  IF request_state NOT IN ('expected', 'waiting') OR job_state NOT IN ('waiting', 'running') THEN RETURN; END IF;
  IF of IS NULL OR EXISTS (
    SELECT 1 FROM (SELECT * FROM requests WHERE job = of OFFSET 0) AS its
    WHERE state = 'waiting' AND (client, request) <> (whose, which))
  THEN
    UPDATE requests SET state = 'left' WHERE client = whose AND request = which;
  ELSIF job_state = 'waiting' THEN
    PERFORM end_jobs(ARRAY[of], 'cancelled', l, m);
  ELSE
    UPDATE jobs SET cancel = true, run_key = NULL WHERE id = of;
  END IF;
END $$;

-- The connected requests that wait for the jobs, 1000 for each at most (P24).
CREATE FUNCTION watchers_of(ids bigint[]) RETURNS watcher[] LANGUAGE plpgsql AS $$
DECLARE
  watchers watcher[];
BEGIN
  SELECT array_agg(ROW(named.id, w.client, w.request, w.gateway, w.stream)::watcher) INTO watchers
  FROM unnest(ids) AS named (id) CROSS JOIN LATERAL (
    SELECT client, request, gateway, stream FROM (SELECT * FROM requests WHERE job = named.id OFFSET 0) AS its
    WHERE state = 'waiting' AND detached_at IS NULL
    ORDER BY client, request LIMIT 1000) w;
  RETURN coalesce(watchers, '{}');
END $$;
