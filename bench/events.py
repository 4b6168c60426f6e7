"""Generate a company of any size inside the database engine, as the input of `bench/features.py`.

One account per ten thousand events; twenty people per account, each with their days of use, ten events per day
of use, sixty product features, one event in fifty up to six weeks late. The order is that of a log: by day. Every
value is a hash of its keys, so two runs give the same company.
"""

from __future__ import annotations

import itertools
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

FEATURES = (
    *(
        "report.view",
        "task.assign",
        "dashboard.view",
        "search.run",
        "analysis.run",
        "login",
        "export.csv",
        "segment.build",
    ),
    *("alert.configure", "api.sync"),
    *(f"workflow.step_{k}" for k in range(20)),
    *(f"module_{k % 6}.tool_{k}" for k in range(30)),
)
"""The most frequent first."""
PEOPLE = 20
PER_DAY = 10
"""Mean events of a person on a day of use."""
ACCOUNT_EVENTS = 10_000
FIRST = date(2024, 1, 1)
DAYS = 517
"""Until 2025-06-01, the last observation date: 17 months."""
LAST = FIRST + timedelta(days=DAYS)
LATEST = 42
"""Maximum delay of a late event, in days."""


def accounts_of(events: int) -> int:
    """Number of accounts of a company with so many events."""
    return max(20, events // ACCOUNT_EVENTS)


def make(con: Any, events: int, clean: Path) -> int:
    """Write the clean tables of a company with about so many events; returns the exact number."""
    accounts = accounts_of(events)
    clean.mkdir(parents=True, exist_ok=True)
    use_rate = events / (accounts * PEOPLE * DAYS * PER_DAY)
    con.raw_sql(f"""
        CREATE OR REPLACE MACRO chance(a, b, c) AS (hash(a, b, c) % 1000003) / 1000003.0;
        CREATE OR REPLACE TABLE people_of AS
        SELECT a::BIGINT AS account_id, (a * 1000 + u)::BIGINT AS user_id, u, 2 * chance(a, u, 1) * {use_rate} AS daily,
               CASE WHEN u < 2 THEN 'S' WHEN u < 6 THEN 'A' WHEN u < 12 THEN 'B' END AS tier
        FROM range({accounts}) AS t(a), range({PEOPLE}) AS s(u)""")
    count, writer = 0, None
    for first, after in itertools.pairwise([*_months(FIRST, LAST), LAST]):
        for batch in con.con.execute(_arrived_sql(first, after)).fetch_record_batch(1_000_000):
            writer = writer or pq.ParquetWriter(clean / "usage_events.parquet", batch.schema, compression="zstd")
            writer.write_batch(batch, row_group_size=122_880)
            count += batch.num_rows
    writer.close()
    _small_tables(con, accounts, clean)
    return count


def _months(first: date, last: date) -> list[date]:
    return [
        date(m // 12, m % 12 + 1, 1) for m in range(first.year * 12 + first.month - 1, last.year * 12 + last.month - 1)
    ]


def _arrived_sql(first: date, after: date) -> str:
    """SQL of the events that arrived in a month: those of the month on time, and the late ones of six weeks before."""
    start, end = (first - FIRST).days, (after - FIRST).days
    on_time = _days_sql(start, end, "chance(user_id, d, 1000 + n) >= 0.02", "INTERVAL 5 MINUTE")
    late = _days_sql(
        max(0, start - LATEST),
        end,
        "chance(user_id, d, 1000 + n) < 0.02",
        f"to_days((hash(user_id, n) % {LATEST})::INT)",
    )
    month = first.year * 12 + first.month - 1
    return f"""SELECT account_id, user_id, feature, occurred_at, duration_s, NULL::DOUBLE AS quantity,
               recorded_at, {month}::INT AS arrival_month
        FROM ({on_time} UNION ALL {late}) WHERE recorded_at >= DATE '{first}' AND recorded_at < DATE '{after}'"""


def _days_sql(start: int, end: int, condition: str, delay: str) -> str:
    return f"""
        SELECT account_id, user_id, {list(FEATURES)}[1 + (chance(user_id, d, n) * chance(n, user_id, d) * {len(FEATURES)})::INT
               % {len(FEATURES)}] AS feature, moment AS occurred_at, (hash(n, d, user_id) % 600)::DOUBLE AS duration_s,
               moment + {delay} AS recorded_at
        FROM (SELECT *, TIMESTAMP '{FIRST} 07:00:00' + to_days(d::INT) + to_seconds((hash(n, user_id, d) % 39600)::INT) AS moment
              FROM (SELECT d, account_id, user_id, unnest(range(1 + (hash(d, user_id) % {2 * PER_DAY - 1})::BIGINT)) AS n
                    FROM range({start}, {end}) AS days(d), people_of WHERE chance(d, user_id, 2) < daily)
              WHERE {condition})"""


def _small_tables(con: Any, accounts: int, clean: Path) -> None:
    def when(*numbers: Any, days: int = DAYS) -> str:
        return f"TIMESTAMP '{FIRST}' + to_hours((hash({', '.join(map(str, numbers))}) % {24 * days})::INT)"

    _copy(
        con,
        clean / "accounts.parquet",
        f"""
        SELECT a::BIGINT AS account_id, 'Account ' || a AS account_name, ['Retail', 'Banking', 'Health', 'Industry'][1 + a % 4]
               AS industry, ['North', 'South', 'East'][1 + a % 3] AS region, (10 + hash(a, 4) % 5000)::BIGINT AS employee_count,
               'direct' AS channel, NULL::BIGINT AS parent_account_id, 'csm ' || (a % 50) AS csm,
               NULL::TIMESTAMP AS created_at, NULL::TIMESTAMP AS recorded_at
        FROM range({accounts}) AS t(a)""",
    )
    _copy(
        con,
        clean / "contracts.parquet",
        f"""
        SELECT (a * 10 + k)::BIGINT AS contract_id, a::BIGINT AS account_id, 'core' AS product, 'standard' AS plan,
               start AS start_date, start + INTERVAL 1 YEAR AS end_date, (1000 + hash(a) % 100000)::DOUBLE AS arr,
               'USD' AS currency, {PEOPLE}::BIGINT AS seats, start - INTERVAL 20 DAY AS signed_at, NULL::TIMESTAMP AS paid_at,
               NULL::TIMESTAMP AS cancelled_at, false AS auto_renew
        FROM (SELECT a, k, TIMESTAMP '2023-01-01' + to_days((hash(a, 5) % 365)::INT) + k * INTERVAL 1 YEAR AS start
              FROM range({accounts}) AS t(a), range(3) AS s(k))""",
    )
    _copy(
        con,
        clean / "people.parquet",
        """
        SELECT user_id, account_id, 'title' AS title, 'role ' || (u % 5) AS role, 'dept' AS department, tier,
               tier AS effective_tier, 'role ' || (u % 5) AS role_normalized, TIMESTAMP '2023-01-01' AS valid_from, NULL::TIMESTAMP AS valid_to, TIMESTAMP '2023-01-01' AS recorded_at
        FROM people_of""",
    )
    _copy(
        con,
        clean / "tickets.parquet",
        f"""
        SELECT (a * 100 + k)::BIGINT AS ticket_id, a::BIGINT AS account_id, (a * 1000 + k % {PEOPLE})::BIGINT AS user_id,
               ['bug', 'feature_request', 'question'][1 + (hash(a, k, 2) % 3)::BIGINT] AS kind,
               ['low', 'medium', 'high'][1 + (hash(a, k, 3) % 3)::BIGINT] AS severity, opened_at,
               opened_at + to_hours((hash(a, k, 6) % 90)::INT) AS first_response_at,
               opened_at + to_hours((90 + hash(a, k, 7) % 900)::INT) AS resolved_at, NULL::TIMESTAMP AS reopened_at,
               NULL::TIMESTAMP AS escalated_at, NULL::TIMESTAMP AS due_at, opened_at AS recorded_at
        FROM (SELECT a, k, {when("a", "k", 8)} AS opened_at FROM range({accounts}) AS t(a), range(20) AS s(k))""",
    )
    _copy(
        con,
        clean / "surveys.parquet",
        f"""
        SELECT a::BIGINT AS account_id, (a * 1000 + k)::BIGINT AS user_id, 'nps' AS kind, (hash(a, k) % 11)::DOUBLE AS score,
               sent_at, sent_at + INTERVAL 2 DAY AS answered_at, NULL::TIMESTAMP AS followed_up_at, sent_at AS recorded_at
        FROM (SELECT a, k, {when("a", "k", 9)} AS sent_at FROM range({accounts}) AS t(a), range(6) AS s(k))""",
    )
    _copy(
        con,
        clean / "touchpoints.parquet",
        f"""
        SELECT a::BIGINT AS account_id, (a * 1000 + k % {PEOPLE})::BIGINT AS user_id, 'csm ' || (a % 50) AS csm,
               ['visit', 'call', 'training', 'value_report', 'review', 'email'][1 + (hash(a, k) % 6)::BIGINT] AS kind,
               ['us', 'customer'][1 + k % 2] AS initiated_by, {when("a", "k", 10)} AS occurred_at,
               {when("a", "k", 10)} AS recorded_at
        FROM range({accounts}) AS t(a), range(30) AS s(k)""",
    )


def _copy(con: Any, path: Path, query: str) -> int:
    return int(con.raw_sql(f"COPY ({query}) TO '{path}' (FORMAT parquet, COMPRESSION zstd)").fetchone()[0])
