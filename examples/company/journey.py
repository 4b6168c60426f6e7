"""What becomes of the accounts, month by month: terms, decisions, expansion, interventions, win-backs.

Every month the hidden states move (`states.py`), new accounts open their first term, and whoever's
decision falls into the month decides. The decision is a draw from the log-odds of the states *then*,
about two months before the end of the term; what is signed, paid or cancelled follows from it.
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
"""Chance of renewing for the same number of months as before."""

DECISION_LEAD_DAYS = (57.0, 9.0, 30, 100)
"""Days before the end at which the decision falls: mean, standard deviation, limits."""
BREAK_SHARE, BREAK_DAYS = 0.015, (110, 250)
"""A few long terms carry a break clause: they are decided this early, and a loss ends them early."""

TYPICAL, EARLY, LATE = range(3)
SIGNING_STYLE_SHARE = np.array([0.84, 0.05, 0.11])
"""How an account signs: up to 45 days before the end, 50 to 90 days before, or in the grace after it."""

FALL_THROUGH_SHARE, RESCUE_SHARE = 0.01, 0.02
"""Decided in favour but never paid; decided against but won back in the last days."""
UNPAID_SHARE = 0.12
"""Lost accounts with automatic renewal for which a follow-on is booked that nobody ever pays."""
CANCEL_SHARE = 0.07
"""Losses that do not wait for the end of the term."""
WIN_BACK_SHARE, WIN_BACK_DAYS = 0.08, (120, 365)
LATEST_PAYMENT_DAYS = 58
"""Days after the end of the old term by which a renewal is paid, so that it lies inside the grace."""

UPLIFT, UPLIFT_SHARE = 0.07, 0.7
"""The routine price rise at a renewal, and how often it is carried through."""
ADD_ON_RENEWAL_SHARE = 0.88
"""Chance that an add-on of the same end is renewed with the core product."""
ADD_ON_LOG_ODDS = 0.2
"""By how much an add-on of its own term is likelier to be renewed than the core product."""
CURRENCY_CHANGE_SHARE = 0.01

TRIAL_LOG_ODDS, TRIAL_EFFECT, TRIAL_DAYS = -5.2, 2.2, 100
"""Monthly log-odds of trying an add-on at an average account; what a trial adds to those of buying, for how long."""
UPSELL_LOG_ODDS, UPSELL_WEIGHTS = -4.75, np.array([0.50, 0.90, 0.0, -0.4, 0.0])
CROSS_SELL_LOG_ODDS, CROSS_SELL_WEIGHTS = -4.95, np.array([0.85, 0.55, -0.15, -0.4, 0.0])
"""Monthly log-odds of up-sell and cross-sell, and how the states move them (J5)."""

MIN_REMAINING_DAYS, MAX_TIED_DAYS = 45, 150
"""Days of a term that must be left for anything to be sold on top of it; for an add-on to end with it."""
ADD_ON_REBUY_DAYS = 100
"""Days after the end of an add-on before it is bought again: a new sale then, no late renewal."""

INTERVENTION_LOG_ODDS, INTERVENTION_SLOPE, PERCEIVED_RISK_NOISE = -4.9, 1.0, 0.8
PERCEIVED_RISK_WEIGHTS = np.array([-0.40, -0.55, 0.60, 0.0, 0.0])
"""Managers step in where an account *looks* at risk: a noisy view of the states, mostly of use and tickets."""
PLAYBOOKS = ("executive_review", "adoption_push", "support_cleanup", "onboarding_rescue")
INTERVENTION_GAP_DAYS = 120
"""Days before an account is treated again."""

ColumnArrays = dict[str, Any]


class Journal:
    """Rows written down as they happen, column by column."""

    def __init__(self) -> None:
        self.parts: dict[str, list[ColumnArrays]] = defaultdict(list)

    def add(self, table: str, **columns: Any) -> None:
        """Append rows (perhaps none); a single value is repeated for all of them."""
        length = len(columns["account"])
        self.parts[table].append({name: np.broadcast_to(values, length) for name, values in columns.items()})

    def read(self, table: str) -> ColumnArrays:
        """All rows of a table, in the order in which they were written."""
        parts = self.parts[table]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def look_up_values(wanted: Ints, keys: Ints, values: Ints, default: int) -> Ints:
    """The value at each wanted key, or something else where there is none."""
    if not len(keys):
        return np.full(len(wanted), default)
    order = np.argsort(keys, kind="stable")
    place = np.minimum(np.searchsorted(keys[order], wanted), len(keys) - 1)
    return np.where(keys[order][place] == wanted, values[order][place], default)


@dataclass
class Subscriptions:
    """Where each account stands now; one entry per account."""

    running: Flags
    """Whether it is a customer that has not decided to leave."""
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
    """What a seat costs a year, in the account's own currency."""
    currency: Ints
    last_intervention_day: Ints
    """Day of the last intervention."""
    last_trial_day: Ints
    """Day of the last trial of an add-on."""
    has_add_on: Flags
    """Accounts x add-ons, as are those below."""
    has_separate_term: Flags
    add_on_start: Ints
    add_on_end: Ints
    add_on_arr: Floats

    @classmethod
    def before_first_purchase(cls, customers: Customers) -> Subscriptions:
        """The empty book before anything was bought."""
        accounts = len(customers)
        far = np.full(accounts, NEVER_DAY)
        zero = np.zeros(accounts, dtype=np.int64)
        pair = (accounts, ADD_ON_COUNT)
        price = SEAT_PRICES[customers.plan] / LIST_RATES[customers.currency]
        return cls(
            running=zero > 0, spell_start=far.copy(), return_day=far.copy(), term=zero - 1,
            start=far.copy(), end=far.copy(), decision_day=far.copy(), style=zero.copy(), months=zero.copy(),
            renewals=zero.copy(), auto_renew=zero > 0, plan=customers.plan.copy(), seats=customers.seats.copy(),
            price=price, currency=customers.currency.copy(),
            last_intervention_day=zero - INTERVENTION_GAP_DAYS, last_trial_day=zero - TRIAL_DAYS,
            has_add_on=np.zeros(pair, dtype=bool), has_separate_term=np.zeros(pair, dtype=bool),
            add_on_start=np.zeros(pair, np.int64), add_on_end=np.zeros(pair, np.int64), add_on_arr=np.zeros(pair),
        )  # fmt: skip

    def arr(self, who: Ints) -> Floats:
        """What the core product costs each account a year."""
        return np.round(self.price[who] * self.seats[who], 2)


@dataclass
class LifecycleSimulation:
    """The whole simulation of terms; `run` fills the journal and the history of the states."""

    rng: np.random.Generator
    customers: Customers
    traits: AccountTraits
    month_starts: Ints
    """Day numbers of the simulated months, with one more for the end of the last."""
    journal: Journal = field(default_factory=Journal)
    history: Floats = field(init=False)
    """Months x accounts x states."""

    def __post_init__(self) -> None:
        self.subscriptions = Subscriptions.before_first_purchase(self.customers)
        self.history = np.zeros((len(self.month_starts) - 1, *self.traits.anchor.shape))

    def run(self) -> None:
        """Live through all months."""
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
        """Whether a day falls into the month that is being lived through."""
        return (day >= self.first) & (day < self.last)

    def open_spells(self) -> None:
        """Accounts that buy for the first time, or come back after a loss, open a term."""
        book = self.subscriptions
        new = self.is_this_month(self.customers.purchase_day)
        back = self.is_this_month(book.return_day)
        self.now[new, SPONSOR] = self.now[new, LIFT] = 0.0
        self.now[back, VALUE] = np.maximum(self.now[back, VALUE], 0.5)
        book.renewals[back] = len(hidden.FIRST_VALUE_WEIGHT) - 1  # who comes back needs no onboarding
        book.seats[back] = np.maximum(3, np.round(0.8 * book.seats[back])).astype(np.int64)
        who = np.flatnonzero(new | back)
        start = np.where(new, self.customers.purchase_day, book.return_day)[who]
        book.spell_start[who] = start
        book.return_day[who] = NEVER_DAY
        book.months[who] = self.rng.choice(TERM_MONTHS, len(who), p=TERM_SHARE)
        signed = draw_working_time(self.rng, start - self.rng.integers(3, 30, len(who)))
        self.open_term(who, start, signed, self.draw_payment_times(who, signed))
        book.running[who] = True

    def draw_payment_times(self, who: Ints, signed: Ints) -> Ints:
        """When a signed contract is paid; badly fitting customers pay a little later."""
        days = self.rng.lognormal(np.log(16) - 0.2 * self.customers.fit[who], 0.5)
        return signed + (np.minimum(days, 120) * DAY).astype(np.int64)

    def open_term(self, who: Ints, start: Ints, signed: Ints, paid: Ints) -> None:
        """Write the core contract of a new term and draw when and how it will be decided."""
        book, rng = self.subscriptions, self.rng
        book.term[who] += 1
        book.start[who] = start
        book.end[who] = add_months(start, book.months[who])
        book.auto_renew[who] = rng.random(len(who)) < 0.6
        book.style[who] = rng.choice(3, len(who), p=SIGNING_STYLE_SHARE)
        book.decision_day[who] = book.end[who] - self.decision_lead(who)
        self.write_contract(who, 0, start, book.end[who], book.arr(who), book.seats[who], signed, paid)
        self.journal.add(
            "terms", account=who, term=book.term[who], start=start, end=book.end[who], signed=signed,
            decide=book.decision_day[who], renewals=book.renewals[who], auto=book.auto_renew[who],
        )  # fmt: skip

    def decision_lead(self, who: Ints) -> Ints:
        """Days between the decision and the end of the term."""
        rng, style = self.rng, self.subscriptions.style[who]
        mean, deviation, least, most = DECISION_LEAD_DAYS
        lead = np.clip(rng.normal(mean, deviation, len(who)), least, most)
        lead = np.where(style == EARLY, 55 + 38 * rng.random(len(who)) ** 2, lead)
        breaks = (rng.random(len(who)) < BREAK_SHARE) & (self.subscriptions.months[who] >= 12)
        return np.where(breaks, rng.uniform(*BREAK_DAYS, len(who)), lead).astype(np.int64)

    def write_contract(
        self, who: Ints, product: Any, start: Ints, end: Ints, arr: Floats, seats: Ints, signed: Ints, paid: Ints
    ) -> None:
        """Write one contract row per account of `who`; seats of -1 are none."""
        book = self.subscriptions
        self.journal.add(
            "contracts", account=who, product=product, plan=book.plan[who], start=start, end=end, arr=np.round(arr, 2),
            currency=book.currency[who], seats=seats, signed=signed, paid=paid, auto=book.auto_renew[who],
        )  # fmt: skip

    def cancel_contracts(self, who: Ints, product: Any, end: Ints, day: Ints) -> None:
        """Cancel on `day` the contracts of a product that would run until `end`."""
        self.journal.add("cancellations", account=who, product=product, end=end, cancelled=day * DAY)

    # --- decisions ---------------------------------------------------------------------------------

    def renewal_log_odds(self, who: Ints) -> Floats:
        """Log-odds of renewing, were it decided now."""
        book, temper = self.subscriptions, self.traits
        lasting = hidden.fixed_log_odds(
            self.customers.fit[who], temper.first_value[who], book.renewals[who], book.auto_renew[who]
        )
        return np.asarray(lasting + self.now[who] @ hidden.WEIGHTS)

    def main_cause(self, who: Ints) -> Ints:
        """Index in `CAUSES` of the state that pushes most towards loss."""
        first_value, renewals = self.traits.first_value[who], self.subscriptions.renewals[who]
        return np.asarray(
            hidden.cause_contributions(self.now[who], self.customers.fit[who], first_value, renewals).argmin(axis=1)
        )

    def decide_core_terms(self) -> None:
        """Accounts whose decision falls into this month renew or are lost."""
        book, rng = self.subscriptions, self.rng
        who = np.flatnonzero(book.running & self.is_this_month(book.decision_day))
        probability = sigmoid(self.renewal_log_odds(who))
        wants, slip = rng.random(len(who)) < probability, rng.random(len(who))
        renewed = np.where(wants, slip >= FALL_THROUGH_SHARE, slip < RESCUE_SHARE)
        booked = book.auto_renew[who] & (rng.random(len(who)) < UNPAID_SHARE)
        unpaid = ~renewed & (wants | booked)
        book.style[who[renewed & ~wants]] = LATE
        cause, decided, term = self.main_cause(who), book.decision_day[who], book.term[who]
        end, effective = book.end[who], self.effective_ends(who, renewed, unpaid)
        self.journal.add(
            "decisions", account=who, product=0, term=term, end=end, effective=effective, decided=decided,
            probability=(1 - FALL_THROUGH_SHARE) * probability + RESCUE_SHARE * (1 - probability),
            wants=wants, renewed=renewed, cause=cause,
        )  # fmt: skip
        self.renew_terms(who[renewed], effective[renewed])
        self.book_unpaid(who[unpaid])
        self.lose_accounts(who[~renewed & ~unpaid], effective[~renewed & ~unpaid])

    def effective_ends(self, who: Ints, renewed: Flags, unpaid: Flags) -> Ints:
        """When the term really ends: a few losers cancel, and a few early renewals replace it."""
        book, rng = self.subscriptions, self.rng
        end, decided = book.end[who], book.decision_day[who]
        lead = end - decided
        breaks = lead > DECISION_LEAD_DAYS[3]
        hurry = (rng.random(len(who)) < CANCEL_SHARE) & (lead > 20)
        soon = decided + np.where(breaks, rng.integers(10, 40, len(who)), rng.integers(5, np.maximum(lead - 5, 6)))
        cancelled = ~renewed & ~unpaid & (breaks | hurry)
        replaced = renewed & (book.style[who] == EARLY) & ~breaks & (rng.random(len(who)) < 0.2)
        swap = end - rng.integers(5, 40, len(who))
        effective = np.where(cancelled, soon, np.where(replaced, swap, end))
        short = effective < end
        self.cancel_contracts(who[short], 0, end[short], effective[short])
        for add_on in range(ADD_ON_COUNT):
            tied = short & book.has_add_on[who, add_on] & ~book.has_separate_term[who, add_on]
            self.cancel_contracts(who[tied], add_on + 1, end[tied], effective[tied])
        return effective

    def renew_terms(self, who: Ints, start: Ints) -> None:
        """Open the follow-on term, at a new price and size, and renew the add-ons that end with it."""
        book, rng = self.subscriptions, self.rng
        end = book.end[who]
        signed_day = self.signing_days(who, start)
        gap = (signed_day > end) & (rng.random(len(who)) < 0.4)
        start = np.where(gap, signed_day, start)
        signed = draw_working_time(rng, signed_day)
        paid = np.minimum(self.draw_payment_times(who, signed), (end + LATEST_PAYMENT_DAYS) * DAY)
        book.renewals[who] += 1
        self.change_terms(who)
        self.open_term(who, start, signed, np.maximum(paid, signed + DAY))
        for add_on in range(ADD_ON_COUNT):
            self.renew_tied_add_on(who, add_on, start, signed, np.maximum(paid, signed + DAY))

    def signing_days(self, who: Ints, start: Ints) -> Ints:
        """The day the follow-on is signed, by the account's habit and never before the decision."""
        book, rng = self.subscriptions, self.rng
        end, decided, size = book.end[who], book.decision_day[who], len(who)
        typical = np.maximum(end - rng.integers(0, 46, size), decided + 1)
        early = np.minimum(np.maximum(decided + rng.integers(2, 8, size), end - 90), start)
        late = end + rng.integers(1, 51, size)
        return np.choose(book.style[who], [typical, early, late])

    def change_terms(self, who: Ints) -> None:
        """What changes at a renewal: length, price, seats, plan, and for very few the currency."""
        book, rng, size = self.subscriptions, self.rng, len(who)
        redrawn = rng.choice(TERM_MONTHS, size, p=TERM_SHARE)
        book.months[who] = np.where(rng.random(size) < SAME_TERM_SHARE, book.months[who], redrawn)
        book.price[who] *= np.where(rng.random(size) < UPLIFT_SHARE, 1 + UPLIFT, rng.uniform(1.0, 1.03, size))
        adoption, value = self.now[who, ADOPTION], self.now[who, VALUE]
        fewer = rng.random(size) < sigmoid(-2.7 - 0.8 * adoption)
        more = ~fewer & (rng.random(size) < sigmoid(-2.3 + 0.7 * adoption + 0.4 * value))
        factor = np.where(fewer, rng.uniform(0.7, 0.92, size), np.where(more, rng.uniform(1.1, 1.4, size), 1.0))
        seats = np.maximum(3, np.round(book.seats[who] * factor)).astype(np.int64)
        self.add_people(who, seats - book.seats[who], book.end[who])
        book.seats[who] = seats
        self.raise_plan(who[(rng.random(size) < 0.03) & (book.plan[who] < len(SEAT_PRICES) - 1)])
        moved = who[rng.random(size) < CURRENCY_CHANGE_SHARE]
        book.price[moved] *= LIST_RATES[book.currency[moved]]
        book.add_on_arr[moved] *= LIST_RATES[book.currency[moved]][:, None]
        book.currency[moved] = 0

    def raise_plan(self, who: Ints) -> None:
        """Move accounts to the next higher plan."""
        book = self.subscriptions
        book.price[who] *= SEAT_PRICES[book.plan[who] + 1] / SEAT_PRICES[book.plan[who]]
        book.plan[who] += 1

    def add_people(self, who: Ints, seats: Ints, day: Ints) -> None:
        """Write down seats bought later: somebody will sit on them."""
        more = seats > 0
        self.journal.add("seats", account=who[more], seats=seats[more], day=day[more])

    def book_unpaid(self, who: Ints) -> None:
        """A follow-on is booked, is never paid, and is cancelled some months later: not a renewal (R1)."""
        book, rng = self.subscriptions, self.rng
        start, size = book.end[who], len(who)
        book.months[who] = 12
        book.renewals[who] += 1
        signed = draw_working_time(rng, np.maximum(start - rng.integers(0, 30, size), book.decision_day[who] + 1))
        cause = self.main_cause(who)
        self.open_term(who, start, signed, np.full(size, NEVER))
        stop = start + rng.integers(70, 111, size)
        self.cancel_contracts(who, 0, book.end[who], stop)
        self.journal.add(
            "decisions", account=who, product=0, term=book.term[who], end=book.end[who], effective=stop,
            decided=start, probability=0.0, wants=False, renewed=False, cause=cause,
        )  # fmt: skip
        book.decision_day[who] = start - 30  # use falls away from about the end of the term that was paid
        self.lose_accounts(who, stop)

    def lose_accounts(self, who: Ints, effective: Ints) -> None:
        """The account leaves at the end of its term and takes its add-ons with it; a few come back."""
        book, rng = self.subscriptions, self.rng
        book.running[who] = False
        self.journal.add("spells", account=who, start=book.spell_start[who], end=effective, lost=book.decision_day[who])
        for add_on in range(ADD_ON_COUNT):
            self.drop_add_on(who, add_on, effective)
        back = rng.random(len(who)) < WIN_BACK_SHARE
        book.return_day[who[back]] = effective[back] + rng.integers(*WIN_BACK_DAYS, int(back.sum()))

    def close_spells(self) -> None:
        """At the end of the simulation the others are still customers."""
        who = np.flatnonzero(self.subscriptions.running)
        start = self.subscriptions.spell_start[who]
        self.journal.add("spells", account=who, start=start, end=NEVER_DAY, lost=NEVER_DAY)

    # --- add-ons -----------------------------------------------------------------------------------

    def renew_tied_add_on(self, who: Ints, add_on: int, start: Ints, signed: Ints, paid: Ints) -> None:
        """Add-ons that end with the core product are mostly renewed with it."""
        book, rng = self.subscriptions, self.rng
        tied = book.has_add_on[who, add_on] & ~book.has_separate_term[who, add_on]
        kept = tied & (rng.random(len(who)) < ADD_ON_RENEWAL_SHARE)
        book.has_add_on[who[tied & ~kept], add_on] = False
        book.add_on_start[who[kept], add_on] = start[kept]
        book.add_on_end[who[kept], add_on] = book.end[who[kept]]
        self.write_add_on(who[kept], add_on, signed[kept], paid[kept])

    def write_add_on(self, who: Ints, add_on: int, signed: Ints, paid: Ints) -> None:
        """Write the contract of an add-on as the book has it; it never costs more than the core product."""
        book = self.subscriptions
        arr = np.minimum(book.add_on_arr[who, add_on], 0.6 * book.arr(who))
        start, end = book.add_on_start[who, add_on], book.add_on_end[who, add_on]
        self.write_contract(who, add_on + 1, start, end, arr, book.seats[who], signed, paid)

    def decide_add_on(self, add_on: int) -> None:
        """Add-ons with a term of their own are decided about two months before its end."""
        book, rng = self.subscriptions, self.rng
        due = self.is_this_month(book.add_on_end[:, add_on] - int(DECISION_LEAD_DAYS[0]))
        who = np.flatnonzero(book.running & book.has_add_on[:, add_on] & book.has_separate_term[:, add_on] & due)
        probability = sigmoid(self.renewal_log_odds(who) + ADD_ON_LOG_ODDS)
        renewed = rng.random(len(who)) < probability
        self.write_add_on_decision(who, add_on, probability, renewed)
        book.has_add_on[who[~renewed], add_on] = False
        kept = who[renewed]
        start = book.add_on_end[kept, add_on]
        book.add_on_start[kept, add_on] = start
        book.add_on_end[kept, add_on] = add_months(start, np.full(len(kept), 12))
        signed = draw_working_time(rng, start - rng.integers(0, 40, len(kept)))
        paid = np.minimum(self.draw_payment_times(kept, signed), (start + LATEST_PAYMENT_DAYS) * DAY)
        self.write_add_on(kept, add_on, signed, paid)

    def write_add_on_decision(self, who: Ints, add_on: int, probability: Floats, renewed: Flags) -> None:
        """Write down the fate of add-ons with a term of their own."""
        end = self.subscriptions.add_on_end[who, add_on]
        self.journal.add(
            "decisions", account=who, product=add_on + 1, term=-1, end=end, effective=end,
            decided=end - int(DECISION_LEAD_DAYS[0]), probability=probability, wants=renewed,
            renewed=renewed, cause=self.main_cause(who),
        )  # fmt: skip

    def drop_add_on(self, who: Ints, add_on: int, effective: Ints) -> None:
        """Without the core product an add-on cannot run on."""
        book = self.subscriptions
        own = book.has_add_on[who, add_on] & book.has_separate_term[who, add_on]
        book.has_add_on[who, add_on] = False
        gone, stop = who[own], np.maximum(effective[own], book.add_on_start[who[own], add_on] + 15)
        self.write_add_on_decision(gone, add_on, np.zeros(len(gone)), np.zeros(len(gone), dtype=bool))
        end = book.add_on_end[gone, add_on]
        cut = end > stop
        self.cancel_contracts(gone[cut], add_on + 1, end[cut], stop[cut])

    # --- expansion ---------------------------------------------------------------------------------

    def draw_buyers(self, log_odds: Floats) -> tuple[Ints, Ints]:
        """Accounts that want more this month, and on which day; those about to leave want nothing."""
        book, rng = self.subscriptions, self.rng
        day = rng.integers(self.first, self.last, len(book.end))
        able = book.running & (book.start <= day) & (book.end - day > MIN_REMAINING_DAYS)
        who = np.flatnonzero(able & (rng.random(len(day)) < sigmoid(log_odds)))
        return who, day[who]

    def upsell(self) -> None:
        """More seats, or the next plan, for the rest of the term: an extra row of the same end."""
        book, rng = self.subscriptions, self.rng
        who, day = self.draw_buyers(UPSELL_LOG_ODDS + self.now @ UPSELL_WEIGHTS)
        plan = (rng.random(len(who)) < 0.25) & (book.plan[who] < len(SEAT_PRICES) - 1)
        seats = np.maximum(1, np.round(book.seats[who] * rng.uniform(0.10, 0.35, len(who)))).astype(np.int64)
        before = book.arr(who)
        self.raise_plan(who[plan])
        seats[plan] = 0
        book.seats[who] += seats
        signed = draw_working_time(rng, day - rng.integers(1, 8, len(who)))
        rows = np.where(plan, -1, seats)  # a change of plan sells no seat
        more = book.arr(who) - before
        self.write_contract(who, 0, day, book.end[who], more, rows, signed, self.draw_payment_times(who, signed))
        self.add_people(who, seats, day)

    def sellable_add_ons(self, who: Ints, day: Ints) -> Flags:
        """Accounts x add-ons: what could be sold; an add-on that was given up is not bought back at once."""
        return ~self.subscriptions.has_add_on[who] & (
            day[:, None] > self.subscriptions.add_on_end[who] + ADD_ON_REBUY_DAYS
        )

    def try_add_ons(self) -> None:
        """Accounts that see value in what they have try another product: a sign of a cross-sale to come."""
        who, day = self.draw_buyers(TRIAL_LOG_ODDS + self.now @ CROSS_SELL_WEIGHTS)
        free = self.sellable_add_ons(who, day).any(axis=1)
        self.subscriptions.last_trial_day[who[free]] = day[free]
        self.journal.add("trials", account=who[free], day=day[free])

    def cross_sell(self) -> None:
        """A product the account did not have, for a year or until the core product's end."""
        book, rng = self.subscriptions, self.rng
        tried = self.first - book.last_trial_day < TRIAL_DAYS
        who, day = self.draw_buyers(CROSS_SELL_LOG_ODDS + self.now @ CROSS_SELL_WEIGHTS + TRIAL_EFFECT * tried)
        missing = self.sellable_add_ons(who, day)
        add_on = (missing * rng.random(missing.shape)).argmax(axis=1)
        free = missing.any(axis=1)
        for index in range(ADD_ON_COUNT):
            self.sell_add_on(who[free & (add_on == index)], index, day[free & (add_on == index)])

    def sell_add_on(self, who: Ints, add_on: int, day: Ints) -> None:
        """Write the first contract of an add-on, with a term of its own or until the core product's end."""
        book, rng = self.subscriptions, self.rng
        own = (book.end[who] - day <= MAX_TIED_DAYS) | (rng.random(len(who)) < 0.5)
        book.has_add_on[who, add_on] = True
        book.has_separate_term[who, add_on] = own
        book.add_on_start[who, add_on] = day
        book.add_on_end[who, add_on] = np.where(own, add_months(day, np.full(len(who), 12)), book.end[who])
        book.add_on_arr[who, add_on] = book.arr(who) * rng.uniform(0.15, 0.4, len(who))
        signed = draw_working_time(rng, day - rng.integers(1, 15, len(who)))
        self.write_add_on(who, add_on, signed, self.draw_payment_times(who, signed))

    # --- interventions and shocks ------------------------------------------------------------------

    def intervene(self) -> Floats:
        """Treat accounts that look at risk; returns what that adds to each account's lift next month."""
        book, rng = self.subscriptions, self.rng
        day = rng.integers(self.first, self.last, len(book.end))
        look = self.now @ PERCEIVED_RISK_WEIGHTS + PERCEIVED_RISK_NOISE * rng.standard_normal(len(day))
        chosen = rng.random(len(day)) < sigmoid(INTERVENTION_LOG_ODDS + INTERVENTION_SLOPE * look)
        chosen &= (
            book.running & (day - book.spell_start > 30) & (day - book.last_intervention_day >= INTERVENTION_GAP_DAYS)
        )
        who = np.flatnonzero(chosen)
        book.last_intervention_day[who] = day[who]
        new = (day[who] - book.spell_start[who] < 120) & ~self.traits.first_value[who]
        worst = (self.now[who] * PERCEIVED_RISK_WEIGHTS)[:, [VALUE, ADOPTION, PAIN]].argmax(axis=1)
        self.journal.add("interventions", account=who, day=day[who], playbook=np.where(new, 3, worst), look=look[who])
        return np.where(chosen, hidden.INTERVENTION_EFFECT, 0.0)

    def write_shocks(self, shocks: Shocks) -> None:
        """Write down what struck running accounts, on a day of the month."""
        for name in ("sponsor_left", "goal_reached"):
            who = np.flatnonzero(getattr(shocks, name) & self.subscriptions.running)
            self.journal.add(name, account=who, day=self.rng.integers(self.first, self.last, len(who)))
