-- A batch of decisions is one call of `decide`, which answers each as if they were made in order.

CREATE FUNCTION decide(
  acquires acquire_command[], offers offer[], completes complete_command[], releases release_command[],
  requests request_command[], l limits
) RETURNS answers LANGUAGE plpgsql AS $$
DECLARE
  c concern := lock_batch(acquires, offers, completes, releases, requests, look_at_clock(l));
  m moment := look_at_clock(l);
  a answers := ROW('{}', '{}', '{}', '{}', '{}')::answers;
  free complete_command[] := '{}';
  done integer := 0;         -- of the acquire decisions
  given record;
  step record;
BEGIN
  IF cardinality(completes) > 0 THEN
    free := free_completes(completes, c, cardinality(acquires) > 0, m);
    a.verdicts := complete(free, l, m);
  END IF;
  IF cardinality(free) < cardinality(completes) OR cardinality(releases) > 0 OR cardinality(requests) > 0 THEN
    FOR step IN SELECT * FROM other_steps(acquires, offers, completes, releases, requests, free, m) LOOP
      IF step.acquires_before > done THEN
        given := acquire_in_turns(acquires[done + 1 : step.acquires_before], offers, c, l, m);
        a.granted := a.granted || given.grants;
        a.finished := a.finished || given.finished;
        done := step.acquires_before;
      END IF;
      CASE step.what
        WHEN 'complete' THEN a.verdicts := a.verdicts || complete(completes[step.n : step.n], l, m);
        WHEN 'release' THEN PERFORM release(releases[step.n]);
        WHEN 'attach' THEN a.statuses := a.statuses || attach(requests[step.n], m);
        WHEN 'detach' THEN PERFORM detach(requests[step.n], m);
        ELSE a.statuses := a.statuses || settle(requests[step.n], l, m);
      END CASE;
    END LOOP;
  END IF;
  IF done < cardinality(acquires) THEN
    given := acquire_in_turns(acquires[done + 1 :], offers, c, l, m);
    a.granted := a.granted || given.grants;
    a.finished := a.finished || given.finished;
  END IF;
  a.watchers := watchers_of(ARRAY(
    SELECT g.job FROM unnest(a.granted) g
    UNION SELECT v.job FROM unnest(a.verdicts) v WHERE v.verdict = 'ok'));
  RETURN a;
END $$;

-- Completions that nothing else in the batch concerns: they are made first, all at once.
CREATE FUNCTION free_completes(completes complete_command[], c concern, are_acquired boolean, m moment)
RETURNS complete_command[] LANGUAGE plpgsql AS $$
DECLARE
  free complete_command[];
BEGIN
  SELECT coalesce(array_agg(ROW(u.place, u.job, u.token, u.state, u.ending, u.has_parts)::complete_command), '{}') INTO free
  FROM (SELECT *, count(*) OVER (PARTITION BY job) AS count FROM unnest(completes)) u
  WHERE u.count = 1 AND u.job <> ALL (c.jobs)
    AND NOT (are_acquired AND coalesce(c.first_grantable_at <= m.now, false) AND EXISTS (
      SELECT 1 FROM jobs WHERE id = u.job AND (state = 'waiting' OR m.may_reap AND lease_until <= m.now) OFFSET 0));
  RETURN free;
END $$;

-- The decisions that are neither acquire nor free, in order; and how many acquire decisions must be made before each: all
-- that came before it where one could see what the other did, otherwise none.
CREATE FUNCTION other_steps(
  acquires acquire_command[], offers offer[], completes complete_command[], releases release_command[],
  requests request_command[], free complete_command[], m moment
) RETURNS TABLE (what text, n integer, acquires_before integer) LANGUAGE plpgsql AS $$
BEGIN
  RETURN QUERY
    SELECT s.what, s.n::integer,
      CASE WHEN s.is_bound THEN (SELECT count(*)::integer FROM unnest(acquires) a WHERE a.place < s.place) ELSE 0 END
    FROM (
      SELECT 'complete' AS what, u.n, u.place, true AS is_bound
      FROM unnest(completes) WITH ORDINALITY u (place, job, token, state, ending, has_parts, n)
      WHERE u.place <> ALL (ARRAY(SELECT f.place FROM unnest(free) f))
      UNION ALL
      SELECT 'release', u.n, u.place, true FROM unnest(releases) WITH ORDINALITY u (place, job, token, n)
      UNION ALL
      SELECT u.what, u.n, u.place, acquires <> '{}' AND (
        u.clients && ARRAY(SELECT o.client FROM unnest(offers) o)
        OR u.what <> 'detach' AND EXISTS (
          SELECT 1 FROM (SELECT job FROM requests WHERE client = u.clients[1] AND request = ANY (u.requests) OFFSET 0) r
          CROSS JOIN LATERAL (SELECT * FROM jobs WHERE id = r.job OFFSET 0) j
          WHERE j.finished_at IS NULL AND (u.what <> 'attach' OR is_endangered(j, m))))
      FROM unnest(requests) WITH ORDINALITY u (place, what, clients, requests, gateway, epoch, n)
    ) AS s ORDER BY s.place;
END $$;

-- Whether an acquire decision may end the job.
CREATE FUNCTION is_endangered(j jobs, m moment) RETURNS boolean LANGUAGE sql IMMUTABLE AS
'SELECT j.finished_at IS NULL AND (j.cancel OR j.attempt > 0 OR coalesce(j.lease_until <= m.now, false))';

-- Acquire decisions, as many at once as do not depend on one another.
CREATE FUNCTION acquire_in_turns(
  acquires acquire_command[], offers offer[], c concern, l limits, m moment,
  OUT grants granted[], OUT finished request_status[]
) LANGUAGE plpgsql AS $$
DECLARE
  turns record := divide(acquires, offers, c, m);
  given record;
  start integer := 1;
  turn_end integer;
BEGIN
  grants := '{}';
  finished := '{}';
  FOREACH turn_end IN ARRAY turns.ends LOOP
    given := acquire(turns.split[start : turn_end], offers, c, l, m);
    grants := grants || given.grants;
    finished := finished || given.finished;
    start := turn_end + 1;
  END LOOP;
END $$;

-- Divides acquire decisions into turns, each of which may be made at once: up to which decision each goes. A turn has each
-- client and nonce once; where an offer would be the second, its decision is split, and its head grants nothing. When
-- a decision may end a job that a later offer is about, each is a turn of its own.
CREATE FUNCTION divide(
  acquires acquire_command[], offers offer[], c concern, m moment, OUT split acquire_command[], OUT ends integer[]
) LANGUAGE plpgsql AS $$
DECLARE
  earlier integer[] := CASE WHEN NOT c.are_distinct THEN earlier_alike(offers) END;
  is_each_alone boolean := cardinality(acquires) > 1 AND (NOT c.are_distinct OR c.of_offers <> '{}') AND (
    EXISTS (SELECT 1 FROM unnest(acquires) a GROUP BY a.nonce HAVING count(*) > 1)
    OR EXISTS (SELECT 1 FROM unnest(c.of_offers) named (id)
               CROSS JOIN LATERAL (SELECT * FROM jobs WHERE id = named.id OFFSET 0) j WHERE is_endangered(j, m)));
  start_offer integer := acquires[1].first_offer;
  a acquire_command;
  head acquire_command;
BEGIN
  IF earlier IS NULL AND NOT is_each_alone THEN
    split := acquires;
    ends := ARRAY[cardinality(acquires)];
    RETURN;
  END IF;
  split := '{}';
  ends := '{}';
  FOREACH a IN ARRAY acquires LOOP
    IF is_each_alone AND split <> '{}' THEN
      ends := ends || cardinality(split);
      start_offer := a.first_offer;
    END IF;
    FOR n IN a.first_offer .. a.last_offer LOOP
      CONTINUE WHEN earlier IS NULL OR earlier[n] < start_offer;
      head := a;
      head.last_offer := n - 1;
      head.free_slots := 0;
      head.nonce := NULL;
      split := split || head;
      ends := ends || cardinality(split);
      a.first_offer := n;
      start_offer := n;
    END LOOP;
    split := split || a;
  END LOOP;
  ends := ends || cardinality(split);
END $$;

-- For each offer the number of the last one before it that has the same client, or 0; null when none has.
CREATE FUNCTION earlier_alike(offers offer[]) RETURNS integer[] LANGUAGE plpgsql AS $$
DECLARE
  earlier integer[];
BEGIN
  IF cardinality(offers) < 2 THEN RETURN NULL; END IF;
  SELECT array_agg(greatest(alike.of_client, 0) ORDER BY alike.n) INTO earlier
  FROM (
    SELECT n, lag(n) OVER (PARTITION BY client ORDER BY n) AS of_client
    FROM unnest(offers) WITH ORDINALITY AS o (client, request, gateway, epoch, kind, spec, run_key, fresh_s, max_seconds,
                                              priority, stream, digest, n)) AS alike
  HAVING max(alike.of_client) IS NOT NULL;
  RETURN earlier;
END $$;
