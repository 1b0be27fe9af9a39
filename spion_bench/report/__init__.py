"""Reports: pure functions from stored records to tables, figures and pages; never imports torch."""

from spion_bench.report.render import ReportPaths, render_comparison, render_report

__all__ = ["ReportPaths", "render_comparison", "render_report"]
