"""What the shop's systems record of a customer: features as functions of hidden state and noise.

Every feature is a monotone transform of a standard normal score, `loadings · latents + √(1 − |loadings|²) · noise`
(a Gaussian copula), so that marginals are set here and dependence comes from the latents alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from evals.simshop.shop import DAY_US, LATENTS, Cohort, Floats, Micros
from evals.simshop.tables import NUMERIC

LOADINGS: Final[dict[str, dict[str, float]]] = {
    "days_since_last_order": {"engagement": -0.80, "momentum": -0.35},
    "orders_30d": {"engagement": 0.60, "value": 0.40},
    "spend_30d": {"value": 0.30},
    "spend_trend_30d": {"momentum": 0.88},
    "avg_order_value": {"value": 0.80, "price_sensitivity": -0.20},
    "price_index": {"price_sensitivity": -0.25},
    "discount_share_90d": {"price_sensitivity": 0.93},
    "cart_abandonment_rate": {"hesitancy": 0.93},
    "sessions_30d": {"engagement": 0.90},
    "login_trend_30d": {"momentum": 0.75, "engagement": 0.40},
    "pages_per_session": {"engagement": 0.35, "hesitancy": 0.45},
    "wishlist_items": {"price_sensitivity": 0.45, "engagement": 0.30},
    "support_tickets_30d": {"support": 0.92},
    "avg_resolution_hours": {"support": 0.90},
    "returns_rate_90d": {"delivery": 0.88},
    "late_deliveries_90d": {"delivery": 0.88},
    "email_open_rate": {"engagement": 0.45, "price_sensitivity": 0.40},
    "loyalty_points": {"value": 0.50, "engagement": 0.40},
    "nps_score": {"support": -0.60, "delivery": -0.35},
    "payment_failures_90d": {"payment": 0.93},
}
EXTRA_NOISE: Final = ("nps_answered", "app_adoption")
NOISES: Final = len(LOADINGS) + len(EXTRA_NOISE)

_MATRIX: Final = np.array(
    [[loading.get(latent, 0.0) for latent in LATENTS] for loading in LOADINGS.values()], dtype=np.float32
)
_OWN: Final = np.sqrt(1 - (_MATRIX * _MATRIX).sum(axis=1, keepdims=True))
_INDEX: Final = {name: i for i, name in enumerate(LOADINGS)}

LAUNCH_SHIFT: Final = {
    "sessions_30d": 0.65, "login_trend_30d": 0.65, "cart_abandonment_rate": -0.70, "pages_per_session": 0.40,
}  # fmt: skip
"""How far the product launch moves each score, in standard deviations."""
PRICE_SHIFT: Final = {"avg_order_value": 0.75, "spend_30d": 0.80, "spend_trend_30d": -0.75, "price_index": 2.6}
"""How far the price change moves each score, in standard deviations."""
APP_ADOPTERS: Final = 0.13
"""Share of web and mobile customers whom the launch brings to the app."""


@dataclass(frozen=True)
class Circumstances:
    """Which causes bear on what is recorded on one day."""

    launched: bool = False
    repriced: bool = False
    mails_reversed: bool = False


def record(
    cohort: Cohort, scored_at: Micros, now: Circumstances
) -> tuple[dict[str, npt.NDArray[Any]], npt.NDArray[np.uint8]]:
    """The cohort's numeric features by name, and its channel codes, as recorded when each customer is scored.

    Counts are int32, `nps_score` is NaN where the customer never answered, everything else is float32 rounded to
    what such systems keep.
    """
    scores = _MATRIX @ cohort.latents + _OWN * cohort.noise[: len(LOADINGS)]
    for applies, shifts in ((now.launched, LAUNCH_SHIFT), (now.repriced, PRICE_SHIFT)):
        for name, shift in shifts.items() if applies else ():
            scores[_INDEX[name]] += np.float32(shift)
    by_name = _marginals(cohort, scores, scored_at)
    if now.mails_reversed:
        by_name["email_open_rate"] = _reversed_ranks(by_name["email_open_rate"])
    channel = cohort.codes["channel"]
    if now.launched:
        adopts = cohort.noise[_extra("app_adoption")] > _upper_quantile(APP_ADOPTERS)
        channel = np.where(adopts, np.uint8(2), channel)
    return {name: by_name[name] for name in NUMERIC}, channel


def _marginals(cohort: Cohort, scores: Floats, scored_at: Micros) -> dict[str, npt.NDArray[Any]]:
    z = dict(zip(LOADINGS, scores, strict=True))
    days_since = np.minimum(np.exp(4.35 + 1.3 * z["days_since_last_order"]), 720).astype(np.int32)
    bought = days_since <= 30
    orders = np.where(bought, 1 + _count(z["orders_30d"], 0.1, 0.9), 0).astype(np.int32)
    size = np.array([0.7, 0.3, 0.0], dtype=np.float32)[cohort.codes["segment"]]
    basket = np.exp(3.8 + size + 0.42 * z["avg_order_value"])
    spend = orders * basket * np.exp(0.25 * z["spend_30d"])
    answered = cohort.noise[_extra("nps_answered")] < _upper_quantile(0.4)
    nps = np.clip(np.rint(7.2 + 2.0 * z["nps_score"]), 0, 10)
    return {
        "days_since_last_order": days_since,
        "orders_30d": orders,
        "spend_30d": _rounded(spend, 2),
        "spend_trend_30d": _rounded(np.clip(0.25 * z["spend_trend_30d"], -1, 2), 4),
        "avg_order_value": _rounded(basket, 2),
        "price_index": _rounded(1.0 + 0.045 * z["price_index"], 4),
        "discount_share_90d": _rounded(_share(-1.1 + 0.9 * z["discount_share_90d"]), 4),
        "cart_abandonment_rate": _rounded(_share(0.7 + 0.7 * z["cart_abandonment_rate"]), 4),
        "sessions_30d": _count(z["sessions_30d"], 1.9, 0.8),
        "login_trend_30d": _rounded(np.clip(0.2 * z["login_trend_30d"], -1, 2), 4),
        "pages_per_session": _rounded(np.exp(1.4 + 0.35 * z["pages_per_session"]), 2),
        "wishlist_items": _count(z["wishlist_items"], 0.6, 0.9),
        "support_tickets_30d": _count(z["support_tickets_30d"], 0.1, 1.0),
        "avg_resolution_hours": _rounded(np.exp(2.4 + 0.7 * z["avg_resolution_hours"]), 1),
        "returns_rate_90d": _rounded(_share(-2.4 + 0.8 * z["returns_rate_90d"]), 4),
        "late_deliveries_90d": _count(z["late_deliveries_90d"], 0.0, 0.9),
        "email_open_rate": _rounded(_share(-0.9 + 0.8 * z["email_open_rate"]), 4),
        "tenure_days": ((scored_at - cohort.registered) // DAY_US).astype(np.int32),
        "loyalty_points": _count(z["loyalty_points"], 5.2, 1.1),
        "nps_score": np.where(answered, nps, np.nan).astype(np.float32),
        "payment_failures_90d": _count(z["payment_failures_90d"], -0.1, 0.9),
    }


def _count(score: Floats, location: float, scale: float) -> npt.NDArray[np.int32]:
    counts: npt.NDArray[np.int32] = np.exp(location + scale * score).astype(np.int32)
    return counts


def _share(logit: Floats) -> Floats:
    return 1 / (1 + np.exp(-logit))


def _rounded(values: Floats, decimals: int) -> npt.NDArray[np.float32]:
    return np.round(values, decimals).astype(np.float32)


def _reversed_ranks(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    order = np.argsort(values, kind="stable")
    swapped = np.empty_like(values)
    swapped[order] = values[order[::-1]]
    return swapped


def _extra(name: str) -> int:
    return len(LOADINGS) + EXTRA_NOISE.index(name)


def _upper_quantile(share: float) -> float:
    """The score exceeded by that share of customers, for a standard normal score."""
    return NormalDist().inv_cdf(1 - share)
