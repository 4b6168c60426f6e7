"""Final months of recurring revenue as of many later days, with late, back-dated and corrected papers planted.

Two companies are settled: the example company as it is, and a variant in which 5 % of the contracts become known late,
are signed late or are found to have been cancelled, two accounts turn out to be one, contracts are amended, and
exchange rates move. Each is settled as of every day on which one of its months becomes final, by what was known then.

1. A final month must show the same rows on every later day (baseline: ARR by the dates of the contracts known on the
   day, which is what a table says that nobody closes).
2. What a planted paper must have booked, and `fx`, are computed from the rows alone (`late_papers.py`), by the page
   `docs/contracts.md` and without `features/revenue`. What was found must be the same to the cent. Papers that
   change what follows what, in ways for which there is no short formula, are counted apart.
3. Opening and movements must add up to the closing, and a month must open with what the month before closed with.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import ibis
import pyarrow.parquet as pq
from late_papers import (
    Company,
    Key,
    PlainReading,
    RateBook,
    Row,
    apart,
    closing_day,
    contracts_by_account,
    day_before,
    expect,
    expect_of_merger,
    last_day,
    make_variant,
    next_month,
    read_company,
)

from renewals.examples.company import simulate_company, write_company
from renewals.features.policy import Policy
from renewals.pipelines.stages.prepare.ledger import open_ledger

GAINS = ("new", "expansion", "reactivation", "contracted", "paused", "fx", "correction")
LOSSES = ("contraction", "churn")
ENOUGH_DAYS = 12
"""Later days on which a final month should be looked at, at least."""


# --- settlement -----------------------------------------------------------------------------------


@dataclass
class Ledgers:
    """The ledgers of a company as of the days on which its months became final, and what changed in final months."""

    days: int = 0
    """Number of days as of which the company was settled."""
    days_seen: Counter[date] = field(default_factory=Counter)
    """Number of days on which each final month was looked at, the day on which it became final included."""
    changed: list[Any] = field(default_factory=list)
    """Day and account of each row of a final month that differs on a later day."""
    final: dict[date, dict[Any, Row]] = field(default_factory=dict)
    """Rows of each final month by account, as of the last day."""
    unexplained: int = 0
    """Cents, in all months, open ones included."""


def settle(company: Company) -> Ledgers:
    """Settle the company as of the first day on which each month is final, and as of the day of the extract."""
    tables = {name: ibis.memtable(company.tables[name]) for name in ("accounts", "contracts", "rates")}
    month, days = min(c.start for c in company.contracts).replace(day=1), []
    while (final := closing_day(month) + timedelta(days=1)) <= company.until:
        days.append(final)
        month = next_month(month)
    first: dict[date, dict[Any, Row]] = {}
    ledgers = Ledgers()
    for day in sorted({*days, company.until}):
        months: dict[date, dict[Any, Row]] = defaultdict(dict)
        for row in open_ledger(tables, day, Policy()).account_months.to_pyarrow().to_pylist():
            months[row["month"]][row["account_id"]] = row
        ledgers.final = {month: rows for month, rows in months.items() if closing_day(month) < day}
        ledgers.days += 1
        for month, rows in ledgers.final.items():
            ledgers.days_seen[month] += 1
            before = first.setdefault(month, rows)
            ledgers.changed += [(day, a) for a in before.keys() | rows.keys() if before.get(a) != rows.get(a)]
        ledgers.unexplained += _unexplained(months)
    return ledgers


def _unexplained(months: dict[date, dict[Any, Row]]) -> int:
    """Cents by which closings differ from opening and movements, and openings from the closing of the month before."""
    cents = 0
    for month, rows in months.items():
        after = months.get(next_month(month))
        for account, row in rows.items():
            moved = sum(row[name] for name in GAINS) - sum(row[name] for name in LOSSES)
            cents += abs(row["closing"] - row["opening"] - moved)
            if after is not None:
                cents += abs(row["closing"] - (after[account]["opening"] if account in after else 0))
    return cents


def balances_by_dates(company: Company, month: date, seen: date, rates: RateBook) -> Counter[Any]:
    """Baseline: ARR by account on the last day of a month, by the dates of the contracts known until `seen`."""
    last, cents = last_day(month), Counter[Any]()
    for c in company.contracts:
        if c.known <= seen and c.start <= last < c.stop(seen):
            cents[c.account_id] += rates.cents(c.amount(last, seen), c.currency, last)
    return cents


# --- comparison -----------------------------------------------------------------------------------


def examples(items: Iterable[Any]) -> str:
    """The first two of what is wrong, or nothing."""
    first = list(islice(items, 2))
    return f", such as {first}" if first else ""


def money(cents: float) -> str:
    return f"{cents / 100:>16,.2f}"


def movements(ledgers: Ledgers, name: str) -> Iterator[tuple[Any, date, int]]:
    for month, rows in ledgers.final.items():
        for account, row in rows.items():
            size = row["expansion"] - row["contraction"]
            yield account, month, size if name == "size" else row[name]


def by_month(ledgers: Ledgers, name: str) -> dict[date, int]:
    cents: dict[date, int] = dict.fromkeys(sorted(ledgers.final), 0)
    for _account, month, amount in movements(ledgers, name):
        cents[month] += amount
    return cents


def print_months(name: str, ledgers: Ledgers) -> None:
    cents = by_month(ledgers, name)
    moved = [month for month, amount in cents.items() if amount]
    largest = max(cents, key=lambda month: abs(cents[month]))
    print(
        f"  {name:<11}{money(sum(cents.values()))} in all;{money(sum(map(abs, cents.values())))} by size of months; "
        f"{len(moved)} of {len(cents)} months; most in {largest:%Y-%m}:{money(cents[largest])}"
    )


def print_planted(company: Company, ledgers: Ledgers, rates: RateBook) -> None:
    """Print planted and found by kind of paper, then of the whole company by month."""
    found: dict[Key, int] = {
        (account, month, name): cents
        for name in ("correction", "reactivation", "churn", "size")
        for account, month, cents in movements(ledgers, name)
        if cents
    }
    groups: dict[tuple[str, str], list[dict[Key, int]]] = defaultdict(list)
    for paper in company.papers:
        if paper.effect != "apart":
            groups[paper.kind, paper.effect].append(paper.expected)
    merger = expect_of_merger(company, rates)
    for key, cents in merger.items():
        groups["merger", "out" if cents < 0 else "in"].append({key: cents})
    if groups:
        print(f"  {'paper':<15}{'books':<13}{'papers':>6}{'planted':>16}{'found':>16}{'difference in cents':>21}")
    for (kind, effect), papers in sorted(groups.items()):
        expected = {key: cents for paper in papers for key, cents in paper.items()}
        off = {key: found.get(key, 0) - cents for key, cents in expected.items()}
        booked = sum(found.get(key, 0) for key in expected)
        print(
            f"  {kind:<15}{effect:<13}{len(papers):>6}{money(sum(expected.values()))}{money(booked)}"
            f"{sum(map(abs, off.values())):>21}{examples(key for key in off if off[key])}"
        )
    aside = apart(company)
    for kind, count in sorted(Counter(paper.kind for paper in company.papers if paper.effect == "apart").items()):
        accounts = {p.contract.account_id for p in company.papers if (p.kind, p.effect) == (kind, "apart")}
        booked = sum(cents for key, cents in found.items() if key[2] == "correction" and key[0] in accounts)
        print(f"  {kind:<15}{'apart':<13}{count:>6}{'':>16}{money(booked)}  (its correction)")
    expected = {key: cents for papers in groups.values() for paper in papers for key, cents in paper.items()}
    planted, booked_by_month = Counter[date](), Counter[date]()
    for counter, amounts in ((planted, expected), (booked_by_month, found)):
        for (account, month, name), cents in amounts.items():
            if name == "correction" and account not in aside:
                counter[month] += cents
    elsewhere = [
        (key, cents)
        for key, cents in found.items()
        if key[2] == "correction" and key[0] not in aside and key not in expected
    ]
    print(
        f"  correction without the accounts apart: planted{money(planted.total())}, "
        f"found{money(booked_by_month.total())}; "
        f"months that differ: {sum(planted[month] != booked_by_month[month] for month in ledgers.final)}; "
        f"where nothing was planted: {sum(abs(cents) for _key, cents in elsewhere)} cents{examples(elsewhere)}"
    )


def print_fx(company: Company, ledgers: Ledgers, rates: RateBook) -> None:
    """Print fx as the bench reads it from rows and rates, or from balances and rates, and as the ledger found it."""
    set_aside = apart(company) | (set() if company.merger is None else set(company.merger[:2]))
    found = {(account, month): cents for account, month, cents in movements(ledgers, "fx")}
    total: Counter[str] = Counter()
    plain, single = [], []
    off_rows, off_balances = [], []
    for account, contracts in contracts_by_account(company).items():
        reading = PlainReading(contracts, rates)
        if account not in set_aside and reading.is_plain(company.until):
            plain.append(account)
            for month in ledgers.final:
                cents, booked = reading.fx(month), found.get((account, month), 0)
                total.update(planned=cents, booked=booked)
                off_rows += [(account, month, cents, booked)] if cents != booked else []
        if len({c.currency for c in contracts}) == 1 and account not in set_aside:
            single.append(account)
            for month, rows in ledgers.final.items():
                if account in rows:
                    row, currency = rows[account], contracts[0].currency
                    stays = row["opening"] + row["correction"] - row["churn"]
                    old, new = (rates.rate(currency, day) for day in (day_before(month), last_day(month)))
                    cents = stays * (new / old - 1)
                    total.update(from_balances=cents, of_balances=row["fx"])
                    off_balances += (
                        [(account, month, cents, row["fx"])] if abs(cents - row["fx"]) > len(contracts) + 1 else []
                    )
    print(
        f"  fx from rows and rates, {len(plain)} accounts: planted{money(total['planned'])}, "
        f"found{money(total['booked'])}; account-months that differ: {len(off_rows)}{examples(off_rows)}\n"
        f"  fx from balances by currency and rates, {len(single)} accounts: planted{money(total['from_balances'])}, "
        f"found{money(total['of_balances'])}; account-months that differ by more than a cent a contract: "
        f"{len(off_balances)}{examples(off_balances)}"
    )


def compare(name: str, company: Company) -> None:
    rates = RateBook(company.tables["rates"])
    begin, cpu = time.perf_counter(), time.process_time()
    ledgers = settle(company)
    used = f"{time.perf_counter() - begin:.0f} s, {time.process_time() - cpu:.0f} CPU s"
    rows = sum(map(len, ledgers.final.values()))
    print(f"{name}: {len(company.contracts)} contracts of {len(contracts_by_account(company))} accounts ({used})")
    many = sum(count > ENOUGH_DAYS for count in ledgers.days_seen.values())
    print(
        f"  {len(ledgers.final)} final months ({rows} rows), settled as of {ledgers.days} days: each month looked at "
        f"on the day on which it became final and on each such day after it ({ledgers.days_seen.total()} looks), "
        f"{many} of them on {ENOUGH_DAYS} later days or more\n"
        f"  rows of final months that differ on a later day: {len(ledgers.changed)}{examples(ledgers.changed)}"
    )
    changed = balances = 0
    for month in ledgers.final:
        first, now = (
            balances_by_dates(company, month, seen, rates)
            for seen in (closing_day(month), company.until - timedelta(days=1))
        )
        balances += len(first.keys() | now.keys())
        changed += sum(first[account] != now[account] for account in first.keys() | now.keys())
    print(f"  baseline, ARR by dates: {changed} of {balances} balances of final months differ on the last day")
    print_months("correction", ledgers)
    print_months("fx", ledgers)
    expect(company, rates)
    print_planted(company, ledgers, rates)
    print_fx(company, ledgers, rates)
    print(f"  unexplained cents: {ledgers.unexplained}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", type=Path, help="folder of the example company; default: a small one is made")
    parser.add_argument("--accounts", type=int, default=400)
    parser.add_argument("--months", type=int, default=42)
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.tables
        if folder is None:
            folder = write_company(simulate_company(args.accounts, args.months, args.seed), Path(scratch) / "company")
        tables = {name: pq.read_table(folder / f"{name}.parquet") for name in ("accounts", "contracts", "rates")}
    until = max(row.date() for row in tables["rates"]["date"].to_pylist())
    until = max(until, *(row.date() for row in tables["contracts"]["signed_at"].to_pylist())) + timedelta(days=1)
    company = read_company(tables, until)
    compare("original", company)
    compare("variant", make_variant(company, args.seed))


if __name__ == "__main__":
    main()
