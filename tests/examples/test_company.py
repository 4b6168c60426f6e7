"""Tests of the example company: data contract, consistency of the tables, truth, and difficulty of prediction."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from datetime import date

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from renewals.examples.company import CORE_WORKFLOW, LEVELS, NORTH_STAR, simulate_company, states, write_company
from renewals.examples.company.clock import NEVER, add_months, draw_arrival, month_starts
from renewals.examples.company.journey import FALL_THROUGH_SHARE, RESCUE_SHARE, look_up_values
from renewals.examples.company.product import FEATURES
from renewals.examples.company.simulation import RANDOM_STREAMS
from renewals.examples.company.states import LogOddsProjection, expected_probability, sigmoid
from renewals.examples.company.truth import interventions
from renewals.examples.company.world import draw_world

TEXT, TIME, INT, REAL, FLAG = pa.string(), pa.timestamp("us"), pa.int64(), pa.float64(), pa.bool_()

COLUMNS = {
    "accounts": {
        "account_id": TEXT, "account_name": TEXT, "industry": TEXT, "region": TEXT, "employee_count": INT,
        "channel": TEXT, "parent_account_id": TEXT, "csm": TEXT, "created_at": TIME, "recorded_at": TIME,
    },
    "contracts": {
        "contract_id": TEXT, "account_id": TEXT, "product": TEXT, "plan": TEXT, "start_date": TIME,
        "end_date": TIME, "arr": REAL, "currency": TEXT, "seats": INT, "signed_at": TIME, "paid_at": TIME,
        "cancelled_at": TIME, "auto_renew": FLAG,
    },
    "usage_events": {
        "account_id": TEXT, "user_id": TEXT, "feature": TEXT, "occurred_at": TIME, "duration_s": REAL,
        "quantity": REAL, "recorded_at": TIME,
    },
    "people": {
        "user_id": TEXT, "account_id": TEXT, "title": TEXT, "role": TEXT, "department": TEXT, "tier": TEXT,
        "valid_from": TIME, "valid_to": TIME, "recorded_at": TIME,
    },
    "tickets": {
        "ticket_id": TEXT, "account_id": TEXT, "user_id": TEXT, "kind": TEXT, "severity": TEXT, "opened_at": TIME,
        "first_response_at": TIME, "resolved_at": TIME, "reopened_at": TIME, "escalated_at": TIME,
        "due_at": TIME, "recorded_at": TIME,
    },
    "surveys": {
        "account_id": TEXT, "user_id": TEXT, "kind": TEXT, "score": REAL, "sent_at": TIME, "answered_at": TIME,
        "followed_up_at": TIME, "recorded_at": TIME,
    },
    "touchpoints": {
        "account_id": TEXT, "user_id": TEXT, "csm": TEXT, "kind": TEXT, "initiated_by": TEXT, "occurred_at": TIME,
        "recorded_at": TIME,
    },
    "interventions": {
        "account_id": TEXT, "playbook": TEXT, "csm": TEXT, "started_at": TIME, "ended_at": TIME,
        "recorded_at": TIME,
    },
    "value_goals": {
        "account_id": TEXT, "goal": TEXT, "set_at": TIME, "due_at": TIME, "achieved_at": TIME,
        "recorded_at": TIME,
    },
    "referrals": {
        "account_id": TEXT, "referred_account_id": TEXT, "referred_at": TIME, "converted_at": TIME,
        "reward_cost": REAL, "recorded_at": TIME,
    },
    "trials": {
        "account_id": TEXT, "requested_at": TIME, "started_at": TIME, "finished_at": TIME, "recorded_at": TIME,
    },
    "rates": {"currency": TEXT, "date": TIME, "rate": REAL},
}  # fmt: skip
"""Columns and types of the data contract, written out independently of the code."""

PLANNED = {("tickets", "due_at"), ("value_goals", "due_at"), ("contracts", "start_date"), ("contracts", "end_date")}
"""Columns with times that may be after the extract, because they were agreed on before it."""

GRACE = pd.Timedelta(days=60)
BEFORE = pd.Timedelta(days=90)


@pytest.fixture(scope="module")
def small():
    """Company of 200 accounts and three years."""
    return simulate_company(accounts=200, months=36, seed=3)


@pytest.fixture(scope="module")
def tables(small):
    return {name: table.to_pandas() for name, table in small.tables.items()}


@pytest.fixture(scope="module")
def truth(small):
    return {name: table.to_pandas() for name, table in small.truth.items()}


@pytest.fixture(scope="module")
def full():
    """Company of the demo: 2 000 accounts, 42 months."""
    return simulate_company()


@pytest.fixture(scope="module")
def contracts(full):
    return full.tables["contracts"].to_pandas()


# --- the contract of the tables ---------------------------------------------------------------------


@pytest.mark.parametrize("name", COLUMNS)
def test_tables_have_the_columns_of_the_contract(small, name):
    schema = small.tables[name].schema
    assert {field.name: field.type for field in schema} == COLUMNS[name]


def test_company_has_exactly_the_tables_of_the_contract(small):
    assert set(small.tables) == set(COLUMNS)


@pytest.mark.parametrize("name", COLUMNS)
def test_nothing_is_known_after_the_extract(small, tables, name):
    until = pd.Timestamp(small.extract_date)
    for column, kind in COLUMNS[name].items():
        if kind == TIME and (name, column) not in PLANNED:
            assert not (tables[name][column] >= until).any(), column


def test_ids_are_unique_and_refer_to_accounts_and_people(tables):
    accounts, people = set(tables["accounts"].account_id), set(tables["people"].user_id)
    assert tables["accounts"].account_id.is_unique
    assert tables["contracts"].contract_id.is_unique
    assert tables["tickets"].ticket_id.is_unique
    for name in set(COLUMNS) - {"rates"}:
        assert set(tables[name].account_id) <= accounts, name
    # the row of a person may arrive after the person's events
    assert tables["usage_events"].user_id.isin(people).mean() > 0.99


def test_every_currency_has_rates_from_the_first_term_on(tables):
    rates, contracts = tables["rates"], tables["contracts"]
    assert not rates.duplicated(["currency", "date"]).any()
    assert set(contracts.currency) == set(rates.currency) == {"USD", "EUR", "CNY"}
    assert rates.date.min() <= contracts.start_date.min()
    assert (rates[rates.currency == "USD"].rate == 1.0).all()


def test_product_features_match_the_published_patterns(tables):
    assert set(tables["usage_events"].feature) == set(FEATURES)
    stems = {pattern.rstrip("*") for level in LEVELS.values() for pattern in level}
    matched = {name for name in FEATURES if any(name.startswith(stem) for stem in stems)}
    assert matched == set(FEATURES) - {"login"}
    assert set(NORTH_STAR) < set(FEATURES)
    assert all(any(name.startswith(stem.rstrip("*")) for name in FEATURES) for stem in CORE_WORKFLOW)


def test_account_names_are_english_and_chinese(tables):
    chinese = tables["accounts"].account_name.str.contains(r"[\u4e00-\u9fff]")
    assert 0.1 < chinese.mean() < 0.5


def test_people_without_a_tier_have_an_english_title(tables):
    people = tables["people"]
    assert 0.25 < people.tier.isna().mean() < 0.45
    titles = people[people.tier.isna()].title
    assert not titles.str.contains(r"[\u4e00-\u9fff]").any()  # no default pattern matches a Chinese title
    assert people.user_id.duplicated().any(), "nobody was promoted"


# --- determinism ------------------------------------------------------------------------------------


def digests(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.rglob("*.parquet"))}


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    first, again, reseeded = (
        write_company(simulate_company(60, 14, seed), tmp_path / name) for seed, name in ((1, "a"), (1, "b"), (2, "c"))
    )
    assert digests(first) == digests(again)
    assert digests(first)["contracts.parquet"] != digests(reseeded)["contracts.parquet"]


def test_command_writes_the_truth_into_a_subfolder(tmp_path):
    command = [sys.executable, "-m", "examples.company", "--accounts", "30", "--months", "6", "--out", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)
    assert {path.stem for path in tmp_path.glob("*.parquet")} == set(COLUMNS)
    truth_files = {"README.md", "events.parquet", "interventions.parquet", "oracle.parquet", "renewals.parquet"}
    assert {path.name for path in (tmp_path / "ground_truth").iterdir()} == truth_files
    assert "no stage" in (tmp_path / "ground_truth" / "README.md").read_text(encoding="utf-8")


def test_a_start_within_a_month_is_refused():
    with pytest.raises(ValueError, match="first of a month"):
        simulate_company(100, 12, start=date(2023, 1, 15))


# --- consistency of the tables ----------------------------------------------------------------------


def test_terms_are_half_open_and_in_order(small, tables):
    core = tables["contracts"].query("product == 'core'")
    assert (core.start_date < core.end_date).all()
    core = core[core.start_date < pd.Timestamp(small.extract_date)]  # a later one may end a term on a day not yet known
    # Rows of one term (bought with it or later) have the same end; the next term starts at most 90 days before it.
    ends = core.groupby(["account_id", "end_date"]).agg(start=("start_date", "min"), cancelled=("cancelled_at", "max"))
    ends = ends.reset_index().sort_values(["account_id", "start"])
    ended = ends[["end_date", "cancelled"]].min(axis=1)
    same = ends.account_id == ends.account_id.shift()
    assert (ends.start >= ended.shift())[same].all(), "two terms of one account overlap"


def test_no_usage_and_no_tickets_after_an_account_has_left(tables):
    contracts = tables["contracts"]
    runs = contracts[["end_date", "cancelled_at"]].min(axis=1)
    last = runs.groupby(contracts.account_id).max().rename("last")
    for name, column in (("usage_events", "occurred_at"), ("tickets", "opened_at")):
        late = tables[name].merge(last, on="account_id")
        # with a late renewal, an account continues between two terms
        assert (late[column] < late["last"] + pd.Timedelta(days=51)).all(), name
    churned = last[last < tables["usage_events"].occurred_at.max() - pd.Timedelta(days=120)]
    seen = tables["usage_events"].merge(churned, on="account_id")
    assert len(churned) > 10
    assert (seen.occurred_at < seen["last"] + pd.Timedelta(days=1)).all()


def test_nobody_uses_the_product_after_leaving(tables):
    left = tables["people"].groupby("user_id").valid_to.max()
    gone = tables["usage_events"].merge(left[left.notna()], on="user_id")
    is_employed = tables["people"].groupby("user_id").valid_to.apply(lambda ends: ends.isna().any())
    gone = gone[~gone.user_id.map(is_employed)]
    assert len(gone) > 100
    assert (gone.occurred_at.dt.normalize() <= gone.valid_to).all()


def test_usage_falls_after_a_loss_is_decided(tables, truth):
    lost = truth["renewals"].query("renewed == 0")
    lost = lost[lost.renewal_date < pd.Timestamp("2025-11-01")]
    use = tables["usage_events"].merge(lost, on="account_id")
    before = use.occurred_at.between(use.decided_at - pd.Timedelta(days=30), use.decided_at).sum()
    after = use.occurred_at.between(use.renewal_date - pd.Timedelta(days=20), use.renewal_date).sum() * 1.5
    assert 0.05 * before < after < 0.65 * before


@pytest.mark.parametrize("name", [name for name in COLUMNS if "recorded_at" in COLUMNS[name] and name != "accounts"])
def test_some_rows_arrive_late_and_most_do_not(full, name):
    event = {"usage_events": "occurred_at", "people": "valid_from", "tickets": "opened_at", "surveys": "sent_at",
             "touchpoints": "occurred_at", "interventions": "started_at", "value_goals": "set_at",
             "referrals": "referred_at", "trials": "requested_at"}[name]  # fmt: skip
    columns = full.tables[name].select([event, "recorded_at"]).to_pandas()
    days = (columns.recorded_at - columns[event]).dt.total_seconds() / 86_400
    assert 0.01 < (days > 2).mean() < 0.10
    assert (days < 1).mean() > 0.7
    if len(days) > 5_000 and name != "people":
        assert 0 < (days < 0).mean() < 0.02, "share of rows recorded before their event"


def test_all_kinds_of_renewal_exist(contracts):
    """Early, late, unpaid, multi-year, cancelled, won-back and co-terminous renewals all occur at least five times."""
    core = contracts.query("product == 'core'").sort_values(["account_id", "start_date"])
    first = core.drop_duplicates(["account_id", "end_date"])
    before = first.groupby("account_id")[["end_date", "cancelled_at"]].shift()
    gap = first.start_date - before.min(axis=1)
    lead = (first.start_date - first.signed_at).dt.days
    months = ((first.end_date - first.start_date).dt.days / 30.4).round()
    known_payment = core.signed_at < pd.Timestamp("2026-01-01")
    cases = {
        "signed early": (gap.notna() & (lead > 50)).sum(),
        "started early, cutting the old term": (first.start_date < before.end_date).sum(),
        "signed late, started on time": ((gap == pd.Timedelta(0)) & (first.signed_at > first.start_date)).sum(),
        "started late": ((gap > pd.Timedelta(0)) & (gap <= GRACE)).sum(),
        "won back": (gap > pd.Timedelta(days=100)).sum(),
        "unpaid": (core.paid_at.isna() & known_payment).sum(),
        "half a year": (months == 6).sum(),
        "two years": (months == 24).sum(),
        "three years": (months == 36).sum(),
        "cancelled": core.cancelled_at.notna().sum(),
        "more seats, same end": (core.duplicated(["account_id", "end_date"]) & core.seats.notna()).sum(),
        "higher plan, same end": (core.duplicated(["account_id", "end_date"]) & core.seats.isna()).sum(),
        "add-on": (contracts["product"] != "core").sum(),
        "change of currency": (core.groupby("account_id").currency.nunique() > 1).sum(),
    }
    assert min(cases.values()) >= 5, cases
    assert not ((gap > GRACE) & (gap < pd.Timedelta(days=100))).any(), "neither in the grace nor a win-back"


def test_price_of_a_seat_rises_by_the_routine_uplift(contracts):
    core = contracts.query("product == 'core' and seats.notna()").sort_values(["account_id", "start_date"])
    price = core.arr / core.seats
    follows = core.start_date == core.groupby("account_id").end_date.shift()
    same = follows & (core.plan == core.groupby("account_id").plan.shift())
    rise = (price / price.groupby(core.account_id).shift())[same]
    assert 0.5 < rise.between(1.069, 1.071).mean() < 0.8


# --- truth ------------------------------------------------------------------------------------------


def outcomes_from_tables(contracts, renewals, until):
    """Outcome by R1 and R2, recomputed in pandas, and true outcome; one row per matured renewal."""
    runs = contracts[contracts.cancelled_at.isna() | (contracts.cancelled_at > contracts.start_date)].copy()
    runs["ended"] = runs[["end_date", "cancelled_at"]].min(axis=1)
    due = renewals.merge(runs, left_on=["account_id", "renewal_date"], right_on=["account_id", "end_date"])
    due = due[due.ended + GRACE + pd.Timedelta(days=1) <= until]
    pairs = due.merge(runs, on=["account_id", "product"], suffixes=("", "_next"))
    matured = pairs.ended + GRACE + pd.Timedelta(days=1)
    follows = pairs.start_date_next.between(pairs.ended - BEFORE, pairs.ended + GRACE) & (
        pairs.ended_next > pairs.ended
    )
    follows &= (pairs.contract_id != pairs.contract_id_next) & (pairs.paid_at_next < matured)
    followed = follows.groupby(pairs.contract_id).any().rename("followed")
    due = due.join(followed, on="contract_id")
    return due.groupby(["account_id", "renewal_date"]).agg(shown=("followed", "max"), true=("renewed", "first"))


def test_tables_show_the_true_outcomes_of_matured_renewals(full, contracts):
    outcomes = outcomes_from_tables(contracts, full.truth["renewals"].to_pandas(), pd.Timestamp(full.extract_date))
    assert len(outcomes) > 3_000
    assert 0.75 < outcomes.true.mean() < 0.82
    assert (outcomes.shown.astype(int) == outcomes.true).mean() > 0.998


def test_truth_has_one_row_per_renewal_and_names_a_cause(truth):
    renewals = truth["renewals"]
    assert not renewals.duplicated(["account_id", "renewal_date"]).any()
    assert set(renewals.planted_cause) == set(states.CAUSES)
    assert renewals.true_probability.between(0, 1).all()
    lead = (renewals.renewal_date - renewals.decided_at).dt.days
    assert 50 < lead[lead > 0].median() < 65


def test_oracle_has_one_row_per_month_and_running_account(truth, tables):
    oracle = truth["oracle"]
    assert not oracle.duplicated(["account_id", "as_of"]).any()
    assert (oracle.as_of.dt.day == 1).all()
    assert oracle.days_to_renewal.between(1, 365).all()
    assert oracle.oracle_probability.between(0, 1).all()
    core = tables["contracts"].query("product == 'core'")
    matched = oracle.merge(core, left_on=["account_id", "renewal_date"], right_on=["account_id", "end_date"])
    known = matched[(matched.start_date <= matched.as_of) & (matched.signed_at < matched.as_of)]
    assert len(known.drop_duplicates(["account_id", "as_of"])) == len(oracle)


def oracle_outcomes(company, least, most):
    """Rows of the oracle in a range of lead times, with their outcomes; one row per (account_id, as_of)."""
    oracle, renewals = (company.truth[name].to_pandas() for name in ("oracle", "renewals"))
    rows = oracle.merge(renewals, on=["account_id", "renewal_date"])
    return rows[rows.days_to_renewal.between(least, most)]


@pytest.mark.parametrize(("least", "most"), [(20, 50), (75, 105), (165, 195), (330, 361)])
def test_the_oracle_is_calibrated_at_every_lead(full, least, most):
    rows = oracle_outcomes(full, least, most)
    bins = rows.groupby(pd.cut(rows.oracle_probability, [0, 0.5, 0.7, 0.8, 0.9, 1.0])).agg(
        predicted=("oracle_probability", "mean"), observed=("renewed", "mean"), count=("renewed", "size")
    )
    bins = bins[bins["count"] > 30]
    error = (bins.predicted - bins.observed) / np.sqrt(bins.predicted * (1 - bins.predicted) / bins["count"])
    assert len(bins) >= 2
    assert error.abs().max() < 4, bins


def test_projection_agrees_with_simulated_months():
    rng = np.random.default_rng(5)
    traits = states.draw_traits(rng, np.full(20_000, 0.3))
    repeated_traits = states.AccountTraits(*(np.repeat(column[:1], 20_000, axis=0) for column in vars(traits).values()))
    start = np.tile([0.4, -0.2, 0.5, 1.0, 0.7], (20_000, 1))
    now, months = start, 5
    for _ in range(months):
        now = states.next_states(rng, now, repeated_traits, states.Shocks.draw(rng, repeated_traits))
    simulated = sigmoid(1.0 + now @ states.WEIGHTS).mean()
    months_ahead, projection = np.array([months]), LogOddsProjection(months)
    mean = 1.0 + projection.mean(start[:1], repeated_traits.monthly_drift[:1], months_ahead)
    projected = expected_probability(mean, projection.variance(repeated_traits.goal_chance[:1], months_ahead))
    assert projected[0] == pytest.approx(simulated, abs=0.01)


def test_interventions_go_to_accounts_at_risk(full):
    oracle = full.truth["oracle"].to_pandas().query("not decided")
    started = full.tables["interventions"].to_pandas()
    started["as_of"] = started.started_at.dt.to_period("M").dt.to_timestamp()
    treated = oracle.merge(started[["account_id", "as_of"]], on=["account_id", "as_of"])
    assert len(treated) > 100
    assert treated.oracle_probability.mean() < oracle.oracle_probability.mean() - 0.05


def test_expansion_depends_on_the_states(full, contracts):
    """J5: up-sell and cross-sell depend on adoption and value, but not on these alone."""
    oracle = full.truth["oracle"].to_pandas()
    oracle = oracle[oracle.as_of.dt.month.isin([1, 7]) & (oracle.as_of < pd.Timestamp("2026-01-01"))]
    core = contracts.query("product == 'core'")
    later = core[core.duplicated(["account_id", "end_date"]) | core.seats.isna()]
    pairs = oracle.merge(later[["account_id", "start_date"]], on="account_id")
    soon = pairs[pairs.start_date.between(pairs.as_of, pairs.as_of + pd.Timedelta(days=180))]
    sold = oracle.set_index(["account_id", "as_of"]).index.isin(soon.set_index(["account_id", "as_of"]).index)
    assert 0.03 < sold.mean() < 0.20
    assert 0.62 < roc_auc_score(sold, oracle.adoption + 0.5 * oracle.value) < 0.78


# --- functions --------------------------------------------------------------------------------------


def test_months_are_added_by_the_calendar():
    days = np.array(["2024-01-31", "2023-03-15", "2024-02-29"], "M8[D]").astype(np.int64)
    added = add_months(days, np.array([1, 6, 12])).astype("M8[D]").astype(str)
    assert added.tolist() == ["2024-02-29", "2023-09-15", "2025-02-28"]
    assert month_starts(np.datetime64("2023-11"), 3).astype("M8[D]").astype(str).tolist() == [
        "2023-11-01", "2023-12-01", "2024-01-01",
    ]  # fmt: skip


def test_arrival_delays_are_mostly_short_sometimes_long_and_rarely_negative():
    moment = np.full(100_000, 1_700_000_000)
    days = (draw_arrival(np.random.default_rng(0), moment) - moment) / 86_400
    assert 0.93 < (days < 1).mean() < 0.97
    assert 0.001 < (days > 14).mean() < 0.02
    assert -1 < days.min() < 0


def test_lookup_of_a_missing_key_returns_the_default():
    keys, values = np.array([7, 3]), np.array([70, 30])
    assert look_up_values(np.array([3, 5, 7]), keys, values, NEVER).tolist() == [30, NEVER, 70]
    assert look_up_values(np.array([3]), keys[:0], values[:0], -1).tolist() == [-1]


# --- difficulty -------------------------------------------------------------------------------------

RAW_COLUMNS_QUERY = """
with observed as (
    select account_id, as_of::timestamp as as_of, renewal_date, oracle_probability, renewed
    from oracle join renewals using (account_id, renewal_date) where days_to_renewal between 75 and 105
), graded as (select user_id, max(tier) as tier from people group by user_id),
usage as (
    select account_id, as_of,
        count(*) filter (feature = 'login' and occurred_at >= as_of - interval 28 day) as logins_28d,
        count(*) filter (feature = 'login' and occurred_at >= as_of - interval 90 day) as logins_90d,
        count(distinct user_id) filter (occurred_at >= as_of - interval 28 day) as users_28d,
        count(distinct occurred_at::date) as active_days_180d,
        count(distinct occurred_at::date) filter (tier = 'S') as days_s_180d,
        count(distinct occurred_at::date) filter (tier = 'A') as days_a_180d,
        sum(duration_s) / count(*) as seconds_180d,
        avg((feature like 'workflow.%' or feature = 'task.assign')::int) as workflow_share_180d,
        -date_diff('day', max(occurred_at), as_of) as days_since_last_use,
        -date_diff('day', max(occurred_at) filter (tier = 'S'), as_of) as days_since_last_use_s
    from observed join usage_events using (account_id) left join graded using (user_id)
    where occurred_at < as_of and usage_events.recorded_at < as_of and occurred_at >= as_of - interval 180 day

    group by account_id, as_of
), ticket_history as (
    select account_id, as_of,
        count(*) as tickets_180d,
        count(*) filter (kind = 'bug') as bugs_180d,
        count(*) filter (severity = 'high') as high_180d,
        -avg(date_diff('minute', opened_at, first_response_at)) filter (first_response_at < as_of) as response_180d,
        count(*) filter (resolved_at is null or resolved_at >= as_of) as backlog
    from observed join tickets using (account_id)
    where opened_at < as_of and recorded_at < as_of and opened_at >= as_of - interval 180 day
    group by account_id, as_of
), graded_surveys as (
    select account_id, as_of,
        avg(score) filter (kind = 'nps') as nps_365d,
        avg(score) filter (kind = 'nps' and tier in ('S', 'A')) as nps_deciders_365d,
        avg(score) filter (kind = 'csat') as csat_365d,
        count(*) filter (kind = 'nps') as answers_365d
    from observed join surveys using (account_id) left join graded using (user_id)
    where answered_at < as_of and recorded_at < as_of and sent_at >= as_of - interval 365 day
    group by account_id, as_of
), contacts as (
    select account_id, as_of, count(*) as contacts_180d,
        count(*) filter (tier = 'S') as contacts_s_180d,
        count(*) filter (tier = 'A') as contacts_a_180d,
        count(*) filter (initiated_by = 'customer') as asked_for_180d
    from observed join touchpoints using (account_id) left join graded using (user_id)
    where occurred_at < as_of and recorded_at < as_of and occurred_at >= as_of - interval 180 day
    group by account_id, as_of
), reached as (
    select account_id, as_of, count(*) filter (achieved_at < as_of) as goals_365d, count(*) as goals_set_365d
    from observed join value_goals using (account_id)
    where set_at < as_of and recorded_at < as_of and set_at >= as_of - interval 365 day
    group by account_id, as_of
), bought as (
    select account_id, as_of, sum(seats) as seats, sum(arr) as arr, max(auto_renew::int) as auto_renew,
        count(distinct product) as products, max((plan = 'starter')::int) as starter_plan,
        max((start_date > as_of)::int) as follow_on_signed
    from observed join contracts using (account_id) where signed_at < as_of and end_date > as_of
    group by account_id, as_of
), since as (
    select account_id, as_of, date_diff('day', min(start_date), as_of) as tenure
    from observed join contracts using (account_id) where signed_at < as_of
    group by account_id, as_of
), left_us as (
    select account_id, as_of, -count(*) as sponsors_left_180d
    from observed join people using (account_id) where valid_to < as_of and valid_to >= as_of - interval 180 day
    and tier = 'S'
    group by account_id, as_of
)
select * from observed left join usage using (account_id, as_of) left join ticket_history using (account_id, as_of)
left join graded_surveys using (account_id, as_of) left join contacts using (account_id, as_of)
left join reached using (account_id, as_of) left join bought using (account_id, as_of)
left join since using (account_id, as_of) left join left_us using (account_id, as_of)
"""


@pytest.fixture(scope="module")
def columns_at_90_days(full):
    """About forty raw columns as known about 90 days before the end; one row per renewal."""
    with duckdb.connect(config={"threads": 1}) as database:
        for name, table in (full.tables | full.truth).items():
            database.register(name, table)
        return database.execute(RAW_COLUMNS_QUERY).df()


KEYS = ["account_id", "as_of", "renewal_date", "oracle_probability", "renewed"]


@pytest.mark.slow
def test_oracle_is_uncertain_90_days_before_the_end(columns_at_90_days):
    rows = columns_at_90_days
    assert 0.74 < roc_auc_score(rows.renewed, rows.oracle_probability) < 0.84
    assert 0.78 < expected_auc(rows.oracle_probability, rows.oracle_probability) < 0.83


def expected_auc(probability, scores):
    """Expected AUC of scores if the outcomes are random with these probabilities."""
    probability = np.asarray(probability)[np.argsort(scores, kind="stable")]
    lost = 1 - probability
    return (probability * (np.cumsum(lost) - lost)).sum() / (probability.sum() * lost.sum())


@pytest.mark.slow
def test_no_single_raw_column_predicts_renewals_well(columns_at_90_days):
    rows = columns_at_90_days
    auc = {name: single_column_auc(rows[name], rows.renewed) for name in rows.columns.difference(KEYS)}
    assert len(auc) > 30
    assert max(auc.values()) < 0.70, sorted(auc.items(), key=lambda entry: -entry[1])[:5]


def single_column_auc(column, renewed):
    """AUC of a column, or of its negative if that is higher, on the rows with a value."""
    known = column.notna()
    auc = roc_auc_score(renewed[known], column[known].astype(float))
    return max(auc, 1 - auc)


@pytest.mark.slow
def test_no_raw_column_improves_on_the_oracle(columns_at_90_days):
    """If one did, it would contain facts from the future, or the oracle would miss something that can be known."""
    rows = columns_at_90_days
    probability = rows.oracle_probability
    for name in rows.columns.difference(KEYS):
        column = rows[name].astype(float).rank(pct=True).fillna(0.5) - 0.5
        column -= np.average(column, weights=probability * (1 - probability))
        z_score = ((rows.renewed - probability) * column).sum() / np.sqrt(
            (probability * (1 - probability) * column**2).sum()
        )
        assert abs(z_score) < 4, (name, z_score)


@pytest.mark.slow
def test_all_raw_columns_together_reach_most_of_the_oracle_auc(columns_at_90_days):
    """A model of all columns reaches most of the oracle's AUC above 0.5; no single column does."""
    rows = columns_at_90_days
    ranks = rows[rows.columns.difference(KEYS)].astype(float).rank(pct=True)
    empty = ranks.isna().astype(float).loc[:, ranks.isna().mean() > 0.02].add_suffix("_empty")
    known = pd.concat([ranks.fillna(0.5), empty], axis=1)
    past = rows.renewal_date < pd.Timestamp("2025-07-01")
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
    model.fit(known[past], rows.renewed[past])
    predicted, probability = model.predict_proba(known[~past])[:, 1], rows.oracle_probability[~past]
    share = (expected_auc(probability, predicted) - 0.5) / (expected_auc(probability, probability) - 0.5)
    assert 0.70 < share < 1.0


def test_events_of_the_truth_match_the_tables(truth, tables):
    """Compare each kind of event with the rows of the tables that show it."""
    events = truth["events"]
    assert set(events["kind"]) == {
        "leaving", "sponsor_left", "sponsor_vanished", "use_fell", "first_value_missed", "limit_passed",
        "low_score_left",
    }  # fmt: skip
    days = dict(iter(events.groupby("kind")))
    left = tables["people"].dropna(subset="valid_to").assign(happened_on=lambda rows: rows["valid_to"])
    key = ["account_id", "happened_on"]
    assert len(days["sponsor_left"].merge(left, on=key)) >= len(days["sponsor_left"])
    assert len(days["sponsor_vanished"].merge(left, on=key)) < 0.2 * len(days["sponsor_vanished"])
    lost = truth["renewals"].query("renewed == 0").assign(happened_on=lambda rows: rows["decided_at"].dt.floor("D"))
    assert len(lost.merge(days["leaving"], on=key)) > 0.8 * len(days["leaving"]), "except unpaid follow-ons"
    tickets = tables["tickets"].query("severity == 'high'")
    waited = tickets["first_response_at"].fillna(tickets["resolved_at"]) - tickets["opened_at"]
    late = tickets[waited > pd.Timedelta(hours=4)]
    passed = set(zip(days["limit_passed"]["account_id"], days["limit_passed"]["happened_on"], strict=True))
    due = (late["opened_at"] + pd.Timedelta(hours=4)).dt.floor("D")
    assert set(zip(late["account_id"], due, strict=True)) <= passed


def test_true_effect_of_an_intervention_is_its_lift_when_the_renewal_is_decided():
    streams = dict(zip(RANDOM_STREAMS, np.random.default_rng(7).spawn(len(RANDOM_STREAMS)), strict=True))
    world = draw_world(streams, 400, 36, np.datetime64("2023-01", "M"))
    effects = interventions(world, pa.array(range(400))).to_pandas()
    treated = world.journal.read("interventions")["account"]
    once = effects[effects["account_id"].map(lambda account: (treated == account).sum()) == 1]
    month = np.searchsorted(
        world.calendar, once["decided_at"].astype("datetime64[s]").astype("int64") // 86_400, "right"
    )
    lift = world.full_history[month - 1, once["account_id"], states.LIFT]
    added = intent_log_odds(once["probability"]) - intent_log_odds(once["probability_without"])
    assert len(once) > 20
    assert lift.max() > 0.4
    assert np.allclose(added, lift, atol=1e-9)
    assert (lift[once["decided_at"] <= once["started_on"]] == 0).all()


def intent_log_odds(probability):
    """Log-odds of the intent to renew, computed from the probability of the renewal."""
    intent = (probability - RESCUE_SHARE) / (1 - FALL_THROUGH_SHARE - RESCUE_SHARE)
    return np.log(intent / (1 - intent))
