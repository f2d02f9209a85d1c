"""SimShop: a seeded shop whose customers, labels and troubles are known exactly, written into a Parquet warehouse."""

from evals.simshop.business import CampaignCounts
from evals.simshop.causes import ALL_CAUSES, DRIFT_TYPES, Cause
from evals.simshop.story import FULL_STORY, QUIET, Story
from evals.simshop.world import LIVE_FROM, World

__all__ = ["ALL_CAUSES", "DRIFT_TYPES", "FULL_STORY", "LIVE_FROM", "QUIET", "CampaignCounts", "Cause", "Story", "World"]
