-- The named statements of the SQLite store. :now is the store's time in seconds.

-- name: schema
CREATE TABLE jobs (
  id           INTEGER PRIMARY KEY,
  run_key      BLOB,                        -- null when no request may join any more
  kind         TEXT NOT NULL,
  spec         BLOB NOT NULL,
  rank         REAL NOT NULL,               -- created_at - priority * ageing; the smallest is the most urgent
  state        TEXT NOT NULL,
  token        INTEGER NOT NULL DEFAULT 0,
  nonce        BLOB,
  owner        TEXT,
  lease_until  REAL,
  beaten       INTEGER NOT NULL DEFAULT 0,  -- this lease was renewed at least once
  level        INTEGER NOT NULL DEFAULT 0,
  growth       INTEGER NOT NULL DEFAULT 0,
  progress     BLOB,
  attempt      INTEGER NOT NULL DEFAULT 0,
  not_before   REAL NOT NULL DEFAULT 0,
  cancel       INTEGER NOT NULL DEFAULT 0,
  deadline     REAL NOT NULL,
  ending       BLOB,
  created_at   REAL NOT NULL,
  started_at   REAL,
  finished_at  REAL
) STRICT;
CREATE UNIQUE INDEX jobs_live_run ON jobs (kind, run_key) WHERE run_key IS NOT NULL;
CREATE INDEX jobs_waiting ON jobs (rank) WHERE state = 'waiting';
CREATE INDEX jobs_leased ON jobs (lease_until) WHERE state = 'running';
CREATE INDEX jobs_nonce ON jobs (nonce) WHERE state = 'running';
CREATE INDEX jobs_live_deadline ON jobs (deadline) WHERE state IN ('waiting', 'running');
CREATE INDEX jobs_finished ON jobs (finished_at) WHERE finished_at IS NOT NULL;

CREATE TABLE waiters (
  client       BLOB NOT NULL,
  request      TEXT NOT NULL,
  spec_digest  BLOB,                        -- null while the offer is expected
  job          INTEGER,
  gateway      TEXT NOT NULL,
  epoch        INTEGER NOT NULL,
  state        TEXT NOT NULL,
  stream       INTEGER NOT NULL DEFAULT 0,
  created_at   REAL NOT NULL,
  detached_at  REAL,                        -- infinite once the end of its grace was processed
  PRIMARY KEY (client, request)
) STRICT, WITHOUT ROWID;
CREATE INDEX waiters_job ON waiters (job) WHERE job IS NOT NULL;
CREATE INDEX waiters_open ON waiters (gateway) WHERE state <> 'acked';
CREATE INDEX waiters_detached ON waiters (detached_at) WHERE detached_at IS NOT NULL AND state <> 'acked';
CREATE INDEX waiters_created ON waiters (created_at);

CREATE TABLE results (
  job          INTEGER NOT NULL,
  token        INTEGER NOT NULL,
  seq          INTEGER NOT NULL,
  data         BLOB NOT NULL,
  PRIMARY KEY (job, token, seq)
) STRICT;

CREATE TABLE gateways (
  incarnation  TEXT PRIMARY KEY,
  beat_at      REAL NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE clock (
  only           INTEGER PRIMARY KEY CHECK (only = 1),
  now            REAL NOT NULL,
  ticked_at      REAL NOT NULL,
  no_reap_before REAL NOT NULL,
  last_token     INTEGER NOT NULL
) STRICT;
INSERT INTO clock VALUES (1, 0, 0, 0, 0);

-- name: schema_2
-- The master that is reserved for a job (P16).
ALTER TABLE jobs ADD COLUMN reserved_by TEXT;
ALTER TABLE jobs ADD COLUMN reserved_until REAL;
CREATE INDEX jobs_reserved ON jobs (reserved_until) WHERE reserved_until IS NOT NULL;
-- When to report the request as unknown again (P12).
ALTER TABLE waiters ADD COLUMN unknown_at REAL;

-- name: read_clock
SELECT now, ticked_at, no_reap_before FROM clock;
-- name: move_clock
UPDATE clock SET now = :now;
-- name: tick
UPDATE clock SET now = :now, ticked_at = :now, no_reap_before = :no_reap_before;
-- name: next_token
UPDATE clock SET last_token = last_token + 1 RETURNING last_token;

-- name: find_waiter
SELECT state, spec_digest, job, gateway, epoch FROM waiters WHERE client = :client AND request = :request;
-- name: add_waiter
INSERT INTO waiters (client, request, spec_digest, job, gateway, epoch, state, stream, created_at)
VALUES (:client, :request, :spec_digest, :job, :gateway, :epoch, :state, :stream, :now);
-- name: fill_waiter
UPDATE waiters SET spec_digest = :spec_digest, job = :job, state = :state, stream = :stream
WHERE client = :client AND request = :request;
-- name: move_waiter
UPDATE waiters SET gateway = :gateway, epoch = :epoch, detached_at = NULL
WHERE client = :client AND request = :request AND epoch <= :epoch;
-- name: set_waiter_state
UPDATE waiters SET state = :state WHERE client = :client AND request = :request;
-- name: count_live
SELECT count(*) FROM waiters w JOIN jobs j ON j.id = w.job
WHERE w.client = :client AND w.state = 'waiting' AND j.state IN ('waiting', 'running');
-- name: count_others
SELECT count(*) FROM waiters
WHERE job = :job AND state = 'waiting' AND NOT (client = :client AND request = :request);
-- name: watchers
SELECT client, request, gateway, stream FROM waiters
WHERE job = :job AND state = 'waiting' AND detached_at IS NULL ORDER BY client, request LIMIT 1000;
-- name: detach
UPDATE waiters SET detached_at = :now
WHERE client = :client AND gateway = :gateway AND epoch <= :epoch AND state <> 'acked' AND detached_at IS NULL
  AND (:request IS NULL OR request = :request);

-- name: find_run
SELECT id, started_at FROM jobs WHERE kind = :kind AND run_key = :run_key;
-- name: close_run
UPDATE jobs SET run_key = NULL WHERE id = :job;
-- name: next_job
UPDATE clock SET last_token = max(last_token, (SELECT coalesce(max(id), 0) FROM jobs)) + 1 RETURNING last_token;
-- name: add_job
INSERT INTO jobs (id, run_key, kind, spec, rank, state, deadline, created_at)
VALUES (:job, :run_key, :kind, :spec, :rank, 'waiting', :deadline, :now);
-- name: find_job
SELECT state, token, ending, cancel FROM jobs WHERE id = :job;
-- name: granted_by_nonce
SELECT id, token, kind, spec, attempt, deadline FROM jobs
WHERE nonce = :nonce AND owner = :master AND state = 'running' AND lease_until > :now ORDER BY token;
-- name: expired_leases
SELECT id, state, kind, spec, attempt, beaten, cancel, deadline, max(lease_until, not_before) FROM jobs
WHERE state = 'running' AND lease_until <= :now AND not_before <= :now ORDER BY lease_until LIMIT :many;
-- name: waiting_count
SELECT count(*) FROM (SELECT 1 FROM jobs WHERE state = 'waiting' LIMIT :most);
-- name: waiting_jobs
SELECT id, state, kind, spec, attempt, beaten, cancel, deadline, max(created_at, not_before) FROM jobs
WHERE state = 'waiting' AND not_before <= :now ORDER BY rank LIMIT :many;
-- name: grant
UPDATE jobs SET state = :state, token = :token, nonce = :nonce, owner = :master, lease_until = :lease_until, beaten = 0,
  reserved_by = NULL, reserved_until = NULL, attempt = :attempt, started_at = coalesce(started_at, :now) WHERE id = :job;
-- name: hold_back
UPDATE jobs SET attempt = :attempt, beaten = 0, not_before = :not_before WHERE id = :job;
-- name: release
UPDATE jobs SET state = :state, nonce = NULL, owner = NULL, lease_until = NULL
WHERE id = :job AND token = :token AND state = 'running';
-- name: request_cancel
UPDATE jobs SET cancel = 1, run_key = NULL WHERE id = :job AND state IN ('waiting', 'running');
-- name: end_job
UPDATE jobs SET state = :state, ending = :ending, run_key = NULL, finished_at = :now, nonce = NULL, lease_until = NULL,
  reserved_by = NULL, reserved_until = NULL WHERE id = :job AND token = :token AND state IN ('waiting', 'running');
-- name: reserved
SELECT reserved_by, id, state, kind, spec, attempt, beaten, cancel, deadline, reserved_until FROM jobs
WHERE reserved_until > :now AND (state = 'waiting' OR state = 'running' AND lease_until <= :now) LIMIT 1;
-- name: reserve
UPDATE jobs SET reserved_by = :master, reserved_until = :until WHERE id = :job;
-- name: drop_stale_parts
DELETE FROM results WHERE job = :job AND token <> :token;

-- name: beat
UPDATE jobs SET lease_until = :lease_until, beaten = 1, growth = max(growth, :growth), progress = :progress,
  attempt = CASE WHEN :level > level THEN 0 ELSE attempt END, level = max(level, :level)
WHERE id = :job AND token = :token AND state = 'running' RETURNING cancel;
-- name: put_part
INSERT INTO results (job, token, seq, data)
SELECT id, token, :seq, :data FROM jobs WHERE id = :job AND token = :token AND state = 'running'
ON CONFLICT DO UPDATE SET data = excluded.data;
-- name: read_parts
SELECT data FROM results WHERE job = :job AND token = :token AND seq >= :first ORDER BY seq LIMIT :many;

-- name: keep_read
UPDATE jobs SET finished_at = :kept_from WHERE id = :job AND finished_at < :kept_from;
-- name: ended_at
SELECT finished_at FROM jobs WHERE id = :job AND token = :token;

-- name: gateway_beat
INSERT INTO gateways VALUES (:gateway, :now) ON CONFLICT DO UPDATE SET beat_at = :now;
-- name: gateway_known
INSERT INTO gateways VALUES (:gateway, :now) ON CONFLICT DO NOTHING;
-- name: swept
SELECT w.client, w.request, w.state, w.job, j.ending FROM waiters w LEFT JOIN jobs j ON j.id = w.job
WHERE w.gateway = :gateway AND w.state <> 'acked' AND w.detached_at IS NULL
  AND (w.state IN ('left', 'refused') OR j.finished_at IS NOT NULL) ORDER BY random() LIMIT :many;
-- name: never_offered
SELECT client, request FROM waiters
WHERE gateway = :gateway AND state = 'expected' AND detached_at IS NULL
  AND coalesce(unknown_at, created_at + :expect_s) <= :now ORDER BY random() LIMIT :many;
-- name: told_unknown
UPDATE waiters SET unknown_at = :now + (:now - created_at) WHERE client = :client AND request = :request;

-- name: gone
SELECT client, request, state, job FROM waiters
WHERE state <> 'acked' AND detached_at <= :before ORDER BY detached_at LIMIT :many;
-- name: grace_is_over
UPDATE waiters SET detached_at = 9e999 WHERE client = :client AND request = :request;
-- name: gone_with_gateway
SELECT w.client, w.request, w.state, w.job FROM gateways g JOIN waiters w ON w.gateway = g.incarnation
WHERE g.beat_at <= :before AND w.state IN ('expected', 'waiting') AND w.detached_at IS NULL AND (w.job IS NULL
  OR EXISTS (SELECT 1 FROM jobs j WHERE j.id = w.job AND j.finished_at IS NULL AND NOT j.cancel)) LIMIT :many;
-- name: overdue_jobs
SELECT id, token, state FROM jobs
WHERE state IN ('waiting', 'running') AND deadline <= :now
  AND (state = 'waiting' OR lease_until <= :now) LIMIT :many;
-- name: abandoned_jobs
SELECT id, token, state FROM jobs
WHERE state = 'running' AND cancel = 1 AND lease_until <= :now LIMIT :many;
-- name: retired_jobs
SELECT id FROM jobs WHERE finished_at <= :before LIMIT :many;
-- name: delete_results
DELETE FROM results WHERE job = :job;
-- name: delete_job
DELETE FROM jobs WHERE id = :job;
-- name: delete_waiters
DELETE FROM waiters WHERE (client, request) IN (
  SELECT w.client, w.request FROM waiters w WHERE w.created_at <= :before
    AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.id = w.job) LIMIT :many);
-- name: delete_gateways
DELETE FROM gateways WHERE beat_at <= :before
  AND NOT EXISTS (SELECT 1 FROM waiters w WHERE w.gateway = gateways.incarnation AND w.state <> 'acked');
