"""What a list is made from beside the tables and the models: answers, measured effects, plays and earlier lists.

All of it comes from other commands, in its own time: so this stage runs each time, and what it writes says to DVC
whether anything changed.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from typing import Any

from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.stage_main import main
from renewals.pipelines.storage import feedback_log, old_names, playbook_library
from renewals.pipelines.storage.artifacts import CONTEXT
from renewals.pipelines.storage.engine import atomic
from renewals.pipelines.storage.engine.raw import raw_table
from renewals.pipelines.storage.published import list_archive, published_lists


def context(job: Job) -> dict[str, Any]:
    """Write `context.json`: a digest of everything that was answered, measured, written or published before the day."""
    told = published_lists.recent_alert_paths(job)
    standing = {
        "answers": raw_table.file_digest(
            old_names.existing_file(feedback_log.feedback_folder(job) / feedback_log.LOG_FILE)
        ),
        "effects": raw_table.file_digest(playbook_library.effects_path(job)),
        "playbooks": raw_table.file_digest(playbook_library.library_path(job)),
        "lists": {
            one.day.isoformat(): str(one.manifest["list_key"]) for one in published_lists.iter_previous_lists(job)
        },
        "told": {path.stem: raw_table.file_digest(path) for path in told},
        "kept": {day.isoformat(): _list_key(job, day) for day in list_archive.archived_days(job) if day < job.day},
    }
    atomic.write_bytes(job.folder / CONTEXT, (json.dumps(standing, indent=1) + "\n").encode())
    return standing


def _list_key(job: Job, day: date) -> str:
    return str(list_archive.read_metadata(replace(job, as_of=day))["key"])


if __name__ == "__main__":
    main(context)
