-- How jobs end: as their master says, or by the store itself.

-- Completes jobs, each named once and locked. Parts of other tokens than the last go, and all when the ending has none.
-- Each is answered by what the row was before: `ok` also for a repetition, `lost` under another token (P14).
CREATE FUNCTION complete(completes complete_command[], l limits, m moment) RETURNS verdict[] LANGUAGE plpgsql AS $$
DECLARE
  verdicts verdict[];
BEGIN
  WITH done AS (
    UPDATE jobs SET state = c.state, ending = c.ending, run_key = NULL, finished_at = m.now,
      keep_until = m.now + l.retention, nonce = NULL, lease_until = NULL, reserved_master = NULL, reserved_until = NULL
    FROM unnest(completes) c
    CROSS JOIN LATERAL (SELECT ctid AS place_on_disk FROM jobs WHERE id = c.job AND token = c.token OFFSET 0) j
    WHERE jobs.ctid = j.place_on_disk AND (jobs.state = 'running' OR jobs.state = 'waiting' AND c.state <> 'done')
    RETURNING jobs.id, jobs.token, c.has_parts
  ), cleared AS (
    DELETE FROM results USING done
    CROSS JOIN LATERAL (
      SELECT ctid AS place_on_disk FROM results p
      WHERE p.job = done.id AND (p.token <> done.token OR NOT done.has_parts) OFFSET 0) p
    WHERE results.ctid = p.place_on_disk
  )
  SELECT array_agg(ROW(c.place, c.job, CASE
      WHEN j.state IS NULL THEN 'lost' WHEN j.state = 'waiting' AND c.state = 'done' THEN 'released' ELSE 'ok'
    END)::verdict)
  INTO verdicts FROM unnest(completes) c
  LEFT JOIN LATERAL (SELECT state FROM jobs WHERE id = c.job AND token = c.token OFFSET 0) j ON true;
  RETURN coalesce(verdicts, '{}');
END $$;

-- The store ends jobs. A lease that was lost before counts.
CREATE FUNCTION end_jobs(over bigint[], ended text, l limits, m moment) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  UPDATE jobs SET state = ended, ending = NULL, run_key = NULL, finished_at = m.now, keep_until = m.now + l.retention,
    attempt = attempt + coalesce(renewed AND lease_until <= m.now, false)::integer,
    nonce = NULL, lease_until = NULL, reserved_master = NULL, reserved_until = NULL
  WHERE id = ANY (over) AND state IN ('waiting', 'running');
  DELETE FROM results WHERE job = ANY (over);
END $$;

-- A master gives a job back that it has not lost: this costs no attempt (P16).
CREATE FUNCTION release(r release_command) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  UPDATE jobs SET state = 'waiting', nonce = NULL, master = NULL, lease_until = NULL
  WHERE id = r.job AND token = r.token AND state = 'running';
END $$;
