"""The typed declarations of `operations.yaml`. A new block: a model in a file here, a field in `Operations`."""

from policies.declarations.base import Severity, frequency_period, worst
from policies.declarations.loader import load, parse
from policies.declarations.operations import Operations

__all__ = ["Operations", "Severity", "frequency_period", "load", "parse", "worst"]
