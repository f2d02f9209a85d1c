"""Spark on this machine, for tests; they are skipped where it is not installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tools.systems.spark import SparkWarehouse

INSTALLED = importlib.util.find_spec("pyspark") is not None
NEEDS_SPARK = [
    pytest.mark.skipif(not INSTALLED, reason="the extra spark is not installed"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.timeout(300),
]


def spark_url(folder: Path) -> str:
    """The URL of a warehouse of two threads over a folder of Parquet, its catalog in `folder` too."""
    return f"spark:local[2]?folder={folder / 'files'}&spark.sql.shuffle.partitions=2"


def spark_warehouse(folder: Path) -> SparkWarehouse:
    """An empty warehouse in a folder."""
    from tools.systems.spark import SparkWarehouse

    (folder / "files").mkdir(exist_ok=True)
    return SparkWarehouse(spark_url(folder), folder)
