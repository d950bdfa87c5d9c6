"""The version that every component reports."""

from __future__ import annotations

from importlib.metadata import version

VERSION = version("roost")
