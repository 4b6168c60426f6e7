"""Alerts beside what was planted: how many speak of something that happened, how much they find, how early.

    python bench/alerts.py --accounts 2000

On the example company, at every month start of two years, the rules speak as they would have; only what is told as new
is counted, as a person would hear it. Beside each code stands the same of alerts drawn at random, as many on each day.

* *precision*: alerts of which the truth holds an event of the code's kinds in the days before, as far back as the rule
  looks; `leaving` counts from the decision to the end of the term, in which use dies down;
* *recall*: events of an observed account that were told within the same days;
* *true cause*: the same for use that fell and sponsors that fell silent, by what was behind it;
* *lost*: alerted accounts whose renewal at hand was lost, beside all observed; *days*: median from the first alert of
  a term that was lost to its end.

`--said FILE` takes the `predictions.parquet` of `renewals backtest` on the same company and tells how many days
before the end the model's band turned high, for the lost renewals that an alert told of. `--work` keeps the
company and what is made.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import structlog

# Python looks beside the script first, where `features.py` would be taken for the package. Imported before the others.
sys.path.append(sys.path.pop(0))

from renewals.examples.company import simulate_company, write_company
from renewals.features import alert_registry as rules
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.settings import read_settings
from renewals.pipelines.stages.act.alerts import rule_inputs
from renewals.pipelines.stages.prepare.check import check
from renewals.pipelines.stages.prepare.rollup import rollup
from renewals.pipelines.stages.prepare.spine import spine
from renewals.pipelines.stages.prepare.windows import windows
from renewals.pipelines.storage.engine import warehouse

LATE = 14
"""Days that most late rows take to arrive."""
MONTH = 31
"""A list is made once a month."""
REACH: dict[str, dict[str, tuple[int, int]]] = {
    "usage_drop": {"leaving": (0, 100), "use_fell": (0, 62)},
    "sponsor_lost": {"sponsor_left": (0, 60 + LATE)},
    "sponsor_silent": {"sponsor_vanished": (0, 120 + MONTH), "leaving": (0, 100)},
    "first_value_missed": {"first_value_missed": (30, 90)},
    "sla_breach": {"limit_passed": (0, 60 + LATE)},
    "low_score_not_followed_up": {"low_score_left": (0, 60 + LATE)},
}
"""The kinds of event each code may speak of, and how many days before the alert. A decision to leave falls at most 100
days before the end; a sponsor is silent for 60 days before that is told, and 60 more while it is held."""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--accounts", type=int, default=2000)
    options.add_argument("--seed", type=int, default=7)
    options.add_argument("--first", default="2024-06", help="the first month looked at")
    options.add_argument("--until", type=date.fromisoformat, default=date(2026, 5, 2))
    options.add_argument("--said", type=Path)
    options.add_argument("--work", type=Path)
    options.add_argument("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE")
    asked = options.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    work = asked.work or Path(tempfile.mkdtemp(prefix=f"renewals-alerts-{asked.accounts}-{asked.seed}-"))
    job = prepared(work, asked)
    told, observed = spoken(job)
    truth = {name: read(Path(job.tables) / "ground_truth" / f"{name}.parquet") for name in ("events", "renewals")}
    observed = observed.merge(truth["renewals"][["account_id", "renewal_date", "renewed"]], how="left")
    news = told[told["is_new"]].merge(observed, on=["account_id", "as_of"])
    dates = observed["as_of"].nunique()
    print(
        f"{asked.accounts} accounts, seed {asked.seed}: {len(observed)} observations on {dates} month starts, "
        f"{share_with(told, observed):.0%} of them with an alert; {len(told)} alerts, {len(news)} of them new"
    )
    print(table([line(code, news, observed, truth["events"]) for code in rules.ALERT_CODES]))
    print("\nby what was behind it: share of the new alerts, beside alerts at random; share of the events told")
    print(table([*behind(news, observed, truth["events"])]))
    if asked.said:
        print(turned_high(news, read(asked.said), job.settings.list.bands.high))


def prepared(work: Path, asked: argparse.Namespace) -> Job:
    """The company with its observations of every month start; what is there already is kept."""
    overrides = [f"spine.first_month={asked.first}", *asked.overrides]
    settings = read_settings(Path(__file__).parents[1] / "params.yaml", overrides)
    company = work / "company"
    job = Job(settings, str(company), work, work / "lists", until=asked.until)
    if not (work / "learn" / "windows" / "first_uses.parquet").is_file():
        write_company(simulate_company(asked.accounts, seed=asked.seed), company)
        for stage in (check, rollup, spine, windows):
            stage(job)
    return job


def spoken(job: Job) -> tuple[pd.DataFrame, pd.DataFrame]:
    """All alerts of all dates, each date told after those before it; and the observations."""
    con = warehouse.connect(job.settings.engine)
    known = rule_inputs(con, job)
    found = warehouse.materialize(con, "found_alerts", rules.compute_alerts(known))
    told = con.create_table(
        "told", rules.flag_new(found, found.limit(0).mutate(first_reported_on=found.as_of), job.settings)
    )
    told = told.filter(told.as_of.isnull())
    for day in sorted(known["spine"].as_of.execute().unique()):
        today = rules.flag_new(found.filter(found.as_of == day), told, job.settings)
        con.insert("told", today)
        told = con.table("told").filter(lambda rows: rows.is_new.notnull())
    observed = known["spine"].select("account_id", "as_of", "renewal_date").to_pandas()
    return dated(con.table("told").to_pandas()), dated(observed)


def read(path: Path) -> pd.DataFrame:
    return dated(pd.read_parquet(path))


def dated(rows: pd.DataFrame) -> pd.DataFrame:
    """With every day as an instant of one precision, so that tables can be joined on it."""
    days = {"as_of", "renewal_date", "happened_on", "first_reported_on"} & set(rows.columns)
    return rows.assign(**{day: pd.to_datetime(rows[day]).astype("datetime64[us]") for day in days})


def share_with(told: pd.DataFrame, observed: pd.DataFrame) -> float:
    return len(told[["account_id", "as_of"]].drop_duplicates()) / len(observed)


def line(code: str, news: pd.DataFrame, observed: pd.DataFrame, events: pd.DataFrame) -> dict[str, Any]:
    """One row of the printed table."""
    own, base = news[news["code"] == code], observed
    lost = own[own["renewed"] == 0].sort_values("as_of").drop_duplicates(["account_id", "renewal_date"])
    on_day = own["as_of"].map(base.groupby("as_of")["renewed"].apply(lambda renewed: (renewed == 0).mean()))
    return {
        "": code,
        "a month": len(own) / observed["as_of"].nunique(),
        "precision": matched(own, events, REACH[code]).mean(),
        "by lot": by_lot(own, observed, events, REACH[code]),
        "recall": recalled(own, observed, events, REACH[code]),
        "lost": (own["renewed"] == 0).mean(),
        "lost, by lot": on_day.mean(),
        "days to the end": (lost["renewal_date"] - lost["as_of"]).dt.days.median(),
    }


def behind(news: pd.DataFrame, observed: pd.DataFrame, events: pd.DataFrame) -> Any:
    """A row for each code with several kinds of event, and kind."""
    for code, kinds in REACH.items():
        own = news[news["code"] == code]
        for kind, reach in kinds.items() if len(kinds) > 1 else ():
            one = {kind: reach}
            yield {
                "": f"{code}: {kind}",
                "precision": matched(own, events, one).mean(),
                "by lot": by_lot(own, observed, events, one),
                "recall": recalled(own, observed, events, one),
            }


def matched(rows: pd.DataFrame, events: pd.DataFrame, reach: dict[str, tuple[int, int]]) -> np.ndarray[Any, Any]:
    """Whether there was an event of one of the kinds, so many days before each row's day."""
    hit = np.zeros(len(rows), bool)
    for kind, days in reach.items():
        hit |= near(rows, events[events["kind"] == kind], days)
    return hit


def near(rows: pd.DataFrame, events: pd.DataFrame, days: tuple[int, int]) -> np.ndarray[Any, Any]:
    pairs = rows[["account_id", "as_of"]].reset_index(drop=True).reset_index().merge(events, on="account_id")
    ago = (pairs["as_of"] - pairs["happened_on"]).dt.days
    hits = pairs.loc[(ago > days[0]) & (ago <= days[1]), "index"]
    return np.isin(np.arange(len(rows)), hits)


def by_lot(own: pd.DataFrame, observed: pd.DataFrame, events: pd.DataFrame, reach: dict[str, tuple[int, int]]) -> float:
    """The precision to be expected of as many alerts on each day, drawn from all who are observed then."""
    shares = observed.assign(hit=matched(observed, events, reach)).groupby("as_of")["hit"].mean()
    return float(own["as_of"].map(shares).mean())


def recalled(
    own: pd.DataFrame, observed: pd.DataFrame, events: pd.DataFrame, reach: dict[str, tuple[int, int]]
) -> float:
    """The share told of the events that some list within their reach could have told of."""
    told, could = [], []
    for kind, (first, last) in reach.items():
        some = events[events["kind"] == kind].reset_index(drop=True)
        could.append(_seen(some, observed, first, last))
        told.append(_seen(some, own, first, last))
    visible = np.concatenate(could)
    return float(np.concatenate(told)[visible].mean()) if visible.any() else float("nan")


def _seen(events: pd.DataFrame, rows: pd.DataFrame, first: int, last: int) -> np.ndarray[Any, Any]:
    pairs = events.reset_index().merge(rows[["account_id", "as_of"]], on="account_id")
    after = (pairs["as_of"] - pairs["happened_on"]).dt.days
    return np.isin(np.arange(len(events)), pairs.loc[(after > first) & (after <= last), "index"])


def turned_high(news: pd.DataFrame, said: pd.DataFrame, high: float) -> str:
    """How early alert and band were, on the same lost renewals."""
    key = ["account_id", "renewal_date"]
    lost = said[(said["label"] == 0)]
    band = lost[lost["probability"] <= 1 - high].groupby(key)["as_of"].min().rename("band")
    alert = news.groupby(key)["as_of"].min().rename("alert")
    both = lost[key].drop_duplicates().merge(alert, on=key, how="left").merge(band, on=key, how="left")
    days = {name: (both["renewal_date"] - both[name]).dt.days for name in ("alert", "band")}
    before = (both["alert"] < both["band"].fillna(pd.Timestamp.max))[both["alert"].notna()].mean()
    return (
        f"\n{len(both)} lost renewals of the back-test: {both['alert'].notna().mean():.0%} had an alert, "
        f"{days['alert'].median():.0f} days before the end; {both['band'].notna().mean():.0%} turned high, "
        f"{days['band'].median():.0f} days before; of those alerted {before:.0%} were so before they turned high"
    )


def table(lines: list[dict[str, Any]]) -> str:
    return pd.DataFrame(lines).to_string(index=False, float_format=lambda x: f"{x:.2f}", na_rep="")


if __name__ == "__main__":
    main()
