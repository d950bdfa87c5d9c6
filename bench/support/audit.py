"""Checks jobs in the store: a trigger records every change of a job's token and state."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from bench.support.services import Postgres

LIVE = ("waiting", "running")

TABLE = """
CREATE SCHEMA audit;
CREATE TABLE audit.moves (
  number bigserial PRIMARY KEY, at double precision, job bigint, token_before bigint, token bigint,
  state_before text, state text, master text);
CREATE FUNCTION audit.note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO audit.moves (at, job, token_before, token, state_before, state, master)
  VALUES (extract(epoch FROM clock_timestamp()), NEW.id, OLD.token, NEW.token, OLD.state, NEW.state, NEW.master);
  RETURN NULL;
END $$;
CREATE FUNCTION audit.note_new() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO audit.moves (at, job, token_before, token, state_before, state, master)
  VALUES (extract(epoch FROM clock_timestamp()), NEW.id, 0, NEW.token, '', NEW.state, NEW.master);
  RETURN NULL;
END $$;
CREATE TRIGGER changed AFTER UPDATE ON roost.jobs FOR EACH ROW
  WHEN (OLD.token IS DISTINCT FROM NEW.token OR OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION audit.note();
CREATE TRIGGER added AFTER INSERT ON roost.jobs FOR EACH ROW EXECUTE FUNCTION audit.note_new();
"""

QUESTION = """
WITH asked AS (SELECT * FROM roost.requests WHERE {which}),
     mine AS (SELECT DISTINCT job FROM asked WHERE job IS NOT NULL)
SELECT json_build_object(
  'requests', (SELECT coalesce(json_object_agg(request, state), '{{}}') FROM asked),
  'jobs', (SELECT coalesce(json_agg(json_build_object('id', id, 'state', state, 'token', token)), '[]')
           FROM roost.jobs JOIN mine ON job = id),
  'moves', (SELECT coalesce(json_agg(m ORDER BY number), '[]') FROM audit.moves m JOIN mine USING (job)),
  'parts', (SELECT coalesce(json_agg(DISTINCT r.job || ':' || r.token), '[]')
            FROM roost.results r JOIN mine USING (job)))
"""


def install(postgres: Postgres, database: str) -> None:
    """Record every change from now on. The store's tables must exist already."""
    postgres.sql(database, TABLE)


@dataclass(frozen=True)
class Account:
    """The store's data about some requests."""

    requests: dict[str, str]
    jobs: list[dict[str, Any]]
    moves: list[dict[str, Any]]
    parts: list[str]

    def unsettled(self, requests: Iterable[str]) -> dict[str, str]:
        """Return requests that are not acknowledged yet, and jobs that are not finished, each with a description."""
        states = {each: self.requests.get(each, "not stored") for each in requests}
        left = {each: f"request {each} is {state}" for each, state in states.items() if state != "acked"}
        return left | {
            f"{job['id']}": f"job {job['id']} is {job['state']}" for job in self.jobs if job["state"] in LIVE
        }

    def violations(self) -> list[str]:
        """Return violated invariants: a token that decreased, two outcomes, a part from a run other than the finished
        one.
        """
        found = []
        for move in self.moves:
            if move["token"] < move["token_before"]:
                found.append(f"job {move['job']}: token {move['token_before']} -> {move['token']}")
            if move["state_before"] not in ("", *LIVE):
                found.append(f"job {move['job']}: {move['state_before']} -> {move['state']}")
        current = {job["id"]: job["token"] for job in self.jobs}
        for part in self.parts:
            job, token = map(int, part.split(":"))
            if token != current[job]:
                found.append(f"job {job}: a part under token {token}, but {current[job]} ended it")
        return found

    def takeovers(self) -> int:
        """Return how many leases were granted beyond the first of each job."""
        grants = sum(move["token"] != move["token_before"] and move["state"] == "running" for move in self.moves)
        return int(grants) - len(self.jobs)


def look(postgres: Postgres, database: str, requests: Iterable[str] | None = None) -> Account:
    """Query these requests, or all. Raises CalledProcessError while the store is unreachable."""
    which = "true" if requests is None else f"request IN ({', '.join(map(repr, requests))})"
    return Account(**json.loads(postgres.sql(database, QUESTION.format(which=which))))
