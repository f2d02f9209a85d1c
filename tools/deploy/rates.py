"""Evidence on a Bernoulli rate against a limit: errors, or answers slower than a limit.

Both tests mix the likelihood ratio against the limit p0 over a Beta(a, b) prior truncated at p0, so that each is an
e-process for a composite hypothesis and may be looked at at any time (Robbins 1970; Howard, Ramdas, McAuliffe &
Sekhon 2021, "Time-uniform, nonparametric, nonasymptotic confidence sequences", Ann. Statist. 49; Johari et al. 2022).

With k events among n, H0 "rate <= p0", prior on (p0, 1):

    E = p0^-k (1-p0)^-(n-k) · B(a+k, b+n-k) · S(p0; a+k, b+n-k) / (B(a, b) · S(p0; a, b))

where S is the survival function of the beta distribution; its mirror, H0 "rate >= p0", has the distribution function
in its place. Under H0 each ratio with an alternative beyond p0 is a non-negative supermartingale starting at one.
All in logs; a survival or distribution function that underflows to zero gives no evidence (-inf), never infinite.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

# A prior for "worse" with its mean at five limits: canaries that break, break by factors, and a flatter one
# loses a dozen requests of detection time at 2% against 1%.
_WORSE_MEAN_IN_LIMITS = 5.0
# Jeffreys' prior below the limit: most of its mass is near zero, where a healthy service lives. With it 380 clean
# requests are enough against a limit of 1% at the 5% level.
_WITHIN = (0.5, 0.5)

_MOST_REQUESTS = 10**9


def _log(values: Any) -> Floats:
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(values), dtype=np.float64)


def log_e_above(k: npt.ArrayLike, n: npt.ArrayLike, limit: float) -> Floats:
    """Evidence, in nats, that the rate is above `limit`; elementwise over counts k of n. Reject at log(1/alpha)."""
    from scipy.special import betaincc, betaln

    k, n = np.asarray(k, dtype=np.float64), np.asarray(n, dtype=np.float64)
    mean = min(_WORSE_MEAN_IN_LIMITS * limit, (1.0 + limit) / 2.0)
    a, b = 1.0, 1.0 / mean - 1.0
    ratio = -k * math.log(limit) - (n - k) * math.log1p(-limit)
    posterior = betaln(a + k, b + n - k) + _log(betaincc(a + k, b + n - k, limit))
    prior = betaln(a, b) + _log(betaincc(a, b, limit))
    return np.asarray(ratio + posterior - prior, dtype=np.float64)


def log_e_below(k: npt.ArrayLike, n: npt.ArrayLike, limit: float) -> Floats:
    """Evidence, in nats, that the rate is below `limit`: the mirror of `log_e_above`."""
    from scipy.special import betainc, betaln

    k, n = np.asarray(k, dtype=np.float64), np.asarray(n, dtype=np.float64)
    a, b = _WITHIN
    ratio = -k * math.log(limit) - (n - k) * math.log1p(-limit)
    posterior = betaln(a + k, b + n - k) + _log(betainc(a + k, b + n - k, limit))
    prior = betaln(a, b) + _log(betainc(a, b, limit))
    return np.asarray(ratio + posterior - prior, dtype=np.float64)


def requests_to_pass(k: float, n: float, limit: float, alpha: float) -> int | None:
    """Further requests until `log_e_below` reaches log(1/alpha) if the rate stays k/n; None if it never will."""
    threshold = math.log(1.0 / alpha)
    rate = k / n if n else 0.0
    if rate >= limit:
        return None

    def passes(extra: int) -> bool:
        return float(log_e_below(k + rate * extra, n + extra, limit)) >= threshold

    high = 1
    while not passes(high):
        high *= 2
        if high > _MOST_REQUESTS:
            return None
    low = 0
    while low < high:
        middle = (low + high) // 2
        if passes(middle):
            high = middle
        else:
            low = middle + 1
    return low
