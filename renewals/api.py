"""Python interface: the main commands as functions.

```python
from renewals import api

api.check("exports")
api.learn("exports", until="2026-06-01")
api.score("exports", as_of="2026-06-01")
risk_list = api.read_list("2026-06-01")
```

Each function works as the command of the same name: same checks, same lock, same files. An error is a `RunError` with
the `exit_code` of the command line. Settings come from `params.yaml` in the current folder if it exists;
`settings` overrides single ones: `{"list.language": "zh"}`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from renewals.pipelines.runtime.errors import GateRejectedError, MissingInputError, RunError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["GateRejectedError", "RunError", "check", "learn", "read_list", "score"]

Day = date | str
"""A date, or its text as YYYY-MM-DD."""


def check(
    tables: str | Path,
    *,
    as_of: Day | None = None,
    data: str | Path = "data",
    params: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Validate the input tables, and with `as_of` whether they are recent enough; return the report."""
    from renewals.pipelines.commands.check import check_tables
    from renewals.pipelines.session import open_job

    with open_job("check", **_inputs(tables, data, "lists", params, settings), as_of=_parse_day(as_of)) as job:
        return check_tables(job)


def learn(
    tables: str | Path,
    *,
    until: Day,
    data: str | Path = "data",
    params: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Train, evaluate and register models on what was final before `until`; return a summary.

    Raises GateRejectedError if the gate rejects the renewal model; the model is registered, the champion stays.
    """
    from renewals.pipelines.commands.learn import learn
    from renewals.pipelines.session import open_job

    with open_job("learn", **_inputs(tables, data, "lists", params, settings), until=_parse_day(until)) as job:
        return learn(job)


def score(
    tables: str | Path,
    *,
    as_of: Day,
    data: str | Path = "data",
    lists: str | Path = "lists",
    params: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Score all accounts as of a date and publish the list; return a summary."""
    from renewals.pipelines.commands.score import run_score
    from renewals.pipelines.session import open_job

    with open_job("score", **_inputs(tables, data, lists, params, settings), as_of=_parse_day(as_of)) as job:
        return run_score(job)


def read_list(as_of: Day, lists: str | Path = "lists") -> pd.DataFrame:
    """Read a published list: one row per account, in the order of the list. Raises MissingInputError."""
    import pandas as pd

    from renewals.pipelines.storage.published.manifest import RISK_LIST

    path = Path(lists) / str(as_of) / RISK_LIST
    if not path.is_file():
        raise MissingInputError(f"no list of {as_of} in {lists}: publish it with score")
    return pd.read_parquet(path)


def _parse_day(day: Day | None) -> date | None:
    from renewals.pipelines.runtime.job import parse_date

    return None if day is None else parse_date(str(day), "date")


class _Inputs(TypedDict):
    tables: str
    data: Path
    lists: Path
    params: Path | None
    overrides: list[str]


def _inputs(
    tables: str | Path,
    data: str | Path,
    lists: str | Path,
    params: str | Path | None,
    settings: Mapping[str, Any] | None,
) -> _Inputs:
    return {
        "tables": str(tables),
        "data": Path(data),
        "lists": Path(lists),
        "params": None if params is None else Path(params),
        "overrides": [f"{key}={json.dumps(value)}" for key, value in (settings or {}).items()],
    }
