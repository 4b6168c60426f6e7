"""Simulate the lifecycle of the accounts month by month: terms, decisions, expansion, interventions, win-backs.

Every month the hidden states change (`states.py`), new accounts start their first term, and the accounts whose
decision date lies in the month decide. The decision is a random draw from the log-odds of the states on that date,
about two months before the end of the term; signatures, payments and cancellations follow from it.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from renewals.examples.company import states as hidden
from renewals.examples.company.clock import DAY, NEVER, NEVER_DAY, Flags, Floats, Ints, add_months, draw_working_time
from renewals.examples.company.customers import Customers
from renewals.examples.company.product import ADD_ON_COUNT, LIST_RATES, SEAT_PRICES
from renewals.examples.company.states import ADOPTION, LIFT, PAIN, SPONSOR, VALUE, AccountTraits, Shocks, sigmoid

TERM_MONTHS = np.array([6, 12, 24, 36])
TERM_SHARE = np.array([0.09, 0.81, 0.07, 0.03])
SAME_TERM_SHARE = 0.85
"""Probability of renewing for the same number of months as before."""

DECISION_LEAD_DAYS = (57.0, 9.0, 30, 100)
"""Days from the decision to the end of the term: mean, standard deviation, limits."""
BREAK_SHARE, BREAK_DAYS = 0.015, (110, 250)
"""Share of long terms with a break clause, and their decision lead in days; a loss ends them early."""

TYPICAL, EARLY, LATE = range(3)
SIGNING_STYLE_SHARE = np.array([0.84, 0.05, 0.11])
"""Share of each signing style: up to 45 days before the end, 50 to 90 days before, or in the grace after it."""

FALL_THROUGH_SHARE, RESCUE_SHARE = 0.01, 0.02
"""Share of positive decisions that are never paid; share of negative decisions reversed in the last days."""
UNPAID_SHARE = 0.12
"""Share of lost accounts with automatic renewal for which a follow-on is booked but never paid."""
CANCEL_SHARE = 0.07
"""Share of losses that cancel before the end of the term."""
WIN_BACK_SHARE, WIN_BACK_DAYS = 0.08, (120, 365)
LATEST_PAYMENT_DAYS = 58
"""Days after the end of the old term by which a renewal is paid, so that it lies inside the grace."""

UPLIFT, UPLIFT_SHARE = 0.07, 0.7
"""Routine price increase at a renewal, and the share of renewals that get it in full."""
ADD_ON_RENEWAL_SHARE = 0.88
"""Probability that an add-on with the same end is renewed with the core product."""
ADD_ON_LOG_ODDS = 0.2
"""Log-odds by which an add-on with its own term is more likely to be renewed than the core product."""
CURRENCY_CHANGE_SHARE = 0.01

TRIAL_LOG_ODDS, TRIAL_EFFECT, TRIAL_DAYS = -5.2, 2.2, 100
"""Monthly log-odds of trying an add-on at an average account; effect of a trial on buying (log-odds), and its days."""
UPSELL_LOG_ODDS, UPSELL_WEIGHTS = -4.75, np.array([0.50, 0.90, 0.0, -0.4, 0.0])
CROSS_SELL_LOG_ODDS, CROSS_SELL_WEIGHTS = -4.95, np.array([0.85, 0.55, -0.15, -0.4, 0.0])
"""Monthly log-odds of up-sell and cross-sell, and the effect of the states on them (J5)."""

MIN_REMAINING_DAYS, MAX_TIED_DAYS = 45, 150
"""Minimum days left in the term for an additional sale; maximum days left for an add-on with the same end."""
ADD_ON_REBUY_DAYS = 100
"""Days after the end of an add-on before it is bought again: then a new sale, not a late renewal."""

INTERVENTION_LOG_ODDS, INTERVENTION_SLOPE, PERCEIVED_RISK_NOISE = -4.9, 1.0, 0.8
PERCEIVED_RISK_WEIGHTS = np.array([-0.40, -0.55, 0.60, 0.0, 0.0])
"""Managers intervene where an account *looks* at risk: a noisy view of the states, mostly of use and tickets."""
PLAYBOOKS = ("executive_review", "adoption_push", "support_cleanup", "onboarding_rescue")
INTERVENTION_GAP_DAYS = 120
"""Minimum days between two interventions at one account."""

ColumnArrays = dict[str, Any]


class Journal:
    """Rows recorded during the simulation, by table and column."""

    def __init__(self) -> None:
        self.parts: dict[str, list[ColumnArrays]] = defaultdict(list)

    def add(self, table: str, **columns: Any) -> None:
        """Append rows (possibly none); a scalar is repeated for all of them."""
        length = len(columns["account"])
        self.parts[table].append({name: np.broadcast_to(values, length) for name, values in columns.items()})

    def read(self, table: str) -> ColumnArrays:
        """All rows of a table, in the order in which they were added."""
        parts = self.parts[table]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def look_up_values(wanted: Ints, keys: Ints, values: Ints, default: int) -> Ints:
    """Value of each wanted key, or `default` if the key is missing."""
    if not len(keys):
        return np.full(len(wanted), default)
    order = np.argsort(keys, kind="stable")
    position = np.minimum(np.searchsorted(keys[order], wanted), len(keys) - 1)
    return np.where(keys[order][position] == wanted, values[order][position], default)


@dataclass
class Subscriptions:
    """Current subscription of each account; one entry per account."""

    running: Flags
    """True for a customer that has not decided to leave."""
    spell_start: Ints
    return_day: Ints
    term: Ints
    start: Ints
    end: Ints
    decision_day: Ints
    style: Ints
    months: Ints
    renewals: Ints
    auto_renew: Flags
    plan: Ints
    seats: Ints
    price: Floats
    """Annual price of a seat, in the account's currency."""
    currency: Ints
    last_intervention_day: Ints
    """Day of the last intervention."""
    last_trial_day: Ints
    """Day of the last trial of an add-on."""
    has_add_on: Flags
    """Accounts x add-ons, as the fields below."""
    has_separate_term: Flags
    add_on_start: Ints
    add_on_end: Ints
    add_on_arr: Floats

    @classmethod
    def before_first_purchase(cls, customers: Customers) -> Subscriptions:
        """Return the state before any purchase."""
        accounts = len(customers)
        never = np.full(accounts, NEVER_DAY)
        zero = np.zeros(accounts, dtype=np.int64)
        pair = (accounts, ADD_ON_COUNT)
        price = SEAT_PRICES[customers.plan] / LIST_RATES[customers.currency]
        return cls(
            running=zero > 0, spell_start=never.copy(), return_day=never.copy(), term=zero - 1,
            start=never.copy(), end=never.copy(), decision_day=never.copy(), style=zero.copy(), months=zero.copy(),
            renewals=zero.copy(), auto_renew=zero > 0, plan=customers.plan.copy(), seats=customers.seats.copy(),
            price=price, currency=customers.currency.copy(),
            last_intervention_day=zero - INTERVENTION_GAP_DAYS, last_trial_day=zero - TRIAL_DAYS,
            has_add_on=np.zeros(pair, dtype=bool), has_separate_term=np.zeros(pair, dtype=bool),
            add_on_start=np.zeros(pair, np.int64), add_on_end=np.zeros(pair, np.int64), add_on_arr=np.zeros(pair),
        )  # fmt: skip

    def arr(self, account: Ints) -> Floats:
        """Annual price of the core product at each account."""
        return np.round(self.price[account] * self.seats[account], 2)


@dataclass
class LifecycleSimulation:
    """The simulation of terms; `run` fills the journal and the history of the states."""

    rng: np.random.Generator
    customers: Customers
    traits: AccountTraits
    month_starts: Ints
    """Day numbers of the simulated months, and of the end of the last one."""
    journal: Journal = field(default_factory=Journal)
    history: Floats = field(init=False)
    """Months x accounts x states."""

    def __post_init__(self) -> None:
        self.subscriptions = Subscriptions.before_first_purchase(self.customers)
        self.history = np.zeros((len(self.month_starts) - 1, *self.traits.anchor.shape))

    def run(self) -> None:
        """Simulate all months."""
        now = hidden.initial_states(self.rng, self.traits)
        for month in range(len(self.history)):
            self.first, self.last = int(self.month_starts[month]), int(self.month_starts[month + 1])
            self.now = now
            self.open_spells()
            self.history[month] = now
            self.decide_core_terms()
            for add_on in range(ADD_ON_COUNT):
                self.decide_add_on(add_on)
            self.upsell()
            self.cross_sell()
            self.try_add_ons()
            lift = self.intervene()
            shocks = Shocks.draw(self.rng, self.traits)
            self.write_shocks(shocks)
            now = hidden.next_states(self.rng, now, self.traits, shocks)
            now[:, LIFT] += lift
        self.close_spells()

    # --- terms -------------------------------------------------------------------------------------

    def is_this_month(self, day: Ints) -> Flags:
        """Flag of the days that lie in the simulated month."""
        return (day >= self.first) & (day < self.last)

    def open_spells(self) -> None:
        """Open a term for the accounts that buy for the first time or return after a loss."""
        book = self.subscriptions
        new = self.is_this_month(self.customers.purchase_day)
        back = self.is_this_month(book.return_day)
        self.now[new, SPONSOR] = self.now[new, LIFT] = 0.0
        self.now[back, VALUE] = np.maximum(self.now[back, VALUE], 0.5)
        book.renewals[back] = len(hidden.FIRST_VALUE_WEIGHT) - 1  # a returning account needs no onboarding
        book.seats[back] = np.maximum(3, np.round(0.8 * book.seats[back])).astype(np.int64)
        accounts = np.flatnonzero(new | back)
        start = np.where(new, self.customers.purchase_day, book.return_day)[accounts]
        book.spell_start[accounts] = start
        book.return_day[accounts] = NEVER_DAY
        book.months[accounts] = self.rng.choice(TERM_MONTHS, len(accounts), p=TERM_SHARE)
        signed = draw_working_time(self.rng, start - self.rng.integers(3, 30, len(accounts)))
        self.open_term(accounts, start, signed, self.draw_payment_times(accounts, signed))
        book.running[accounts] = True

    def draw_payment_times(self, accounts: Ints, signed: Ints) -> Ints:
        """Draw the payment time of signed contracts; accounts with a bad fit pay slightly later."""
        days = self.rng.lognormal(np.log(16) - 0.2 * self.customers.fit[accounts], 0.5)
        return signed + (np.minimum(days, 120) * DAY).astype(np.int64)

    def open_term(self, accounts: Ints, start: Ints, signed: Ints, paid: Ints) -> None:
        """Record the core contract of a new term and draw the day and style of its renewal decision."""
        book, rng = self.subscriptions, self.rng
        book.term[accounts] += 1
        book.start[accounts] = start
        book.end[accounts] = add_months(start, book.months[accounts])
        book.auto_renew[accounts] = rng.random(len(accounts)) < 0.6
        book.style[accounts] = rng.choice(3, len(accounts), p=SIGNING_STYLE_SHARE)
        book.decision_day[accounts] = book.end[accounts] - self.decision_lead(accounts)
        self.write_contract(
            accounts, 0, start, book.end[accounts], book.arr(accounts), book.seats[accounts], signed, paid
        )
        self.journal.add(
            "terms", account=accounts, term=book.term[accounts], start=start, end=book.end[accounts], signed=signed,
            decide=book.decision_day[accounts], renewals=book.renewals[accounts], auto=book.auto_renew[accounts],
        )  # fmt: skip

    def decision_lead(self, accounts: Ints) -> Ints:
        """Draw the days between the decision and the end of the term."""
        rng, style = self.rng, self.subscriptions.style[accounts]
        mean, deviation, least, most = DECISION_LEAD_DAYS
        lead = np.clip(rng.normal(mean, deviation, len(accounts)), least, most)
        lead = np.where(style == EARLY, 55 + 38 * rng.random(len(accounts)) ** 2, lead)
        breaks = (rng.random(len(accounts)) < BREAK_SHARE) & (self.subscriptions.months[accounts] >= 12)
        return np.where(breaks, rng.uniform(*BREAK_DAYS, len(accounts)), lead).astype(np.int64)

    def write_contract(
        self, accounts: Ints, product: Any, start: Ints, end: Ints, arr: Floats, seats: Ints, signed: Ints, paid: Ints
    ) -> None:
        """Record one contract row per account; seats of -1 mean none."""
        book = self.subscriptions
        self.journal.add(
            "contracts", account=accounts, product=product, plan=book.plan[accounts], start=start, end=end,
            arr=np.round(arr, 2), currency=book.currency[accounts], seats=seats, signed=signed, paid=paid,
            auto=book.auto_renew[accounts],
        )  # fmt: skip

    def cancel_contracts(self, accounts: Ints, product: Any, end: Ints, day: Ints) -> None:
        """Record that the contracts of a product that end on `end` were cancelled on `day`."""
        self.journal.add("cancellations", account=accounts, product=product, end=end, cancelled=day * DAY)

    # --- decisions ---------------------------------------------------------------------------------

    def renewal_log_odds(self, accounts: Ints) -> Floats:
        """Log-odds of renewing if the decision were made now."""
        book, traits = self.subscriptions, self.traits
        fixed = hidden.fixed_log_odds(
            self.customers.fit[accounts],
            traits.first_value[accounts],
            book.renewals[accounts],
            book.auto_renew[accounts],
        )
        return np.asarray(fixed + self.now[accounts] @ hidden.WEIGHTS)

    def main_cause(self, accounts: Ints) -> Ints:
        """Index in `CAUSES` of the state that contributes most to a loss."""
        first_value, renewals = self.traits.first_value[accounts], self.subscriptions.renewals[accounts]
        return np.asarray(
            hidden.cause_contributions(self.now[accounts], self.customers.fit[accounts], first_value, renewals).argmin(
                axis=1
            )
        )

    def decide_core_terms(self) -> None:
        """Decide the core terms whose decision day lies in this month: renewed or lost."""
        book, rng = self.subscriptions, self.rng
        accounts = np.flatnonzero(book.running & self.is_this_month(book.decision_day))
        probability = sigmoid(self.renewal_log_odds(accounts))
        wants, slip = rng.random(len(accounts)) < probability, rng.random(len(accounts))
        renewed = np.where(wants, slip >= FALL_THROUGH_SHARE, slip < RESCUE_SHARE)
        booked = book.auto_renew[accounts] & (rng.random(len(accounts)) < UNPAID_SHARE)
        unpaid = ~renewed & (wants | booked)
        book.style[accounts[renewed & ~wants]] = LATE
        cause, decided, term = self.main_cause(accounts), book.decision_day[accounts], book.term[accounts]
        end, effective = book.end[accounts], self.effective_ends(accounts, renewed, unpaid)
        self.journal.add(
            "decisions", account=accounts, product=0, term=term, end=end, effective=effective, decided=decided,
            probability=(1 - FALL_THROUGH_SHARE) * probability + RESCUE_SHARE * (1 - probability),
            wants=wants, renewed=renewed, cause=cause,
        )  # fmt: skip
        self.renew_terms(accounts[renewed], effective[renewed])
        self.book_unpaid(accounts[unpaid])
        self.lose_accounts(accounts[~renewed & ~unpaid], effective[~renewed & ~unpaid])

    def effective_ends(self, accounts: Ints, renewed: Flags, unpaid: Flags) -> Ints:
        """Actual end of each term: some lost accounts cancel early, some early renewals replace the old term."""
        book, rng = self.subscriptions, self.rng
        end, decided = book.end[accounts], book.decision_day[accounts]
        lead = end - decided
        has_break = lead > DECISION_LEAD_DAYS[3]
        cancels_early = (rng.random(len(accounts)) < CANCEL_SHARE) & (lead > 20)
        cancel_day = decided + np.where(
            has_break, rng.integers(10, 40, len(accounts)), rng.integers(5, np.maximum(lead - 5, 6))
        )
        cancelled = ~renewed & ~unpaid & (has_break | cancels_early)
        replaced = renewed & (book.style[accounts] == EARLY) & ~has_break & (rng.random(len(accounts)) < 0.2)
        replace_day = end - rng.integers(5, 40, len(accounts))
        effective = np.where(cancelled, cancel_day, np.where(replaced, replace_day, end))
        ends_early = effective < end
        self.cancel_contracts(accounts[ends_early], 0, end[ends_early], effective[ends_early])
        for add_on in range(ADD_ON_COUNT):
            tied = ends_early & book.has_add_on[accounts, add_on] & ~book.has_separate_term[accounts, add_on]
            self.cancel_contracts(accounts[tied], add_on + 1, end[tied], effective[tied])
        return effective

    def renew_terms(self, accounts: Ints, start: Ints) -> None:
        """Open the follow-on term with a new price and size, and renew the add-ons with the same end."""
        book, rng = self.subscriptions, self.rng
        end = book.end[accounts]
        signed_day = self.signing_days(accounts, start)
        gap = (signed_day > end) & (rng.random(len(accounts)) < 0.4)
        start = np.where(gap, signed_day, start)
        signed = draw_working_time(rng, signed_day)
        paid = np.minimum(self.draw_payment_times(accounts, signed), (end + LATEST_PAYMENT_DAYS) * DAY)
        book.renewals[accounts] += 1
        self.change_terms(accounts)
        self.open_term(accounts, start, signed, np.maximum(paid, signed + DAY))
        for add_on in range(ADD_ON_COUNT):
            self.renew_tied_add_on(accounts, add_on, start, signed, np.maximum(paid, signed + DAY))

    def signing_days(self, accounts: Ints, start: Ints) -> Ints:
        """Draw the day on which the follow-on is signed, by signing style and after the decision."""
        book, rng = self.subscriptions, self.rng
        end, decided, size = book.end[accounts], book.decision_day[accounts], len(accounts)
        typical = np.maximum(end - rng.integers(0, 46, size), decided + 1)
        early = np.minimum(np.maximum(decided + rng.integers(2, 8, size), end - 90), start)
        late = end + rng.integers(1, 51, size)
        return np.choose(book.style[accounts], [typical, early, late])

    def change_terms(self, accounts: Ints) -> None:
        """Draw the changes at a renewal: length, price, seats, plan and, for very few, the currency."""
        book, rng, size = self.subscriptions, self.rng, len(accounts)
        redrawn = rng.choice(TERM_MONTHS, size, p=TERM_SHARE)
        book.months[accounts] = np.where(rng.random(size) < SAME_TERM_SHARE, book.months[accounts], redrawn)
        book.price[accounts] *= np.where(rng.random(size) < UPLIFT_SHARE, 1 + UPLIFT, rng.uniform(1.0, 1.03, size))
        adoption, value = self.now[accounts, ADOPTION], self.now[accounts, VALUE]
        fewer = rng.random(size) < sigmoid(-2.7 - 0.8 * adoption)
        more = ~fewer & (rng.random(size) < sigmoid(-2.3 + 0.7 * adoption + 0.4 * value))
        factor = np.where(fewer, rng.uniform(0.7, 0.92, size), np.where(more, rng.uniform(1.1, 1.4, size), 1.0))
        seats = np.maximum(3, np.round(book.seats[accounts] * factor)).astype(np.int64)
        self.add_people(accounts, seats - book.seats[accounts], book.end[accounts])
        book.seats[accounts] = seats
        self.raise_plan(accounts[(rng.random(size) < 0.03) & (book.plan[accounts] < len(SEAT_PRICES) - 1)])
        changed = accounts[rng.random(size) < CURRENCY_CHANGE_SHARE]
        book.price[changed] *= LIST_RATES[book.currency[changed]]
        book.add_on_arr[changed] *= LIST_RATES[book.currency[changed]][:, None]
        book.currency[changed] = 0

    def raise_plan(self, accounts: Ints) -> None:
        """Upgrade accounts to the next higher plan."""
        book = self.subscriptions
        book.price[accounts] *= SEAT_PRICES[book.plan[accounts] + 1] / SEAT_PRICES[book.plan[accounts]]
        book.plan[accounts] += 1

    def add_people(self, accounts: Ints, seats: Ints, day: Ints) -> None:
        """Record seats bought later, which get people of their own."""
        more = seats > 0
        self.journal.add("seats", account=accounts[more], seats=seats[more], day=day[more])

    def book_unpaid(self, accounts: Ints) -> None:
        """Book a follow-on that is never paid and is cancelled some months later: not a renewal (R1)."""
        book, rng = self.subscriptions, self.rng
        start, size = book.end[accounts], len(accounts)
        book.months[accounts] = 12
        book.renewals[accounts] += 1
        signed = draw_working_time(rng, np.maximum(start - rng.integers(0, 30, size), book.decision_day[accounts] + 1))
        cause = self.main_cause(accounts)
        self.open_term(accounts, start, signed, np.full(size, NEVER))
        stop = start + rng.integers(70, 111, size)
        self.cancel_contracts(accounts, 0, book.end[accounts], stop)
        self.journal.add(
            "decisions", account=accounts, product=0, term=book.term[accounts], end=book.end[accounts], effective=stop,
            decided=start, probability=0.0, wants=False, renewed=False, cause=cause,
        )  # fmt: skip
        book.decision_day[accounts] = start - 30  # use declines from about the end of the paid term
        self.lose_accounts(accounts, stop)

    def lose_accounts(self, accounts: Ints, effective: Ints) -> None:
        """End the customer spell and the add-ons of lost accounts; a few return later."""
        book, rng = self.subscriptions, self.rng
        book.running[accounts] = False
        self.journal.add(
            "spells",
            account=accounts,
            start=book.spell_start[accounts],
            end=effective,
            lost=book.decision_day[accounts],
        )
        for add_on in range(ADD_ON_COUNT):
            self.drop_add_on(accounts, add_on, effective)
        back = rng.random(len(accounts)) < WIN_BACK_SHARE
        book.return_day[accounts[back]] = effective[back] + rng.integers(*WIN_BACK_DAYS, int(back.sum()))

    def close_spells(self) -> None:
        """Record the open spells of the accounts that are customers at the end of the simulation."""
        accounts = np.flatnonzero(self.subscriptions.running)
        start = self.subscriptions.spell_start[accounts]
        self.journal.add("spells", account=accounts, start=start, end=NEVER_DAY, lost=NEVER_DAY)

    # --- add-ons -----------------------------------------------------------------------------------

    def renew_tied_add_on(self, accounts: Ints, add_on: int, start: Ints, signed: Ints, paid: Ints) -> None:
        """Renew, in most cases, the add-ons that end with the core product."""
        book, rng = self.subscriptions, self.rng
        tied = book.has_add_on[accounts, add_on] & ~book.has_separate_term[accounts, add_on]
        renewed = tied & (rng.random(len(accounts)) < ADD_ON_RENEWAL_SHARE)
        book.has_add_on[accounts[tied & ~renewed], add_on] = False
        book.add_on_start[accounts[renewed], add_on] = start[renewed]
        book.add_on_end[accounts[renewed], add_on] = book.end[accounts[renewed]]
        self.write_add_on(accounts[renewed], add_on, signed[renewed], paid[renewed])

    def write_add_on(self, accounts: Ints, add_on: int, signed: Ints, paid: Ints) -> None:
        """Record the contract of an add-on; it costs at most 60 % of the core product."""
        book = self.subscriptions
        arr = np.minimum(book.add_on_arr[accounts, add_on], 0.6 * book.arr(accounts))
        start, end = book.add_on_start[accounts, add_on], book.add_on_end[accounts, add_on]
        self.write_contract(accounts, add_on + 1, start, end, arr, book.seats[accounts], signed, paid)

    def decide_add_on(self, add_on: int) -> None:
        """Decide the add-ons with their own term, about two months before its end."""
        book, rng = self.subscriptions, self.rng
        due = self.is_this_month(book.add_on_end[:, add_on] - int(DECISION_LEAD_DAYS[0]))
        accounts = np.flatnonzero(book.running & book.has_add_on[:, add_on] & book.has_separate_term[:, add_on] & due)
        probability = sigmoid(self.renewal_log_odds(accounts) + ADD_ON_LOG_ODDS)
        renewed = rng.random(len(accounts)) < probability
        self.write_add_on_decision(accounts, add_on, probability, renewed)
        book.has_add_on[accounts[~renewed], add_on] = False
        renewing = accounts[renewed]
        start = book.add_on_end[renewing, add_on]
        book.add_on_start[renewing, add_on] = start
        book.add_on_end[renewing, add_on] = add_months(start, np.full(len(renewing), 12))
        signed = draw_working_time(rng, start - rng.integers(0, 40, len(renewing)))
        paid = np.minimum(self.draw_payment_times(renewing, signed), (start + LATEST_PAYMENT_DAYS) * DAY)
        self.write_add_on(renewing, add_on, signed, paid)

    def write_add_on_decision(self, accounts: Ints, add_on: int, probability: Floats, renewed: Flags) -> None:
        """Record the decisions on add-ons with their own term."""
        end = self.subscriptions.add_on_end[accounts, add_on]
        self.journal.add(
            "decisions", account=accounts, product=add_on + 1, term=-1, end=end, effective=end,
            decided=end - int(DECISION_LEAD_DAYS[0]), probability=probability, wants=renewed,
            renewed=renewed, cause=self.main_cause(accounts),
        )  # fmt: skip

    def drop_add_on(self, accounts: Ints, add_on: int, effective: Ints) -> None:
        """End an add-on of accounts that lose the core product."""
        book = self.subscriptions
        separate = book.has_add_on[accounts, add_on] & book.has_separate_term[accounts, add_on]
        book.has_add_on[accounts, add_on] = False
        gone, stop = (
            accounts[separate],
            np.maximum(effective[separate], book.add_on_start[accounts[separate], add_on] + 15),
        )
        self.write_add_on_decision(gone, add_on, np.zeros(len(gone)), np.zeros(len(gone), dtype=bool))
        end = book.add_on_end[gone, add_on]
        cut = end > stop
        self.cancel_contracts(gone[cut], add_on + 1, end[cut], stop[cut])

    # --- expansion ---------------------------------------------------------------------------------

    def draw_buyers(self, log_odds: Floats) -> tuple[Ints, Ints]:
        """Draw the accounts that buy more this month, and the day; accounts about to leave buy nothing."""
        book, rng = self.subscriptions, self.rng
        day = rng.integers(self.first, self.last, len(book.end))
        able = book.running & (book.start <= day) & (book.end - day > MIN_REMAINING_DAYS)
        accounts = np.flatnonzero(able & (rng.random(len(day)) < sigmoid(log_odds)))
        return accounts, day[accounts]

    def upsell(self) -> None:
        """Sell more seats, or the next plan, for the rest of the term: an extra contract row with the same end."""
        book, rng = self.subscriptions, self.rng
        accounts, day = self.draw_buyers(UPSELL_LOG_ODDS + self.now @ UPSELL_WEIGHTS)
        plan = (rng.random(len(accounts)) < 0.25) & (book.plan[accounts] < len(SEAT_PRICES) - 1)
        seats = np.maximum(1, np.round(book.seats[accounts] * rng.uniform(0.10, 0.35, len(accounts)))).astype(np.int64)
        before = book.arr(accounts)
        self.raise_plan(accounts[plan])
        seats[plan] = 0
        book.seats[accounts] += seats
        signed = draw_working_time(rng, day - rng.integers(1, 8, len(accounts)))
        rows = np.where(plan, -1, seats)  # a change of plan sells no seat
        more = book.arr(accounts) - before
        self.write_contract(
            accounts, 0, day, book.end[accounts], more, rows, signed, self.draw_payment_times(accounts, signed)
        )
        self.add_people(accounts, seats, day)

    def sellable_add_ons(self, accounts: Ints, day: Ints) -> Flags:
        """Accounts x add-ons: flag of those that can be sold; a dropped add-on is not bought again at once."""
        return ~self.subscriptions.has_add_on[accounts] & (
            day[:, None] > self.subscriptions.add_on_end[accounts] + ADD_ON_REBUY_DAYS
        )

    def try_add_ons(self) -> None:
        """Record trials of add-ons by accounts that see value: a sign of a future cross-sell."""
        accounts, day = self.draw_buyers(TRIAL_LOG_ODDS + self.now @ CROSS_SELL_WEIGHTS)
        free = self.sellable_add_ons(accounts, day).any(axis=1)
        self.subscriptions.last_trial_day[accounts[free]] = day[free]
        self.journal.add("trials", account=accounts[free], day=day[free])

    def cross_sell(self) -> None:
        """Sell an add-on that the account does not have, for a year or until the end of the core term."""
        book, rng = self.subscriptions, self.rng
        tried = self.first - book.last_trial_day < TRIAL_DAYS
        accounts, day = self.draw_buyers(CROSS_SELL_LOG_ODDS + self.now @ CROSS_SELL_WEIGHTS + TRIAL_EFFECT * tried)
        missing = self.sellable_add_ons(accounts, day)
        add_on = (missing * rng.random(missing.shape)).argmax(axis=1)
        free = missing.any(axis=1)
        for index in range(ADD_ON_COUNT):
            self.sell_add_on(accounts[free & (add_on == index)], index, day[free & (add_on == index)])

    def sell_add_on(self, accounts: Ints, add_on: int, day: Ints) -> None:
        """Record the first contract of an add-on, with its own term or until the end of the core term."""
        book, rng = self.subscriptions, self.rng
        separate = (book.end[accounts] - day <= MAX_TIED_DAYS) | (rng.random(len(accounts)) < 0.5)
        book.has_add_on[accounts, add_on] = True
        book.has_separate_term[accounts, add_on] = separate
        book.add_on_start[accounts, add_on] = day
        book.add_on_end[accounts, add_on] = np.where(
            separate, add_months(day, np.full(len(accounts), 12)), book.end[accounts]
        )
        book.add_on_arr[accounts, add_on] = book.arr(accounts) * rng.uniform(0.15, 0.4, len(accounts))
        signed = draw_working_time(rng, day - rng.integers(1, 15, len(accounts)))
        self.write_add_on(accounts, add_on, signed, self.draw_payment_times(accounts, signed))

    # --- interventions and shocks ------------------------------------------------------------------

    def intervene(self) -> Floats:
        """Start interventions at accounts that look at risk; returns the effect on each account's lift next month."""
        book, rng = self.subscriptions, self.rng
        day = rng.integers(self.first, self.last, len(book.end))
        perceived_risk = self.now @ PERCEIVED_RISK_WEIGHTS + PERCEIVED_RISK_NOISE * rng.standard_normal(len(day))
        chosen = rng.random(len(day)) < sigmoid(INTERVENTION_LOG_ODDS + INTERVENTION_SLOPE * perceived_risk)
        chosen &= (
            book.running & (day - book.spell_start > 30) & (day - book.last_intervention_day >= INTERVENTION_GAP_DAYS)
        )
        accounts = np.flatnonzero(chosen)
        book.last_intervention_day[accounts] = day[accounts]
        new = (day[accounts] - book.spell_start[accounts] < 120) & ~self.traits.first_value[accounts]
        worst = (self.now[accounts] * PERCEIVED_RISK_WEIGHTS)[:, [VALUE, ADOPTION, PAIN]].argmax(axis=1)
        self.journal.add(
            "interventions",
            account=accounts,
            day=day[accounts],
            playbook=np.where(new, 3, worst),
            perceived_risk=perceived_risk[accounts],
        )
        return np.where(chosen, hidden.INTERVENTION_EFFECT, 0.0)

    def write_shocks(self, shocks: Shocks) -> None:
        """Record the shocks of running accounts, on random days of the month."""
        for name in ("sponsor_left", "goal_reached"):
            accounts = np.flatnonzero(getattr(shocks, name) & self.subscriptions.running)
            self.journal.add(name, account=accounts, day=self.rng.integers(self.first, self.last, len(accounts)))
