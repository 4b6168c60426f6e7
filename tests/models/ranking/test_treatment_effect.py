"""Estimate treatment effects on random companies with a known effect."""

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


def estimate_any_playbook(lift: float, seed: int = 0, **options: object) -> tuple[EffectEstimate | NoEstimate, float]:
    rows, started, truth = company(lift, seed=seed)
    settings = OPTIONS.model_copy(update=options)
    return estimate_effects(analysis_sample(rows, started, settings), CATALOGUE, settings, LinearSettings())[0], truth


@pytest.mark.parametrize("lift", [1.0, 0.0])
def test_known_effect_is_estimated_although_the_treated_renew_less(lift):
    estimates, truth = zip(*(estimate_any_playbook(lift, seed) for seed in SEEDS), strict=True)
    errors = np.array([one.points for one in estimates]) - truth
    assert abs(errors.mean()) < 0.025  # two standard errors of eight companies
    assert sum(one.low < true < one.high for one, true in zip(estimates, truth, strict=True)) >= 5
    assert all(
        one.unadjusted_difference < one.low for one in estimates
    )  # the naive comparison of treated and untreated is biased downwards
    verdicts = [one.verdict for one in estimates]
    assert verdicts.count("helped" if lift else "unclear") >= 6


def test_effect_has_its_log_odds():
    estimate, _ = estimate_any_playbook(1.0, SEEDS[0])
    without = estimate.renewed - estimate.points
    odds = estimate.renewed / (1 - estimate.renewed), without / (1 - without)
    assert estimate.log_odds == pytest.approx(np.log(odds[0] / odds[1]))
    assert estimate.log_odds_low < estimate.log_odds < estimate.log_odds_high


def test_earlier_actions_are_adjusted_for_although_no_served_model_reads_them():
    """An action is no feature of a served model, but the treated differ from the untreated by it."""
    rows, started, _ = company(1.0)
    catalogue_with_action = [{**feature, "action": feature["name"] == "health"} for feature in CATALOGUE]
    estimate, with_action = (
        estimate_effects(analysis_sample(rows, started, OPTIONS), catalogue, OPTIONS, LinearSettings())[0]
        for catalogue in (CATALOGUE, catalogue_with_action)
    )
    assert with_action == estimate


def test_harmful_effect_has_the_verdict_hurt():
    estimate, truth = estimate_any_playbook(-1.5)
    assert truth < 0
    assert estimate.verdict == "hurt"


def test_each_playbook_is_estimated_and_a_rare_one_is_refused():
    rows, started, _ = company(1.0)
    started.loc[started.index[:20], "playbook"] = "gift"
    estimates = estimate_effects(analysis_sample(rows, started, OPTIONS), CATALOGUE, OPTIONS, LinearSettings())
    assert [one.playbook for one in estimates] == [ANY_PLAYBOOK, "rescue", "gift"]
    assert estimates[0].treated == estimates[1].treated + 20
    assert estimates[2] == NoEstimate("gift", 20, "too_few_treated", {"treated": 20, "needed": 50})


def test_row_order_does_not_matter():
    rows, started, _ = company(1.0, accounts=500)
    reordered = estimate_effects(
        analysis_sample(rows.sample(frac=1, random_state=1), started[::-1], OPTIONS),
        CATALOGUE,
        OPTIONS,
        LinearSettings(),
    )
    assert reordered == estimate_effects(analysis_sample(rows, started, OPTIONS), CATALOGUE, OPTIONS, LinearSettings())


# --- analysis sample -------------------------------------------------------------------------------


def observations(*days: str, account: str = "acme", end: str = "2024-12-31") -> pd.DataFrame:
    as_of = pd.to_datetime(list(days))
    lead = (pd.Timestamp(end) - as_of).days
    return pd.DataFrame(
        {
            "account_id": account,
            "renewal_id": f"{account}:{end}",
            "is_main": True,
            "as_of": as_of,
            "days_to_renewal": lead,
            "renewal_signed": False,
            "notice_given": False,
            "term": 0,
            "label": 1,
        }
    )


def actions(*days: str, playbook: str = "call") -> pd.DataFrame:
    return pd.DataFrame({"account_id": "acme", "playbook": playbook, "started_at": pd.to_datetime(list(days))})


EVERY = EffectSettings(untreated_per_renewal=100, washout_days=60, min_lead_days=100)


@pytest.mark.parametrize(
    ("started", "treated"),
    [
        ("2024-05-01", "call"),  # on the day itself
        ("2024-05-31 23:59", "call"),
        ("2024-06-01", UNTREATED),  # 31 days later: outside the window
        ("2024-04-30", None),  # the day before: already in effect
        ("2024-03-02", None),  # 60 days before: just inside the washout
        ("2024-03-01", UNTREATED),
    ],
)
def test_treated_in_the_window_without_actions_in_the_washout(started, treated):
    rows = analysis_sample(observations("2024-05-01"), actions(started), EVERY)
    assert rows["treated"].tolist() == ([] if treated is None else [treated])


def test_intervention_counts_once():
    rows = analysis_sample(observations("2024-02-01", "2024-03-01"), actions("2024-03-02"), EVERY)
    assert rows[["as_of", "treated"]].to_numpy().tolist() == [[pd.Timestamp("2024-03-01"), "call"]]


def test_intervention_counts_only_for_its_account():
    rows = analysis_sample(observations("2024-05-01", account="quiet"), actions("2024-05-02"), EVERY)
    assert rows["treated"].tolist() == [UNTREATED]


def test_rows_near_the_renewal_or_already_decided_are_excluded():
    rows = observations("2024-09-01", "2024-09-22", "2024-09-23")
    assert analysis_sample(rows, actions(), EVERY)["days_to_renewal"].tolist() == [121, 100]
    for decided in ("renewal_signed", "notice_given"):
        assert not len(analysis_sample(rows.assign(**{decided: True}), actions(), EVERY))


@pytest.mark.parametrize("started", ["2024-05-02", "2024-09-01"])
def test_account_with_two_renewals_counts_once_with_its_main_one(started):
    main = observations("2024-05-01")
    other = observations("2024-05-01", end="2025-02-28").assign(is_main=False, term=1, label=0)
    for rows in (pd.concat([main, other]), pd.concat([other, main])):
        sample = analysis_sample(rows.reset_index(drop=True), actions(started), EVERY)
        assert sample["renewal_id"].tolist() == ["acme:2024-12-31"]
        assert sample["weight"].tolist() == [1.0]


def test_sampled_untreated_rows_carry_the_weight_of_all_rows_of_their_renewal():
    months = [f"2024-{month:02d}-01" for month in range(1, 9)]
    settings = EVERY.model_copy(update={"untreated_per_renewal": 2})
    rows = analysis_sample(observations(*months), actions("2024-01-05"), settings)
    untreated = rows[rows["treated"] == UNTREATED]
    assert len(untreated) == 2
    assert untreated["weight"].sum() == 5  # eight months, less the treated one and the two washout months after it
    assert rows.loc[rows["treated"] == "call", "weight"].tolist() == [1.0]


# --- estimation --------------------------------------------------------------------------------------


def random_sample(rows: int = 20_000) -> dict[str, np.ndarray]:
    """A large sample with its true probabilities: of treatment, and of renewal without treatment; the effect is 0.1."""
    rng = np.random.default_rng(3)
    covariate = rng.normal(size=rows)
    propensity, renewal_probability = expit(-1 - covariate), 0.45 + 0.4 * np.tanh(covariate)
    treated = rng.random(rows) < propensity
    renewed = (rng.random(rows) < renewal_probability + 0.1 * treated).astype(float)
    return {
        "renewed": renewed,
        "treated": treated,
        "propensity": propensity,
        "outcome_probability": renewal_probability,
    }


NUISANCES = ("propensity", "outcome_probability")


@pytest.mark.parametrize("wrong", [(), NUISANCES[:1], NUISANCES[1:], NUISANCES])
def test_estimate_is_doubly_robust(wrong):
    sample = random_sample()
    sample |= {name: np.full(len(sample[name]), sample[name].mean()) for name in wrong}
    accounts = pd.Series(np.arange(len(sample["renewed"])))
    estimate = estimate_aipw(
        ANY_PLAYBOOK, **sample, weight=np.ones(len(accounts)), accounts=accounts, settings=EffectSettings()
    )
    assert (abs(estimate.points - 0.1) < 0.02) == (len(wrong) < 2)  # three standard errors


def test_copied_rows_of_an_account_do_not_narrow_the_interval():
    sample = {name: np.repeat(values, 3) for name, values in random_sample(3000).items()}
    weight = np.ones(9000)
    estimates = {
        name: estimate_aipw(ANY_PLAYBOOK, **sample, weight=weight, accounts=accounts, settings=EffectSettings())
        for name, accounts in {"rows": pd.Series(range(9000)), "thirds": pd.Series(range(9000)) // 3}.items()
    }
    assert estimates["rows"].points == estimates["thirds"].points
    widths = {name: one.high - one.low for name, one in estimates.items()}
    assert widths["thirds"] == pytest.approx(widths["rows"] * np.sqrt(3), rel=0.01)
    odds = {name: one.log_odds_high - one.log_odds_low for name, one in estimates.items()}
    assert odds["thirds"] == pytest.approx(odds["rows"] * np.sqrt(3), rel=0.01)


def test_standard_error_of_a_mean_equals_the_textbook_formula():
    values = np.random.default_rng(0).normal(size=50)
    influence = (values - values.mean()) / len(values)
    assert clustered_standard_error(influence, pd.Series(range(50))) == pytest.approx(values.std(ddof=1) / np.sqrt(50))


def test_without_confounding_the_errors_are_those_of_two_proportions():
    treated = np.arange(1000) < 400
    renewed = np.concatenate([np.arange(400) < 260, np.arange(600) < 300]).astype(float)
    same = {"propensity": np.full(1000, 0.4), "outcome_probability": np.zeros(1000), "weight": np.ones(1000)}
    estimate = estimate_aipw(
        ANY_PLAYBOOK, renewed, treated, **same, accounts=pd.Series(range(1000)), settings=EffectSettings()
    )
    quantile, variances = student.ppf(0.95, 399) * np.sqrt(1000 / 999), (0.65 * 0.35 / 400, 0.5 * 0.5 / 600)
    assert estimate.points == pytest.approx(0.65 - 0.5) == estimate.unadjusted_difference
    assert estimate.high - estimate.points == pytest.approx(quantile * np.sqrt(sum(variances)))
    odds = np.sqrt(1 / (400 * 0.65 * 0.35) + 1 / (600 * 0.5 * 0.5))  # Woolf 1955
    assert estimate.log_odds_high - estimate.log_odds == pytest.approx(quantile * odds)


def test_weight_of_two_equals_two_rows():
    sample = random_sample(3000)
    counts = np.where(~sample["treated"] & (np.arange(3000) % 2 == 0), 2, 1)
    repeated = {name: np.repeat(values, counts) for name, values in sample.items()}
    accounts = pd.Series(range(3000))
    weighted = estimate_aipw(
        ANY_PLAYBOOK, **sample, weight=counts.astype(float), accounts=accounts, settings=EffectSettings()
    )
    rows = len(repeated["propensity"])
    unweighted = estimate_aipw(
        ANY_PLAYBOOK, **repeated, weight=np.ones(rows), accounts=accounts.repeat(counts), settings=EffectSettings()
    )
    assert (weighted.points, weighted.low, weighted.unadjusted_difference) == pytest.approx(
        (unweighted.points, unweighted.low, unweighted.unadjusted_difference)
    )


def test_cross_fitting_predicts_no_account_with_a_model_trained_on_it():
    accounts = pd.Series(np.repeat(np.arange(40), 5))
    fold = assign_folds(accounts, EffectSettings())
    assert pd.Series(fold).groupby(accounts).nunique().eq(1).all()
    assert set(fold) == set(range(5))
    truth = np.random.default_rng(0).permutation(np.repeat([0, 1], 20))[accounts]
    rows = pd.DataFrame({"account": accounts.astype(str)})
    schema = Schema.from_catalogue(
        [{"name": "account", "kind": "category", "risk": "either"}], rows, "renewal", monotone=False
    )
    predictions = cross_fit(
        schema.values(rows), truth, np.ones(200), fold, schema, 10.0, LinearSettings(min_category_rows=1)
    )
    assert pd.Series(predictions).groupby(fold).nunique().eq(1).all()  # an unseen account gets only the mean


# --- refusals --------------------------------------------------------------------------------------


def refusal(**options: float) -> NoEstimate:
    estimate, _ = estimate_any_playbook(1.0, **options)
    assert isinstance(estimate, NoEstimate)
    return estimate


def test_too_few_treated_are_refused():
    estimate = refusal(min_treated=5000)
    assert (estimate.reason, estimate.figures["treated"]) == ("too_few_treated", estimate.treated)


def test_too_few_rows_of_one_outcome_are_refused():
    rows, started, _ = company(1.0)
    sample = analysis_sample(rows.assign(label=1), started, OPTIONS)
    assert estimate_effects(sample, CATALOGUE, OPTIONS, LinearSettings())[0].reason == "too_few_outcomes"


def test_treated_without_comparable_untreated_is_refused():
    sample = random_sample(2000)
    sample["propensity"] = np.where(sample["treated"], 0.97, 0.02)
    accounts = pd.Series(range(2000))
    estimate = estimate_aipw(ANY_PLAYBOOK, **sample, weight=np.ones(2000), accounts=accounts, settings=EffectSettings())
    assert (estimate.reason, estimate.figures["share"]) == ("too_few_alike", 0.0)


def test_too_small_effective_comparison_group_is_refused():
    sample = random_sample(2000)
    sample["propensity"] = np.full(2000, 1e-6)
    sample["propensity"][np.flatnonzero(~sample["treated"])[:9]] = 0.5
    accounts = pd.Series(range(2000))
    estimate = estimate_aipw(ANY_PLAYBOOK, **sample, weight=np.ones(2000), accounts=accounts, settings=EffectSettings())
    assert estimate.reason == "too_little_to_compare"
    assert 8.9 < estimate.figures["rows"] < 9.1


def test_treated_accounts_without_overlap_are_excluded_and_counted():
    sample = random_sample(4000)
    certain = np.flatnonzero(sample["treated"])[:10]
    sample["propensity"][certain] = 0.95
    accounts = pd.Series(range(4000))
    estimate = estimate_aipw(ANY_PLAYBOOK, **sample, weight=np.ones(4000), accounts=accounts, settings=EffectSettings())
    assert estimate.excluded_no_overlap == (sample["treated"] & (sample["propensity"] > 0.9)).sum() >= 10
    assert estimate.treated == sample["treated"].sum()


# --- texts -----------------------------------------------------------------------------------------

FIGURES = {
    "too_few_treated": {"treated": 12, "needed": 50},
    "too_few_outcomes": {"rarer": 3, "needed": 10},
    "too_few_alike": {"share": 0.4, "needed": 0.95},
    "too_little_to_compare": {"rows": 9.2, "needed": 50.0},
}


@pytest.mark.parametrize("language", sorted(MESSAGES))
@pytest.mark.parametrize("reason", get_args(Reason))
def test_refusal_text_has_a_reason_and_no_effect(language, reason):
    messages, refused = Messages(language), NoEstimate("rescue", 12, reason, FIGURES[reason])
    sentence = effect_sentence(refused, messages)
    assert sentence.startswith("rescue")
    assert str(next(iter(FIGURES[reason].values())))[:1] in sentence
    assert table_row(refused, messages)[2:-1] == [messages.text("effect.dash")] * 6


@pytest.mark.parametrize(
    ("low", "high", "english", "chinese"),
    [(0.01, 0.09, "helped", "有效"), (-0.01, 0.09, "not clear", "不明确"), (-0.09, -0.01, "fewer", "更少")],
)
def test_verdict_depends_on_the_interval(low, high, english, chinese):
    estimate = EffectEstimate(ANY_PLAYBOOK, 187, 180, 0.733, 0.048, low, high, 0.25, None, None, -0.04, 0, 900.0)
    assert english in effect_sentence(estimate, Messages("en"))
    assert chinese in effect_sentence(estimate, Messages("zh"))
    assert "any playbook" in effect_sentence(estimate, Messages("en"))
    for language in MESSAGES:
        assert (
            len(table_row(estimate, Messages(language)))
            == len(table_headings(Messages(language), 0.9))
            == len(TABLE_COLUMNS)
        )
        assert "+4.8" in effect_sentence(estimate, Messages(language))
    assert "90%" in table_headings(Messages("en"), 0.9)[5]
