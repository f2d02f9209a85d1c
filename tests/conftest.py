"""Options of the whole suite."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("long")
"""`--hypothesis-profile=long`: tests over sequences of calls run more and longer ones."""
