"""The page and the Markdown that a person is given."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from html.parser import HTMLParser

import pytest

from agent.report import ReportContent, render_html, render_markdown, told
from agent.report.model import (
    Diagnosis,
    Distribution,
    DistributionKind,
    DriftCheck,
    DriftReport,
    KpiReading,
    Marker,
    Rollout,
    TrafficStep,
    WeekPoint,
)
from agent.report.origin import origin
from agent.report.plots import auc_by_week, kpi_bullet
from agent.report.plots.canvas import NARROW
from policies.declarations import Severity
from tests.agent.report import samples

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{ 7*7 }}|`*_"


class Page(HTMLParser):
    """What a browser would find: tags, attributes, ids, text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def hostile() -> ReportContent:
    """Every text from outside says the same hostile thing."""

    def poison(value: object, field: str = "") -> object:
        if isinstance(value, dict):
            return {(HOSTILE if field == "numbers" else key): poison(each, key) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [poison(each, field) for each in value]
        kept = ("kind", "severity", "direction", "at", "since", "until", "week_start", "read_at", "checked_at")
        kept += ("first_seen",)
        if isinstance(value, str) and field not in kept and not field.endswith(("_at", "_start", "_end")):
            return HOSTILE
        return value

    return ReportContent.model_validate(poison(samples.full().model_dump(mode="json")))


def test_the_verdict_comes_first_and_every_part_has_its_section() -> None:
    page = Page(render_html(samples.full()))
    assert page.open == []
    headings = [
        "now serves all customers at 0.843",
        "Waiting for people",
        "Is the model still right?",
        "Who would have been called",
        "What happened",
        "What changed in the data",
        "Is the new model better?",
        "How it went live",
        "Does the business see it?",
        "What it cost",
        "What it rests on",
    ]
    body = page.text[page.text.index("✓ Recovered") :]
    assert [body.find(heading) for heading in headings] == sorted(body.find(heading) for heading in headings)
    assert all(heading in body for heading in headings)
    for shown in ("0.766", "price_index", "Challenger wins", "rollout-1", "12.7%", "$0.18 of $50.00", "drift-31"):
        assert shown in body


def test_nothing_is_loaded_from_anywhere() -> None:
    html = render_html(samples.full())
    assert set(re.findall(r"https?://[^\s\"']+", html)) == {"http://www.w3.org/2000/svg"}
    page = Page(html)
    assert not {"script", "link", "img", "iframe", "object", "embed", "form"} & set(page.tags)
    assert not [name for _, name, _ in page.attributes if name in ("src", "href") or name.startswith("on")]
    assert "url(" not in html
    assert "@import" not in html
    assert ("meta", "content", "default-src 'none'; style-src 'unsafe-inline'") in page.attributes


def test_text_from_outside_stays_text() -> None:
    html = render_html(hostile())
    page = Page(html)
    assert page.open == []
    assert not {"script", "img"} & set(page.tags)
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert "{{ 7*7 }}" in page.text
    assert "<script>alert(1)" in page.text


def test_secrets_and_control_characters_never_reach_a_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLACK_BOT_TOKEN", "not-a-pattern-but-a-secret")
    said = "sk-abcdefghijkl and not-a-pattern-but-a-secret \u202eevil\x00"
    content = samples.quiet().model_copy(update={"headline": said, "notes": (said,)})
    for text in (render_html(content), render_markdown(content)):
        assert "abcdefghijkl" not in text
        assert "not-a-pattern-but-a-secret" not in text
        assert "\u202e" not in text
        assert "\x00" not in text


def test_a_quiet_night_is_short() -> None:
    page = Page(render_html(samples.quiet()))
    assert "ChurnModel is well" in page.text
    assert page.tags.count("section") == 1
    assert "No language model was asked: $0.00 of $50.00." in page.text
    assert len(render_markdown(samples.quiet()).splitlines()) < 10
    assert Page(render_html(ReportContent(headline="Nothing."))).tags.count("section") == 0


def test_every_picture_has_a_title_and_a_description_and_no_id_twice() -> None:
    page = Page(render_html(samples.full()))
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    named = [value.split() for tag, name, value in page.attributes if (tag, name) == ("svg", "aria-labelledby")]
    assert len(named) == page.tags.count("svg") == page.tags.count("desc") > 10
    assert all(each in ids for pair in named for each in pair)
    assert page.tags.count("table") == page.tags.count("caption")


def test_the_two_endings_of_a_rollout_are_told_apart() -> None:
    rolled_back = render_html(ReportContent(headline="Rolled back.", rollout=samples.rolled_back()))
    assert "disc bad" in rolled_back
    assert "412 ms" in rolled_back
    assert "disc bad" not in render_html(ReportContent(headline="Promoted.", rollout=samples.rollout()))


def test_a_model_left_alone_shows_one_line() -> None:
    weeks = tuple(week.model_copy(update={"with_guardian": None}) for week in samples.full().weeks)
    page = Page(render_html(ReportContent(headline="Nobody watches.", with_agent=False, weeks=weeks)))
    assert "left alone 0.766" in page.text
    assert "with guardian" not in page.text


def test_the_headline_says_what_the_weeks_say() -> None:
    full = samples.full()
    recovered = told(full)
    said = "ChurnModel had decayed to AUC 0.776; version 2 now serves every request at 0.843."
    assert (recovered.headline, recovered.verdict, recovered.severity) == (said, "Recovered", "ok")
    assert [(fact.label, fact.value) for fact in recovered.facts] == [
        ("Live AUC", "0.843"),
        ("Drift findings", "7"),
        ("Weighted improvement", "+8.9%"),
        ("Calls in vain", "15"),
    ]
    weeks = tuple(week.model_copy(update={"with_guardian": None}) for week in full.weeks)
    alone = told(ReportContent(headline="", model="ChurnModel", with_agent=False, weeks=weeks))
    assert alone.headline == "Nobody watches ChurnModel: its live AUC fell from 0.846 to 0.766, unseen."
    assert alone.severity == "critical"


def test_a_decay_is_told_against_the_auc_at_deployment() -> None:
    weeks = tuple(week.model_copy(update={"with_guardian": None}) for week in samples.full().weeks)
    bare = ReportContent(headline="", model="ChurnModel", with_agent=False, weeks=weeks, auc_deployed=0.8471)
    alone = told(bare)
    assert alone.headline == "Nobody watches ChurnModel: deployed at AUC 0.847, it fell to 0.766, unseen."
    assert alone.facts[0].note == "0.847 at deployment"
    page = Page(render_html(alone))
    assert "at deployment 0.847" in page.text
    assert "scored 0.847 on its holdout" in page.text
    assert "scored 0.847 on its holdout" in render_markdown(alone)


def test_the_old_model_s_auc_is_not_shown_as_the_promoted_one_s() -> None:
    full = samples.full()
    before = tuple(week for week in full.weeks if week.week_start < date(2026, 2, 2))
    weeks = tuple(week.model_copy(update={"without_guardian": None}) for week in before)
    promoted = told(full.model_copy(update={"weeks": weeks}))
    assert promoted.verdict == "Promoted"
    fact = promoted.facts[0]
    assert (fact.label, fact.value, fact.note) == ("Live AUC of version 1", "0.776", "before version 2 took over")


def test_a_small_change_of_a_kpi_looks_small() -> None:
    reading = KpiReading(kpi="nrr", value=1.0979, target=1.1, baseline=1.1002, change_pct=-0.2, percent=True)
    drawn = str(kpi_bullet(reading, key="k"))
    dot = float(re.findall(r'<circle cx="([\d.]+)"', drawn)[-1])
    target = float(re.findall(r'<line x1="([\d.]+)"[^>]*class="tick"', drawn)[0])
    assert abs(dot - target) < 10


def test_on_a_phone_the_names_of_the_lines_stand_below_the_plot() -> None:
    full = samples.full()
    drawn = str(auc_by_week(full.weeks, full.markers, 0.8, 0.847, width=NARROW))
    lowest = max(
        float(points.split(",")[1]) for line in re.findall(r'points="([^"]+)"', drawn) for points in line.split()
    )
    named = re.findall(r'y="([\d.]+)" class="[^"]*"[^>]*>(with guardian|without|at deployment|retrain below)', drawn)
    assert len(named) == 4
    assert all(float(up) > lowest for up, _ in named)


def test_checks_say_how_far_back_they_looked() -> None:
    windows = {
        "data_drift": timedelta(hours=1),
        "feature_drift": timedelta(hours=1),
        "concept_drift": timedelta(days=7),
    }
    drift = samples.drift_report().model_copy(update={"looked_back": windows})
    content = ReportContent(headline="Windows.", drift_latest=drift)
    said = "the last 1 h for data drift and feature drift; the last 7 d for concept drift."
    assert said in Page(render_html(content)).text
    assert said in render_markdown(content)


def test_what_two_monitors_found_alike_is_told_once() -> None:
    check = DriftCheck(type="data_drift", method="psi", subject="spend", value=0.4, threshold=0.2, severity="warning")
    twin = check.model_copy(update={"type": "feature_drift", "threshold": 0.15, "severity": Severity.critical})
    page = Page(
        render_html(ReportContent(headline="Twice.", drift_latest=DriftReport(report_id="d", checks=(check, twin))))
    )
    assert page.text.count("spend") == 1
    assert "feature drift, data drift" in page.text
    assert "2 of 2 checks found something" in page.text
    assert "2 findings in 1 row: what two checks measured alike shares one." in page.text


@pytest.mark.parametrize(
    "content",
    [
        ReportContent(headline="One week.", weeks=(WeekPoint(week_start=date(2026, 1, 6), with_guardian=0.8),)),
        ReportContent(headline="No value.", weeks=(WeekPoint(week_start=date(2026, 1, 6)),), auc_floor=0.8),
        ReportContent(
            headline="Marks outside.",
            weeks=(WeekPoint(week_start=date(2026, 1, 6), with_guardian=0.8),),
            markers=tuple(
                Marker(at=datetime(2025, 12, 1) + timedelta(days=9 * n), label="a very long label of a mark " * 3)
                for n in range(9)
            ),
        ),
        ReportContent(headline="No KPI.", kpis=(KpiReading(kpi="k", detail="the query failed"),)),
        ReportContent(
            headline="Odd shares.",
            distributions=(
                Distribution(feature="f", kind=DistributionKind.numeric, edges=(), baseline=(), current=()),
                Distribution(
                    feature="g", kind=DistributionKind.numeric, edges=(1.0, 1.0), baseline=(0.0,), current=(0.0,)
                ),
                Distribution(feature="h", kind=DistributionKind.categorical, baseline=(), current=()),
            ),
        ),
        ReportContent(
            headline="No time passed.",
            rollout=Rollout(rollout_id="r", traffic=(TrafficStep(at=datetime(2026, 1, 1), pct=5),) * 2),
        ),
        ReportContent(
            headline="Not a number.",
            drift_latest=DriftReport(
                report_id="d",
                checks=(
                    DriftCheck(type="t", method="m", subject="s", value=float("nan"), severity=Severity.unknown),
                    DriftCheck(type="t", method="m", subject="s", value=float("inf"), threshold=0.0),
                ),
            ),
        ),
    ],
    ids=lambda content: content.headline,
)
def test_odd_content_still_makes_a_page(content: ReportContent) -> None:
    html = render_html(content)
    assert Page(html).open == []
    assert "nan" not in Page(html).text.lower().split()
    assert "None" not in html
    assert render_markdown(content).startswith(f"# {content.headline}")


def test_markdown_says_the_same_briefly() -> None:
    text = render_markdown(samples.full())
    lines = text.splitlines()
    assert lines[0].startswith("# The churn model had decayed to AUC 0.776")
    for shown in (
        "**Recovered** · ChurnModel · run-9",
        "| 17 Feb 2026 | 0.843 | 0.766 |",
        "| With guardian | 200 | 3 | 12 |",
        "**challenger wins**: +8.9% weighted",
        "| 5% | pass |",
        "| churn rate | 12.7% | 8.0% | 14.0% |",
        "`drift-31`",
    ):
        assert shown in text
    assert len(text) < 7000


def test_markdown_from_outside_is_no_markup() -> None:
    text = render_markdown(hostile())
    assert "<script" not in text.replace("\\<script", "")
    assert "<img" not in text.replace("\\<img", "")
    for line in text.splitlines():
        if line.startswith("|") and "---" not in line:
            cells = re.split(r"(?<!\\)\|", line)
            assert 3 <= len(cells) <= 8


def test_where_the_findings_come_from_is_told_in_both_forms() -> None:
    told = "This looks like a broken pipeline and a changed world, suddenly since 8 Jan 2026; from orders, web and crm."
    page = Page(render_html(samples.full()))
    assert told in page.text
    assert "What drifted explains 79% of the change of the scores." in page.text
    assert "cart_abandonment_rate 11.5% 41%" in page.text
    assert "suddenly since 8 Jan 2026; from orders, web and crm" in render_markdown(samples.full())


def test_a_renamed_column_is_named_and_a_report_without_diagnosis_says_nothing_of_it() -> None:
    broken = Diagnosis(kind="pipeline", sources=("web",), renamed={"email_open_rate": "email_opens_share"})
    said = origin(broken)
    assert said == (
        "This looks like a broken pipeline; all of it from the source web. "
        "The column email_open_rate seems to be called email_opens_share now."
    )
    assert origin(None) == ""
    assert origin(Diagnosis(kind="none")) == ""
