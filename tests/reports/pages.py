"""A list with all that stands behind its page, drawn at random over the features that there are."""

import json
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pandas as pd

from renewals.features.family import THEMES
from renewals.features.registry import FAMILIES, feature_metadata
from renewals.models.explanation.reasons import render_sentence
from renewals.reports.html.list_page import PageData, render_list_page
from renewals.reports.risk_list import cast_columns
from renewals.reports.settings import ListOptions
from renewals.reports.words import MESSAGES, Messages

GROUPS = ("small / steady", "medium / steady", "large / steady")
CATALOGUE = [feature for family in FAMILIES.values() for feature in feature_metadata(family.features)]
BY_NAME = {str(feature["name"]): feature for feature in CATALOGUE}
SPEAKERS = [name for name, feature in BY_NAME.items() if feature["kind"] == "number"][::4]
TRIED = ListOptions().what_if_features
HARMFUL = "Call <b>the boss</b>"
LIBRARY = {
    "harmful": {
        "name": {"en": HARMFUL, "zh": "打电话给<b>老板</b>"},
        "owner": {"en": "<i>owner</i>", "zh": "<i>负责人</i>"},
        "hours": 2.5,
        "log_odds_effect": 0.4,
        "treated": 0,
        "steps": {"en": ["</script><img src=x>", "Second"], "zh": ["</script><img src=x>", "第二步"]},
    },
    "plain": {
        "name": {"en": "Listen", "zh": "倾听"},
        "owner": {"en": "support", "zh": "支持"},
        "hours": 6,
        "log_odds_effect": 0.2,
        "treated": 80,
        "steps": {"en": ["Ask."], "zh": ["询问。"]},
    },
}
MANAGERS = ("li", "ann", "王芳", "<b>bold</b>", None)


def drawn(names: list[str], language: str = "en", seed: int = 3, worded: bool = True) -> tuple[pd.DataFrame, PageData]:
    """The list of these accounts, every seventh of them not scored, and what stands behind it.

    Without its sentences (`worded`) it is drawn much faster: the page puts them together itself."""
    rng, count = np.random.default_rng(seed), len(names)
    scored = np.arange(count) % 7 != 6
    chance = np.where(scored, rng.beta(4, 1.5, count), np.nan)
    arr = rng.lognormal(10, 1, count).round()
    rows: dict[str, Any] = {
        "as_of": pd.Timestamp("2026-06-01"),
        "account_id": [f"a{i}" for i in range(count)],
        "account_name": names,
        "csm": [MANAGERS[i % len(MANAGERS)] for i in range(count)],
        "stage": "steady",
        "size_band": rng.choice(["small", "medium", "large"], count),
        "renewal_date": pd.Timestamp("2026-07-01") + pd.to_timedelta(rng.integers(0, 300, count), "D"),
        "days_to_renewal": 90,
        "arr": arr,
        "currency": "USD",
        "status": np.where(scored, "scored", "too_little_history"),
        "renewal_probability": chance,
        "renewal_low": 0.8 * chance,
        "renewal_high": 0.2 + 0.8 * chance,
        "risk_band": np.select([~scored, chance < 0.6, chance < 0.8], [None, "high", "medium"], "low"),
        "arr_at_risk": arr * (1 - chance),
        "expansion_probability": np.where(scored, rng.random(count), np.nan),
        "quadrant": np.where(scored, np.where(chance < 0.6, "save", "keep"), None),
        "rank": pd.array(np.where(scored, np.arange(count) // len(MANAGERS) + 1, pd.NA), dtype="Int64"),
        "within_capacity": pd.array(np.where(scored, True, pd.NA), dtype="boolean"),
        "probability_change": np.where(scored, rng.normal(0, 0.1, count), np.nan),
        "alerts": [("usage_drop;sponsor_lost", "sla_breach", None)[i % 3] for i in range(count)],
        "playbook_1": [(None, HARMFUL)[i % 2] if one else None for i, one in enumerate(scored)],
        "renewal_model": "renewals-renewal/1",
    }
    listed = pd.DataFrame(rows)
    behind = _behind(listed, scored, rng)
    for name in [name for name in listed if str(name).endswith("_feature")] + list(behind.strengths):
        spoken = listed[name] if name in listed else behind.strengths[name]
        if name in listed:
            listed[name.replace("_feature", "_actionable")] = spoken.notna().astype("boolean").where(scored)
            listed[name.replace("_feature", "_theme")] = spoken.map(lambda own: BY_NAME[own]["theme"], "ignore")
        if worded:
            listed[name.removesuffix("_feature")] = [said(behind, i, own, language) for i, own in spoken.items()]
    return cast_columns(listed), behind


def _behind(listed: pd.DataFrame, scored: Any, rng: np.random.Generator) -> PageData:
    count = len(listed)
    figures = {name: _figures(feature, count, rng) for name, feature in BY_NAME.items()}
    peers = {name: _figures(feature, len(GROUPS), rng) for name, feature in BY_NAME.items()}
    who = rng.random((count, len(SPEAKERS))).argsort(axis=1)[:, :8]
    names = np.where(scored[:, None], np.array(SPEAKERS, dtype=object)[who], None)
    for k in range(5):
        listed[f"reason_{k + 1}_feature"] = names[:, k]
    numbers = pd.Series(range(count)).astype(str)
    changes = {language: (f"{language}: by points " + numbers).where(scored) for language in MESSAGES}
    return PageData(
        features=CATALOGUE,
        feature_values=pd.DataFrame(figures),
        peer_values=pd.DataFrame(peers, index=list(GROUPS), dtype=object),
        peer_group=pd.Series(rng.choice(GROUPS, count)).where(scored),
        strengths=pd.DataFrame({f"strength_{k + 1}_feature": names[:, 5 + k] for k in range(3)}),
        theme_contributions=pd.DataFrame(
            {theme: np.where(scored, rng.normal(0, 0.5, count), np.nan) for theme in THEMES}
        ),
        change_texts=pd.DataFrame(changes),
        not_scored_reasons=pd.DataFrame(
            {language: f"{language}: too young" for language in MESSAGES}, listed.index[~scored]
        ),
        past_probabilities=pd.DataFrame(
            {f"2026-0{m}-01": np.where(scored, rng.random(count), np.nan) for m in (3, 4, 5)}
        ),
        what_if_grid=_tried(scored, rng),
        alerts=_alerts(listed),
        prescribed_playbooks=_plays(listed, rng),
        library=LIBRARY,
        forecast=[
            {
                "period_kind": "quarter",
                "period": month,
                "measure": measure,
                "expected": 9e5,
                "low": 8e5,
                "high": 1e6,
                "confidence": 0.8,
            }
            for month in ("2026-08", "2026-11")
            for measure in ("arr_due", "arr_renewed")
        ],
    )


def _tried(scored: Any, rng: np.random.Generator) -> pd.DataFrame:
    """Five steps of each figure tried, in some accounts one fewer."""
    parts = []
    for name in TRIED:
        share = BY_NAME[name]["unit"] == "share"
        steps = np.array([0.1, 0.3, 0.5, 0.7, 0.95]) if share else np.array([0.0, 2.0, 4.0, 7.0, 11.0])
        rows, k = np.nonzero(np.broadcast_to(scored[:, None], (len(scored), 5)) & (rng.random((len(scored), 5)) < 0.9))
        tried = {"feature": name, "value": steps[k], "probability": rng.random(len(rows))}
        parts.append(pd.DataFrame(tried, index=rows))
    return pd.concat(parts)


def _alerts(listed: pd.DataFrame) -> pd.DataFrame:
    """Every alert that the list names, every other of them new."""
    codes = listed["alerts"].dropna().str.split(";").explode().rename("code").to_frame()
    turns = np.arange(len(codes))
    evidence = {"started_on": pd.Timestamp("2026-05-04").date(), "tier": np.where(turns % 3, None, "S")}
    evidence |= {"count": 1.0 + turns % 4, "value": 2.0 + turns % 9, "expected": 20.0 + turns % 7}
    return codes.assign(**evidence, is_new=turns % 2 == 0)


def _plays(listed: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """The harmful play where the list names one, then the other, which is the best."""
    named = listed["playbook_1"].notna().to_numpy()
    whose = {"play_1": "harmful", "play_2": "plain", "best": "plain"}
    told = {name: np.where(named, play, None) for name, play in whose.items()} | {"play_3": None}
    return pd.DataFrame(
        told | {"expected_gain": np.where(named, rng.uniform(1e3, 1e5, len(named)), np.nan), "hours": 6.0}
    )


def _figures(feature: Any, count: int, rng: np.random.Generator) -> Any:
    if feature["kind"] == "category":
        return rng.choice(np.array(["basic", "<i>pro</i>", None], dtype=object), count)
    figures = rng.random(count) if feature["unit"] in ("share", "change") else rng.poisson(5, count).astype(float)
    return np.where(rng.random(count) < 0.05, np.nan, figures)


def said(behind: PageData, row: int, name: str | None, language: str) -> str | None:
    """What the list says of an account's figure."""
    if name is None or pd.isna(name):
        return None
    own, usual = behind.feature_values[name].iloc[row], behind.peer_values.at[behind.peer_group.iloc[row], name]
    known = (None if pd.isna(figure) else figure for figure in (own, usual))
    return render_sentence(BY_NAME[name], *known, Messages(language).phrases())


class Elements(HTMLParser):
    """The text of every script and style element, with its attributes, as a browser would cut them."""

    def __init__(self, content: bytes) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, dict[str, str | None], str]] = []
        self.policy = ""
        self.inside = False
        self.feed(content.decode())

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        given = dict(attrs)
        self.inside = tag in ("script", "style")
        if self.inside:
            self.found.append((tag, given, ""))
        if given.get("http-equiv") == "Content-Security-Policy":
            self.policy = given["content"]

    def handle_data(self, data: str) -> None:
        if self.inside:
            tag, given, text = self.found[-1]
            self.found[-1] = (tag, given, text + data)

    def handle_endtag(self, tag: str) -> None:
        self.inside = False


def payload_of(content: bytes) -> Any:
    """What the page's code is given."""
    return next(json.loads(text) for _, given, text in Elements(content).found if given.get("id") == "payload")


def page(names: list[str], language: str = "en", **options: Any) -> tuple[bytes, pd.DataFrame, PageData]:
    """A page, with the list and what stands behind it."""
    listed, behind = drawn(names, language)
    return render_list_page(listed, behind, ListOptions(language=language, **options)), listed, behind  # type: ignore[arg-type]
