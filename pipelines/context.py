"""What a list is made from beside the tables and the models: answers, measured effects, plays and earlier lists.

All of it comes from other commands, in its own time: so this stage runs each time, and what it writes says to DVC
whether anything changed.
"""

from __future__ import annotations

import json
from typing import Any

from pipelines import answers, earlier, playbooks, warehouse
from pipelines.stage import Job, main

FILE = "context.json"


def context(job: Job) -> dict[str, Any]:
    """Write `context.json`: a digest of everything that was answered, measured, written or published before the day."""
    told = earlier.told_lately(job)
    standing = {
        "answers": warehouse.digest(answers.folder(job) / answers.LOG),
        "effects": warehouse.digest(playbooks.effects_path(job)),
        "playbooks": warehouse.digest(playbooks.library_path(job)),
        "lists": {one.day.isoformat(): str(one.manifest["key"]) for one in earlier.published(job)},
        "told": {path.stem: warehouse.digest(path) for path in told},
        "figures": {path.stem: warehouse.digest(path) for path in earlier.kept_figures(job)},
    }
    warehouse.write_bytes(job.side / FILE, (json.dumps(standing, indent=1) + "\n").encode())
    return standing


if __name__ == "__main__":
    main(context)
