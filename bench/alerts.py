"""Compare alerts with the planted events: precision, recall and days of warning.

    python bench/alerts.py --accounts 2000

On the example company the rules run at every month start of two years, as they would have; only new alerts count, as
a user would see them. Each code is compared with alerts drawn at random, as many on each day.

* *precision*: share of alerts with a true event of the code's kinds in the days before, as far back as the rule
  looks; `leaving` counts from the decision to the end of the term, in which use declines;
* *recall*: share of the events of observed accounts that had an alert within the same days;
* by kind of event: the same for drops of use and silent sponsors, by their true cause;
* *lost*: share of alerted accounts that lost the next renewal, next to the share of all observed; *days*: median from
  the first alert of a lost term to its end.

`--said FILE` takes the `predictions.parquet` of `renewals backtest` on the same company and prints how many days
before the end the model's band turned high, for the lost renewals that had an alert. `--work` keeps the company and
all intermediate files.
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

# Python searches the script's folder first and would import `bench/features.py` as the package: move it to the end.
sys.path.append(sys.path.pop(0))

from renewals.examples.company import simulate_company, write_company
from renewals.features import alert_registry as rules
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.settings import read_settings
from renewals.pipelines.stages.act.alerts import rule_inputs
from renewals.pipelines.stages.prepare.check import check
from renewals.pipelines.stages.prepare.ledger import ledger
from renewals.pipelines.stages.prepare.rollup import rollup
from renewals.pipelines.stages.prepare.spine import spine
from renewals.pipelines.stages.prepare.windows import windows
from renewals.pipelines.storage.engine import warehouse

LATE_DAYS = 14
"""Days within which most late rows arrive."""
MONTH_DAYS = 31
"""Days between two lists, at most."""
EVENT_DAYS: dict[str, dict[str, tuple[int, int]]] = {
    "usage_drop": {"leaving": (0, 100), "use_fell": (0, 62)},
    "sponsor_lost": {"sponsor_left": (0, 60 + LATE_DAYS)},
    "sponsor_silent": {"sponsor_vanished": (0, 120 + MONTH_DAYS), "leaving": (0, 100)},
    "first_value_missed": {"first_value_missed": (30, 90)},
    "sla_breach": {"limit_passed": (0, 60 + LATE_DAYS)},
    "low_score_not_followed_up": {"low_score_left": (0, 60 + LATE_DAYS)},
}
"""Kinds of event that explain an alert of each code, and the days before the alert in which they count. A decision to
leave lies at most 100 days before the end; a sponsor is silent for 60 days before the alert, which can last 60 more."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accounts", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--first", default="2024-06", help="the first month of the lists")
    parser.add_argument("--until", type=date.fromisoformat, default=date(2026, 5, 2))
    parser.add_argument("--said", type=Path)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE")
    args = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    work = args.work or Path(tempfile.mkdtemp(prefix=f"renewals-alerts-{args.accounts}-{args.seed}-"))
    job = prepare_company(work, args)
    alerts, observed = compute_alerts(job)
    truth = {name: read_dated(Path(job.tables) / "ground_truth" / f"{name}.parquet") for name in ("events", "renewals")}
    observed = observed.merge(truth["renewals"][["account_id", "renewal_date", "renewed"]], how="left")
    new_alerts = alerts[alerts["is_new"]].merge(observed, on=["account_id", "as_of"])
    dates = observed["as_of"].nunique()
    print(
        f"{args.accounts} accounts, seed {args.seed}: {len(observed)} observations on {dates} month starts, "
        f"{share_with_alert(alerts, observed):.0%} with an alert; {len(alerts)} alerts, {len(new_alerts)} of them new"
    )
    print(format_table([code_row(code, new_alerts, observed, truth["events"]) for code in rules.ALERT_CODES]))
    print("\nby kind of event: precision of the new alerts and of random alerts; recall of the events")
    print(format_table([*kind_rows(new_alerts, observed, truth["events"])]))
    if args.said:
        print(warning_times(new_alerts, read_dated(args.said), job.settings.list.bands.high))


def prepare_company(work: Path, args: argparse.Namespace) -> Job:
    """Build the company with its observations at every month start; existing files are reused."""
    overrides = [f"spine.first_month={args.first}", *args.overrides]
    settings = read_settings(Path(__file__).parents[1] / "params.yaml", overrides)
    company = work / "company"
    job = Job(settings, str(company), work, work / "lists", until=args.until)
    if not (work / "learn" / "windows" / "first_uses.parquet").is_file():
        write_company(simulate_company(args.accounts, seed=args.seed), company)
        for stage in (check, rollup, ledger, spine, windows):
            stage(job)
    return job


def compute_alerts(job: Job) -> tuple[pd.DataFrame, pd.DataFrame]:
    """All alerts, date by date in order, with those of earlier dates counted as reported; and the observations."""
    con = warehouse.connect(job.settings.engine)
    inputs = rule_inputs(con, job)
    candidates = warehouse.materialize(con, "candidates", rules.compute_alerts(inputs))
    reported = con.create_table(
        "reported",
        rules.flag_new(candidates, candidates.limit(0).mutate(first_reported_on=candidates.as_of), job.settings),
    )
    reported = reported.filter(reported.as_of.isnull())
    for day in sorted(inputs["spine"].as_of.execute().unique()):
        today = rules.flag_new(candidates.filter(candidates.as_of == day), reported, job.settings)
        con.insert("reported", today)
        reported = con.table("reported").filter(lambda rows: rows.is_new.notnull())
    observed = inputs["spine"].select("account_id", "as_of", "renewal_date").to_pandas()
    return normalise_dates(con.table("reported").to_pandas()), normalise_dates(observed)


def read_dated(path: Path) -> pd.DataFrame:
    return normalise_dates(pd.read_parquet(path))


def normalise_dates(rows: pd.DataFrame) -> pd.DataFrame:
    """Convert every date column to one timestamp precision, so that tables can be joined on it."""
    days = {"as_of", "renewal_date", "happened_on", "first_reported_on"} & set(rows.columns)
    return rows.assign(**{day: pd.to_datetime(rows[day]).astype("datetime64[us]") for day in days})


def share_with_alert(alerts: pd.DataFrame, observed: pd.DataFrame) -> float:
    return len(alerts[["account_id", "as_of"]].drop_duplicates()) / len(observed)


def code_row(code: str, new_alerts: pd.DataFrame, observed: pd.DataFrame, events: pd.DataFrame) -> dict[str, Any]:
    """One row of the printed table: the figures of a code."""
    of_code, base = new_alerts[new_alerts["code"] == code], observed
    lost = of_code[of_code["renewed"] == 0].sort_values("as_of").drop_duplicates(["account_id", "renewal_date"])
    lost_share = of_code["as_of"].map(base.groupby("as_of")["renewed"].apply(lambda renewed: (renewed == 0).mean()))
    return {
        "": code,
        "a month": len(of_code) / observed["as_of"].nunique(),
        "precision": has_event(of_code, events, EVENT_DAYS[code]).mean(),
        "at random": random_precision(of_code, observed, events, EVENT_DAYS[code]),
        "recall": recall(of_code, observed, events, EVENT_DAYS[code]),
        "lost": (of_code["renewed"] == 0).mean(),
        "lost, at random": lost_share.mean(),
        "days to the end": (lost["renewal_date"] - lost["as_of"]).dt.days.median(),
    }


def kind_rows(new_alerts: pd.DataFrame, observed: pd.DataFrame, events: pd.DataFrame) -> Any:
    """One printed row for each kind of event of the codes with several kinds."""
    for code, kinds in EVENT_DAYS.items():
        of_code = new_alerts[new_alerts["code"] == code]
        for kind, reach in kinds.items() if len(kinds) > 1 else ():
            only = {kind: reach}
            yield {
                "": f"{code}: {kind}",
                "precision": has_event(of_code, events, only).mean(),
                "at random": random_precision(of_code, observed, events, only),
                "recall": recall(of_code, observed, events, only),
            }


def has_event(rows: pd.DataFrame, events: pd.DataFrame, event_days: dict[str, tuple[int, int]]) -> np.ndarray[Any, Any]:
    """Flag of the rows with an event of one of the kinds within its days before the row's day."""
    hit = np.zeros(len(rows), bool)
    for kind, days in event_days.items():
        hit |= has_event_within(rows, events[events["kind"] == kind], days)
    return hit


def has_event_within(rows: pd.DataFrame, events: pd.DataFrame, days: tuple[int, int]) -> np.ndarray[Any, Any]:
    pairs = rows[["account_id", "as_of"]].reset_index(drop=True).reset_index().merge(events, on="account_id")
    ago = (pairs["as_of"] - pairs["happened_on"]).dt.days
    hits = pairs.loc[(ago > days[0]) & (ago <= days[1]), "index"]
    return np.isin(np.arange(len(rows)), hits)


def random_precision(
    alerts: pd.DataFrame, observed: pd.DataFrame, events: pd.DataFrame, event_days: dict[str, tuple[int, int]]
) -> float:
    """Expected precision of as many alerts on each day, drawn at random from the observed accounts."""
    shares = observed.assign(hit=has_event(observed, events, event_days)).groupby("as_of")["hit"].mean()
    return float(alerts["as_of"].map(shares).mean())


def recall(
    alerts: pd.DataFrame, observed: pd.DataFrame, events: pd.DataFrame, event_days: dict[str, tuple[int, int]]
) -> float:
    """Share of the events with an alert, among those with a list within their days."""
    alerted, on_a_list = [], []
    for kind, (first, last) in event_days.items():
        of_kind = events[events["kind"] == kind].reset_index(drop=True)
        on_a_list.append(_is_alerted(of_kind, observed, first, last))
        alerted.append(_is_alerted(of_kind, alerts, first, last))
    visible = np.concatenate(on_a_list)
    return float(np.concatenate(alerted)[visible].mean()) if visible.any() else float("nan")


def _is_alerted(events: pd.DataFrame, rows: pd.DataFrame, first: int, last: int) -> np.ndarray[Any, Any]:
    pairs = events.reset_index().merge(rows[["account_id", "as_of"]], on="account_id")
    after = (pairs["as_of"] - pairs["happened_on"]).dt.days
    return np.isin(np.arange(len(events)), pairs.loc[(after > first) & (after <= last), "index"])


def warning_times(new_alerts: pd.DataFrame, backtest: pd.DataFrame, high: float) -> str:
    """Days before the end of the first alert and of the first high band, on the same lost renewals, as a text."""
    key = ["account_id", "renewal_date"]
    lost = backtest[(backtest["label"] == 0)]
    band = lost[lost["probability"] <= 1 - high].groupby(key)["as_of"].min().rename("band")
    alert = new_alerts.groupby(key)["as_of"].min().rename("alert")
    joined = lost[key].drop_duplicates().merge(alert, on=key, how="left").merge(band, on=key, how="left")
    days = {name: (joined["renewal_date"] - joined[name]).dt.days for name in ("alert", "band")}
    before = (joined["alert"] < joined["band"].fillna(pd.Timestamp.max))[joined["alert"].notna()].mean()
    return (
        f"\n{len(joined)} lost renewals of the backtest: {joined['alert'].notna().mean():.0%} had an alert, "
        f"{days['alert'].median():.0f} days before the end; {joined['band'].notna().mean():.0%} turned high, "
        f"{days['band'].median():.0f} days before; {before:.0%} of those with an alert had it before they turned high"
    )


def format_table(rows: list[dict[str, Any]]) -> str:
    return pd.DataFrame(rows).to_string(index=False, float_format=lambda x: f"{x:.2f}", na_rep="")


if __name__ == "__main__":
    main()
