"""What the run spent of its agent's budget."""

from __future__ import annotations

from markupsafe import Markup

from agent.report.model import Spend
from agent.report.numbers import count, money, percent
from agent.report.plots.canvas import WIDE, Canvas

_ROW = 46


def spend_bars(spend: Spend, *, width: float = WIDE, key: str = "spend") -> Markup:
    """A bar for the money and one for the tokens, each as a share of the budget; the whole width is the budget."""
    rows = [
        (money(spend.cost_usd), money(spend.budget_usd), spend.cost_usd, spend.budget_usd),
        (f"{count(spend.tokens)} tokens", count(spend.budget_tokens), float(spend.tokens), spend.budget_tokens),
    ]
    told = "; ".join(f"{spent} of {budget}" for spent, budget, _, _ in rows) + "."
    canvas = Canvas(width, _ROW * len(rows), key, "Spend against budget", told)
    for place, (spent, budget, value, limit) in enumerate(rows):
        up = place * _ROW
        share = value / limit if limit else 0.0
        canvas.text(0, up + 14, f"{spent} of {budget}" if limit else spent, "ink")
        canvas.text(width, up + 14, percent(share) if limit else "no budget", "mute", "end")
        canvas.rect(0, up + 22, width, 8, "track", 4)
        if value > 0:
            style = "bad fill" if share > 0.8 else "now fill"
            canvas.rect(0, up + 22, max(min(share, 1.0) * width, 4), 8, style, 4)
    return canvas.svg()
