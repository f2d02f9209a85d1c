"""The numbers that workers share: summed, kept over a worker's end, and read by the gateway after a killed one."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tools.serving.board import Board
from tools.serving.metrics import LOG_ADDED, LOG_WRITTEN, PID, SERVING, SPLIT, Layout, Metrics


def shown(metrics: Metrics) -> dict[str, float]:
    """What /metrics says."""
    lines = (line for line in metrics.render().splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_counters_are_summed_and_stay_when_a_worker_ends(tmp_path: Path) -> None:
    layout = Layout(["spend"])
    board = Board(tmp_path, "M", layout.names, 2)
    first, second = Metrics(layout, board.rows, 0), Metrics(layout, board.rows, 1)
    for metrics, split in ((first, 7), (second, 6)):
        metrics[SERVING], metrics[SPLIT] = 1, split
        metrics.observe("champion", 0.004, failed=False)
        metrics.observe("challenger", 0.3, failed=True)
        metrics.outside("champion", "spend")
        metrics.refused(422)
    first.add(LOG_ADDED, 5)
    first.add(LOG_WRITTEN, 3)
    found = shown(second)
    assert found['guardian_requests_total{variant="champion"}'] == 2
    assert found['guardian_errors_total{variant="challenger"}'] == 2
    assert found['guardian_contract_violations_total{variant="champion",field="spend"}'] == 2
    assert found['guardian_refused_total{status="422"}'] == 2
    assert found['guardian_request_latency_seconds_bucket{variant="champion",le="0.005"}'] == 2
    assert (found[SPLIT], found[SERVING], found["guardian_prediction_log_rows_queued"]) == (6, 2, 2)
    assert first.end() == 2 and first.end() == 0
    found = shown(second)
    assert found['guardian_requests_total{variant="champion"}'] == 2
    assert (found[SERVING], found["guardian_prediction_log_rows_queued"]) == (1, 0)
    assert found["guardian_prediction_log_rows_lost"] == 2


def test_two_gateways_take_two_files_and_the_next_reads_what_was_left(tmp_path: Path) -> None:
    names = Layout().names
    child = os.fork()
    if child == 0:
        for pid in (11.0, 22.0):
            board = Board(tmp_path, "M", names, 1)
            board.rows[0][names.index(PID)] = pid
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    one, two, three = (Board(tmp_path, "M", names, slots) for slots in (1, 2, 1))
    assert one.left and one.rows[0][names.index(PID)] == 11.0
    assert not two.left, "laid out otherwise"
    assert not three.left, "new"
    one.clear()
    assert set(one.rows[0]) == {0.0}
