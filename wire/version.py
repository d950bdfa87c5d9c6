"""The version that every part reports."""

from __future__ import annotations

from importlib.metadata import version

VERSION = version("roost")
