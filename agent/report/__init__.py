"""The report of a run: its content as data, as one self-contained HTML file, as Markdown."""

from agent.report.html import render_html
from agent.report.markdown import render_markdown
from agent.report.model import ReportContent

__all__ = ["ReportContent", "render_html", "render_markdown"]
