"""The report of a run: its content as data, as one self-contained HTML file, as Markdown."""

from agent.report.headline import told
from agent.report.html import render_html
from agent.report.markdown import render_markdown
from agent.report.model import ReportContent
from agent.report.writing import WrittenReport, write, write_report

__all__ = ["ReportContent", "WrittenReport", "render_html", "render_markdown", "told", "write", "write_report"]
