"""Random list with all data of its page, for the features of the registry."""

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
SHOWN = [name for name, feature in BY_NAME.items() if feature["kind"] == "number"][::4]
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


def random_list(
    names: list[str], language: str = "en", seed: int = 3, with_sentences: bool = True
) -> tuple[pd.DataFrame, PageData]:
    """Random list of these accounts, every seventh without a score, and the data of its page.

    Without its sentences (`with_sentences=False`) it is faster: the page builds them itself.
    """
    rng, count = np.random.default_rng(seed), len(names)
    scored = np.arange(count) % 7 != 6
    chance = np.where(scored, rng.beta(4, 1.5, count), np.nan)
    arr = rng.lognormal(10, 1, count).round()
    sizes = rng.choice(["small", "medium", "large"], count)
    due = pd.Timestamp("2026-07-01") + pd.to_timedelta(rng.integers(0, 300, count), "D")
    rows: dict[str, Any] = {
        "as_of": pd.Timestamp("2026-06-01"),
        "account_id": [f"a{i}" for i in range(count)],
        "account_name": names,
        "csm": [MANAGERS[i % len(MANAGERS)] for i in range(count)],
        "stage": "steady",
        "size_band": sizes,
        "renewal_id": [f"a{i}:{day:%Y-%m-%d}" for i, day in enumerate(due)],
        "is_main": True,
        "renewal_date": due,
        "days_to_renewal": 90,
        "decision_date": due,
        "days_to_decision": 90,
        "products": "core",
        "arr": arr,
        "account_arr": 2 * arr,
        "currency": "USD",
        "signed": False,
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
        "playbook_1": [(None, HARMFUL)[i % 2] if is_scored else None for i, is_scored in enumerate(scored)],
        "renewal_model": "renewals-renewal/1",
    }
    listed = pd.DataFrame(rows)
    page_data = _page_data(listed, scored, rng)
    for name in [name for name in listed if str(name).endswith("_feature")] + list(page_data.strengths):
        features = listed[name] if name in listed else page_data.strengths[name]
        if name in listed:
            listed[name.replace("_feature", "_actionable")] = features.notna().astype("boolean").where(scored)
            listed[name.replace("_feature", "_theme")] = features.map(
                lambda feature: BY_NAME[feature]["theme"], "ignore"
            )
        if with_sentences:
            listed[name.removesuffix("_feature")] = [
                sentence_of(page_data, i, feature, language) for i, feature in features.items()
            ]
    return cast_columns(listed), page_data


def _page_data(listed: pd.DataFrame, scored: Any, rng: np.random.Generator) -> PageData:
    count = len(listed)
    values = {name: _random_values(feature, count, rng) for name, feature in BY_NAME.items()}
    peers = {name: _random_values(feature, len(GROUPS), rng) for name, feature in BY_NAME.items()}
    choice = rng.random((count, len(SHOWN))).argsort(axis=1)[:, :8]
    names = np.where(scored[:, None], np.array(SHOWN, dtype=object)[choice], None)
    for k in range(5):
        listed[f"reason_{k + 1}_feature"] = names[:, k]
    numbers = pd.Series(range(count)).astype(str)
    changes = {language: (f"{language}: by points " + numbers).where(scored) for language in MESSAGES}
    return PageData(
        features=CATALOGUE,
        feature_values=pd.DataFrame(values),
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
        what_if_grid=_what_if_grid(scored, rng),
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


def _what_if_grid(scored: Any, rng: np.random.Generator) -> pd.DataFrame:
    """Five grid values of each what-if feature, in some accounts fewer."""
    parts = []
    for name in TRIED:
        share = BY_NAME[name]["unit"] == "share"
        steps = np.array([0.1, 0.3, 0.5, 0.7, 0.95]) if share else np.array([0.0, 2.0, 4.0, 7.0, 11.0])
        rows, k = np.nonzero(np.broadcast_to(scored[:, None], (len(scored), 5)) & (rng.random((len(scored), 5)) < 0.9))
        grid = {"feature": name, "value": steps[k], "probability": rng.random(len(rows))}
        parts.append(pd.DataFrame(grid, index=rows))
    return pd.concat(parts)


def _alerts(listed: pd.DataFrame) -> pd.DataFrame:
    """All alerts of the list; every second one is new."""
    codes = listed["alerts"].dropna().str.split(";").explode().rename("code").to_frame()
    index = np.arange(len(codes))
    evidence = {"started_on": pd.Timestamp("2026-05-04").date(), "tier": np.where(index % 3, None, "S")}
    evidence |= {"count": 1.0 + index % 4, "value": 2.0 + index % 9, "expected": 20.0 + index % 7}
    return codes.assign(**evidence, is_new=index % 2 == 0)


def _plays(listed: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """The harmful playbook where the list prescribes one, then the plain one, which is the best."""
    prescribed = listed["playbook_1"].notna().to_numpy()
    columns = {"play_1": "harmful", "play_2": "plain", "best": "plain"}
    playbooks = {name: np.where(prescribed, play, None) for name, play in columns.items()} | {"play_3": None}
    return pd.DataFrame(
        playbooks
        | {"expected_gain": np.where(prescribed, rng.uniform(1e3, 1e5, len(prescribed)), np.nan), "hours": 6.0}
    )


def _random_values(feature: Any, count: int, rng: np.random.Generator) -> Any:
    if feature["kind"] == "category":
        return rng.choice(np.array(["basic", "<i>pro</i>", None], dtype=object), count)
    values = rng.random(count) if feature["unit"] in ("share", "change") else rng.poisson(5, count).astype(float)
    return np.where(rng.random(count) < 0.05, np.nan, values)


def sentence_of(page_data: PageData, row: int, name: str | None, language: str) -> str | None:
    """The sentence that the list shows for a feature of one account."""
    if name is None or pd.isna(name):
        return None
    value, typical = (
        page_data.feature_values[name].iloc[row],
        page_data.peer_values.at[page_data.peer_group.iloc[row], name],
    )
    known = (None if pd.isna(number) else number for number in (value, typical))
    return render_sentence(BY_NAME[name], *known, Messages(language).phrases())


class Elements(HTMLParser):
    """Script and style elements of a page: tag, attributes and text."""

    def __init__(self, content: bytes) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None], str]] = []
        self.policy = ""
        self.inside = False
        self.feed(content.decode())

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        attributes = dict(attrs)
        self.inside = tag in ("script", "style")
        if self.inside:
            self.elements.append((tag, attributes, ""))
        if attributes.get("http-equiv") == "Content-Security-Policy":
            self.policy = attributes["content"]

    def handle_data(self, data: str) -> None:
        if self.inside:
            tag, attributes, text = self.elements[-1]
            self.elements[-1] = (tag, attributes, text + data)

    def handle_endtag(self, tag: str) -> None:
        self.inside = False


def payload_of(content: bytes) -> Any:
    """The JSON payload of a page."""
    return next(
        json.loads(text) for _, attributes, text in Elements(content).elements if attributes.get("id") == "payload"
    )


def page(names: list[str], language: str = "en", **options: Any) -> tuple[bytes, pd.DataFrame, PageData]:
    """A page, with its list and its data."""
    listed, page_data = random_list(names, language)
    return render_list_page(listed, page_data, ListOptions(language=language, **options)), listed, page_data  # type: ignore[arg-type]
