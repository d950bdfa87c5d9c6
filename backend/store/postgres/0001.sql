-- Tables, indexes and the words that calls are made of. Times are the store's, in seconds.

CREATE SEQUENCE job_ids;
CREATE SEQUENCE tokens;

CREATE TABLE jobs (
  id           bigint PRIMARY KEY DEFAULT nextval('job_ids'),
  run_key      bytea,                                 -- null once nobody may join
  kind         text NOT NULL,
  spec         bytea NOT NULL,
  rank         double precision NOT NULL,             -- created_at - priority * ageing: the least is the most urgent
  state        text NOT NULL,
  token        bigint NOT NULL DEFAULT 0,
  nonce        bytea,
  owner        text,
  lease_until  double precision,
  beaten       boolean NOT NULL DEFAULT false,        -- this lease has seen a beat
  level        bigint NOT NULL DEFAULT 0,
  growth       bigint NOT NULL DEFAULT 0,
  progress     bytea,
  attempt      integer NOT NULL DEFAULT 0,
  not_before   double precision NOT NULL DEFAULT 0,
  cancel       boolean NOT NULL DEFAULT false,
  deadline     double precision NOT NULL,
  ending       bytea,                                 -- as its master packed it; null when the store ended the job
  created_at   double precision NOT NULL,
  started_at   double precision,
  finished_at  double precision
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.1);
-- Each condition differs from the others in its words, so that a look-up fits one index only: see 0002.sql.
CREATE UNIQUE INDEX jobs_live_run ON jobs (kind, run_key) WHERE run_key IS NOT NULL;
CREATE INDEX jobs_waiting ON jobs (rank, id) WHERE state = 'waiting';
CREATE INDEX jobs_leased ON jobs (lease_until, id) WHERE lease_until IS NOT NULL;  -- while it runs
CREATE INDEX jobs_nonce ON jobs (nonce) WHERE nonce IS NOT NULL;                   -- likewise
CREATE INDEX jobs_waiting_deadline ON jobs (deadline) WHERE lease_until IS NULL AND finished_at IS NULL;
CREATE INDEX jobs_finished ON jobs (finished_at) WHERE finished_at IS NOT NULL;

CREATE TABLE waiters (
  client       bytea NOT NULL,
  request      text NOT NULL,
  spec_digest  bytea,                                 -- null while expected
  job          bigint,
  gateway      text NOT NULL,
  epoch        bigint NOT NULL,
  state        text NOT NULL,
  stream       boolean NOT NULL DEFAULT false,
  created_at   double precision NOT NULL,
  detached_at  double precision,                      -- infinite once the end of its grace was seen to
  is_open      boolean GENERATED ALWAYS AS (state <> 'acked') STORED,
  PRIMARY KEY (client, request)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.1);
CREATE INDEX waiters_job ON waiters (job) WHERE job IS NOT NULL;
CREATE INDEX waiters_open_of_client ON waiters (client) WHERE is_open;
CREATE INDEX waiters_open ON waiters (gateway) WHERE state <> 'acked';
CREATE INDEX waiters_detached ON waiters (detached_at) WHERE detached_at IS NOT NULL;
CREATE INDEX waiters_created ON waiters (created_at);

CREATE TABLE results (
  job          bigint NOT NULL,
  token        bigint NOT NULL,
  seq          bigint NOT NULL,
  data         bytea NOT NULL,
  PRIMARY KEY (job, token, seq)
);
ALTER TABLE results ALTER COLUMN data SET STORAGE EXTERNAL;  -- it is compressed already

CREATE TABLE gateways (
  incarnation  text PRIMARY KEY,
  beat_at      double precision NOT NULL,
  look_at      double precision NOT NULL DEFAULT 0    -- once it is dead: when to look for its clients again
);

CREATE TABLE clock (
  single         boolean PRIMARY KEY DEFAULT true CHECK (single),
  ahead_s        double precision NOT NULL DEFAULT 0, -- what the server's clock was set back since
  ticked_at      double precision NOT NULL DEFAULT 0,
  no_reap_before double precision NOT NULL DEFAULT 0
);
INSERT INTO clock DEFAULT VALUES;

-- The limits of the program that asks.
CREATE TYPE rules AS (
  lease_s double precision, retention_s double precision, grace_s double precision, expect_s double precision,
  live_requests bigint, ageing_s double precision, attempts integer,
  tick_gap_s double precision, backoff_s double precision, alone_from integer, ids integer
);
CREATE TYPE moment AS (now double precision, no_reap_before double precision, may_reap boolean);

-- What a batch may concern beside the jobs that it completes: jobs; of those, the ones that clients who offer wait for;
-- and whether a run or a grant that is asked for is there already.
CREATE TYPE scope AS (jobs bigint[], awaited bigint[], is_known boolean);

-- A decision; which fields are used is its kind's.
CREATE TYPE ask AS (
  place integer, what text,
  who text,                                           -- a master or a gateway
  nonce bytea, slots bigint, running bigint, first_offer integer, last_offer integer,
  job bigint, token bigint, state text, ending bytea, has_parts boolean,
  client bytea, requests text[], clients bytea[], epoch bigint
);
CREATE TYPE offer AS (
  client bytea, request text, gateway text, epoch bigint, kind text, spec bytea, run_key bytea,
  fresh_s double precision, max_seconds double precision, priority bigint, stream boolean, digest bytea
);
-- A piece of an answer; which fields are used is its word's: grant, verdict, knock, status, refused, watcher.
CREATE TYPE fact AS (
  place integer, what text, job bigint, token bigint, state text, ending bytea, attempt integer,
  client bytea, request text, gateway text, stream boolean, kind text, spec bytea, remaining_s double precision
);

CREATE FUNCTION server_time() RETURNS double precision LANGUAGE sql VOLATILE AS
'SELECT extract(epoch FROM clock_timestamp())::double precision';

-- The store's time, which never goes back (P30); after a gap in the ticking row nobody is reaped for one lease (P15).
CREATE FUNCTION look_at_clock(r rules) RETURNS moment LANGUAGE plpgsql AS $$
DECLARE
  c clock;
  m moment;
BEGIN
  SELECT * INTO c FROM clock;
  m.now := greatest(c.ticked_at, c.ahead_s + server_time());
  m.no_reap_before := CASE WHEN m.now - c.ticked_at > r.tick_gap_s THEN m.now + r.lease_s ELSE c.no_reap_before END;
  m.may_reap := m.now >= m.no_reap_before;
  RETURN m;
END $$;

-- Moves the ticking row. When the server's clock was set back, time goes on from where it was.
CREATE FUNCTION tick_clock(r rules) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  m moment;
BEGIN
  PERFORM 1 FROM clock FOR UPDATE;
  UPDATE clock SET ahead_s = greatest(ahead_s, ticked_at - server_time());
  m := look_at_clock(r);
  UPDATE clock SET ticked_at = m.now, no_reap_before = m.no_reap_before;
END $$;
