"""Time and memory of the ledger for many accounts with ten contracts each."""

from __future__ import annotations

import argparse
import resource
import time
from datetime import date, datetime, timedelta
from random import Random

import ibis
import pyarrow as pa

from renewals.features.policy import Policy
from renewals.features.revenue.ledger import RenewalLedger, renewals

FIRST, AS_OF = datetime(2016, 1, 1), date(2026, 6, 1)
LOST_SHARE = 0.12


def draw_contracts(accounts: int, contracts: int, seed: int) -> pa.Table:
    """Yearly contracts of each account: most are renewed on time, some late, some grow, some are lost and won back."""
    pick = Random(seed)
    rows = []
    for account in range(accounts):
        start = FIRST + timedelta(days=pick.randrange(365))
        arr, seats = 1000.0 * pick.randint(2, 60), pick.randint(5, 100)
        for number in range(contracts):
            end = start + timedelta(days=365)
            rows.append(
                {
                    "contract_id": f"c{account}-{number}", "account_id": f"a{account}", "product": "core",
                    "plan": "pro",
                    "start_date": start, "end_date": end, "arr": arr, "currency": pick.choice(["USD", "EUR"]),
                    "seats": seats, "signed_at": start - timedelta(days=pick.randrange(60)),
                    "paid_at": start + timedelta(days=pick.randrange(45)), "cancelled_at": None, "auto_renew": True,
                }
            )  # fmt: skip
            gap = pick.choice([0, 0, 0, 5, 20, -10]) if pick.random() > LOST_SHARE else 200
            start = end + timedelta(days=gap)
            growth = pick.choice([0, 0, 0, 2, 5, -2])
            arr, seats = arr * (1 + growth / max(seats, 5)), max(seats + growth, 1)
    types = {"cancelled_at": pa.timestamp("us")}
    table = pa.Table.from_pylist(rows)
    return table.cast(pa.schema([(f.name, types.get(f.name, f.type)) for f in table.schema]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=int, default=20_000)
    parser.add_argument("--contracts", type=int, default=10)
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    contracts = ibis.memtable(draw_contracts(args.accounts, args.contracts, args.seed))
    months = [datetime(year, month, 1) for year in range(2016, 2027) for month in range(1, 13)]
    rates = ibis.memtable([{"currency": "EUR", "date": day, "rate": 1.05 + day.month / 100} for day in months])
    begin, cpu = time.perf_counter(), time.process_time()
    ledger = RenewalLedger(contracts, AS_OF, Policy(), rates)
    counts = {
        "entries": ledger.entries.count().to_pyarrow().as_py(),
        "renewals": renewals(ledger.entries).count().to_pyarrow().as_py(),
        "expansions": ledger.expansions.count().to_pyarrow().as_py(),
        "account months": ledger.account_months.count().to_pyarrow().as_py(),
    }
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{args.accounts} accounts x {args.contracts} contracts: {counts}")
    print(f"{time.perf_counter() - begin:.1f} s, {time.process_time() - cpu:.1f} CPU s, {memory:.2f} GiB")


if __name__ == "__main__":
    main()
