"""A report as a page that needs nothing else: no network, no script."""

from __future__ import annotations

from typing import TYPE_CHECKING

from host_tools.pages.charts import line_chart
from host_tools.pages.page import render

if TYPE_CHECKING:
    from host_tools.review.reports.report import Report


def page_report(report: Report) -> str:
    """Return the page as HTML text."""
    charts = [
        line_chart(
            chart.series,
            title=chart.title,
            x_label=chart.x_label,
            y_label=chart.y_label,
            markers=True,
            y_from_zero=True,
        )
        for chart in report.charts
    ]
    return render("review.html", title=report.title, report=report, charts=charts)
