"""A fake of BigQuery in this process; tests are skipped where Google's client, which speaks to it, is not installed."""

from __future__ import annotations

import importlib.util
import uuid

import pytest

INSTALLED = all(importlib.util.find_spec(name) for name in ("google", "google.cloud", "google.cloud.bigquery"))
NEEDS_BIGQUERY = [
    pytest.mark.skipif(not INSTALLED, reason="the extra bigquery is not installed"),
    pytest.mark.timeout(120),
]


def bigquery_url() -> str:
    """The URL of a dataset of a project that is new and empty."""
    return f"bigquery://p{uuid.uuid4().hex[:20]}/shop?location=EU"
