"""Verdicts and measurements of a gate.

A verdict has three values, because too little evidence is neither good nor bad news: it never promotes and it
never rolls back.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class Verdict(StrEnum):
    """What a measurement, or a whole gate, says."""

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    INCONCLUSIVE = "inconclusive"
    FAIL = "fail"


_SEVERITY = {Verdict.PASS: 0, Verdict.INCONCLUSIVE: 1, Verdict.FAIL: 2}


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The worst of several verdicts: fail, then inconclusive, then pass; pass for none."""
    return max(verdicts, key=_SEVERITY.__getitem__, default=Verdict.PASS)


class Measurement(BaseModel):
    """One quantity of the challenger, held against its limit and against the champion over the same period.

    Evidence is in nats: `log_e_fail` for "beyond the limit and worse than the champion", `log_e_pass` for "within
    the limit". Each may be looked at as often as one likes (e-values; Ramdas et al. 2023, "Game-theoretic
    statistics and safe anytime-valid inference").
    """

    model_config = ConfigDict(frozen=True)

    name: str
    verdict: Verdict
    value: float | None = Field(description="the challenger's value, in the unit of the limit")
    champion_value: float | None = Field(description="the champion's value over the same period")
    limit: float | None = Field(description="what the value must not go beyond; None where the champion's value is it")
    n: int = Field(description="challenger observations: requests, or labelled rows for what is measured of labels")
    champion_n: int
    log_e_fail: float = 0.0
    log_e_pass: float = 0.0
    interval: tuple[float, float] | None = Field(
        default=None, description="of the value, or of its difference to the champion's; valid at any look"
    )
    asked: bool = Field(default=True, description="whether the gate's verdict rests on it")
    needs: int | None = Field(
        default=None, description="how much more it takes to pass at the present values, if it can"
    )
    needs_what: str = "challenger requests"
    detail: str = ""


class GateVerdict(BaseModel):
    """What the gate of one stage says, with every measurement it rests on."""

    model_config = ConfigDict(frozen=True)

    name: str
    verdict: Verdict
    measurements: tuple[Measurement, ...] = ()
    detail: str = ""
    breached: tuple[str, ...] = Field(default=(), description="rollback conditions that hold, whatever the gate")
    invalid: str = Field(default="", description="why no verdict can be trusted: the comparison itself is broken")
