"""Assign tiers to people in `check`: each distinct title and role is matched once, in Python, and joined (ADR 35)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import ibis
import ibis.expr.types as ir
import pyarrow as pa

from renewals.features.families.stakeholders import TEXT_TYPES, grade_people, text_rows
from renewals.features.policy import Policy
from renewals.pipelines.storage.engine import warehouse
from renewals.pipelines.validation.context import CheckContext

TABLE = "people"
BATCH_SIZE = 50_000
"""Number of texts in memory at a time."""


def add_tier(context: CheckContext, people: ir.Table) -> ir.Table:
    """Add the tier and the normalized role to people: one row per row of `people`."""
    path = context.scratch / "people.texts.parquet"
    _write_texts(people, context.job.settings, path)
    return grade_people(people, warehouse.read_parquet(context.con, path))


def _write_texts(people: ir.Table, policy: Policy, path: Path) -> None:
    import pyarrow.parquet as pq

    schema = ibis.schema(TEXT_TYPES).to_pyarrow()
    with pq.ParquetWriter(path, schema) as out:
        for texts in distinct_texts(people):
            out.write_table(pa.Table.from_pylist(text_rows(texts, policy), schema=schema))


def distinct_texts(people: ir.Table) -> Iterator[list[str]]:
    """The distinct titles and roles, in batches."""
    texts = people.select(text="title").union(people.select(text="role")).filter(ibis._.text.notnull()).distinct()
    return (batch["text"].to_pylist() for batch in texts.to_pyarrow_batches(chunk_size=BATCH_SIZE))
