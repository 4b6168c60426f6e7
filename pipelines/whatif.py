"""What the model would say of an account if some of its figures were other than they are."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from lists.text import printable
from lists.words import Words
from models.linear import Line
from models.reasons import YES_OR_NO, idea, sentence
from models.schema import Schema
from models.worklist import SCORED
from pipelines import score
from pipelines.errors import Config, InputMissing
from pipelines.explain import found, plain, the_list
from pipelines.score import CONTRIBUTIONS, GROUP, PEERS, RENEWAL, Champion, read_catalogue
from pipelines.stage import Job, on_terminal

NONE = ("", "none", "unknown")
"""How a person says that a figure is not known."""
SAID = {"yes": 1.0, "no": 0.0}

Feature = Mapping[str, Any]


def whatif(job: Job, account: str, wished: Sequence[str]) -> dict[str, Any]:
    """The probability of renewal as it is and with the figures wished for, each written `feature=value`.

    Raises InputMissing where the account is not on the list or has no score, or where another model serves by now;
    Config where a feature is unknown or a value is none of its.
    """
    _, listed = the_list(job)
    row = listed.iloc[found(listed, account)]
    champion = score.champion(job, RENEWAL)
    _refuse(row, champion)
    catalogue = {str(feature["name"]): feature for feature in read_catalogue(job.side)}
    schema = champion.learned.schema
    changes = dict(_wish(text, schema, catalogue) for text in wished)
    own = [("account_id", "==", row["account_id"])]
    figures = pd.read_parquet(job.side / "scoring.parquet", filters=own)
    both = pd.concat([figures, figures.assign(**changes)], ignore_index=True)
    before, after = champion.learned.probability(both).tolist()
    group = pd.read_parquet(job.side / CONTRIBUTIONS, filters=own, columns=[GROUP])[GROUP].iloc[0]
    peers = pd.read_parquet(job.side / PEERS, columns=list(changes)).loc[group]
    words = Words(job.settings.list.language)
    result = {
        "as_of": job.day.isoformat(),
        "account_id": plain(row["account_id"]),
        "account_name": plain(row["account_name"]),
        "model": str(champion),
        "before": before,
        "after": after,
        "figures": [_told(catalogue[name], both[name].tolist(), plain(peers[name]), words) for name in changes],
        "notes": [*_notes(changes, catalogue, champion, words), words.say("whatif.caveat")],
    }
    if on_terminal():
        show(result, words)
    return result


def _refuse(row: pd.Series, champion: Champion) -> None:
    who = printable(str(row["account_id"]))
    if row["status"] != SCORED:
        raise InputMissing(f"account {who} has no score on this list ({row['status']}): nothing to compare with")
    if row["renewal_model"] != str(champion):
        raise InputMissing(
            f"the list was made by {row['renewal_model']} and {champion} serves by now: run `renewals score` again"
        )


def _wish(text: str, schema: Schema, catalogue: Mapping[str, Feature]) -> tuple[str, Any]:
    """The feature and the value of one wish."""
    name, sign, value = (part.strip() for part in text.partition("="))
    if not sign:
        raise Config(f"--set {text!r}: write it as feature=value, for example --set deciders_reached_90d=1")
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


def _notes(changes: Mapping[str, Any], catalogue: Mapping[str, Feature], champion: Champion, words: Words) -> list[str]:
    """What must be known of these wishes before the probability is believed."""
    notes = []
    for name, value in changes.items():
        feature = catalogue[name]
        low, high = _usual(champion, name)
        if isinstance(value, float) and (value < low or value > high):
            notes.append(words.say("whatif.beyond", feature=name, low=f"{low:g}", high=f"{high:g}"))
        if not feature["actionable"]:
            notes.append(words.say("whatif.background", feature=name))
        kin = [other for other, own in catalogue.items() if _kin(own, feature) and other not in changes]
        if kin:
            notes.append(words.say("whatif.kin", feature=name, others=", ".join(kin)))
    return notes


def _usual(champion: Champion, name: str) -> tuple[float, float]:
    """The range that training usually showed: beyond it the linear part says no more than at its ends."""
    part = champion.learned.linear.parts[champion.learned.schema.names.index(name)]
    return (part.at[0], part.at[-1]) if isinstance(part, Line) else (-math.inf, math.inf)


def _kin(one: Feature, other: Feature) -> bool:
    """Whether two features are windows of one figure."""
    return one["name"] != other["name"] and _figure_of(one) == _figure_of(other)


def _figure_of(feature: Feature) -> tuple[Any, ...]:
    """What a feature is about, whatever its window."""
    about = {name: value for name, value in (feature.get("params") or {}).items() if name != "days"}
    return feature["family"], idea(feature), sorted(about.items())


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
