"""The `guardian` command line."""

from agent.cli.app import main

__all__ = ["main"]
