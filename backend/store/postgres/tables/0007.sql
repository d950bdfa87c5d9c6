-- usable from: 7
-- The tables of 0.2.0; those of 0.1 are converted by from_0_1.sql. Times are the store's (`look_at_clock`), with time zone.
--
-- References that are not declared, and why: `requests.job` outlives its job, which is how a client learns that its outcome
-- was deleted (P28). `requests.gateway` is empty for a request that no gateway has named, and outlives its gateway.

CREATE SEQUENCE job_ids AS bigint;
CREATE SEQUENCE tokens AS bigint;

CREATE TABLE jobs (
  id              bigint PRIMARY KEY DEFAULT nextval('job_ids'),
  run_key         bytea,
  kind            text NOT NULL,
  spec            bytea NOT NULL,
  rank            double precision NOT NULL,
  state           text NOT NULL CHECK (state IN ('waiting', 'running', 'done', 'failed', 'cancelled', 'expired')),
  token           bigint NOT NULL DEFAULT 0,
  nonce           bytea,
  master          text,
  lease_until     timestamptz,
  renewed         boolean NOT NULL DEFAULT false,
  level           bigint NOT NULL DEFAULT 0,
  progress        bytea,
  attempt         integer NOT NULL DEFAULT 0,
  not_before      timestamptz NOT NULL DEFAULT '-infinity',
  cancel          boolean NOT NULL DEFAULT false,
  deadline        timestamptz NOT NULL,
  ending          bytea,
  created_at      timestamptz NOT NULL,
  started_at      timestamptz,
  finished_at     timestamptz,
  keep_until      timestamptz,
  reserved_master text,
  reserved_until  timestamptz,
  CONSTRAINT jobs_leased_while_running CHECK ((state = 'running') = (lease_until IS NOT NULL)),
  CONSTRAINT jobs_finished_when_ended CHECK ((state IN ('waiting', 'running')) = (finished_at IS NULL)),
  CONSTRAINT jobs_kept_when_ended CHECK ((finished_at IS NULL) = (keep_until IS NULL)),
  CONSTRAINT jobs_joined_while_live CHECK (run_key IS NULL OR finished_at IS NULL),
  CONSTRAINT jobs_reserved_by_somebody CHECK ((reserved_master IS NULL) = (reserved_until IS NULL))
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.1);
COMMENT ON TABLE jobs IS 'Jobs: one row from the first offer until the retention of the outcome ends.';
COMMENT ON COLUMN jobs.run_key IS 'Requests with the same kind and run key share the job (P9); null when none may join any more.';
COMMENT ON COLUMN jobs.rank IS 'Seconds since 1970 at creation, less priority times ageing: the smallest is the most urgent (P5).';
COMMENT ON COLUMN jobs.token IS 'The fencing token of the last grant (P14); 0 before the first.';
COMMENT ON COLUMN jobs.nonce IS 'By which a repeated request finds the grant that it had (P8).';
COMMENT ON COLUMN jobs.master IS 'The master that has, or had, the job.';
COMMENT ON COLUMN jobs.renewed IS 'This lease was renewed at least once, so that losing it counts (P16).';
COMMENT ON COLUMN jobs.level IS 'The level that was reached, as the last renewal said.';
COMMENT ON COLUMN jobs.progress IS 'As the last renewal said it, msgpack: [done, known] tasks of the level.';
COMMENT ON COLUMN jobs.attempt IS 'Leases that were lost since a level was finished (P16).';
COMMENT ON COLUMN jobs.not_before IS 'After lost leases, the job is not granted before (P16).';
COMMENT ON COLUMN jobs.cancel IS 'Nobody waits for it: its master is told so with the next renewal.';
COMMENT ON COLUMN jobs.ending IS 'As its master packed it; null when the store ended the job.';
COMMENT ON COLUMN jobs.keep_until IS 'When the outcome may be deleted; reading it extends this (P28).';
COMMENT ON COLUMN jobs.reserved_master IS 'The master that is kept free for this job (P16).';
-- Each condition differs from the others in its words, so that a look-up fits one index only: see lock_batch in locks.sql.
CREATE UNIQUE INDEX jobs_live_run ON jobs (kind, run_key) WHERE run_key IS NOT NULL;
CREATE INDEX jobs_waiting ON jobs (rank, id) WHERE state = 'waiting';
CREATE INDEX jobs_leased ON jobs (lease_until, id) WHERE lease_until IS NOT NULL;
CREATE INDEX jobs_nonce ON jobs (nonce) WHERE nonce IS NOT NULL;
CREATE INDEX jobs_waiting_deadline ON jobs (deadline) WHERE lease_until IS NULL AND finished_at IS NULL;
CREATE INDEX jobs_kept ON jobs (keep_until) WHERE keep_until IS NOT NULL;
CREATE INDEX jobs_reserved ON jobs (reserved_until) WHERE reserved_until IS NOT NULL;

CREATE TABLE requests (
  client       bytea NOT NULL,
  request      text NOT NULL,
  spec_digest  bytea,
  job          bigint,
  gateway      text NOT NULL,
  epoch        bigint NOT NULL,
  state        text NOT NULL CHECK (state IN ('expected', 'waiting', 'left', 'refused', 'acked')),
  stream       boolean NOT NULL DEFAULT false,
  created_at   timestamptz NOT NULL,
  detached_at  timestamptz,
  grace_ended  boolean NOT NULL DEFAULT false,
  unknown_at   timestamptz,
  is_open      boolean GENERATED ALWAYS AS (state <> 'acked') STORED,
  PRIMARY KEY (client, request),
  CONSTRAINT requests_have_a_job_while_waiting CHECK (state <> 'waiting' OR job IS NOT NULL),
  CONSTRAINT requests_ended_grace_is_of_detached CHECK (NOT grace_ended OR detached_at IS NOT NULL)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.1);
COMMENT ON TABLE requests IS 'What clients asked for; a row stays after its end, so that late repetitions start nothing (P3).';
COMMENT ON COLUMN requests.spec_digest IS 'Of kind and specification; null while the offer is expected (P12).';
COMMENT ON COLUMN requests.job IS 'The job that answers it; kept when the job is deleted.';
COMMENT ON COLUMN requests.gateway IS 'The gateway incarnation where the client is, or was last.';
COMMENT ON COLUMN requests.epoch IS 'Of the connection that moved the request last (P2).';
COMMENT ON COLUMN requests.detached_at IS 'Since when its client is not connected; null while it is.';
COMMENT ON COLUMN requests.grace_ended IS 'The end of its client''s grace was processed (P26).';
COMMENT ON COLUMN requests.unknown_at IS 'When to report again that its offer has not come (P12).';
CREATE INDEX requests_of_job ON requests (job) WHERE job IS NOT NULL;
CREATE INDEX requests_open_of_client ON requests (client) WHERE is_open;
CREATE INDEX requests_open ON requests (gateway) WHERE state <> 'acked';
CREATE INDEX requests_detached ON requests (detached_at) WHERE detached_at IS NOT NULL AND NOT grace_ended;
CREATE INDEX requests_created ON requests (created_at);

CREATE TABLE results (
  job          bigint NOT NULL REFERENCES jobs ON DELETE CASCADE,
  token        bigint NOT NULL,
  seq          bigint NOT NULL,
  data         bytea NOT NULL,
  PRIMARY KEY (job, token, seq)
);
ALTER TABLE results ALTER COLUMN data SET STORAGE EXTERNAL;  -- it is compressed already
COMMENT ON TABLE results IS 'Result parts, stored under the token of the grant that produced them (P24).';

CREATE TABLE gateways (
  incarnation  text PRIMARY KEY,
  seen_at      timestamptz NOT NULL,
  search_at    timestamptz NOT NULL DEFAULT '-infinity'
);
COMMENT ON TABLE gateways IS 'One row for each run of a gateway that clients'' requests name (P26).';
COMMENT ON COLUMN gateways.seen_at IS 'When it last polled.';
COMMENT ON COLUMN gateways.search_at IS 'Once it is dead: when to search for its clients'' requests again.';

CREATE TABLE clock (
  single         boolean PRIMARY KEY DEFAULT true CHECK (single),
  ahead          interval NOT NULL DEFAULT '0',
  ticked_at      timestamptz NOT NULL DEFAULT '1970-01-01Z',
  no_reap_before timestamptz NOT NULL DEFAULT '1970-01-01Z'
);
COMMENT ON TABLE clock IS 'The store''s time, which never goes back (P30): one row, moved every second by each lock server.';
COMMENT ON COLUMN clock.ahead IS 'By how much the server''s clock was set back in sum.';
COMMENT ON COLUMN clock.no_reap_before IS 'After a gap in the ticks nobody loses a lease before (P15).';
INSERT INTO clock DEFAULT VALUES;
