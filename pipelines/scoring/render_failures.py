"""Report texts of single accounts that could not be rendered, in the log and in the manifest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from renewals.reports.render_failures import RenderFailures


def report_failures(failures: RenderFailures) -> list[dict[str, Any]]:
    """Log render failures as warnings; return one entry per (output, part, type of error) for the manifest."""
    entries = list(failures.summarize())
    for entry in entries:
        structlog.get_logger().warning("values of single accounts could not be rendered and were left out", **entry)
    return entries
