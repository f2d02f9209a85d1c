"""How far a split is from its share."""

import pytest

from evals.benchmarks.traffic_split import z_of


@pytest.mark.parametrize(("challengers", "z"), [(5_000, 0.0), (5_069, 1.001), (4_931, -1.001)])
def test_standard_errors_from_the_share(challengers: int, z: float) -> None:
    assert z_of(challengers, 100_000, 5.0) == pytest.approx(z, abs=1e-3)
