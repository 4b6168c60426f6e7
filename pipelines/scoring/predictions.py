"""Predict and explain the observations of an act date, block by block: the feature table is never loaded completely."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from renewals.features.family import RENEWAL_KEY
from renewals.models.explanation import reasons
from renewals.models.ranking import worklist
from renewals.models.settings import RENEWAL
from renewals.models.training.schema import mask_infinite
from renewals.pipelines.runtime.errors import DataContractError
from renewals.pipelines.scoring.champion_models import Champion
from renewals.pipelines.storage.artifacts import PEER_GROUP
from renewals.pipelines.storage.engine import atomic
from renewals.pipelines.storage.features_file import FeatureBlocks
from renewals.reports.columns import RENEWAL_HIGH, RENEWAL_LOW
from renewals.reports.row_checks import OUT_OF_RANGE_SHARE
from renewals.reports.settings import ListOptions
from renewals.reports.words import Messages

INFINITE_FEATURE = "endless"
"""Column of the prediction table with the name of an account's first infinite feature."""
Result = TypeVar("Result")
BlockWriter = Callable[[pd.DataFrame], None]
"""Writes a block of contributions; one row per scored account: its key, its peer group, and each feature's contribution
to the margin."""


@dataclass(frozen=True)
class ColumnReader:
    """Iterate over some feature columns, one column in memory at a time."""

    features: FeatureBlocks
    names: Sequence[str]

    def items(self) -> Iterator[tuple[Hashable, pd.Series]]:
        """Pairs of name and column."""
        return ((name, self.features.column(name)) for name in self.names)


def predict_other_targets(
    observations: pd.DataFrame,
    features: FeatureBlocks,
    champions: Mapping[str, Champion],
    options: ListOptions,
    threads: int,
) -> pd.DataFrame:
    """Predict the targets other than renewal for the main row of every account with a running contract and enough
    history; one row per observation, empty in the others."""
    models = {target: champion for target, champion in champions.items() if target != RENEWAL}
    predicted = observations["is_main"] & observations["runs"]
    predicted &= worklist.has_history(observations, options.min_history_days)
    rows = predicted.to_numpy(bool)

    def process_block(_rows: slice, values: pd.DataFrame) -> pd.DataFrame:
        return _predict_block(models, values)

    blocks = features.select(rows).blocks(_required_features(models.values()))
    predictions = pd.concat(list(map_in_order(process_block, blocks, threads)))
    return predictions.set_axis(observations.index[rows]).reindex(observations.index)


def join_predictions(renewal: pd.DataFrame, others: pd.DataFrame) -> pd.DataFrame:
    """Predictions of all targets; one row per observation. An infinite feature that either found counts."""
    infinite = renewal[INFINITE_FEATURE].reindex(others.index)
    joined = renewal.reindex(others.index).join(others.drop(columns=INFINITE_FEATURE))
    return joined.assign(**{INFINITE_FEATURE: infinite.where(infinite.notna(), others[INFINITE_FEATURE])})


def predict_and_explain(
    known: pd.DataFrame,
    features: FeatureBlocks,
    catalogue: Sequence[reasons.FeatureMeta],
    champion: Champion | None,
    options: ListOptions,
    write_block: BlockWriter,
    threads: int,
) -> tuple[pd.DataFrame, pd.DataFrame, reasons.PeerStatistics, pd.DataFrame]:
    """Renewal probabilities and sentences; the peers; and key and peer group: one row per row of `known`.

    Without a model, `known` has no rows.
    """
    if champion is None:
        return _explain_nothing(known, features, options, write_block)
    names = set(features.names)
    available = [name for name in champion.model.schema.names if name in names]
    peers = reasons.peer_statistics(
        ColumnReader(features, available), known["size_band"], known["stage"], options.min_peers
    )
    with_sentences = reasons.features_with_sentences(catalogue, available)
    keyed = known[list(RENEWAL_KEY)].assign(**{PEER_GROUP: peers.typical_values.index.to_numpy()[peers.group]})

    def process_block(rows: slice, values: pd.DataFrame) -> tuple[pd.DataFrame, reasons.SelectedReasons, pd.DataFrame]:
        predictions, contributions = _predict_renewal_block(champion, values, options.confidence)
        group = peers.group[rows]
        selected = reasons.select_reasons(
            contributions,
            values,
            with_sentences,
            peers.typical_values,
            group,
            options.language,
            options.min_reason_share,
        )
        block_keys = keyed.iloc[rows].reset_index(drop=True)
        return predictions, selected, pd.concat([block_keys, contributions.astype(np.float32)], axis=1)

    prediction_blocks, reason_blocks = [], []
    for predictions, selected, contributions in map_in_order(
        process_block, features.blocks(_required_features([champion])), threads
    ):
        prediction_blocks.append(predictions)
        reason_blocks.append(selected)
        write_block(contributions)
    texts = reasons.render_reasons(
        reasons.concatenate_reasons(reason_blocks),
        features.column,
        with_sentences,
        peers,
        Messages(options.language).phrases(),
    ).set_axis(known.index)
    probabilities = pd.concat(prediction_blocks).set_axis(known.index)
    return probabilities, texts, peers, keyed


def _explain_nothing(
    known: pd.DataFrame, features: FeatureBlocks, options: ListOptions, write_block: BlockWriter
) -> tuple[pd.DataFrame, pd.DataFrame, reasons.PeerStatistics, pd.DataFrame]:
    """The result of `predict_and_explain` without a model: tables without rows, and no contributions."""
    peers = reasons.peer_statistics(ColumnReader(features, []), known["size_band"], known["stage"], options.min_peers)
    keyed = known[list(RENEWAL_KEY)].assign(**{PEER_GROUP: pd.Series(dtype=object)})
    write_block(keyed)
    numbers = dict.fromkeys((RENEWAL, RENEWAL_LOW, RENEWAL_HIGH, OUT_OF_RANGE_SHARE), pd.Series(dtype="float64"))
    texts = reasons.empty_reasons().set_axis(known.index)
    return pd.DataFrame({INFINITE_FEATURE: pd.Series(dtype=object), **numbers}), texts, peers, keyed


def _predict_renewal_block(
    champion: Champion, features: pd.DataFrame, confidence: float
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Predict a block of renewals; return the predictions and the contributions to the margin.

    Both have one row per row of `features`. The predictions contain the probability, the interval around it, the share
    of out-of-range features, and the name of the first infinite feature.
    """
    features, infinite_feature = mask_infinite(features)
    with _translate_schema_errors(RENEWAL, champion):
        probability, contributions, out_of_range = champion.model.predict_and_explain(features)
    low, high = champion.model.interval(probability, confidence)
    predictions = {
        **{INFINITE_FEATURE: infinite_feature, RENEWAL: probability, OUT_OF_RANGE_SHARE: out_of_range},
        **{RENEWAL_LOW: low, RENEWAL_HIGH: high},
    }
    return pd.DataFrame(predictions, index=features.index), contributions


def _predict_block(champions: Mapping[str, Champion], features: pd.DataFrame) -> pd.DataFrame:
    """Probabilities of a block of accounts by target, and the name of the first infinite feature: one row each."""
    features, infinite_feature = mask_infinite(features)
    predictions: dict[str, Any] = {INFINITE_FEATURE: infinite_feature}
    for target, champion in champions.items():
        with _translate_schema_errors(target, champion):
            predictions[target] = champion.model.probability(features)
    return pd.DataFrame(predictions, index=features.index)


@contextmanager
def _translate_schema_errors(target: str, champion: Champion) -> Iterator[None]:
    """Raise DataContractError, with advice, if the features do not fit the model of a target."""
    try:
        yield
    except (ValueError, KeyError) as error:
        raise DataContractError(
            f"the model of {target}, {champion}, needs other features: {error}. Provide the tables it was trained "
            f"on, or run `renewals learn` and promote the new version (`renewals promote {target} --version N`)"
        ) from error


def _required_features(champions: Iterable[Champion]) -> list[str]:
    """Names of all features that at least one champion needs."""
    return list(dict.fromkeys(name for champion in champions for name in champion.model.schema.names))


def map_in_order(work: Callable[..., Result], tasks: Iterable[tuple[Any, ...]], threads: int) -> Iterator[Result]:
    """Run `work` on each task in a thread pool and yield the results in order; few results are in memory at a time."""
    with ThreadPoolExecutor(threads) as pool:
        pending: deque[Future[Result]] = deque()
        for task in tasks:
            pending.append(pool.submit(work, *task))
            if len(pending) > threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


@contextmanager
def contributions_writer(path: Path) -> Iterator[BlockWriter]:
    """Open a file of contributions and yield a function that appends a block; the file appears complete or not at all.

    Contributions are nearly all different: dictionary encoding and stronger compression would not save space.
    """
    writer: pq.ParquetWriter | None = None

    def write_block(block: pd.DataFrame) -> None:
        nonlocal writer
        table = pa.Table.from_pandas(block, preserve_index=False)
        if writer is None:
            writer = pq.ParquetWriter(
                unfinished, table.schema, compression="snappy", use_dictionary=[*RENEWAL_KEY, PEER_GROUP]
            )
        writer.write_table(table.cast(writer.schema))

    with atomic.atomic_path(path) as unfinished:
        try:
            yield write_block
        finally:
            if writer is not None:
                writer.close()
