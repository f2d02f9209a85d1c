"""Evidence that the challenger, and not the world, is to blame: its events against the champion's over the same time.

An outage hits both variants and raises both rates; the limit alone would blame the challenger. Given that an event
(an error, a slow answer) happens in a slice of time, and the variants fail alike, it is the challenger's with
probability w, the challenger's share of that slice's requests, whatever the rate and however it moves over time. If
its odds are r times as high, with probability wr/(wr+1-w). Hence the likelihood ratio

    E = r^k / prod_i (w_i r + 1 - w_i)^(k_i + c_i)        k_i, c_i: challenger's and champion's events in slice i

mixed over r on a logarithmic grid. Given a slice's counts the split is hypergeometric, which is less spread than the
binomial (Hoeffding 1963, Theorem 4), so the ratio stays an e-value there.

A long clean history must not shield a challenger that breaks late. The process is therefore started anew at every
slice and the starts are averaged with the weights 1/((j+1)(j+2)), which sum to at most one, so that the average is an
e-process too (e-detectors: Shin, Ramdas & Rinaldo 2024).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tools.deploy.rates import Floats, log_e_above

_ODDS = np.array([1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0])


@dataclass(frozen=True)
class Slices:
    """Requests and events of both variants in consecutive slices of time; arrays of one length, oldest first."""

    challenger_n: npt.NDArray[np.int64]
    challenger_k: npt.NDArray[np.int64]
    champion_n: npt.NDArray[np.int64]
    champion_k: npt.NDArray[np.int64]

    @property
    def n(self) -> int:
        """The challenger's requests."""
        return int(self.challenger_n.sum())

    @property
    def k(self) -> int:
        """The challenger's events."""
        return int(self.challenger_k.sum())


def _from_each_start(values: npt.NDArray[np.generic]) -> Floats:
    """Sums of the slices from each one to the last."""
    return np.asarray(values, dtype=np.float64)[::-1].cumsum(axis=0)[::-1]


def log_e_worse(slices: Slices) -> Floats:
    """Evidence, in nats, from each slice to the last, that the challenger's events are more than its share."""
    from scipy.special import logsumexp

    total = slices.challenger_n + slices.champion_n
    share = np.divide(slices.challenger_n, total, out=np.zeros(len(total)), where=total > 0)[:, None]
    events = (slices.challenger_k + slices.champion_k)[:, None]
    step = slices.challenger_k[:, None] * np.log(_ODDS) - events * np.log(share * _ODDS + 1.0 - share)
    return np.asarray(logsumexp(_from_each_start(step), axis=1) - np.log(len(_ODDS)), dtype=np.float64)


def log_e_breach(slices: Slices, limit: float) -> float:
    """Evidence, in nats, that the challenger's rate is beyond `limit` and worse than the champion's, now or lately.

    Where the champion got no request since a start there is nothing to compare with, and the limit decides alone.
    """
    from scipy.special import logsumexp

    if slices.n == 0:
        return 0.0
    above = log_e_above(_from_each_start(slices.challenger_k), _from_each_start(slices.challenger_n), limit)
    compared = _from_each_start(slices.champion_n) > 0
    # "Healthy" is "within the limit, or no worse than the champion"; the smaller of the two is evidence against both.
    evidence = np.where(compared, np.minimum(above, log_e_worse(slices)), above)
    start = np.arange(len(evidence), dtype=np.float64)
    log_weights = -np.log((start + 1.0) * (start + 2.0))
    return float(logsumexp(evidence + log_weights))
