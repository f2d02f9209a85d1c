"""`guardian demo`: the seed's story on SimShop, with and without the Guardian."""

from evals.demo.command import demo as command

__all__ = ["command"]
