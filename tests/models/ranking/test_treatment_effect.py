"""Did it help? On companies drawn so that the answer is known."""

from typing import get_args

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from scipy.stats import t as student

from renewals.models.ranking.playbooks import ANY_PLAYBOOK
from renewals.models.ranking.treatment_effect import (
    UNTREATED,
    EffectEstimate,
    NoEstimate,
    Reason,
    analysis_sample,
    assign_folds,
    clustered_standard_error,
    cross_fit,
    estimate_aipw,
    estimate_effects,
)
from renewals.models.settings import EffectSettings, LinearSettings
from renewals.models.training.schema import Schema
from renewals.reports.sentences.treatment_effect import TABLE_COLUMNS, effect_sentence, table_headings, table_row
from renewals.reports.words import MESSAGES, Messages
from tests.models.treated_company import CATALOGUE, company

OPTIONS = EffectSettings(min_lead_days=100)
SEEDS = range(1000, 1008)


def found(lift: float, seed: int = 0, **options: object) -> tuple[EffectEstimate | NoEstimate, float]:
    rows, begun, truth = company(lift, seed=seed)
    chosen = OPTIONS.model_copy(update=options)
    return estimate_effects(analysis_sample(rows, begun, chosen), CATALOGUE, chosen, LinearSettings())[0], truth


@pytest.mark.parametrize("lift", [1.0, 0.0])
def test_a_known_effect_is_found_although_the_treated_renew_less(lift):
    told, truth = zip(*(found(lift, seed) for seed in SEEDS), strict=True)
    off = np.array([one.points for one in told]) - truth
    assert abs(off.mean()) < 0.025  # two standard errors of eight companies
    assert sum(one.low < true < one.high for one, true in zip(told, truth, strict=True)) >= 5
    assert all(
        one.unadjusted_difference < one.low for one in told
    )  # what a comparison of treated and untreated would say
    verdicts = [one.verdict for one in told]
    assert verdicts.count("helped" if lift else "unclear") >= 6


def test_an_effect_has_its_log_odds_beside_it():
    told, _ = found(1.0, SEEDS[0])
    without = told.renewed - told.points
    odds = told.renewed / (1 - told.renewed), without / (1 - without)
    assert told.log_odds == pytest.approx(np.log(odds[0] / odds[1]))
    assert told.log_odds_low < told.log_odds < told.log_odds_high


def test_who_was_treated_before_is_adjusted_for_though_no_model_of_the_list_reads_it():
    """An action is no feature of what is served, and every bit a figure by which the treated differ from others."""
    rows, begun, _ = company(1.0)
    logged = [{**feature, "action": feature["name"] == "health"} for feature in CATALOGUE]
    whole, marked = (
        estimate_effects(analysis_sample(rows, begun, OPTIONS), own, OPTIONS, LinearSettings())[0]
        for own in (CATALOGUE, logged)
    )
    assert marked == whole


def test_harm_is_called_harm():
    told, truth = found(-1.5)
    assert truth < 0
    assert told.verdict == "hurt"


def test_each_playbook_is_asked_for_beside_all_of_them_and_the_rare_one_is_refused():
    rows, begun, _ = company(1.0)
    begun.loc[begun.index[:20], "playbook"] = "gift"
    told = estimate_effects(analysis_sample(rows, begun, OPTIONS), CATALOGUE, OPTIONS, LinearSettings())
    assert [one.playbook for one in told] == [ANY_PLAYBOOK, "rescue", "gift"]
    assert told[0].treated == told[1].treated + 20
    assert told[2] == NoEstimate("gift", 20, "too_few_treated", {"treated": 20, "needed": 50})


def test_the_order_of_rows_does_not_matter():
    rows, begun, _ = company(1.0, accounts=500)
    other = estimate_effects(
        analysis_sample(rows.sample(frac=1, random_state=1), begun[::-1], OPTIONS), CATALOGUE, OPTIONS, LinearSettings()
    )
    assert other == estimate_effects(analysis_sample(rows, begun, OPTIONS), CATALOGUE, OPTIONS, LinearSettings())


# --- who is compared -------------------------------------------------------------------------------


def observed(*days: str, account: str = "acme", end: str = "2024-12-31") -> pd.DataFrame:
    as_of = pd.to_datetime(list(days))
    lead = (pd.Timestamp(end) - as_of).days
    return pd.DataFrame(
        {"account_id": account, "as_of": as_of, "days_to_renewal": lead, "renewal_signed": False, "term": 0, "label": 1}
    )


def logged(*days: str, playbook: str = "call") -> pd.DataFrame:
    return pd.DataFrame({"account_id": "acme", "playbook": playbook, "started_at": pd.to_datetime(list(days))})


EVERY = EffectSettings(untreated_per_renewal=100, washout_days=60, min_lead_days=100)


@pytest.mark.parametrize(
    ("started", "treated"),
    [
        ("2024-05-01", "call"),  # on the day itself
        ("2024-05-31 23:59", "call"),
        ("2024-06-01", UNTREATED),  # 31 days later: outside the window
        ("2024-04-30", None),  # the day before: it is at work already
        ("2024-03-02", None),  # 60 days before: just inside the rest
        ("2024-03-01", UNTREATED),
    ],
)
def test_treated_in_the_window_and_at_rest_before_it(started, treated):
    rows = analysis_sample(observed("2024-05-01"), logged(started), EVERY)
    assert rows["treated"].tolist() == ([] if treated is None else [treated])


def test_an_intervention_counts_once():
    rows = analysis_sample(observed("2024-02-01", "2024-03-01"), logged("2024-03-02"), EVERY)
    assert rows[["as_of", "treated"]].to_numpy().tolist() == [[pd.Timestamp("2024-03-01"), "call"]]


def test_another_accounts_intervention_is_not_ones_own():
    rows = analysis_sample(observed("2024-05-01", account="quiet"), logged("2024-05-02"), EVERY)
    assert rows["treated"].tolist() == [UNTREATED]


def test_neither_the_last_months_nor_what_is_decided_are_compared():
    rows = observed("2024-09-01", "2024-09-22", "2024-09-23")
    assert analysis_sample(rows, logged(), EVERY)["days_to_renewal"].tolist() == [121, 100]
    assert not len(analysis_sample(rows.assign(renewal_signed=True), logged(), EVERY))


def test_the_untreated_rows_kept_stand_for_all_of_their_renewal():
    months = [f"2024-{month:02d}-01" for month in range(1, 9)]
    chosen = EVERY.model_copy(update={"untreated_per_renewal": 2})
    rows = analysis_sample(observed(*months), logged("2024-01-05"), chosen)
    untreated = rows[rows["treated"] == UNTREATED]
    assert len(untreated) == 2
    assert untreated["weight"].sum() == 5  # eight months, less the treated one and the two at rest after it
    assert rows.loc[rows["treated"] == "call", "weight"].tolist() == [1.0]


# --- how the answer comes about --------------------------------------------------------------------


def drawn(rows: int = 20_000) -> dict[str, np.ndarray]:
    """A large sample with its true chances: of being treated, and of renewing untreated; the effect is 0.1."""
    rng = np.random.default_rng(3)
    look = rng.normal(size=rows)
    chance, outcome = expit(-1 - look), 0.45 + 0.4 * np.tanh(look)
    treated = rng.random(rows) < chance
    renewed = (rng.random(rows) < outcome + 0.1 * treated).astype(float)
    return {"renewed": renewed, "treated": treated, "propensity": chance, "outcome_probability": outcome}


CHANCES = ("propensity", "outcome_probability")


@pytest.mark.parametrize("wrong", [(), CHANCES[:1], CHANCES[1:], CHANCES])
def test_one_right_model_is_enough_and_none_is_not(wrong):
    sample = drawn()
    sample |= {name: np.full(len(sample[name]), sample[name].mean()) for name in wrong}
    accounts = pd.Series(np.arange(len(sample["renewed"])))
    told = estimate_aipw(
        ANY_PLAYBOOK, **sample, weight=np.ones(len(accounts)), accounts=accounts, settings=EffectSettings()
    )
    assert (abs(told.points - 0.1) < 0.02) == (len(wrong) < 2)  # three standard errors


def test_rows_of_one_account_are_no_new_evidence():
    sample = {name: np.repeat(values, 3) for name, values in drawn(3000).items()}
    weight = np.ones(9000)
    said = {
        name: estimate_aipw(ANY_PLAYBOOK, **sample, weight=weight, accounts=accounts, settings=EffectSettings())
        for name, accounts in {"rows": pd.Series(range(9000)), "thirds": pd.Series(range(9000)) // 3}.items()
    }
    assert said["rows"].points == said["thirds"].points
    wide = {name: one.high - one.low for name, one in said.items()}
    assert wide["thirds"] == pytest.approx(wide["rows"] * np.sqrt(3), rel=0.01)
    odds = {name: one.log_odds_high - one.log_odds_low for name, one in said.items()}
    assert odds["thirds"] == pytest.approx(odds["rows"] * np.sqrt(3), rel=0.01)


def test_the_error_of_a_plain_mean_is_the_one_everybody_knows():
    seen = np.random.default_rng(0).normal(size=50)
    pull = (seen - seen.mean()) / len(seen)
    assert clustered_standard_error(pull, pd.Series(range(50))) == pytest.approx(seen.std(ddof=1) / np.sqrt(50))


def test_with_nothing_to_adjust_for_the_errors_are_those_of_two_shares():
    treated = np.arange(1000) < 400
    renewed = np.concatenate([np.arange(400) < 260, np.arange(600) < 300]).astype(float)
    same = {"propensity": np.full(1000, 0.4), "outcome_probability": np.zeros(1000), "weight": np.ones(1000)}
    told = estimate_aipw(
        ANY_PLAYBOOK, renewed, treated, **same, accounts=pd.Series(range(1000)), settings=EffectSettings()
    )
    far, parts = student.ppf(0.95, 399) * np.sqrt(1000 / 999), (0.65 * 0.35 / 400, 0.5 * 0.5 / 600)
    assert told.points == pytest.approx(0.65 - 0.5) == told.unadjusted_difference
    assert told.high - told.points == pytest.approx(far * np.sqrt(sum(parts)))
    odds = np.sqrt(1 / (400 * 0.65 * 0.35) + 1 / (600 * 0.5 * 0.5))  # Woolf 1955
    assert told.log_odds_high - told.log_odds == pytest.approx(far * odds)


def test_a_weight_of_two_is_two_rows():
    sample = drawn(3000)
    plain = np.where(~sample["treated"] & (np.arange(3000) % 2 == 0), 2, 1)
    twice = {name: np.repeat(values, plain) for name, values in sample.items()}
    accounts = pd.Series(range(3000))
    once = estimate_aipw(
        ANY_PLAYBOOK, **sample, weight=plain.astype(float), accounts=accounts, settings=EffectSettings()
    )
    rows = len(twice["propensity"])
    other = estimate_aipw(
        ANY_PLAYBOOK, **twice, weight=np.ones(rows), accounts=accounts.repeat(plain), settings=EffectSettings()
    )
    assert (once.points, once.low, once.unadjusted_difference) == pytest.approx(
        (other.points, other.low, other.unadjusted_difference)
    )


def test_no_account_is_judged_by_a_model_that_learned_from_it():
    accounts = pd.Series(np.repeat(np.arange(40), 5))
    fold = assign_folds(accounts, EffectSettings())
    assert pd.Series(fold).groupby(accounts).nunique().eq(1).all()
    assert set(fold) == set(range(5))
    truth = np.random.default_rng(0).permutation(np.repeat([0, 1], 20))[accounts]
    rows = pd.DataFrame({"account": accounts.astype(str)})
    schema = Schema.from_catalogue(
        [{"name": "account", "kind": "category", "risk": "either"}], rows, "renewal", monotone=False
    )
    told = cross_fit(schema.values(rows), truth, np.ones(200), fold, schema, 10.0, LinearSettings(min_category_rows=1))
    assert pd.Series(told).groupby(fold).nunique().eq(1).all()  # of an account never seen, nothing but the mean


# --- refusals --------------------------------------------------------------------------------------


def refusal(**options: float) -> NoEstimate:
    told, _ = found(1.0, **options)
    assert isinstance(told, NoEstimate)
    return told


def test_too_few_treated():
    told = refusal(min_treated=5000)
    assert (told.reason, told.figures["treated"]) == ("too_few_treated", told.treated)


def test_too_few_of_one_outcome():
    rows, begun, _ = company(1.0)
    everybody = analysis_sample(rows.assign(label=1), begun, OPTIONS)
    assert estimate_effects(everybody, CATALOGUE, OPTIONS, LinearSettings())[0].reason == "too_few_outcomes"


def test_everybody_alike_was_treated():
    sample = drawn(2000)
    sample["propensity"] = np.where(sample["treated"], 0.97, 0.02)
    accounts = pd.Series(range(2000))
    told = estimate_aipw(ANY_PLAYBOOK, **sample, weight=np.ones(2000), accounts=accounts, settings=EffectSettings())
    assert (told.reason, told.figures["share"]) == ("too_few_alike", 0.0)


def test_hardly_anybody_to_compare_with():
    sample = drawn(2000)
    sample["propensity"] = np.full(2000, 1e-6)
    sample["propensity"][np.flatnonzero(~sample["treated"])[:9]] = 0.5
    accounts = pd.Series(range(2000))
    told = estimate_aipw(ANY_PLAYBOOK, **sample, weight=np.ones(2000), accounts=accounts, settings=EffectSettings())
    assert told.reason == "too_little_to_compare"
    assert 8.9 < told.figures["rows"] < 9.1


def test_treated_accounts_without_their_like_are_left_out_and_counted():
    sample = drawn(4000)
    sure = np.flatnonzero(sample["treated"])[:10]
    sample["propensity"][sure] = 0.95
    accounts = pd.Series(range(4000))
    told = estimate_aipw(ANY_PLAYBOOK, **sample, weight=np.ones(4000), accounts=accounts, settings=EffectSettings())
    assert told.excluded_no_overlap == (sample["treated"] & (sample["propensity"] > 0.9)).sum() >= 10
    assert told.treated == sample["treated"].sum()


# --- words -----------------------------------------------------------------------------------------

FIGURES = {
    "too_few_treated": {"treated": 12, "needed": 50},
    "too_few_outcomes": {"rarer": 3, "needed": 10},
    "too_few_alike": {"share": 0.4, "needed": 0.95},
    "too_little_to_compare": {"rows": 9.2, "needed": 50.0},
}


@pytest.mark.parametrize("language", sorted(MESSAGES))
@pytest.mark.parametrize("reason", get_args(Reason))
def test_every_refusal_has_its_reason_in_words_and_no_figure_of_an_effect(language, reason):
    words, told = Messages(language), NoEstimate("rescue", 12, reason, FIGURES[reason])
    said = effect_sentence(told, words)
    assert said.startswith("rescue")
    assert str(next(iter(FIGURES[reason].values())))[:1] in said
    assert table_row(told, words)[2:-1] == [words.text("effect.dash")] * 6


@pytest.mark.parametrize(
    ("low", "high", "english", "chinese"),
    [(0.01, 0.09, "helped", "有效"), (-0.01, 0.09, "not clear", "不明确"), (-0.09, -0.01, "fewer", "更少")],
)
def test_a_verdict_is_what_the_interval_allows(low, high, english, chinese):
    told = EffectEstimate(ANY_PLAYBOOK, 187, 180, 0.733, 0.048, low, high, 0.25, None, None, -0.04, 0, 900.0)
    assert english in effect_sentence(told, Messages("en"))
    assert chinese in effect_sentence(told, Messages("zh"))
    assert "any playbook" in effect_sentence(told, Messages("en"))
    for language in MESSAGES:
        assert (
            len(table_row(told, Messages(language)))
            == len(table_headings(Messages(language), 0.9))
            == len(TABLE_COLUMNS)
        )
        assert "+4.8" in effect_sentence(told, Messages(language))
    assert "90%" in table_headings(Messages("en"), 0.9)[5]
