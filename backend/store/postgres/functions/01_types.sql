-- What calls are made of, and what they return.

-- The limits of the lock server that calls.
CREATE TYPE limits AS (
  lease interval, retention interval, grace interval, grace_after_outage interval, expect interval, tick_gap interval,
  backoff interval, alone_wait interval, reserved interval, read_keeps interval,
  live_requests bigint, ageing_s double precision, attempts integer, alone_from integer, ids integer
);
CREATE TYPE moment AS (now timestamptz, no_reap_before timestamptz, may_reap boolean);

-- --- decisions, each with its place in the batch -------------------------------------------------

-- Its offers are numbers first_offer to last_offer of the batch.
CREATE TYPE acquire_command AS (
  place integer, master text, nonce bytea, free_slots bigint, running bigint, first_offer integer, last_offer integer
);
CREATE TYPE offer AS (
  client bytea, request text, gateway text, epoch bigint, kind text, spec bytea, run_key bytea,
  fresh_s double precision, max_seconds double precision, priority bigint, stream boolean, digest bytea
);
CREATE TYPE complete_command AS (
  place integer, job bigint, token bigint, state text, ending bytea, has_parts boolean
);
CREATE TYPE release_command AS (place integer, job bigint, token bigint);
-- What a gateway says: attach, detach (requests is null for all of the clients'), acknowledge, leave.
CREATE TYPE request_command AS (
  place integer, what text, clients bytea[], requests text[], gateway text, epoch bigint
);

CREATE TYPE renewal AS (job bigint, token bigint, level bigint, progress bytea);

-- --- answers, each with the place of its decision ------------------------------------------------

CREATE TYPE granted AS (
  place integer, job bigint, token bigint, kind text, spec bytea, attempt integer, remaining_s double precision
);
-- ok, lost, or released: nobody runs it.
CREATE TYPE verdict AS (place integer, job bigint, verdict text);
-- How a request is: state is waiting, gone, left, refused, taken, or how its job ended.
CREATE TYPE request_status AS (
  place integer, client bytea, request text, gateway text, state text, job bigint, token bigint, ending bytea,
  attempt integer
);
-- A connected request that waits for a job that was granted or has ended.
CREATE TYPE watcher AS (job bigint, client bytea, request text, gateway text, stream boolean);
CREATE TYPE answers AS (
  granted granted[], verdicts verdict[], statuses request_status[], finished request_status[], watchers watcher[]
);
