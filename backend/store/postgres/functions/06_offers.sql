-- Offers: what each of them is, looked at together. They are written with the grants: see acquire.

-- new: a job is to be added; same: it shares the one that an offer before it adds; join: it shares the job (P9); refused:
-- over the client's limit (P10); repeat: known (P3). stale_run is the job that may be joined no longer because it is too
-- old for this offer.
CREATE TYPE looked AS (what text, job bigint, stale_run bigint);

-- Looks at offers none of which has the client of another one, in their order. Their locks are held. `are_concerned` is
-- false when no client of theirs waits for a job, and none of their runs is there or named twice.
CREATE FUNCTION look_at_offers(offers offer[], are_concerned boolean, l limits, m moment) RETURNS looked[]
LANGUAGE plpgsql AS $$
DECLARE
  all_looked looked[];
BEGIN
  SELECT array_agg(CASE
      WHEN known.state <> 'expected' THEN ROW('repeat', NULL, NULL)::looked
      WHEN live.count >= l.live_requests THEN ROW('refused', NULL, NULL)::looked
      WHEN run.id IS NULL THEN ROW('new', NULL, NULL)::looked
      WHEN run.started_at IS NULL OR seconds(m.now - run.started_at) <= o.fresh_s THEN ROW('join', run.id, NULL)::looked
      ELSE ROW('new', NULL, run.id)::looked
    END ORDER BY o.n)
  INTO all_looked
  FROM unnest(offers) WITH ORDINALITY AS o (client, request, gateway, epoch, kind, spec, run_key, fresh_s, max_seconds,
                                            priority, stream, digest, n)
  LEFT JOIN LATERAL (
    SELECT state FROM requests WHERE client = o.client AND request = o.request OFFSET 0) known ON true
  LEFT JOIN LATERAL (
    SELECT id, started_at FROM jobs WHERE are_concerned AND kind = o.kind AND run_key = o.run_key OFFSET 0) run ON true
  CROSS JOIN LATERAL (
    SELECT count(*) FROM (
      SELECT job, state FROM requests WHERE are_concerned AND client = o.client AND is_open OFFSET 0) r
    CROSS JOIN LATERAL (SELECT 1 FROM jobs WHERE id = r.job AND state IN ('waiting', 'running') OFFSET 0) j
    WHERE r.state = 'waiting') live;
  RETURN coalesce(CASE WHEN are_concerned THEN share_new(offers, all_looked) ELSE all_looked END, '{}');
END $$;

-- After an offer that adds a job, later ones for its run share that job: it is younger than any of them may ask.
CREATE FUNCTION share_new(offers offer[], all_looked looked[]) RETURNS looked[] LANGUAGE plpgsql AS $$
DECLARE
  shared looked[];
BEGIN
  SELECT array_agg(CASE WHEN o.what IN ('new', 'join') AND o.is_added_before THEN ROW('same', NULL, NULL)::looked
    ELSE ROW(o.what, o.job, o.stale_run)::looked END ORDER BY o.n)
  INTO shared FROM (
    SELECT n, what, job, stale_run, coalesce(bool_or(what = 'new') OVER (
        PARTITION BY kind, run_key ORDER BY n ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), false) AS is_added_before
    FROM unnest(offers, all_looked) WITH ORDINALITY
      AS u (client, request, gateway, epoch, kind, spec, run_key, fresh_s, max_seconds, priority, stream, digest,
            what, job, stale_run, n)) AS o;
  RETURN shared;
END $$;

-- What is to be told of an offer at once; nothing of one that was taken.
CREATE FUNCTION report_offer(place integer, o offer, what text) RETURNS request_status LANGUAGE plpgsql AS $$
BEGIN
  CASE what
    WHEN 'refused' THEN RETURN ROW(place, o.client, o.request, o.gateway, 'refused', NULL, NULL, NULL, NULL)::request_status;
    WHEN 'repeat' THEN RETURN repeat_offer(place, o);
    ELSE RETURN NULL;
  END CASE;
END $$;

-- A repeated offer starts nothing (P3). Made over a newer connection, it brings the request there (P2). The ending of a
-- request that has ended meanwhile is told again; an id that is used up is told as taken.
CREATE FUNCTION repeat_offer(place integer, o offer) RETURNS request_status LANGUAGE plpgsql AS $$
DECLARE
  known record;
  told request_status := (statuses_of(place, o.client, ARRAY[o.request]))[1];
BEGIN
  SELECT epoch, spec_digest INTO known FROM requests WHERE client = o.client AND request = o.request;
  IF known.spec_digest <> o.digest OR told.state = 'gone' THEN
    IF o.epoch < known.epoch THEN RETURN NULL; END IF;
    RETURN ROW(place, o.client, o.request, o.gateway, 'taken', NULL, NULL, NULL, NULL)::request_status;
  END IF;
  IF o.epoch > known.epoch THEN
    PERFORM move_requests(o.client, ARRAY[o.request], o.gateway, o.epoch);
    told.gateway := o.gateway;
  END IF;
  RETURN CASE WHEN told.state <> 'waiting' THEN told END;
END $$;
