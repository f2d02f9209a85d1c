"""Names and column layouts of the shop's tables."""

from __future__ import annotations

from typing import Final, Protocol

import pyarrow as pa

FEATURES_TABLE: Final = "ml_features.customer_360"
BASELINE_TABLE: Final = "ml_features.customer_360_baseline"
HOLDOUT_TABLE: Final = "ml_features.customer_360_holdout"
LABELS_TABLE: Final = "ml_labels.churn_actuals"
PREDICTIONS_TABLE: Final = "ml_predictions.churn_daily"
CUSTOMERS_TABLE: Final = "customers"
CAMPAIGNS_TABLE: Final = "retention_campaigns"
ARR_TABLE: Final = "arr_summary"
REQUESTS_TABLE: Final = "ml_predictions.churn_requests"
ALL_TABLES: Final = (
    FEATURES_TABLE, BASELINE_TABLE, HOLDOUT_TABLE, LABELS_TABLE, PREDICTIONS_TABLE, CUSTOMERS_TABLE, CAMPAIGNS_TABLE,
    ARR_TABLE, REQUESTS_TABLE,
)  # fmt: skip
"""All that a shop's life leaves in its warehouse."""

NUMERIC: Final = (
    "days_since_last_order", "orders_30d", "spend_30d", "spend_trend_30d", "avg_order_value", "price_index",
    "discount_share_90d", "cart_abandonment_rate", "sessions_30d", "login_trend_30d", "pages_per_session",
    "wishlist_items", "support_tickets_30d", "avg_resolution_hours", "returns_rate_90d", "late_deliveries_90d",
    "email_open_rate", "tenure_days", "loyalty_points", "nps_score", "payment_failures_90d",
)  # fmt: skip
CATEGORICAL: Final = ("segment", "market", "channel", "payment_method", "plan")
SOURCES: Final = ("orders", "web", "crm", "billing")
CRM_FEATURES: Final = ("support_tickets_30d", "avg_resolution_hours", "nps_score")
RENAMED: Final = {"email_open_rate": "email_opens_share"}
"""Column names before and after the cause `renamed_column`."""

CATEGORIES: Final = {
    "segment": ("enterprise", "business", "consumer"),
    "market": ("US", "EU", "APAC"),
    "channel": ("web", "mobile", "app"),
    "payment_method": ("card", "wallet", "invoice", "transfer"),
    "plan": ("monthly", "annual", "free"),
}

TIMESTAMP: Final = pa.timestamp("us")

PREDICTIONS_SCHEMA: Final = pa.schema(
    [
        ("customer_id", pa.int64()),
        ("scored_at", TIMESTAMP),
        ("model_version", pa.string()),
        ("score", pa.float64()),
        ("label", pa.bool_()),
    ]
)
"""Layout of `ml_predictions.churn_daily`, which batch scoring writes, not the world."""


class TableWriter(Protocol):
    """The one thing the world needs of a warehouse: put a table's file in place, replacing one of the same name."""

    def append(self, table: str, data: pa.Table, name: str) -> object:
        """Write `data` as file `name` (a stem) of `table`, atomically."""
