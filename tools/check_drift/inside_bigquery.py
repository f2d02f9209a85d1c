"""Profiles computed inside BigQuery, by the statements of Snowflake: it has no float32 either."""

from __future__ import annotations

from tools.check_drift.inside_snowflake import SnowflakeSource


class BigQuerySource(SnowflakeSource):
    """The rows of one profile, and the statements that count them. Quartiles are approximate there."""

    _quantile = "approx_quantile"
