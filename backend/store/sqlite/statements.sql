-- The named statements of the SQLite store. :now is the store's time in seconds.

-- Tables, columns and indexes have the names of postgres/tables/0007.sql, which comments on them. A time is a number of
-- seconds since 1970, a boolean is 0 or 1. Only the clock differs: here it counts jobs and tokens too. A column like
-- `is_open`, which lets PostgreSQL choose between two indexes, is not needed.
-- name: schema
CREATE TABLE jobs (
  id              INTEGER PRIMARY KEY,
  run_key         BLOB,
  kind            TEXT NOT NULL,
  spec            BLOB NOT NULL,
  rank            REAL NOT NULL,
  state           TEXT NOT NULL CHECK (state IN ('waiting', 'running', 'done', 'failed', 'cancelled', 'expired')),
  token           INTEGER NOT NULL DEFAULT 0,
  nonce           BLOB,
  master          TEXT,
  lease_until     REAL,
  renewed         INTEGER NOT NULL DEFAULT 0 CHECK (renewed IN (0, 1)),
  level           INTEGER NOT NULL DEFAULT 0,
  progress        BLOB,
  attempt         INTEGER NOT NULL DEFAULT 0,
  not_before      REAL NOT NULL DEFAULT -9e999,
  cancel          INTEGER NOT NULL DEFAULT 0 CHECK (cancel IN (0, 1)),
  deadline        REAL NOT NULL,
  ending          BLOB,
  created_at      REAL NOT NULL,
  started_at      REAL,
  finished_at     REAL,
  keep_until      REAL,
  reserved_master TEXT,
  reserved_until  REAL,
  CONSTRAINT jobs_leased_while_running CHECK ((state = 'running') = (lease_until IS NOT NULL)),
  CONSTRAINT jobs_finished_when_ended CHECK ((state IN ('waiting', 'running')) = (finished_at IS NULL)),
  CONSTRAINT jobs_kept_when_ended CHECK ((finished_at IS NULL) = (keep_until IS NULL)),
  CONSTRAINT jobs_joined_while_live CHECK (run_key IS NULL OR finished_at IS NULL),
  CONSTRAINT jobs_reserved_by_somebody CHECK ((reserved_master IS NULL) = (reserved_until IS NULL))
) STRICT;
CREATE UNIQUE INDEX jobs_live_run ON jobs (kind, run_key) WHERE run_key IS NOT NULL;
CREATE INDEX jobs_waiting ON jobs (rank, id) WHERE state = 'waiting';
CREATE INDEX jobs_leased ON jobs (lease_until, id) WHERE lease_until IS NOT NULL;
CREATE INDEX jobs_nonce ON jobs (nonce) WHERE nonce IS NOT NULL;
CREATE INDEX jobs_waiting_deadline ON jobs (deadline) WHERE lease_until IS NULL AND finished_at IS NULL;
CREATE INDEX jobs_kept ON jobs (keep_until) WHERE keep_until IS NOT NULL;
CREATE INDEX jobs_reserved ON jobs (reserved_until) WHERE reserved_until IS NOT NULL;

CREATE TABLE requests (
  client       BLOB NOT NULL,
  request      TEXT NOT NULL,
  spec_digest  BLOB,
  job          INTEGER,
  gateway      TEXT NOT NULL,
  epoch        INTEGER NOT NULL,
  state        TEXT NOT NULL CHECK (state IN ('expected', 'waiting', 'left', 'refused', 'acked')),
  stream       INTEGER NOT NULL DEFAULT 0 CHECK (stream IN (0, 1)),
  created_at   REAL NOT NULL,
  detached_at  REAL,
  grace_ended  INTEGER NOT NULL DEFAULT 0 CHECK (grace_ended IN (0, 1)),
  unknown_at   REAL,
  PRIMARY KEY (client, request),
  CONSTRAINT requests_have_a_job_while_waiting CHECK (state <> 'waiting' OR job IS NOT NULL),
  CONSTRAINT requests_ended_grace_is_of_detached CHECK (NOT grace_ended OR detached_at IS NOT NULL)
) STRICT, WITHOUT ROWID;
CREATE INDEX requests_of_job ON requests (job) WHERE job IS NOT NULL;
CREATE INDEX requests_open_of_client ON requests (client) WHERE state <> 'acked';
CREATE INDEX requests_open ON requests (gateway) WHERE state <> 'acked';
CREATE INDEX requests_detached ON requests (detached_at) WHERE detached_at IS NOT NULL AND NOT grace_ended;
CREATE INDEX requests_created ON requests (created_at);

CREATE TABLE results (
  job          INTEGER NOT NULL REFERENCES jobs ON DELETE CASCADE,
  token        INTEGER NOT NULL,
  seq          INTEGER NOT NULL,
  data         BLOB NOT NULL,
  PRIMARY KEY (job, token, seq)
) STRICT;

CREATE TABLE gateways (
  incarnation  TEXT PRIMARY KEY,
  seen_at      REAL NOT NULL,
  search_at    REAL NOT NULL DEFAULT -9e999
) STRICT, WITHOUT ROWID;

CREATE TABLE clock (
  single         INTEGER PRIMARY KEY CHECK (single = 1),
  now            REAL NOT NULL,
  ticked_at      REAL NOT NULL,
  no_reap_before REAL NOT NULL,
  last_job       INTEGER NOT NULL,
  last_token     INTEGER NOT NULL
) STRICT;
INSERT INTO clock VALUES (1, 0, 0, 0, 0, 0);

-- name: read_clock
SELECT now, ticked_at, no_reap_before FROM clock;
-- name: move_clock
UPDATE clock SET now = :now;
-- name: tick
UPDATE clock SET now = :now, ticked_at = :now, no_reap_before = :no_reap_before;
-- name: next_token
UPDATE clock SET last_token = last_token + 1 RETURNING last_token;

-- name: find_request
SELECT state, spec_digest, job, gateway, epoch FROM requests WHERE client = :client AND request = :request;
-- name: add_request
INSERT INTO requests (client, request, spec_digest, job, gateway, epoch, state, stream, created_at)
VALUES (:client, :request, :spec_digest, :job, :gateway, :epoch, :state, :stream, :now);
-- name: fill_request
UPDATE requests SET spec_digest = :spec_digest, job = :job, state = :state, stream = :stream
WHERE client = :client AND request = :request;
-- name: move_request
UPDATE requests SET gateway = :gateway, epoch = :epoch, detached_at = NULL, grace_ended = 0
WHERE client = :client AND request = :request AND epoch <= :epoch;
-- name: leave_request
UPDATE requests SET state = :state WHERE client = :client AND request = :request;
-- name: acknowledge
UPDATE requests SET state = :state, detached_at = NULL, grace_ended = 0 WHERE client = :client AND request = :request;
-- name: count_live
SELECT count(*) FROM requests r INDEXED BY requests_open_of_client CROSS JOIN jobs j ON j.id = r.job
WHERE r.client = :client AND r.state <> 'acked' AND r.state = 'waiting' AND j.state IN ('waiting', 'running');
-- name: count_others
SELECT count(*) FROM requests
WHERE job = :job AND state = 'waiting' AND NOT (client = :client AND request = :request);
-- name: watchers
SELECT client, request, gateway, stream FROM requests
WHERE job = :job AND state = 'waiting' AND detached_at IS NULL ORDER BY client, request LIMIT 1000;
-- name: detach
UPDATE requests SET detached_at = :now
WHERE client = :client AND gateway = :gateway AND epoch <= :epoch AND state <> 'acked' AND detached_at IS NULL
  AND (:request IS NULL OR request = :request);

-- name: find_run
SELECT id, started_at FROM jobs WHERE kind = :kind AND run_key = :run_key;
-- name: close_run
UPDATE jobs SET run_key = NULL WHERE id = :job;
-- name: next_job
UPDATE clock SET last_job = last_job + 1 RETURNING last_job;
-- name: add_job
INSERT INTO jobs (id, run_key, kind, spec, rank, state, deadline, created_at)
VALUES (:job, :run_key, :kind, :spec, :rank, 'waiting', :deadline, :now);
-- name: find_job
SELECT state, token, ending, attempt FROM jobs WHERE id = :job;
-- name: granted_by_nonce
SELECT id, token, kind, spec, attempt, deadline FROM jobs
WHERE nonce = :nonce AND master = :master AND lease_until > :now ORDER BY token;
-- name: expired_leases
SELECT id, state, kind, spec, attempt, renewed, cancel, deadline, max(lease_until, not_before) FROM jobs
WHERE lease_until <= :now AND not_before <= :now ORDER BY lease_until, id LIMIT :many;
-- name: waiting_count
SELECT count(*) FROM (SELECT 1 FROM jobs WHERE state = 'waiting' LIMIT :most);
-- name: waiting_jobs
SELECT id, state, kind, spec, attempt, renewed, cancel, deadline, max(created_at, not_before) FROM jobs
WHERE state = 'waiting' AND not_before <= :now ORDER BY rank, id LIMIT :many;
-- name: grant
UPDATE jobs SET state = :state, token = :token, nonce = :nonce, master = :master, lease_until = :lease_until, renewed = 0,
  attempt = :attempt, started_at = coalesce(started_at, :now), reserved_master = NULL, reserved_until = NULL
WHERE id = :job;
-- name: hold_back
UPDATE jobs SET attempt = :attempt, renewed = 0, not_before = :not_before WHERE id = :job;
-- name: release
UPDATE jobs SET state = :state, nonce = NULL, master = NULL, lease_until = NULL
WHERE id = :job AND token = :token AND state = 'running';
-- name: request_cancel
UPDATE jobs SET cancel = 1, run_key = NULL WHERE id = :job;
-- name: end_job
UPDATE jobs SET state = :state, ending = :ending, run_key = NULL, finished_at = :now, keep_until = :keep_until,
  attempt = attempt + (:counts_lease AND renewed AND coalesce(lease_until <= :now, 0)),
  nonce = NULL, lease_until = NULL, reserved_master = NULL, reserved_until = NULL
WHERE id = :job;
-- name: reserved
SELECT reserved_master, id, state, kind, spec, attempt, renewed, cancel, deadline, reserved_until FROM jobs
WHERE reserved_until > :now AND (state = 'waiting' OR lease_until <= :now) ORDER BY id LIMIT 1;
-- name: reserve
UPDATE jobs SET reserved_master = :master, reserved_until = :until WHERE id = :job;
-- name: drop_stale_parts
DELETE FROM results WHERE job = :job AND token IS NOT :token;

-- name: renew
UPDATE jobs SET lease_until = :lease_until, renewed = 1, progress = :progress,
  attempt = CASE WHEN :level > level THEN 0 ELSE attempt END, level = max(level, :level)
WHERE id = :job AND token = :token AND state = 'running' RETURNING cancel;
-- name: put_part
INSERT INTO results (job, token, seq, data)
SELECT id, token, :seq, :data FROM jobs WHERE id = :job AND token = :token AND state = 'running'
ON CONFLICT DO UPDATE SET data = excluded.data;
-- name: read_parts
SELECT data FROM results WHERE job = :job AND token = :token AND seq >= :first ORDER BY seq LIMIT :many;

-- name: kept_until
SELECT keep_until FROM jobs WHERE id = :job AND token = :token;
-- name: keep_read
UPDATE jobs SET keep_until = :keep WHERE id = :job AND token = :token AND keep_until < :keep;

-- name: see_gateway
INSERT INTO gateways (incarnation, seen_at) VALUES (:gateway, :now) ON CONFLICT DO UPDATE SET seen_at = :now;
-- name: add_gateway
INSERT INTO gateways (incarnation, seen_at) VALUES (:gateway, :now) ON CONFLICT DO NOTHING;
-- name: swept
SELECT r.client, r.request, r.state, r.job, j.state, j.token, j.ending, j.attempt
FROM requests r LEFT JOIN jobs j ON j.id = r.job
WHERE r.gateway = :gateway AND r.state <> 'acked' AND r.detached_at IS NULL
  AND (r.state IN ('left', 'refused') OR j.finished_at IS NOT NULL) ORDER BY random() LIMIT :many;
-- name: never_offered
SELECT client, request FROM requests
WHERE gateway = :gateway AND state <> 'acked' AND state = 'expected' AND detached_at IS NULL
  AND coalesce(unknown_at, created_at + :expect_s) <= :now ORDER BY random() LIMIT :many;
-- name: told_unknown
UPDATE requests SET unknown_at = :now + (:now - created_at) WHERE client = :client AND request = :request;

-- name: detached
SELECT client, request, state, job FROM requests
WHERE detached_at <= :before AND NOT grace_ended ORDER BY detached_at LIMIT :many;
-- name: end_grace
UPDATE requests SET grace_ended = 1 WHERE client = :client AND request = :request;
-- name: dead_gateways
SELECT incarnation FROM gateways WHERE seen_at <= :before AND search_at <= :now ORDER BY search_at LIMIT :many;
-- name: unfinished_at
SELECT r.client, r.request, r.state, r.job FROM requests r LEFT JOIN jobs j ON j.id = r.job
WHERE r.gateway = :gateway AND r.state <> 'acked' AND r.state IN ('expected', 'waiting') AND r.detached_at IS NULL
  AND (r.job IS NULL OR j.finished_at IS NULL AND NOT j.cancel) LIMIT :many;
-- name: search_later
UPDATE gateways SET search_at = :search_at WHERE incarnation = :gateway;
-- name: overdue_waiting
SELECT id FROM jobs WHERE deadline <= :now AND lease_until IS NULL AND finished_at IS NULL ORDER BY deadline LIMIT :many;
-- name: overdue_running
SELECT id FROM jobs WHERE lease_until <= :now AND deadline <= :now ORDER BY lease_until LIMIT :many;
-- name: abandoned_jobs
SELECT id FROM jobs WHERE lease_until <= :now AND cancel ORDER BY lease_until LIMIT :many;
-- name: delete_jobs
DELETE FROM jobs WHERE id IN (SELECT id FROM jobs WHERE keep_until <= :now ORDER BY keep_until LIMIT :many);
-- name: delete_requests
DELETE FROM requests WHERE (client, request) IN (
  SELECT r.client, r.request FROM requests r WHERE r.created_at <= :before
    AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.id = r.job) ORDER BY r.created_at LIMIT :many);
-- name: delete_gateways
DELETE FROM gateways WHERE seen_at <= :before
  AND NOT EXISTS (SELECT 1 FROM requests r WHERE r.gateway = gateways.incarnation AND r.state <> 'acked');
