"""Interventions started since the last list, with the renewal probabilities then and now (M1)."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

from renewals.features.point_in_time import known_rows
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.storage.engine import warehouse
from renewals.pipelines.storage.published import published_lists
from renewals.pipelines.storage.published.list_archive import InterventionsSince

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

COLUMNS = ["account_id", "account_name", "csm", "playbook", "started_on", "previous_probability", "probability"]


def new_interventions(
    job: Job, listed: pd.DataFrame, playbooks: Mapping[str, Mapping[str, Any]]
) -> InterventionsSince | None:
    """Interventions started for the accounts of this list since the previous one; None if there is no previous list.

    One row per intervention, with the probabilities of the account's main renewal. `playbook` is the name in the
    language of the list, or the id if it is not in the library.
    """
    import pandas as pd

    last = published_lists.latest_list(job)
    if last is None:
        return None
    started = _load_interventions(job, last.day)
    previous = last.scores.set_index("renewal_id")["renewal_probability"]
    current = listed.loc[listed["is_main"], ["account_id", "account_name", "csm", "renewal_probability", "renewal_id"]]
    current = current.assign(previous_probability=current["renewal_id"].map(previous))
    # The type of the account ids may have changed since: then no id matches, which is not an error.
    started, current = (table.astype({"account_id": object}) for table in (started, current))
    rows = started.merge(current.rename(columns={"renewal_probability": "probability"}), on="account_id")
    rows = rows.sort_values(["csm", "account_id", "started_on", "playbook"])
    names = {key: play["name"][job.settings.list.language] for key, play in playbooks.items()}
    rows["playbook"] = [names.get(key, key) for key in rows["playbook"]]
    return InterventionsSince(last.day, pd.DataFrame(rows[COLUMNS]).reset_index(drop=True))


def _load_interventions(job: Job, first_day: date) -> pd.DataFrame:
    """Load interventions known on the job's day that started on or after `first_day`; one row per intervention."""
    import pandas as pd

    tables = warehouse.clean_tables(warehouse.connect(job.settings.engine), job.data)
    if "interventions" not in tables:
        return pd.DataFrame({"account_id": [], "playbook": [], "started_on": []}, dtype=object)
    known = known_rows("interventions", tables["interventions"], job.day)
    rows: pd.DataFrame = known.select("account_id", "playbook", started_on="started_at").to_pandas()
    rows["started_on"] = pd.to_datetime(rows["started_on"]).dt.date
    return rows[rows["started_on"] >= first_day]
