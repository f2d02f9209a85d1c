"""SimShop: a seeded shop whose customers, labels and troubles are known exactly, written into a Parquet warehouse."""

from evals.simshop.business import CampaignCounts
from evals.simshop.story import ALL_CAUSES, FULL_STORY, QUIET, Cause, Story
from evals.simshop.world import LIVE_FROM, World

__all__ = ["ALL_CAUSES", "FULL_STORY", "LIVE_FROM", "QUIET", "CampaignCounts", "Cause", "Story", "World"]
