"""Record digests of the other inputs of a list: collected answers, measured effects, playbooks and earlier lists.

Other commands write these inputs at any time. Therefore this stage runs every time, and DVC compares its output to
detect changes.
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
    """Write `context.json`: digests of answers, effects, playbooks, and of lists before the act date; return them."""
    alert_paths = published_lists.recent_alert_paths(job)
    digests = {
        "answers": raw_table.file_digest(
            old_names.existing_file(feedback_log.feedback_folder(job) / feedback_log.LOG_FILE)
        ),
        "effects": raw_table.file_digest(playbook_library.effects_path(job)),
        "playbooks": raw_table.file_digest(playbook_library.library_path(job)),
        "lists": {
            past_list.day.isoformat(): str(past_list.manifest["list_key"])
            for past_list in published_lists.iter_previous_lists(job)
        },
        "told": {path.stem: raw_table.file_digest(path) for path in alert_paths},
        "kept": {day.isoformat(): _list_key(job, day) for day in list_archive.archived_days(job) if day < job.day},
    }
    atomic.write_bytes(job.folder / CONTEXT, (json.dumps(digests, indent=1) + "\n").encode())
    return digests


def _list_key(job: Job, day: date) -> str:
    return str(list_archive.read_metadata(replace(job, as_of=day))["key"])


if __name__ == "__main__":
    main(context)
