"""Writing a run's report to a file."""

from __future__ import annotations

import secrets
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from agent.report.html import render_html
from agent.report.markdown import render_markdown
from agent.report.model import ReportContent
from policies.errors import InputError

if TYPE_CHECKING:
    from tools.systems.systems import Systems


class WrittenReport(BaseModel):
    """Where a report was written, and what it says first."""

    model_config = ConfigDict(frozen=True)

    run_id: str
    path: Path
    headline: str


def write_report(systems: Systems, run_id: str, path: Path, *, markdown: bool = False) -> WrittenReport:
    """Writes the report of a run. Raises InputError for an unknown run, or a path that cannot be written."""
    from agent.report.gathering import content_of_run

    content = content_of_run(systems, run_id)
    write(content, path, markdown=markdown)
    return WrittenReport(run_id=run_id, path=path, headline=content.headline)


def write(content: ReportContent, path: Path, *, markdown: bool = False) -> None:
    """Writes any content, whole or not at all. Raises InputError for a path that cannot be written."""
    text = render_markdown(content) if markdown else render_html(content)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror or error}", where=str(path)) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
