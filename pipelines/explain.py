"""Why one account stands where it stands on the list: everything the list had no room for."""

from __future__ import annotations

import difflib
import json
import math
from typing import TYPE_CHECKING, Any

import pandas as pd

from features.family import KEY
from features.windows import known_on
from lists.text import printable
from lists.words import Words
from models.reasons import REASONS, STRENGTHS, by_family, idea
from pipelines import warehouse
from pipelines.errors import InputMissing
from pipelines.score import CONTRIBUTIONS, GROUP, PEERS, read_catalogue, read_scored
from pipelines.stage import Job, main, on_terminal

if TYPE_CHECKING:
    from rich.console import Console

SAID = ("account_id", "account_name", "csm", "stage", "size_band", "renewal_date", "days_to_renewal", "arr", "currency")
SCORES = (
    *("status", "renewal_probability", "risk_band", "arr_at_risk", "rank", "within_capacity"),
    *("expansion_probability", "upsell_probability", "cross_sell_probability", "quadrant"),
    *("renewal_model", "expansion_model"),
)
SHOWN = 15
"""Contributions shown on a terminal; the result holds all."""


def explain(job: Job, account: str) -> dict[str, Any]:
    """Explain one account's place on the list of the act date; on a terminal also as tables on standard error.

    Raises InputMissing, with the nearest ids and names, where the account is not on the list.
    """
    _, listed = read_scored(job)
    row = listed.iloc[found(listed, account)]
    result = {
        "as_of": job.day.isoformat(),
        "account": {name: _plain(row[name]) for name in SAID},
        "says": {name: _plain(row[name]) for name in SCORES},
        "reasons": [_reason(row, k) for k in range(1, REASONS + 1) if row[f"reason_{k}"]],
        "strengths": [row[f"strength_{k}"] for k in range(1, STRENGTHS + 1) if row[f"strength_{k}"]],
        **_contributions(job, row["account_id"]),
        "rows": rows_known(job, row["account_id"]),
    }
    if on_terminal():
        from rich.console import Console

        show(result, Words(job.settings.list.language), Console(stderr=True))
    return result


def found(listed: pd.DataFrame, account: str) -> int:
    """The place of an account on the list, by its id as text."""
    ids = listed["account_id"].astype(str)
    places = (ids == account).to_numpy().nonzero()[0]
    if len(places):
        return int(places[0])
    names = listed["account_name"].fillna("").astype(str)
    raise InputMissing(_not_found(account, list(zip(ids, names, strict=True)), listed["as_of"].iloc[0].date()))


def _not_found(account: str, known: list[tuple[str, str]], as_of: Any) -> str:
    asked = account.strip().casefold()
    near = [(i, n) for i, n in known if asked and (asked in n.casefold() or asked == i.casefold())][:5]
    if not near:
        spelt = {text.casefold(): (i, n) for i, n in known[:20_000] for text in (n, i) if text}
        near = [spelt[text] for text in difflib.get_close_matches(asked, spelt, n=5, cutoff=0.6)]
    hint = "; ".join(f"{printable(i)} ({printable(n)})" if n else printable(i) for i, n in dict.fromkeys(near))
    return (
        f"no account {printable(account)!r} on the list of {as_of} ({len(known)} accounts with a renewal in sight). "
        + (f"Did you mean: {hint}?" if hint else "Give its account_id as it stands in the tables.")
    )


def _reason(row: pd.Series, k: int) -> dict[str, Any]:
    parts = {part: _plain(row[f"reason_{k}_{part}"]) for part in ("feature", "contribution", "family", "actionable")}
    return {"words": row[f"reason_{k}"], **parts}


def _contributions(job: Job, account_id: Any) -> dict[str, Any]:
    """Every contribution with the account's figure and its peers', and their sum by family; empty where not scored."""
    wanted = [("account_id", "==", account_id)]
    own = pd.read_parquet(job.side / CONTRIBUTIONS, filters=wanted)
    if own.empty:
        return {"families": {}, "features": []}
    catalogue = {str(feature["name"]): feature for feature in read_catalogue(job.side)}
    peers = pd.read_parquet(job.side / PEERS).loc[own[GROUP].iloc[0]]
    figures = pd.read_parquet(job.side / "scoring.parquet", filters=wanted).iloc[0]
    pushes = own.drop(columns=[*KEY, GROUP]).iloc[0].astype("float64").sort_values()
    features = [
        {
            "feature": name,
            "idea": idea(catalogue[name]) if name in catalogue else name,
            "family": catalogue.get(name, {}).get("family", "other"),
            "figure": _plain(figures.get(name)),
            "peers": _plain(peers.get(name)),
            "contribution": float(push),
        }
        for name, push in zip(pushes.index.astype(str), pushes, strict=True)
    ]
    return {"families": by_family(pushes, list(catalogue.values())), "features": features}


def rows_known(job: Job, account_id: Any) -> dict[str, int]:
    """How many rows of the account each table held that were known by then."""
    con = warehouse.connect(job.settings.engine)
    counts = {}
    for name, table in warehouse.clean_tables(con, job.data).items():
        if "account_id" in table.columns:
            known = known_on(name, table.filter(table.account_id == account_id), job.day)
            counts[name] = int(known.count().to_pyarrow().as_py())
    return counts


def _plain(value: Any) -> Any:
    """A value as JSON can hold it."""
    if value is None or pd.isna(value):
        return None
    if isinstance(value, pd.Timestamp):
        return value.date().isoformat()
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


def show(result: dict[str, Any], words: Words, console: Console) -> None:
    """The explanation as tables. Nothing from outside is read as markup, and control characters are made visible."""
    from rich.table import Table

    say = words.say

    def table(title: str, *headings: str) -> Table:
        return Table(
            *headings, title=_safe(title), title_justify="left", title_style="bold", show_header=bool(headings)
        )

    account = result["account"]["account_name"] or result["account"]["account_id"]
    overview = table(say("explain.title", account=account, as_of=result["as_of"]))
    for name, value in (result["account"] | result["says"]).items():
        if value is not None:
            overview.add_row(words.heading(name), _safe(_shown(name, value, words)))
    told = table(say("explain.reasons"))
    for reason in result["reasons"]:
        told.add_row(_safe(reason["words"]), f"{reason['contribution']:+.2f}")
    good = table(say("explain.strengths"))
    for strength in result["strengths"]:
        good.add_row(_safe(strength))
    for lines in (told, good):
        if not lines.row_count:
            lines.add_row(say("explain.none"))
    families = table(say("explain.families"), say("explain.subject"), say("explain.contribution"))
    for family, push in result["families"].items():
        families.add_row(words.value("family", family), f"{push:+.2f}")
    parts = [f"explain.{part}" for part in ("feature", "figure", "peer", "contribution")]
    features = table(say("explain.features"), *map(say, parts))
    strongest = sorted(result["features"], key=lambda f: -abs(f["contribution"]))[:SHOWN]
    for one in sorted(strongest, key=lambda f: f["contribution"]):
        figures = (_safe(_number(one[part])) for part in ("figure", "peers"))
        features.add_row(_safe(one["feature"]), *figures, f"{one['contribution']:+.2f}")
    rows = table(say("explain.rows"), say("explain.table"), say("explain.count"))
    for name, count in result["rows"].items():
        rows.add_row(name, f"{count:,}")
    for part in (overview, told, good, families, features, rows):
        console.print(part)


def _safe(text: str) -> Any:
    from rich.text import Text

    return Text(printable(text))


def _number(value: Any) -> str:
    return f"{value:,.4g}" if isinstance(value, (int, float)) else str("–" if value is None else value)


def _shown(name: str, value: Any, words: Words) -> str:
    if isinstance(value, bool):
        return words.flag(value)
    if isinstance(value, float):
        return f"{value:.0%}" if name.endswith("probability") else f"{value:,.0f}"
    return words.value(name, value)


def as_json(result: dict[str, Any]) -> str:
    """The explanation as one line of JSON."""
    return json.dumps(result, ensure_ascii=False, sort_keys=True)


if __name__ == "__main__":
    main(explain)
