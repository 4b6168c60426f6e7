"""Write the cases of `docs/contracts.md`: rows of contracts, and what the ledger, the months, the labels and a day say.

The rows are those of `tests/golden/contracts.yaml`. The rules, above the mark, are written by hand and stay.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import ibis
import ibis.expr.types as ir
import pyarrow as pa
import yaml

from renewals.features.policy import Contracts, Grace, Policy, Renewal
from renewals.features.revenue.ledger import RenewalLedger
from renewals.features.tables import TABLES

Case = dict[str, Any]
Row = dict[str, Any]

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "contracts.md"
CASES = ROOT / "tests" / "golden" / "contracts.yaml"
MARK = "<!-- From here on written by `make docs` from tests/golden/contracts.yaml; do not edit. -->\n"
HEAD = """
## Cases

Each case: the rows that come in, the ledger as of 2026-06-01 (with the label: 1 renewed, 0 lost, none while
pending or for rolling contracts), the months in which something moves, and what each contract is on two days, by what
was known before them. A row is `contract [start, end) ARR`; where nothing else is said, an account buys the product
`core` in US dollars, signed the day before the start.
"""
AS_OF = date(2026, 6, 1)
CREATED = datetime(2020, 1, 1)
MOVEMENTS = (
    *("new", "reactivation", "upsell", "cross_sell", "price", "contracted", "paused", "fx", "correction"),
    *("contraction", "churn"),
)
UNSEEN = ("trial", "pilot", "pause", "one_off")
"""Kinds of contract that are no term of their own, unless they are paid."""
NUMBERS = {"arr": pa.float64(), "rate": pa.float64(), "seats": pa.int64(), "notice_days": pa.int64()}


def main() -> None:
    """Write the page."""
    PAGE.write_text(page_text(), encoding="utf-8")


def page_text() -> str:
    """Text of the page: the rules as they stand, and the cases by kind."""
    rules = PAGE.read_text(encoding="utf-8").split(MARK)[0].rstrip("\n") + "\n\n"
    sections = [
        f"\n### {kind.capitalize()}\n" + "".join(map(case_text, cases))
        for kind, cases in groupby(load_cases(), key=lambda case: case["kind"])
    ]
    return rules + MARK + HEAD + "".join(sections)


@cache
def load_cases() -> list[Case]:
    """The cases, in the order of the page."""
    cases: list[Case] = yaml.safe_load(CASES.read_text(encoding="utf-8"))["cases"]
    return cases


# --- rows in -----------------------------------------------------------------------------------


def contract_rows(case: Case) -> list[Row]:
    """Rows of `contracts`, with what a case leaves out."""
    rows = []
    for given in case["contracts"]:
        row = {"account_id": "acme", "product": "core", "currency": "USD", "end_date": None, "seats": None}
        row |= {"paid_at": None, "cancelled_at": None, "signed_at": given["start_date"] - timedelta(days=1)}
        rows.append(row | given)
    return rows


def account_rows(case: Case) -> list[Row]:
    """Rows of `accounts`."""
    given = case.get("accounts") or [
        {"account_id": account} for account in sorted({row["account_id"] for row in contract_rows(case)})
    ]
    return [{"created_at": CREATED} | row for row in given]


def table(rows: Sequence[Row]) -> ir.Table | None:
    """Rows as a table; None where there are none."""
    if not rows:
        return None
    columns = {}
    for name in sorted({name for row in rows for name in row}):
        values = [row.get(name) for row in rows]
        if name.endswith(("_date", "_at", "_from")) or name == "date":
            columns[name] = pa.array([None if v is None else instant(v) for v in values], type=pa.timestamp("us"))
        elif name in NUMBERS:
            columns[name] = pa.array(values, type=pa.float64()).cast(NUMBERS[name])
        else:
            columns[name] = pa.array(values, type=pa.bool_() if name == "auto_renew" else pa.string())
    return ibis.memtable(pa.table(columns))


def instant(value: Any) -> datetime:
    """A day or instant of a case."""
    if isinstance(value, datetime):
        return value
    return datetime(value.year, value.month, value.day) if isinstance(value, date) else datetime.fromisoformat(value)


def case_policy(case: Case) -> Policy:
    """Settings of a case, named `section.setting`."""
    sections: dict[str, dict[str, Any]] = defaultdict(dict)
    for name, value in (case.get("settings") or {}).items():
        section, setting = name.split(".")
        sections[section][setting] = value
    kinds = {"contracts": Contracts, "renewal": Renewal, "grace": Grace}
    return Policy(**{name: kinds[name](**values) for name, values in sections.items()})


# --- ledger of a case ------------------------------------------------------------------------------


class LedgerRows(NamedTuple):
    """Rows of the tables of the ledger of a case."""

    entries: list[Row]
    months: list[Row]
    states: list[Row]
    outcomes: dict[int, int | None]
    """Label of each term."""
    pairs: list[Row]
    known: list[tuple[str, date]]
    """Day on which each contract row became known."""


def settle(case: Case) -> LedgerRows:
    """Ledger of a case as of `AS_OF`."""
    contracts = table(contract_rows(case))
    assert contracts is not None
    accounts, rates = table(account_rows(case)), table(case.get("rates") or ())
    ledger = RenewalLedger(contracts, AS_OF, case_policy(case), rates, accounts)
    tables = (ledger.entries, ledger.account_months, ledger.term_states, ledger.term_outcomes, ledger.pairs)
    entries, months, states, outcomes, pairs = (rows.to_pyarrow().to_pylist() for rows in tables)
    known_at = TABLES["contracts"].known_at(contracts)
    known = contracts.select("contract_id", known=known_at.cast("timestamp").date()).to_pyarrow().to_pylist()
    return LedgerRows(
        sorted(entries, key=lambda row: (row["due_at"], row["contract_id"], row["start_date"])),
        months,
        states,
        {row["term"]: row["renewed"] for row in outcomes},
        pairs,
        [(row["contract_id"], row["known"]) for row in known],
    )


def case_answer(case: Case) -> dict[str, Any]:
    """Answer of a case, in the form of `tests/golden/contracts_answers.yaml`: amounts in units of currency."""
    if case["name"] not in _ANSWERS:
        _ANSWERS[case["name"]] = answer_of(case, settle(case))
    return _ANSWERS[case["name"]]


_ANSWERS: dict[str, dict[str, Any]] = {}


def answer_of(case: Case, ledger: LedgerRows) -> dict[str, Any]:
    """Answer of a case from the rows of its ledger."""
    return {
        "name": case["name"],
        "ledger": [ledger_entry(row) for row in ledger.entries],
        "months": {month: month_of_accounts(ledger, month) for month in case_months(case)},
        "labels": labels(ledger),
        "status": {instant(day).date(): status_on(ledger, instant(day).date()) for day in case["as_of"]},
    }


def ledger_entry(row: Row) -> Row:
    """Ledger entry of a term, without what is not there."""
    entry = {
        "contract": row["contract_id"],
        "start": row["start_date"],
        "end": row["end_date"],
        "due": row["due_at"],
        "outcome": row["outcome"].split("_")[0],
        "rolling": row["rolling"] or None,
        "booked": row["booked_month"] and f"{row['booked_month']:%Y-%m}",
        "amount_due": units(row["amount_due"]),
        "follow_on": row["follow_on_id"],
        "rule": row["rule"],
    }
    return {name: value for name, value in entry.items() if value is not None}


def units(cents: int) -> float | int:
    """Amount in units of currency, whole where it is."""
    return cents // 100 if cents % 100 == 0 else cents / 100


def case_months(case: Case) -> list[str]:
    """The months that a case shows."""
    first, last = (int(text[:4]) * 12 + int(text[5:7]) - 1 for text in map(str, case["months"]))
    return [f"{n // 12}-{n % 12 + 1:02}" for n in range(first, last + 1)]


def month_of_accounts(ledger: LedgerRows, month: str) -> dict[str, Row]:
    """Opening, movements and closing of a month by account, as far as they are not zero."""
    rows = [row for row in ledger.months if f"{row['month']:%Y-%m}" == month]
    names = ("opening", *MOVEMENTS, "closing")
    found = {row["account_id"]: {name: units(row[name]) for name in names if row[name]} for row in rows}
    return {account: found[account] for account in sorted(found) if found[account]}


def labels(ledger: LedgerRows) -> dict[str, list[int | None]]:
    """Label of each term in the ledger, by contract; null while pending, and where a term is in no renewal."""
    found: dict[str, list[int | None]] = defaultdict(list)
    for row in ledger.entries:
        found[row["contract_id"]].append(None if row["rolling"] else row["renewed"])
    return {contract: found[contract] for contract in sorted(found)}


# --- what a contract is on a day -----------------------------------------------------------------


def status_on(ledger: LedgerRows, day: date) -> dict[str, str]:
    """What each contract known before a day is on it.

    not_started, running, signed (running, and followed), pending (ended, and its outcome not final), renewed, churned,
    amended or step (went on in another row), none (a trial, a pause, a one-off row, or what never counted).
    """
    known = sorted({contract for contract, known_on in ledger.known if known_on < day})
    return {contract: contract_status(ledger, contract, day) for contract in known}


def contract_status(ledger: LedgerRows, contract: str, day: date) -> str:
    """What a contract is on a day: that of its last term that has started, else of its first."""
    number = (day - date(1970, 1, 1)).days
    states = [
        row
        for row in ledger.states
        if row["contract_id"] == contract and row["seen_from"] <= number < row["seen_until"]
    ]
    if not states:
        return "none"
    states.sort(key=lambda row: row["start_date"])
    return term_status(ledger, ([row for row in states if row["start_date"] <= day] or states[:1])[-1], day)


def term_status(ledger: LedgerRows, state: Row, day: date) -> str:
    """What a term is on a day, by its state on it and the outcomes final by then."""
    if state["start_date"] > day:
        return "not_started"
    entry = next((row for row in ledger.entries if is_entry_of(row, state)), None)
    if entry is not None and entry["renewed"] is not None and entry["matured_at"].date() <= day:
        return "renewed" if entry["renewed"] else "churned"
    replaced = state["replaced_at"]
    if replaced is not None and not state["signed_ahead"] and replaced <= day:
        kinds = {row["kind"] for row in ledger.pairs if (row["old_id"], row["old_start"]) == term_key(state)}
        return "step" if "ramp" in kinds else "amended"
    ends = [state["end_date"], state["cancelled_at"] and state["cancelled_at"].date(), early_renewal(state)]
    if any(end is not None and end <= day for end in ends):
        return "pending"
    return "signed" if state["signed_ahead"] else "running"


def early_renewal(state: Row) -> Any:
    """Day on which a term was renewed before the time in which its renewal is looked for; None if it was not."""
    start, end, replaced = state["start_date"], state["end_date"], state["replaced_at"]
    if replaced is None or (end is not None and replaced >= end - min(timedelta(days=90), (end - start) // 2)):
        return None
    return replaced


def term_key(state: Row) -> tuple[str, date]:
    """Contract and start of a term."""
    return state["contract_id"], state["start_date"]


def is_entry_of(entry: Row, state: Row) -> bool:
    """True if an entry is that of a term: of its start, or of the last step of its ramp."""
    same = entry["contract_id"] == state["contract_id"]
    return same and (entry["start_date"] == state["start_date"] or entry["end_date"] == state["end_date"])


# --- the page ------------------------------------------------------------------------------------


def case_text(case: Case) -> str:
    """A case as a block of a few lines."""
    answer = case_answer(case)
    lines = [
        *labelled("in", [row_text(row) for row in case["contracts"]]),
        *labelled("with", list(context_texts(case))),
        *labelled("ledger", [entry_text(answer, entry) for entry in answer["ledger"]] or ["nothing is due"]),
        *labelled("months", list(month_texts(answer))),
        *labelled("status", [f"{day}: " + ", ".join(f"{c} {s}" for c, s in known.items()) or f"{day}: nothing is known"
                             for day, known in answer["status"].items()]),
    ]  # fmt: skip
    rules = ", ".join(case["rule"])
    return f"\n**{case['name']}** ({rules})\n\n```text\n" + "\n".join(lines) + "\n```\n"


def labelled(label: str, texts: Sequence[str]) -> Iterator[str]:
    """Lines of a block with a label before the first; short texts share a line."""
    line = ""
    for text in texts:
        if line and len(line) + len(text) > LINE_LENGTH:
            yield f"{label:<8}{line}"
            label, line = "", ""
        line = f"{line}; {text}" if line else text
    if line:
        yield f"{label:<8}{line}"


LINE_LENGTH = 110


def row_text(row: Row) -> str:
    """A contract row."""
    rest = {name: value for name, value in row.items() if name not in ("contract_id", "start_date", "end_date", "arr")}
    end = row.get("end_date") or "open"
    more = "".join(f" {name} {value_text(value)}" for name, value in rest.items())
    return f"{row['contract_id']} [{row['start_date']}, {end}) {row['arr']}{more}"


def value_text(value: Any) -> str:
    """A value of a row."""
    return "null" if value is None else str(value)


def context_texts(case: Case) -> Iterator[str]:
    """Settings, accounts and rates that a case gives."""
    for name, value in (case.get("settings") or {}).items():
        yield f"{name}: {value}"
    for row in case.get("accounts") or ():
        facts = "".join(f" {name} {value_text(value)}" for name, value in row.items() if name != "account_id")
        yield f"account {row['account_id']}{facts}"
    for row in case.get("rates") or ():
        yield f"{row['currency']} {row['rate']} from {row['date']}"


def entry_text(answer: dict[str, Any], entry: Row) -> str:
    """A ledger entry with its label."""
    by = f" by {entry['follow_on']} ({entry['rule']})" if "follow_on" in entry else ""
    booked = f" in {entry['booked']}" if "booked" in entry else ""
    label = "no label" if entry.get("rolling") or "booked" not in entry else int(entry["outcome"] == "renewed")
    return f"{entry['contract']} due {entry['due']} {entry['outcome']}{by}, {entry['amount_due']}{booked} -> {label}"


def month_texts(answer: dict[str, Any]) -> Iterator[str]:
    """The months in which something moves, by account."""
    count = 0
    for month, accounts in answer["months"].items():
        for account, money in accounts.items():
            moves = ", ".join(f"{name} {money[name]}" for name in MOVEMENTS if name in money)
            if moves:
                count += 1
                yield f"{month} {account} {money.get('opening', 0)} -> {money.get('closing', 0)}: {moves}"
    if not count:
        months = list(answer["months"])
        yield f"nothing moves from {months[0]} to {months[-1]}"


if __name__ == "__main__":
    main()
