"""Conversion of a present data folder to the file and column names that commit 77ed5ab wrote."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

ALERTS = {
    **{"started_on": "began", "latest_cause_on": "newest", "first_reported_on": "told_on"},
    **{"count": "concerned", "value": "figure", "expected": "usual"},
}
ARCHIVED = {
    "prescribed_playbooks.parquet": ("plays.parquet", {"expected_gain": "gain", "gain_per_hour": "worth"}),
    "peer_medians.parquet": ("peers.parquet", {}),
    "row_counts.parquet": ("rows.parquet", {}),
    "new_interventions.parquet": (
        "begun.parquet",
        {"started_on": "started", "previous_probability": "then", "probability": "now"},
    ),
    "contributions.parquet": ("contributions.parquet", {"peer_group": "peers"}),
    "alerts.parquet": ("alerts.parquet", ALERTS),
    "disagreements.parquet": ("disagreements.parquet", {"correct_side": "right"}),
}
FEEDBACK = {
    "feedback_log.parquet": (
        "answers.parquet",
        {"started_on": "begun", "list_key": "key", "file_sha256": "file"},
    ),
    "verdicts.parquet": ("verdicts.parquet", {"list_key": "key"}),
    "interventions.parquet": ("interventions.parquet", {"list_as_of": "list_answered"}),
}


def make_old(data: Path) -> None:
    """Rename the list archive, the alert history and the feedback in `data` to their old names."""
    if (data / "list_archive").is_dir():
        (data / "list_archive").rename(data / "published")
        for folder in (data / "published").iterdir():
            _make_old_files(folder, ARCHIVED)
            metadata = json.loads((folder / "list.json").read_bytes())
            (folder / "list.json").unlink()
            metadata["last"] = metadata.pop("previous_list")
            (folder / "published.json").write_text(json.dumps(metadata))
            _make_old_tally(folder / "disagreements.json")
    if (data / "alert_history").is_dir():
        (data / "alert_history").rename(data / "told")
        for file in (data / "told").iterdir():
            pd.read_parquet(file).rename(columns=ALERTS).to_parquet(file)
    if (data / "feedback").is_dir():
        (data / "feedback").rename(data / "returned")
        _make_old_files(data / "returned", FEEDBACK)
        (data / "returned" / "rejected_answers.csv").rename(data / "returned" / "refused.csv")


def _make_old_files(folder: Path, names: dict[str, tuple[str, dict[str, str]]]) -> None:
    for new, (old, columns) in names.items():
        if (folder / new).is_file():
            rows = pd.read_parquet(folder / new)
            assert set(columns) <= set(rows.columns)
            (folder / new).unlink()
            rows.rename(columns=columns).to_parquet(folder / old)


def _make_old_tally(file: Path) -> None:
    if file.is_file():
        summary = json.loads(file.read_bytes())
        if summary["tally"]:
            summary["tally"] |= {"right": summary["tally"].pop("accuracy"), "enough": summary["tally"].pop("min_final")}
        file.write_text(json.dumps(summary))
