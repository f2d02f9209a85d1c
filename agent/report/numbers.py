"""Numbers and times as a report prints them. A missing number is a dash, never "None" or "nan"."""

from __future__ import annotations

import math
from datetime import date, datetime, timedelta

MISSING = "–"
MINUS = "−"
_SCORES = ("auc", "f1", "precision", "recall", "accuracy", "brier", "loss", "segment:", "calibration")
_ACRONYMS = {"auc", "f1", "psi", "kl", "js", "ks", "roi", "arr", "crm", "kpi", "nps"}
_RATES = ("rate", "share", "pct", "percent", "retention")


def number(value: float | None, digits: int = 3) -> str:
    """Significant digits without trailing zeros, thousands separated: 0.847, 0.2, 12,300, 1.2e-07."""
    if value is None or not math.isfinite(value):
        return MISSING
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 10 ** (digits - 1):
        text = f"{value:,.0f}"
    elif size < 0.0005:
        text = f"{value:.{max(digits - 2, 1)}g}"
    else:
        text = f"{value:.{digits}g}"
        text = f"{float(text):,.{max(digits - 1 - math.floor(math.log10(size)), 0)}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
    return text.replace("-", MINUS, 1) if value < 0 else text


def fixed(value: float | None, decimals: int = 3) -> str:
    """Fixed decimals, for columns of like numbers such as AUC: 0.847."""
    if value is None or not math.isfinite(value):
        return MISSING
    return f"{value:,.{decimals}f}".replace("-", MINUS)


def percent(fraction: float | None, decimals: int = 1) -> str:
    """A fraction as percent: 0.0512 → 5.1%."""
    return MISSING if fraction is None or not math.isfinite(fraction) else f"{fixed(fraction * 100, decimals)}%"


def signed_percent(fraction: float | None, decimals: int = 1) -> str:
    """A fraction as percent with its sign, +3.1%."""
    if fraction is None or not math.isfinite(fraction):
        return MISSING
    return ("+" if round(fraction * 100, decimals) > 0 else "") + percent(fraction, decimals)


def money(usd: float | None) -> str:
    """US dollars: cents, or as many decimals as a small sum needs: $0.0042."""
    if usd is None or not math.isfinite(usd):
        return MISSING
    return f"${usd:,.4f}" if 0 < abs(usd) < 0.095 else f"${usd:,.2f}"


def count(value: int | None) -> str:
    """A whole number, thousands separated."""
    return MISSING if value is None else f"{value:,}"


def p_value(value: float | None) -> str:
    """A p-value; below 0.001 only that."""
    if value is None or not math.isfinite(value):
        return MISSING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def measured(name: str, value: float | None) -> str:
    """A value in the unit its name tells: `error_rate` in percent, `p99_latency_ms` in ms, `auc_roc` by 3 decimals."""
    if value is None or not math.isfinite(value):
        return MISSING
    if name.endswith("_ms") or name.startswith("latency"):
        return f"{number(value, 3)} ms"
    if name.endswith("_pct"):
        return f"{number(value)}%"
    if name.endswith("_mb"):
        return f"{number(value, 2)} MB"
    if "error_rate" in name:
        return f"{number(value * 100)}%"
    if any(part in name for part in _SCORES):
        return fixed(value)
    if float(value).is_integer() and abs(value) >= 10:
        return f"{value:,.0f}"
    return number(value)


def kpi(value: float | None, in_percent: bool) -> str:
    """A KPI's value: 8.4% or 4.21."""
    return percent(value) if in_percent else number(value)


def is_share(name: str) -> bool:
    """Whether a KPI's name says that it is a fraction."""
    return any(part in name.lower() for part in _RATES)


def day(at: date | datetime | None) -> str:
    """7 Jan."""
    return MISSING if at is None else f"{at.day} {at:%b}"


def full_day(at: date | datetime | None) -> str:
    """7 Jan 2026."""
    return MISSING if at is None else f"{at.day} {at:%b %Y}"


def moment(at: datetime | None) -> str:
    """7 Jan 2026, 14:05; at midnight the day alone."""
    return MISSING if at is None else f"{full_day(at)}, {at:%H:%M}" if at.hour or at.minute else full_day(at)


def short_moment(at: datetime | None) -> str:
    """7 Jan, 14:05; at midnight the day alone."""
    return MISSING if at is None else f"{day(at)}, {at:%H:%M}" if at.hour or at.minute else day(at)


def span(length: timedelta) -> str:
    """45 min, 12 h, 3 d."""
    hours = length.total_seconds() / 3600
    if hours < 1:
        return f"{hours * 60:.0f} min"
    return f"{number(round(hours, 1), 3)} h" if hours < 72 else f"{number(round(hours / 24, 1), 3)} d"


def words(name: str) -> str:
    """A name of ours for people, without its unit: `tie` → tie, `p99_latency_ms` → p99 latency, `auc_roc` → AUC."""
    parts = name.replace("auc_roc", "auc").replace("inference_ms", "inference_time_ms").split("_")
    parts = parts[:-1] if len(parts) > 1 and parts[-1] in ("ms", "mb", "pct") else parts
    return " ".join("KPIs" if part == "kpis" else part.upper() if part in _ACRONYMS else part for part in parts)
