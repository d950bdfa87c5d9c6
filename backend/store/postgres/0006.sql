-- After an outage of the store no client is left before its grace has passed anew; a gateway's sign of life is committed
-- before its sweep begins to search. Lock servers of the version before go on: no function's signature changes.

-- The store's time, which never goes back (P30). After a gap in the ticking row nobody loses a lease for one lease (P15).
-- A server's clock that is behind the ticking row was set back, so nobody knows for how long the store was away: that
-- counts as a gap, too. Small steps are left to the time service.
CREATE OR REPLACE FUNCTION look_at_clock(r rules) RETURNS moment LANGUAGE plpgsql AS $$
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

-- Moves the ticking row, and notes where a gap in it ended. When the server's clock was set back, time goes on from where
-- it was; that is looked at first, for it hides the gap.
CREATE OR REPLACE FUNCTION tick_clock(r rules) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  m moment;
BEGIN
  PERFORM 1 FROM clock FOR UPDATE;
  m := look_at_clock(r);
  UPDATE clock SET ahead_s = greatest(ahead_s, ticked_at - server_time()), ticked_at = m.now,
    no_reap_before = m.no_reap_before;
END $$;

-- Whether clients may be left (P15): since the last gap ended, which is one lease before `no_reap_before`, a whole grace
-- has passed, because nobody could come back before; and at least 32 s, in which each gateway had two chances to sweep:
-- TWO_SWEEPS_S in backend/store/port.py.
CREATE FUNCTION may_leave(m moment, r rules) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
  SELECT m.now >= m.no_reap_before - r.lease_s + greatest(r.grace_s, 32)
$$;

-- Notes that the gateway lives. A statement of its own, because a search that takes too long is rolled back as a whole.
-- `sweep` notes it again, for lock servers of the version before.
CREATE FUNCTION beat_gateway(sender text, r rules) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  m moment := look_at_clock(r);
BEGIN
  INSERT INTO gateways AS g (incarnation, beat_at) VALUES (sender, m.now)
    ON CONFLICT (incarnation) DO UPDATE SET beat_at = greatest(g.beat_at, m.now);
END $$;

-- Who was away for longer than their grace leaves their unfinished requests (P26); each is looked at once. Returns how
-- many were looked at, `many` at most.
CREATE OR REPLACE FUNCTION leave_detached(many integer, r rules) RETURNS integer LANGUAGE plpgsql AS $$
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

-- Clients of gateways that died are away since its last beat. A dead one is looked at until nothing is left to do, and
-- then every `again_s`, for offers that come late.
CREATE OR REPLACE FUNCTION leave_dead_gateways(many integer, again_s double precision, r rules) RETURNS integer
LANGUAGE plpgsql AS $$
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
