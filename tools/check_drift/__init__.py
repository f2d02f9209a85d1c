"""Six kinds of drift against a stored profile: numerics with an evidence rule, and the tool that runs a monitor."""

from tools.check_drift.comparison import ColumnChange, compare
from tools.check_drift.profiles import Profile, profile

__all__ = ["ColumnChange", "Profile", "compare", "profile"]
