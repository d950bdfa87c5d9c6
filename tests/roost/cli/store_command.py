"""``roost store`` in this process, and the databases and roles that it is run on."""

from __future__ import annotations

import asyncio
import os
from urllib.parse import urlsplit

from typer.testing import CliRunner, Result

from bench.support import services
from roost.cli.commands import app


async def roost_store(*words: str, url: str, answer: str | None = None) -> Result:
    """Run ``roost store``; `answer` is what is typed."""
    variables: dict[str, str | None] = {name: None for name in os.environ if name.startswith("ROOST_")}
    variables |= {"ROOST_STORE": url, "COLUMNS": "300"}
    return await asyncio.to_thread(CliRunner().invoke, app, ["store", *words], input=answer, env=variables)


def make_role(server: services.Postgres, url: str) -> str:
    """A new role that may log in, and nothing else; its name is that of the database, and so its own."""
    name = f"lock_{database_of(url)}"
    server.sql("postgres", f"CREATE ROLE {name} LOGIN PASSWORD 'private'")
    return name


def database_of(url: str) -> str:
    """The name of the database."""
    return url.rpartition("/")[2]


def url_as(url: str, role: str) -> str:
    """The same database for another user."""
    return url.replace(f"{urlsplit(url).username}:", f"{role}:", 1)
