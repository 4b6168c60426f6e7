"""What the model would say of an account if some of its figures were other than they are."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from renewals.models.explanation.reasons import YES_OR_NO, sentence
from renewals.models.explanation.what_if import kin, moved, usual
from renewals.models.ranking.worklist import SCORED
from renewals.models.settings import RENEWAL
from renewals.models.training.schema import Schema
from renewals.pipelines.commands.explain import found, plain
from renewals.pipelines.runtime.console import on_terminal
from renewals.pipelines.runtime.errors import Config, InputMissing
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.scoring import champion_models
from renewals.pipelines.scoring.champion_models import Champion
from renewals.pipelines.scoring.what_if_grid import Company
from renewals.pipelines.storage import data_files
from renewals.pipelines.storage.artifacts import CONTRIBUTIONS, GROUP, PEERS, SCORING, read_catalogue
from renewals.pipelines.storage.published import list_archive
from renewals.pipelines.storage.scored_list import read_scored
from renewals.reports.sanitize import printable
from renewals.reports.words import Words

NONE = ("", "none", "unknown")
"""How a person says that a figure is not known."""
SAID = {"yes": 1.0, "no": 0.0}

Feature = Mapping[str, Any]


def whatif(job: Job, account: str, wished: Sequence[str]) -> dict[str, Any]:
    """The probability of renewal as it is and with the figures wished for, each written `feature=value`.

    The other windows of such a figure move along, unless they are wished for too.

    Raises InputMissing where the account is not on the list or has no score, or where another model serves by now;
    Config where a feature is unknown or a value is none of its.
    """
    result = list_archive.read_day(job, lambda day: asked(day, account, wished))
    if on_terminal():
        show(result, Words(job.settings.list.language))
    return result


def asked(day: Job, account: str, wished: Sequence[str]) -> dict[str, Any]:
    """What the model says before and after; `day` is the job of `published_day.read_day`."""
    _, listed = read_scored(day)
    row = listed.iloc[found(listed, account)]
    champion = champion_models.champion(day, RENEWAL)
    _refuse(row, champion)
    catalogue = {str(feature["name"]): feature for feature in read_catalogue(day.side)}
    schema = champion.learned.schema
    changes = dict(_wish(text, schema, catalogue) for text in wished)
    own = [("account_id", "==", row["account_id"])]
    figures = data_files.load_frame(day.side / SCORING, filters=own)
    moves = _moves(
        Company(day.side, listed, day.settings.list.peers_min), row["account_id"], changes, schema, catalogue
    )
    both = pd.concat([figures, figures.assign(**moves, **changes)], ignore_index=True)
    before, after = champion.learned.probability(both).tolist()
    group = data_files.load_frame(day.side / CONTRIBUTIONS, filters=own, columns=[GROUP])[GROUP].iloc[0]
    peers = data_files.load_frame(day.side / PEERS, columns=list(changes)).loc[group]
    words = Words(day.settings.list.language)
    return {
        "as_of": day.day.isoformat(),
        "account_id": plain(row["account_id"]),
        "account_name": plain(row["account_name"]),
        "model": str(champion),
        "before": before,
        "after": after,
        "figures": [_told(catalogue[name], both[name].tolist(), plain(peers[name]), words) for name in changes],
        "moved": {name: [plain(own) for own in both[name].tolist()] for name in moves},
        "notes": [*_notes(changes, moves, catalogue, champion, words), words.say("whatif.caveat")],
    }


def _refuse(row: pd.Series, champion: Champion) -> None:
    who = printable(str(row["account_id"]))
    if row["status"] != SCORED:
        raise InputMissing(f"account {who} has no score on this list ({row['status_reason']}): nothing to compare with")
    if row["renewal_model"] != str(champion):
        raise InputMissing(
            f"the list was made by {row['renewal_model']} and {champion} serves by now: run `renewals score` again"
        )


def _wish(text: str, schema: Schema, catalogue: Mapping[str, Feature]) -> tuple[str, Any]:
    """The feature and the value of one wish."""
    name, sign, value = (part.strip() for part in text.partition("="))
    if not sign:
        raise Config(f"--set {text!r}: write it as feature=value, for example --set days_each_s_90d=10")
    if catalogue.get(name, {}).get("action"):
        raise Config(
            f"--set {name}: it counts actions that are logged, and logging one moves no score: try what the customer "
            "does, for example --set days_each_s_90d=10"
        )
    if name not in schema.names or name not in catalogue:
        near = difflib.get_close_matches(name, schema.names, n=4, cutoff=0.5)
        hint = f"did you mean {', '.join(near)}?" if near else "`renewals explain` shows an account's features"
        raise Config(f"--set {name}: the model reads no such feature; {hint}")
    return name, _category(name, value, schema) if name in schema.categories else _number(name, value, catalogue[name])


def _category(name: str, value: str, schema: Schema) -> str | None:
    if value.lower() in NONE:
        return None
    if value not in schema.categories[name]:
        raise Config(f"--set {name}={value}: the model knows {', '.join(schema.categories[name])}")
    return value


def _number(name: str, value: str, feature: Feature) -> float:
    if value.lower() in NONE:
        return math.nan
    if feature.get("unit") == YES_OR_NO and value.lower() in SAID:
        return SAID[value.lower()]
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise Config(f"--set {name}={value}: give a number, or none where it is not known")
    return number


def _told(feature: Feature, figures: Sequence[Any], peer: Any, words: Words) -> dict[str, Any]:
    """A feature before and after, as figures and in its own sentence."""
    then, now = map(plain, figures)
    said = [sentence(feature, figure, peer, words.phrases()) for figure in (then, now)]
    names = dict(zip(("sentence_before", "sentence_after"), said, strict=True))
    return {"feature": feature["name"], "before": then, "after": now, **names}


def _moves(
    company: Company, account: Any, changes: Mapping[str, Any], schema: Schema, catalogue: Mapping[str, Feature]
) -> dict[str, float]:
    """The figures that move along, as they would be; with the last wish where several are windows of one figure."""
    rows = company.rows(pd.Series([account], dtype=object))
    moves: dict[str, float] = {}
    for name in [own for own in changes if own not in schema.categories]:
        others = kin(catalogue[name], catalogue.values(), schema.names)
        windows = company.windows(company.columns([name, *others]), rows, company.circles.group[rows[0]])
        there = moved(name, np.array([changes[name]]), windows)
        moves |= {other: float(there[other][0]) for other in others if there[other][0] != windows[other].own[0]}
    return {other: value for other, value in moves.items() if not math.isnan(value) and other not in changes}


def _notes(
    changes: Mapping[str, Any],
    moves: Mapping[str, float],
    catalogue: Mapping[str, Feature],
    champion: Champion,
    words: Words,
) -> list[str]:
    """What must be known of these wishes before the probability is believed."""
    notes = []
    for name, value in changes.items():
        feature = catalogue[name]
        low, high = usual(champion.learned, name)
        if isinstance(value, float) and (value < low or value > high):
            notes.append(words.say("whatif.beyond", feature=name, low=f"{low:g}", high=f"{high:g}"))
        if not feature["actionable"]:
            notes.append(words.say("whatif.background", feature=name))
        others = [own for own in kin(feature, catalogue.values(), catalogue) if own in moves]
        if others:
            told = ", ".join(f"{other}={moves[other]:g}" for other in others)
            notes.append(words.say("whatif.kin", feature=name, others=told))
    return notes


def show(result: Mapping[str, Any], words: Words) -> None:
    """The comparison on standard error."""
    from rich.console import Console
    from rich.text import Text

    console, say = Console(stderr=True), words.say
    who = printable(result["account_name"] or str(result["account_id"]))
    lines = [say("whatif.title", account=who, as_of=result["as_of"])]
    for own in result["figures"]:
        lines += [say("whatif.figure", then=own["sentence_before"], now=own["sentence_after"])]
    lines += [say("whatif.chance", before=result["before"], after=result["after"]), *result["notes"]]
    for line in lines:
        console.print(Text(line))
