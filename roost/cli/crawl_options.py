"""The options of ``roost crawl``: their names, help texts and checks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from roost.backend.kinds.crawl.fetch.public_addresses import parse_networks
from roost.backend.kinds.crawl.globs import MAX_GLOBS
from roost.backend.kinds.crawl.operator_options import CrawlOptions
from roost.backend.kinds.crawl.spec import (
    MAX_AGE_S,
    MAX_DEPTH,
    MAX_PAGES,
    checked_globs,
    checked_select,
    start_url,
)
from roost.backend.kinds.crawl.urls import Scope
from roost.export.formats import Format
from roost.wire.codes import ErrorCode
from roost.wire.errors import BadInput

_FOLLOWED = "What is followed"
_WORK = "Who does the work"
_WRITTEN = "What is written"

_NAMED = re.compile(r"[A-Za-z_][\w-]*=")

Url = Annotated[
    str, typer.Argument(metavar="URL", help="Where to start, such as https://example.org/docs.", show_default=False)
]
Depth = Annotated[
    int,
    typer.Option(
        "--depth",
        "-d",
        min=0,
        max=MAX_DEPTH,
        envvar="ROOST_DEPTH",
        help="How many links away to list; the last level is listed, not fetched.",
        rich_help_panel=_FOLLOWED,
    ),
]
ScopeOption = Annotated[
    Scope,
    typer.Option(
        "--scope",
        envvar="ROOST_SCOPE",
        help="Whose links are followed: the same host's, domain's, or any. All are listed.",
        rich_help_panel=_FOLLOWED,
    ),
]
Include = Annotated[
    list[str] | None,
    typer.Option(
        "--include",
        metavar="GLOB",
        envvar="ROOST_INCLUDE",
        help="Follow only links like this: `/docs/*` for a path, or a whole URL; `*` is any text. May be repeated.",
        rich_help_panel=_FOLLOWED,
    ),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(
        "--exclude",
        metavar="GLOB",
        envvar="ROOST_EXCLUDE",
        help="Follow no links like this, as `*.pdf` or `*?sort=*`. May be repeated.",
        rich_help_panel=_FOLLOWED,
    ),
]
Sitemaps = Annotated[
    bool,
    typer.Option(
        "--sitemaps",
        envvar="ROOST_SITEMAPS",
        help="Also start from the pages in the site's sitemaps: those named in robots.txt, and /sitemap.xml.",
        rich_help_panel=_FOLLOWED,
    ),
]
MaxPages = Annotated[
    int | None,
    typer.Option(
        "--max-pages",
        min=1,
        max=MAX_PAGES,
        envvar="ROOST_MAX_PAGES",
        help="Fetch at most so many pages.",
        show_default="10000",
        rich_help_panel=_FOLLOWED,
    ),
]
MaxAge = Annotated[
    float | None,
    typer.Option(
        "--max-age",
        min=0,
        max=MAX_AGE_S,
        metavar="SECONDS",
        envvar="ROOST_MAX_AGE",
        help="Greatest age of cached pages; 0 asks the site for every page whether it has changed.",
        show_default="300",
        rich_help_panel=_FOLLOWED,
    ),
]
Detail = Annotated[
    bool,
    typer.Option(
        "--detail",
        envvar="ROOST_DETAIL",
        help="Add to each fetched page its status, the page that links to it, type, size, time, where it redirects "
        "and its canonical URL.",
        rich_help_panel=_WRITTEN,
    ),
]
Check = Annotated[
    bool,
    typer.Option(
        "--check",
        envvar="ROOST_CHECK",
        help="Also request the pages of the last level, without reading them, and list broken links and their pages. "
        "Links out of scope are not requested; with --scope any, all are.",
        rich_help_panel=_WRITTEN,
    ),
]
Select = Annotated[
    list[str] | None,
    typer.Option(
        "--select",
        metavar="NAME=CSS",
        envvar="ROOST_SELECT",
        help="Extract from each page the text of what a CSS selector matches, as `title=h1`, or with "
        "`next=a.next::attr(href)` an attribute; may be repeated. Implies --detail.",
        rich_help_panel=_WRITTEN,
    ),
]
AllowPrivate = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-private",
        metavar="CIDR",
        envvar="ROOST_ALLOW_PRIVATE",
        help="Let the crawl reach these private addresses, as 10.0.0.0/8; may be repeated. Not with --server.",
        rich_help_panel=_WORK,
    ),
]
Contact = Annotated[
    str,
    typer.Option(
        "--contact",
        metavar="TEXT",
        envvar="ROOST_CONTACT",
        help="E-mail address or page where the site's operators can reach you, sent with each request. "
        "Not with --server.",
        rich_help_panel=_WORK,
    ),
]
IgnoreRobots = Annotated[
    bool,
    typer.Option(
        "--ignore-robots",
        envvar="ROOST_IGNORE_ROBOTS",
        help="Crawl what robots.txt forbids: for a site of your own. Not with --server.",
        rich_help_panel=_WORK,
    ),
]
Server = Annotated[
    str,
    typer.Option(
        "--server",
        metavar="URL",
        envvar="ROOST_SERVER",
        help="URL of the discovery of a running Roost to use, instead of starting one; several replicas with commas.",
        rich_help_panel=_WORK,
    ),
]
FormatOption = Annotated[
    Format,
    typer.Option(
        "--format",
        "-f",
        metavar="FORMAT",
        envvar="ROOST_FORMAT",
        help="How the result is written: to read (tree, html), as data (json, jsonl, csv), as a graph of the links "
        "(edges, dot, graphml), or as a sitemap.xml.",
        rich_help_panel=_WRITTEN,
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        envvar="ROOST_OUTPUT",
        help="Write to a file, which appears only when it is complete; - is standard output.",
        rich_help_panel=_WRITTEN,
    ),
]
Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose",
        "-v",
        envvar="ROOST_VERBOSE",
        help="Print more about what happens, on standard error.",
        rich_help_panel=_WRITTEN,
    ),
]


def checked_spec(url: str, depth: int, scope: Scope, **others: object) -> dict[str, object]:
    """The crawl's spec, with those of `others` that are not None. Raises BadParameter, before anything is started."""
    try:
        spec: dict[str, object] = {"url": start_url(url), "depth": depth, "scope": str(scope)}
    except BadInput as problem:
        raise typer.BadParameter(problem.message, param_hint="URL") from problem
    return spec | {name: value for name, value in others.items() if value is not None}


def checked_patterns(option: str, patterns: Sequence[str] | None) -> list[str] | None:
    """The patterns of `--include` or `--exclude`, checked; None without any. Raises BadParameter."""
    if not patterns:
        return None
    try:
        if len(patterns) > MAX_GLOBS:
            raise BadInput(ErrorCode.BAD_SPEC, f"give at most {MAX_GLOBS} patterns")
        return list(checked_globs(patterns))
    except BadInput as problem:
        raise typer.BadParameter(problem.message, param_hint=option) from problem


def checked_selections(ctx: typer.Context, written: Sequence[str] | None) -> dict[str, str] | None:
    """The CSS selectors of `--select` by name, checked; None without any. Raises BadParameter."""
    if not written:
        return None
    source = ctx.get_parameter_source("select")
    if source is not None and source.name == "ENVIRONMENT":
        written = _whole(written)
    selections: dict[str, str] = {}
    try:
        for text in written:
            name, equals, css = text.partition("=")
            if not (equals and css.strip()) or name in selections:
                raise BadInput(ErrorCode.BAD_SPEC, f"write NAME=CSS, each name once, as in title=h1, not {text[:100]}")
            selections[name] = css.strip()
        return checked_select(selections)
    except BadInput as problem:
        raise typer.BadParameter(problem.message, param_hint="--select") from problem


def _whole(words: Sequence[str]) -> list[str]:
    """Join the words of a variable that was split at spaces: a word without NAME= belongs to the one before it."""
    whole: list[str] = []
    for word in words:
        if whole and not _NAMED.match(word):
            whole[-1] += " " + word
        else:
            whole.append(word)
    return whole


def refuse_workers_options(ctx: typer.Context) -> None:
    """Raise BadParameter for options that only a running system's workers can apply.

    Environment variables are allowed, because they may be meant for systems that are started here.
    """
    for name in ("allow_private", "contact", "ignore_robots"):
        source = ctx.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            option = "--" + name.replace("_", "-")
            advice = f"with --server its workers decide this, for all their crawls: start them with {option}"
            raise typer.BadParameter(advice, param_hint=option)


def own_options(allow_private: Sequence[str], contact: str, ignore_robots: bool) -> CrawlOptions:
    """Crawl options for the system that is started here. Raises BadParameter."""
    option = "--allow-private"
    try:
        parse_networks(allow_private)
        option = "--contact"
        return CrawlOptions(tuple(allow_private), contact=contact, ignores_robots=ignore_robots)
    except BadInput as problem:
        raise typer.BadParameter(problem.message, param_hint=option) from problem
