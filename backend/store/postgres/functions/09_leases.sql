-- Leases, parts and polls. A renewal locks its jobs in the order in which a batch does; the others wait for nothing.

-- Renews leases whose token is still the job's (P13); every renewal is answered, with who waits for the job.
CREATE FUNCTION renew(renewals renewal[], l limits)
RETURNS TABLE (place bigint, is_cancelled boolean, client bytea, request text, gateway text, stream boolean)
LANGUAGE plpgsql AS $$
DECLARE
  m moment;
BEGIN
  PERFORM 1 FROM jobs WHERE id IN (SELECT r.job FROM unnest(renewals) r) ORDER BY id FOR UPDATE;
  m := look_at_clock(l);
  UPDATE jobs SET lease_until = m.now + l.lease, renewed = true, progress = r.progress,
    level = greatest(jobs.level, r.level), attempt = CASE WHEN r.level > jobs.level THEN 0 ELSE jobs.attempt END
  FROM (SELECT DISTINCT ON (u.job, u.token) u.* FROM unnest(renewals) u ORDER BY u.job, u.token, u.level DESC) r
  CROSS JOIN LATERAL (
    SELECT ctid AS place_on_disk FROM jobs WHERE id = r.job AND token = r.token AND state = 'running' OFFSET 0) j
  WHERE jobs.ctid = j.place_on_disk;
  RETURN QUERY
    SELECT r.place, j.cancel, w.client, w.request, w.gateway, w.stream
    FROM unnest(renewals) WITH ORDINALITY r (job, token, level, progress, place)
    CROSS JOIN LATERAL (
      SELECT id, cancel FROM jobs WHERE id = r.job AND token = r.token AND state = 'running' OFFSET 0) j
    LEFT JOIN LATERAL unnest(watchers_of(ARRAY[j.id])) w ON true;
END $$;

-- Stores a part under its token, unless the job runs under another one or has ended; whether it is stored.
CREATE FUNCTION put_part(of bigint, under bigint, number bigint, bytes bytea) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO results AS r (job, token, seq, data)
  SELECT id, token, number, bytes FROM (
    SELECT id, token FROM jobs WHERE id = of AND token = under AND state = 'running' FOR SHARE) AS held
  ON CONFLICT (job, token, seq) DO UPDATE SET data = excluded.data;
  RETURN FOUND;
END $$;

-- Parts of a result, which stays a while for the next ones (P28).
CREATE FUNCTION read_parts(of bigint, under bigint, first bigint, many bigint, l limits) RETURNS SETOF bytea
LANGUAGE plpgsql AS $$
DECLARE
  keep timestamptz := (look_at_clock(l)).now + l.read_keeps;
BEGIN
  UPDATE jobs SET keep_until = keep WHERE id = of AND token = under AND keep_until < keep;
  RETURN QUERY SELECT data FROM results WHERE job = of AND token = under AND seq >= first ORDER BY seq LIMIT many;
END $$;

-- Notes that the gateway lives. A statement of its own, because a search that takes too long is rolled back as a whole.
CREATE FUNCTION see_gateway(sender text, l limits) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  m moment := look_at_clock(l);
BEGIN
  INSERT INTO gateways AS g (incarnation, seen_at) VALUES (sender, m.now)
    ON CONFLICT (incarnation) DO UPDATE SET seen_at = greatest(g.seen_at, m.now);
END $$;

-- How the unacknowledged requests of the gateway's connected clients ended, and whose offer has not come (state
-- `unknown`): they are told after a while, then each time their age has doubled (P12).
CREATE FUNCTION sweep(swept text, l limits) RETURNS SETOF request_status LANGUAGE plpgsql AS $$
DECLARE
  m moment := look_at_clock(l);
BEGIN
  RETURN QUERY
    SELECT 0, r.client, r.request, r.gateway, told_state(r.state, j.state), r.job, j.token, j.ending, j.attempt
    FROM (SELECT * FROM requests WHERE gateway = swept AND state <> 'acked' AND detached_at IS NULL OFFSET 0) r
    LEFT JOIN LATERAL (
      SELECT token, state, ending, attempt, finished_at FROM jobs WHERE id = r.job OFFSET 0) j ON true
    WHERE r.state IN ('left', 'refused') OR r.state = 'waiting' AND j.finished_at IS NOT NULL
    ORDER BY random() LIMIT l.ids;
  RETURN QUERY
    WITH told AS (
      UPDATE requests SET unknown_at = m.now + (m.now - created_at)
      WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM requests
        WHERE gateway = swept AND state = 'expected' AND detached_at IS NULL
          AND coalesce(unknown_at, created_at + l.expect) <= m.now
        ORDER BY random() LIMIT l.ids FOR UPDATE SKIP LOCKED))
      RETURNING *)
    SELECT 0, r.client, r.request, r.gateway, 'unknown', NULL::bigint, NULL::bigint, NULL::bytea, NULL::integer
    FROM told r;
END $$;
