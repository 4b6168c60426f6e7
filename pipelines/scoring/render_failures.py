"""What could not be shown of single accounts: a line in the log and an entry of the manifest for each kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from renewals.reports.render_failures import RenderFailures


def report_failures(failures: RenderFailures) -> list[dict[str, Any]]:
    """One entry per output, part and type of error, for the manifest; each is a warning in the log too."""
    told = list(failures.summarize())
    for loss in told:
        structlog.get_logger().warning("values of single accounts could not be rendered and were left out", **loss)
    return told
