-- Locks. A batch takes them first, in one order for all: clients, run keys and nonces (advisory), gateways, jobs by id.
-- What it finds later it takes only if nobody else has it (SKIP LOCKED), so it waits for nobody.
--
-- Plans are made once for a connection, often while the tables are empty. So that they are right for large ones too,
-- what is looked up for each of several things is a subquery of its own, LATERAL (... OFFSET 0), which is never
-- rearranged, and asks just for what its index is made for. Without these fences 5,100 decisions/s instead of 17,200 were
-- made, and what a batch reads grew with what is stored.
--
-- Functions that run statements are in plpgsql, which keeps their plans; one in SQL would be planned anew for each call
-- (126 instead of 30 us for add_gateways), unless it is a mere expression and becomes part of its caller.

-- Keys of advisory locks are pairs: one of these spaces, and a hash or a number. 0x726f6f73 is "roos".
CREATE FUNCTION key_space() RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT x''726f6f73''::integer';
CREATE FUNCTION special_space() RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT x''726f6f74''::integer';

-- Whoever adds, moves or ends a request of the client holds this; who adds or joins a run holds that of its key.
CREATE FUNCTION client_lock(client bytea) RETURNS integer LANGUAGE sql IMMUTABLE AS
$$SELECT hashtext('c' || encode(client, 'hex'))$$;
CREATE FUNCTION run_lock(kind text, run_key bytea) RETURNS integer LANGUAGE sql IMMUTABLE AS
$$SELECT hashtext('r' || kind || encode(run_key, 'hex'))$$;
CREATE FUNCTION nonce_lock(nonce bytea) RETURNS integer LANGUAGE sql IMMUTABLE AS
$$SELECT hashtext('n' || encode(nonce, 'hex'))$$;

-- All locks of keys at once: shared by batches that take single ones, exclusive for a batch of very many, because the
-- server has room for some 6,000 locks.
CREATE FUNCTION lock_keys(keys integer[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF cardinality(keys) <= 1000 THEN
    PERFORM pg_advisory_xact_lock_shared(special_space(), 0);
    PERFORM pg_advisory_xact_lock(key_space(), key) FROM unnest(keys) key;
  ELSE
    PERFORM pg_advisory_xact_lock(special_space(), 0);
  END IF;
END $$;

-- For time, which waits for nobody: false when somebody else holds it.
CREATE FUNCTION try_client_lock(client bytea) RETURNS boolean LANGUAGE sql VOLATILE AS $$
  SELECT pg_try_advisory_xact_lock_shared(special_space(), 0) AND pg_try_advisory_xact_lock(key_space(), client_lock(client))
$$;

-- One master at a time is reserved for a job (P16).
CREATE FUNCTION try_reserve_lock() RETURNS boolean LANGUAGE sql VOLATILE AS
'SELECT pg_try_advisory_xact_lock(special_space(), 1)';

-- What a batch holds, seen once so that the decisions need not look again: the jobs that it concerns beside those that it
-- completes; of those, the ones that an offer's client waits for or that an offer may join; the ones granted by its nonces;
-- whether each client, run and nonce is in it once; and when the first of its jobs may be granted to another master.
CREATE TYPE concern AS (
  jobs bigint[], of_offers bigint[], of_nonces bigint[], are_distinct boolean, first_grantable_at timestamptz
);

CREATE FUNCTION lock_batch(
  acquires acquire_command[], offers offer[], completes complete_command[], releases release_command[],
  requests request_command[], m moment
) RETURNS concern LANGUAGE plpgsql AS $$
DECLARE
  c concern;
  keys integer[] := ARRAY(
    SELECT client_lock(o.client) AS key FROM unnest(offers) o
    UNION SELECT run_lock(o.kind, o.run_key) FROM unnest(offers) o
    UNION SELECT nonce_lock(a.nonce) FROM unnest(acquires) a
    UNION SELECT client_lock(client) FROM unnest(requests) r, unnest(r.clients) client
    ORDER BY key);
BEGIN
  PERFORM lock_keys(keys);
  c.are_distinct := requests = '{}' AND cardinality(keys) = 2 * cardinality(offers) + cardinality(acquires);
  c.of_offers := '{}';
  IF offers <> '{}' OR requests <> '{}' THEN PERFORM add_gateways(offers, requests, m); END IF;
  IF cardinality(offers) > 0 THEN
    c.of_offers := ARRAY(
      SELECT r.job FROM unnest(offers) o
      CROSS JOIN LATERAL (SELECT job, state FROM requests r WHERE client = o.client AND is_open OFFSET 0) r
      WHERE r.state = 'waiting'
      UNION ALL SELECT j.id FROM unnest(offers) o
      CROSS JOIN LATERAL (SELECT id FROM jobs WHERE kind = o.kind AND run_key = o.run_key OFFSET 0) j);
  END IF;
  c.of_nonces := ARRAY(
    SELECT j.id FROM unnest(acquires) a CROSS JOIN LATERAL (SELECT id FROM jobs WHERE nonce = a.nonce OFFSET 0) j);
  c.jobs := c.of_offers || c.of_nonces || ARRAY(SELECT r.job FROM unnest(releases) r);
  IF cardinality(requests) > 0 THEN
    c.jobs := c.jobs || ARRAY(
      SELECT r.job FROM unnest(requests) q
      CROSS JOIN LATERAL (
        SELECT job FROM requests r WHERE client = q.clients[1] AND request = ANY (q.requests) OFFSET 0) r
      WHERE q.what <> 'detach' AND r.job IS NOT NULL);
  END IF;
  SELECT min(coalesce(lease_until, '-infinity')) INTO c.first_grantable_at FROM (
    SELECT lease_until, finished_at FROM jobs
    WHERE id = ANY (c.jobs || ARRAY(SELECT done.job FROM unnest(completes) done))
    ORDER BY id FOR UPDATE) AS held
  WHERE finished_at IS NULL;
  RETURN c;
END $$;

-- A gateway that a request names has a row, so that its death is seen.
CREATE FUNCTION add_gateways(offers offer[], requests request_command[], m moment) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO gateways (incarnation, seen_at)
  SELECT named.gateway, m.now FROM (
    SELECT o.gateway FROM unnest(offers) o UNION SELECT q.gateway FROM unnest(requests) q WHERE q.what = 'attach') AS named
  WHERE NOT EXISTS (SELECT 1 FROM gateways g WHERE g.incarnation = named.gateway)
  ORDER BY named.gateway ON CONFLICT DO NOTHING;
END $$;
