"""What can happen to the shop: dated causes, each with the kinds of drift it should raise, and why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Literal

DRIFT_TYPES = frozenset(
    {"data_drift", "concept_drift", "prediction_drift", "label_drift", "feature_drift", "schema_drift"}
)

Origin = Literal["pipeline", "world"]
"""`pipeline`: the shop's systems report it wrongly; `world`: customers, prices or products are what they report."""


@dataclass(frozen=True)
class Cause:
    """One change, in force from `starts` up to and including `ends` (None: for good).

    `raises` are the drift types a good monitor reports because of it, `spares` those it must not report; a type in
    neither set is left open. `because` gives the reasons for all three. `stale_source` names a source whose data
    arrive late while the cause is in force.
    """

    name: str
    starts: date
    about: str
    raises: frozenset[str]
    spares: frozenset[str]
    because: str = ""
    origin: Origin = "world"
    ends: date | None = None
    stale_source: str | None = None

    def __post_init__(self) -> None:
        unknown = (self.raises | self.spares) - DRIFT_TYPES
        if unknown or self.raises & self.spares:
            raise ValueError(f"cause {self.name}: drift types must be distinct and among {sorted(DRIFT_TYPES)}")
        if self.ends is not None and self.ends < self.starts:
            raise ValueError(f"cause {self.name} ends on {self.ends}, before it starts on {self.starts}")

    @property
    def open(self) -> frozenset[str]:
        """The drift types that may be reported or not."""
        return DRIFT_TYPES - self.raises - self.spares

    def active(self, day: date) -> bool:
        """Whether the cause is in force on that day."""
        return self.starts <= day and (self.ends is None or day <= self.ends)


_PRODUCT_LAUNCH = Cause(
    name="product_launch",
    starts=date(2026, 1, 7),
    about="a new app and checkout: more visits, fewer abandoned carts, more app users; same reasons to leave",
    raises=frozenset({"data_drift", "feature_drift"}),
    spares=frozenset({"concept_drift", "label_drift", "schema_drift"}),
    because="P(x) moves, and two of the watched features with it: feature drift is part of data drift. Customers leave "
    "as before, so labels and the model's ranking hold. Scores follow the features some way; whether beyond their "
    "threshold is open.",
)
_PRICE_CHANGE = Cause(
    name="price_change",
    starts=date(2026, 1, 8),
    about="higher prices: larger baskets, falling spend; alone it leaves the reasons to leave as they were",
    raises=frozenset({"data_drift", "feature_drift"}),
    spares=frozenset({"concept_drift", "label_drift", "schema_drift"}),
    because="P(x) moves, the watched spend trend with it; who leaves does not. Whether scores move beyond their "
    "threshold is open, as for the launch.",
)
_CHANGED_REASONS = Cause(
    name="changed_reasons",
    starts=date(2026, 1, 8),
    about="customers who live on discounts leave because of the prices; for the others the old reasons fade",
    raises=frozenset({"concept_drift"}),
    spares=frozenset({"data_drift", "feature_drift", "prediction_drift", "label_drift", "schema_drift"}),
    because="P(y|x) changes and P(x) does not, so neither features nor scores, a function of them, may move. About as "
    "many leave as before, only others: the class balance holds.",
)
_CRM_LAG = Cause(
    name="crm_lag",
    starts=date(2026, 1, 23),
    ends=date(2026, 1, 31),
    stale_source="crm",
    about="a CRM migration: support data and departures are 48 hours late, back-filled the day after it ends",
    origin="pipeline",
    raises=frozenset({"schema_drift"}),
    spares=frozenset({"data_drift", "concept_drift", "feature_drift", "prediction_drift"}),
    because="Freshness is part of the contract. Late values are distributed as timely ones: nothing to see in features "
    "or scores, and two days in seven spoil the ranking by far less than its threshold. Customers who have left are "
    "still scored and counted as churned, which lifts the share of positives close to its threshold: open.",
)
_MORE_CHURN = Cause(
    name="more_churn",
    starts=date(2026, 1, 8),
    about="everyone is more likely to leave, in the same order as before",
    raises=frozenset({"label_drift"}),
    spares=frozenset({"data_drift", "concept_drift", "feature_drift", "prediction_drift", "schema_drift"}),
    because="P(y) rises for all alike: the model ranks as well as before, its reasons hold, and neither features nor "
    "scores know of it. More churn alone is label drift, not concept drift. Only tenure feels it after months, as "
    "those who leave are followed by newcomers.",
)
_CHANGED_CORRELATION = Cause(
    name="changed_correlation",
    starts=date(2026, 1, 8),
    about="who used to open few mails opens many, and the reverse; every feature keeps its distribution",
    raises=frozenset({"feature_drift"}),
    spares=frozenset({"data_drift", "concept_drift", "label_drift", "schema_drift"}),
    because="Every marginal is the same, so data drift, which looks at marginals, must be silent; correlation tracking "
    "is feature drift's. Who leaves does not change, and mails say little that better features do not say too. Scores "
    "are a function of the joint distribution: open.",
)
_RENAMED_COLUMN = Cause(
    name="renamed_column",
    starts=date(2026, 1, 8),
    about="an upstream release writes email_open_rate as email_opens_share",
    origin="pipeline",
    raises=frozenset({"schema_drift"}),
    spares=frozenset({"concept_drift", "feature_drift", "label_drift"}),
    because="The contract is broken. The five watched features are untouched and nobody behaves differently; one lost "
    "minor feature costs less ranking than the threshold. To the model the column is all null, so that its inputs "
    "and scores may be said to drift: open.",
)

ALL_CAUSES: dict[str, Cause] = {
    cause.name: cause
    for cause in (
        _PRODUCT_LAUNCH,
        _PRICE_CHANGE,
        _CHANGED_REASONS,
        _CRM_LAG,
        _MORE_CHURN,
        _CHANGED_CORRELATION,
        _RENAMED_COLUMN,
    )
}
