"""Why one account stands where it stands on the list: everything the list had no room for."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import islice
from typing import TYPE_CHECKING, Any

import pandas as pd

from renewals.features.family import KEY
from renewals.features.patterns import normalize_text
from renewals.models.explanation.reasons import REASONS, STRENGTHS, by_theme, idea
from renewals.models.ranking.expected_value import SLOTS
from renewals.pipelines.runtime.console import on_terminal
from renewals.pipelines.runtime.errors import InputMissing
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.stage_main import main
from renewals.pipelines.storage import artifacts, data_files
from renewals.pipelines.storage.artifacts import CONTRIBUTIONS, GROUP, PEERS, PLAYS, read_catalogue
from renewals.pipelines.storage.published import list_archive
from renewals.pipelines.storage.scored_list import read_scored
from renewals.reports.render_failures import Losses
from renewals.reports.sanitize import printable
from renewals.reports.sentences import disagreements as spoken
from renewals.reports.sentences import playbooks
from renewals.reports.sentences.alerts import sentences
from renewals.reports.words import Words

if TYPE_CHECKING:
    from rich.console import Console

SAID = ("account_id", "account_name", "csm", "stage", "size_band", "renewal_date", "days_to_renewal", "arr", "currency")
SCORES = (
    *("status", "status_reason", "renewal_probability", "risk_band", "arr_at_risk", "rank", "within_capacity"),
    *("expansion_probability", "upsell_probability", "cross_sell_probability", "quadrant"),
    *("renewal_model", "expansion_model"),
)
WHOLE_UP_TO = 2**53
"""Beyond this a program that reads JSON numbers as floats no longer tells two whole numbers apart."""
SHOWN = 15
"""Contributions shown on a terminal; the result holds all."""


def explain(job: Job, account: str) -> dict[str, Any]:
    """Explain one account's place on the published list of the act date; on a terminal also as tables.

    Raises InputMissing where there is no list of the day or the account is not on it, with the nearest ids and names.
    """
    result = list_archive.read_day(job, lambda day: explained(day, account))
    if on_terminal():
        from rich.console import Console

        show(result, Words(job.settings.list.language), Console(stderr=True))
    return result


def explained(day: Job, account: str) -> dict[str, Any]:
    """All that is known of one account's place on a list; `day` is the job of `published_day.read_day`."""
    standing, listed = read_scored(day)
    row = listed.iloc[found(listed, account)]
    words = Words(day.settings.list.language)
    return {
        "as_of": day.day.isoformat(),
        "account": {name: plain(row[name]) for name in SAID},
        "says": {name: plain(row[name]) for name in SCORES},
        "reasons": [_reason(row, k) for k in range(1, REASONS + 1) if row[f"reason_{k}"]],
        "strengths": [row[f"strength_{k}"] for k in range(1, STRENGTHS + 1) if row[f"strength_{k}"]],
        **_prescribed(day, row["account_id"], standing["playbooks"], words),
        "since": _since(day, row, words),
        **_contributions(day, row["account_id"]),
        "apart": _apart(day, row["account_id"], words),
        "alerts": told_alerts(day, row["account_id"]),
        "rows": rows_known(day, row["account_id"]),
    }


def found(listed: pd.DataFrame, account: str) -> int:
    """The place of an account on the list, by its id as text."""
    ids = listed["account_id"].astype(str)
    places = (ids == account).to_numpy().nonzero()[0]
    if len(places):
        return int(places[0])
    names = listed["account_name"].fillna("").astype(str)
    raise InputMissing(_not_found(account, list(zip(ids, names, strict=True)), listed["as_of"].iloc[0].date()))


def _not_found(account: str, known: list[tuple[str, str]], as_of: Any) -> str:
    asked = normalize_text(account)
    told = len(asked) > 1 or not asked.isascii()  # a single letter stands in names of every kind
    alike = ((i, n) for i, n in known if asked == normalize_text(i) or (told and asked in normalize_text(n)))
    near = list(islice(alike, 5))
    if not near:
        spelt = {normalize_text(text): (i, n) for i, n in known[:20_000] for text in (n, i) if text}
        near = [spelt[text] for text in difflib.get_close_matches(asked, spelt, n=5, cutoff=0.6)]
    hint = "; ".join(f"{printable(i)} ({printable(n)})" if n else printable(i) for i, n in dict.fromkeys(near))
    return (
        f"no account {printable(account)!r} on the list of {as_of} ({len(known)} accounts with a renewal in sight). "
        + (f"Did you mean: {hint}?" if hint else "Give its account_id as it stands in the tables.")
    )


def told_alerts(job: Job, account_id: Any) -> list[dict[str, Any]]:
    """What the rules say of the account: code, evidence, whether it is new, and a sentence of it."""
    own = artifacts.read_alerts(job)
    words = Words(job.settings.list.language)
    rows = [
        {name: plain(value) for name, value in row.items()}
        for row in own[own["account_id"] == account_id].drop(columns=list(KEY)).to_dict("records")
    ]
    said = sentences("explain", rows, [account_id] * len(rows), words, Losses())
    return [row | {"words": text} for row, text in zip(rows, said, strict=True)]


def _reason(row: pd.Series, k: int) -> dict[str, Any]:
    names = ("feature", "contribution", "family", "theme", "actionable")
    parts = {part: plain(row[f"reason_{k}_{part}"]) for part in names}
    return {"words": row[f"reason_{k}"], **parts}


def _prescribed(job: Job, account_id: Any, plays: Mapping[str, playbooks.Play], words: Words) -> dict[str, Any]:
    """The account's plays with their steps, and what the best is worth; none where it is not scored."""
    own = data_files.load_frame(job.side / PLAYS, filters=[("account_id", "==", account_id)]).iloc[0]
    ids = [own[f"play_{k}"] for k in range(1, SLOTS + 1) if pd.notna(own[f"play_{k}"])]
    told = [
        {
            "id": key,
            "name": plays[key]["name"][words.language],
            "owner": plays[key]["owner"][words.language],
            "hours": plays[key]["hours"],
            "effect": playbooks.effect(plays[key], words),
            "steps": playbooks.steps(plays[key], words),
        }
        for key in ids
    ]
    return {"playbooks": told, "worth": {name: plain(own[name]) for name in ("gain", "hours", "worth")}}


def _since(day: Job, row: pd.Series, words: Words) -> str | None:
    """What was done for the account since the last list; None where there was none."""
    done = list_archive.since_last(day)
    if done is None:
        return None
    begun = done.begun[done.begun["account_id"] == row["account_id"]]
    return playbooks.since(done.last, begun, words)


def _apart(job: Job, account_id: Any, words: Words) -> str | None:
    """Where the manager last saw the renewal otherwise than the list, and who was right; None where that never was."""
    told = artifacts.read_disagreements(job)
    own = [] if told is None else told[0][told[0]["account_id"] == account_id].to_dict("records")
    return spoken.sentence(max(own, key=lambda row: row["as_of"]), words) if own else None


def _contributions(job: Job, account_id: Any) -> dict[str, Any]:
    """Every contribution with the account's figure and its peers', and their sum by theme; empty where not scored."""
    wanted = [("account_id", "==", account_id)]
    own = data_files.load_frame(job.side / CONTRIBUTIONS, filters=wanted)
    if own.empty:
        return {"themes": {}, "features": []}
    catalogue = {str(feature["name"]): feature for feature in read_catalogue(job.side)}
    peers = data_files.load_frame(job.side / PEERS).loc[own[GROUP].iloc[0]]
    figures = data_files.load_frame(job.side / artifacts.SCORING, filters=wanted).iloc[0]
    pushes = own.drop(columns=[*KEY, GROUP]).iloc[0].astype("float64").sort_values()
    features = [
        {
            "feature": name,
            "idea": idea(catalogue[name]) if name in catalogue else name,
            **{part: catalogue.get(name, {}).get(part, "other") for part in ("family", "theme")},
            "figure": plain(figures.get(name)),
            "peers": plain(peers.get(name)),
            "contribution": float(push),
        }
        for name, push in zip(pushes.index.astype(str), pushes, strict=True)
    ]
    return {"themes": by_theme(pushes, list(catalogue.values())), "features": features}


def rows_known(day: Job, account_id: Any) -> dict[str, int]:
    """How many rows of the account each table held that were known by then."""
    rows = data_files.load_frame(day.side / list_archive.ROWS, filters=[("account_id", "==", account_id)])
    return {name: int(rows[name].sum()) for name in rows.columns if name != "account_id"}


def plain(value: Any) -> Any:
    """A value as JSON can hold it; a whole number that JavaScript or jq would round, which only an id is, as text."""
    if value is None or pd.isna(value):
        return None
    if isinstance(value, date):
        return value.isoformat()[:10]
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, int) and abs(value) > WHOLE_UP_TO:
        return str(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


@dataclass(frozen=True)
class Part:
    """One table of the explanation, as words."""

    title: str
    rows: Sequence[tuple[str, ...]]
    headings: tuple[str, ...] = ()


def show(result: dict[str, Any], words: Words, console: Console) -> None:
    """The explanation as tables. Nothing from outside is read as markup, and control characters are made visible."""
    from rich.table import Table

    first = (_overview(result, words), _alerts(result, words))
    then = (*_told(result, words), *_to_do(result, words), *_pushes(result, words), _rows(result, words))
    for part in (*first, *then):
        table = Table(*part.headings, show_header=bool(part.headings))
        for row in part.rows:
            table.add_row(*map(_safe, row))
        console.print(_safe(part.title), style="bold")
        console.print(table)


def _overview(result: dict[str, Any], words: Words) -> Part:
    account = result["account"]["account_name"] or result["account"]["account_id"]
    said = (result["account"] | result["says"]).items()
    rows = [(words.heading(name), _shown(name, value, words)) for name, value in said if value is not None]
    return Part(words.say("explain.title", account=account, as_of=result["as_of"]), rows)


def _told(result: dict[str, Any], words: Words) -> list[Part]:
    none = (words.say("explain.none"),)
    reasons: list[tuple[str, ...]] = [
        (words.theme(r["theme"], r["actionable"]), r["words"], f"{r['contribution']:+.2f}") for r in result["reasons"]
    ]
    strengths: list[tuple[str, ...]] = [(strength,) for strength in result["strengths"]]
    return [
        Part(words.say("explain.reasons"), reasons or [none]),
        Part(words.say("explain.strengths"), strengths or [none]),
    ]


def _to_do(result: dict[str, Any], words: Words) -> list[Part]:
    rows: list[tuple[str, ...]] = [
        ("\n".join((words.say("explain.playbook", **play), *play["steps"])),) for play in result["playbooks"]
    ]
    if rows:
        rows.append((words.say("explain.worth", **result["worth"]),))
    done = [Part(words.say("explain.since"), [(result["since"],)])] if result["since"] else []
    apart = [Part(words.say("explain.apart"), [(result["apart"],)])] if result["apart"] else []
    return [Part(words.say("explain.playbooks"), rows or [(words.say("explain.no_playbook"),)]), *done, *apart]


def _alerts(result: dict[str, Any], words: Words) -> Part:
    rows: list[tuple[str, ...]] = [
        (words.value("alerts", a["code"]), a["words"], _news(a, words)) for a in result["alerts"]
    ]
    return Part(words.say("explain.alerts"), rows or [(words.say("explain.quiet"),)])


def _news(alert: dict[str, Any], words: Words) -> str:
    return words.say("explain.new") if alert["is_new"] else words.say("explain.told", day=alert["told_on"])


def _pushes(result: dict[str, Any], words: Words) -> list[Part]:
    say = words.say
    themes = [(words.value("theme", theme), f"{push:+.2f}") for theme, push in result["themes"].items()]
    strongest = sorted(result["features"], key=lambda f: -abs(f["contribution"]))[:SHOWN]
    features: list[tuple[str, ...]] = [
        (f["feature"], _number(f["figure"]), _number(f["peers"]), f"{f['contribution']:+.2f}")
        for f in sorted(strongest, key=lambda f: float(f["contribution"]))
    ]
    columns = ("feature", "figure", "peer", "contribution")
    return [
        Part(say("explain.themes"), themes, (say("explain.theme"), say("explain.contribution"))),
        Part(say("explain.features"), features, tuple(say(f"explain.{column}") for column in columns)),
    ]


def _rows(result: dict[str, Any], words: Words) -> Part:
    rows: list[tuple[str, ...]] = [(name, f"{count:,}") for name, count in result["rows"].items()]
    return Part(words.say("explain.rows"), rows, (words.say("explain.table"), words.say("explain.count")))


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


if __name__ == "__main__":
    main(explain, writes=False)
