-- The store's time, which never goes back (P30), and what follows from a gap in the ticking row (P15).

CREATE FUNCTION server_time() RETURNS timestamptz LANGUAGE sql VOLATILE AS 'SELECT clock_timestamp()';

CREATE FUNCTION seconds(i interval) RETURNS double precision LANGUAGE sql IMMUTABLE AS
'SELECT extract(epoch FROM i)::double precision';

-- The time. After a gap in the ticking row nobody loses a lease for one lease. A server's clock that is behind the ticking
-- row was set back, so nobody knows for how long the store was away: that counts as a gap, too. Small steps are left to
-- the time service.
CREATE FUNCTION look_at_clock(l limits) RETURNS moment LANGUAGE plpgsql AS $$
DECLARE
  c clock;
  m moment;
  seen timestamptz;
BEGIN
  SELECT * INTO c FROM clock;
  seen := server_time() + c.ahead;
  m.now := greatest(c.ticked_at, seen);
  m.no_reap_before := CASE WHEN seen BETWEEN c.ticked_at - l.tick_gap AND c.ticked_at + l.tick_gap
    THEN c.no_reap_before ELSE m.now + l.lease END;
  m.may_reap := m.now >= m.no_reap_before;
  RETURN m;
END $$;

-- Whether requests may be left: since the last gap ended, which is one lease before `no_reap_before`, a whole grace has
-- passed, because nobody could come back before.
CREATE FUNCTION may_leave(m moment, l limits) RETURNS boolean LANGUAGE sql IMMUTABLE AS
'SELECT m.now >= m.no_reap_before - l.lease + l.grace_after_outage';

-- Moves the ticking row, and notes where a gap in it ended. When the server's clock was set back, time goes on from where
-- it was; that is looked at first, for it hides the gap.
CREATE FUNCTION tick_clock(l limits) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  m moment;
BEGIN
  PERFORM 1 FROM clock FOR UPDATE;
  m := look_at_clock(l);
  UPDATE clock SET ahead = greatest(ahead, ticked_at - server_time()), ticked_at = m.now,
    no_reap_before = m.no_reap_before;
END $$;
