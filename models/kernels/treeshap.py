"""Exact contributions of a LightGBM booster by table lookup: the path-dependent TreeSHAP of Lundberg (2018), tabulated.

The path of a row through a tree depends on one yes-or-no answer per split. The contributions of a leaf depend on which
features of its path are satisfied, so the contributions of all leaves under a node depend on the answers of the splits
above and below it. A *subtree* here is the largest such set of leaves with at most `MAX_BITS` splits. For each of its
2^splits combinations of answers the contributions are summed once per model, and a row looks up its combination. A tree
of depth 3 is one subtree, so a row costs seven comparisons and at most seven additions instead of a walk over all
paths.

A leaf deeper than `MAX_BITS` is a separate subtree, with one bit for each distinct feature of its path. With more
features than `MAX_BITS`, its contributions are computed for every row, with the formulas of GPUTreeShap (Mitchell 2022)
and FastTreeSHAP v2 (Yang 2021).

Answers are computed on small integers: the *code* of a value is the number of the model's thresholds below it, so
comparing codes is equivalent to comparing the doubles as LightGBM does.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import lightgbm as lgb
import numpy as np
import numpy.typing as npt

from renewals.models.kernels.jit import cached_njit, run_in_blocks

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Node = dict[str, Any]
"""A node of `Booster.dump_model`, including its descendants."""

MAX_BITS = 8
"""Maximum number of bits (splits) of a table: 256 numbers per feature stay in the fastest cache."""
BLOCK = 256
"""Rows per block, so that their codes and sums stay in the cache."""
UNUSED_CODE = 2**16 - 1
"""Code that no value has."""
ZERO_THRESHOLD = float(np.float32(1e-35))
"""LightGBM treats absolute values up to this as zero."""

INFINITE_THRESHOLD = 1e300
"""LightGBM writes an infinite threshold as this; such a split only separates missing values from all others."""

MISSING_NONE, MISSING_ZERO, MISSING_NAN, CATEGORICAL = range(4)
MISSING_TYPES = {"None": MISSING_NONE, "Zero": MISSING_ZERO, "NaN": MISSING_NAN}
"""Values that a split treats as missing: None (NaN counts as zero), Zero (zero and NaN), or NaN."""


class SplitColumn(NamedTuple):
    """Input of a split: a feature, and either its type of missing values or the categories that go left."""

    feature: int
    kind: int
    categories: tuple[int, ...] = ()


class PathStep(NamedTuple):
    """One split on the path to a leaf, and the side taken."""

    split: int
    """Number of the split in its tree."""
    column: SplitColumn
    threshold: float
    missing_left: bool
    left: bool
    ratio: float
    """Share of the split's training rows that took this side."""


class Leaf(NamedTuple):
    """Value of a leaf, and the path from the root to it."""

    value: float
    path: tuple[PathStep, ...]


class PathFeature(NamedTuple):
    """A distinct feature on a leaf's path; it is satisfied if answers & mask == expected."""

    position: int
    """Position among the features of the subtree."""
    expected: int
    mask: int
    ratio: float
    """Share of training rows that stay on the path at the splits of this feature."""


class Subtree(NamedTuple):
    """Some leaves of a tree, and the bits (answers of splits) that they depend on."""

    bits: list[list[PathStep]]
    """Steps of each bit; a bit is set if all its steps are taken."""
    features: list[int]
    leaves: list[tuple[float, list[PathFeature]]]
    """Value of each leaf, and the features on its path."""


class ParsedBooster(NamedTuple):
    """Number of features and root nodes of a booster."""

    features: int
    trees: list[Node]


class ThresholdCodes(NamedTuple):
    """Encoding of values as codes; one entry per split column, the edges of column c at first[c]:first[c + 1]."""

    feature: Ints
    kind: Ints
    first: Ints
    edges: Floats
    """Thresholds in rising order, or the categories with code 0."""


class SubtreeTable(NamedTuple):
    """All subtrees of the model as flat arrays; each level is delimited by the `first_…` offsets of the level above."""

    first_bit: Ints
    first_feature: Ints
    feature: Ints
    first_leaf: Ints
    first_cell: Ints
    """Start of the contribution table of a subtree: features × 2^bits, empty above `MAX_BITS` bits."""
    first_output: Ints
    """Start of its margin table: 2^bits, empty above `MAX_BITS` bits."""

    first_test: Ints
    """Per bit: its first test. A bit is set if all its tests hold. Per test:"""
    column: Ints
    last_code: Ints
    """Going left, the code is at most this, …"""
    missing: Ints
    """… or at least this."""
    left: npt.NDArray[np.bool_]
    """False if the test is going right: then neither may hold."""

    value: Floats
    """Per leaf: its value."""
    first_path_feature: Ints
    position: Ints
    """Per distinct feature on a leaf's path: its position among the features of the subtree, …"""
    expected: Ints
    mask: Ints
    """… it is satisfied if answers & mask == expected, …"""
    ratio: Floats
    """… and the share of training rows that stay on the path at its splits."""


@dataclass(frozen=True)
class TreeShap:
    """Contribution tables of one booster, or of several boosters with summed margins."""

    features: int
    base: float
    """Expected margin without any feature information: base + contributions of a row = its margin."""
    codes: ThresholdCodes
    pieces: SubtreeTable
    cells: Floats
    """Contributions, by subtree, feature and combination of answers."""
    outputs: Floats
    """Value added to the margin, by subtree and combination of answers: 0 if the row ends in another subtree."""
    weights: Floats
    """Shapley weights, by number of features and size of the set."""

    @staticmethod
    def of(*boosters: lgb.Booster) -> TreeShap:
        """Build the tables. Raises ValueError unless boosters are sums of trees with one output and constant leaves."""
        parsed = [_parse_booster(booster) for booster in boosters]
        trees = [list(_iterate_leaves(tree)) for model in parsed for tree in model.trees]
        edges = _collect_edges(trees)
        subtrees = [_build_subtree(leaves) for tree in trees for leaves in _group_leaves(tree)]
        tables, weights = _flatten_subtrees(subtrees, edges), _shapley_weights(subtrees)
        cells, outputs = np.zeros(tables.first_cell[-1]), np.zeros(tables.first_output[-1])
        _fill_tables(tables, weights, cells, outputs)
        base = sum(leaf.value * math.prod(step.ratio for step in leaf.path) for tree in trees for leaf in tree)
        return TreeShap(parsed[0].features, base, _threshold_codes(edges), tables, cells, outputs, weights)

    def contributions(self, values: Floats, threads: int = 1) -> Floats:
        """Contribution of each feature to the margin of each row; rows × features, in the units of the margin."""
        rows = self._rows(values)
        contributions = np.empty(rows.shape)

        def fill_block(first: int, end: int) -> None:
            _look_up_contributions(
                rows[first:end], contributions[first:end], self.codes, self.pieces, self.cells, self.weights
            )

        run_in_blocks(fill_block, len(rows), threads)
        return contributions

    def margin(self, values: Floats, threads: int = 1) -> Floats:
        """Margin of each row: bit-identical to the sum of `predict(raw_score=True)` of the boosters."""
        rows = self._rows(values)
        margin = np.zeros(len(rows))

        def fill_block(first: int, end: int) -> None:
            _add_margins(rows[first:end], margin[first:end], self.codes, self.pieces, self.outputs)

        run_in_blocks(fill_block, len(rows), threads)
        return margin

    def _rows(self, values: Floats) -> Floats:
        rows = np.ascontiguousarray(values, dtype=np.float64)
        if rows.shape[1] != self.features:
            raise ValueError(f"{rows.shape[1]} columns for a booster of {self.features} features")
        return rows


# --- parsing the trees of LightGBM --------------------------------------------------------------------


def _parse_booster(booster: lgb.Booster) -> ParsedBooster:
    dump = booster.dump_model()
    if dump["num_tree_per_iteration"] != 1:
        raise ValueError(
            f"the booster has {dump['num_tree_per_iteration']} outcomes: contributions are supported only for one"
        )
    if dump["average_output"]:
        raise ValueError("the booster is the mean of its trees (rf): contributions are supported only for a sum")
    return ParsedBooster(dump["max_feature_idx"] + 1, [tree["tree_structure"] for tree in dump["tree_info"]])


def _iterate_leaves(node: Node, path: tuple[PathStep, ...] = ()) -> Iterator[Leaf]:
    """Yield the leaves under a node, from left to right, each with its path from the root."""
    if "leaf_const" in node:
        raise ValueError(
            "the booster has linear leaves (linear_tree): contributions are supported only for constant leaves"
        )
    if "split_feature" not in node:
        yield Leaf(float(node["leaf_value"]), path)
        return
    if node["internal_count"] <= 0:
        raise ValueError("the booster has no row counts of its nodes (internal_count): contributions need them")
    for side in ("left_child", "right_child"):
        yield from _iterate_leaves(node[side], (*path, _path_step(node, node[side], side == "left_child")))


def _path_step(node: Node, child: Node, left: bool) -> PathStep:
    ratio = child.get("internal_count", child.get("leaf_count")) / node["internal_count"]
    if node["decision_type"] == "==":
        column = SplitColumn(node["split_feature"], CATEGORICAL, tuple(sorted(map(int, node["threshold"].split("||")))))
        return PathStep(node["split_index"], column, 0.0, False, left, ratio)
    column = SplitColumn(node["split_feature"], MISSING_TYPES[node["missing_type"]])
    missing_left = column.kind != MISSING_NONE and node["default_left"]
    threshold = float(node["threshold"])
    return PathStep(
        node["split_index"],
        column,
        threshold if threshold < INFINITE_THRESHOLD else math.inf,
        missing_left,
        left,
        ratio,
    )


# --- from trees to subtrees ---------------------------------------------------------------------------


def _group_leaves(leaves: list[Leaf], depth: int = 0) -> Iterator[list[Leaf]]:
    """Group the leaves of a tree into the fewest sets that depend on at most `MAX_BITS` splits; deeper ones singly.

    Under a node there are as many splits as leaves less one, and above it as many as its depth.
    """
    if len(leaves) == 1 or depth + len(leaves) - 1 <= MAX_BITS:
        yield leaves
        return
    for side in (True, False):
        yield from _group_leaves([leaf for leaf in leaves if leaf.path[depth].left is side], depth + 1)


def _build_subtree(leaves: list[Leaf]) -> Subtree:
    """Build a subtree with one bit per split, or per feature for a single leaf deeper than `MAX_BITS`."""
    if len(leaves[0].path) > MAX_BITS and len(leaves) == 1:
        return _deep_leaf_subtree(leaves[0])
    splits = {step.split: step._replace(left=True) for leaf in leaves for step in leaf.path}
    bit = {split: 1 << k for k, split in enumerate(splits)}
    features = list(dict.fromkeys(step.column.feature for step in splits.values()))
    subtree_leaves = []
    for leaf in leaves:
        by_feature = _group_by_feature(leaf.path)
        subtree_leaves.append(
            (
                leaf.value,
                [
                    PathFeature(
                        features.index(feature),
                        sum(bit[step.split] for step in steps if step.left),
                        sum(bit[step.split] for step in steps),
                        math.prod(step.ratio for step in steps),
                    )
                    for feature, steps in by_feature.items()
                ],
            )
        )
    return Subtree([[step] for step in splits.values()], features, subtree_leaves)


def _deep_leaf_subtree(leaf: Leaf) -> Subtree:
    by_feature = _group_by_feature(leaf.path)
    bits = [1 << k if len(by_feature) <= MAX_BITS else 0 for k in range(len(by_feature))]
    ratios = [math.prod(step.ratio for step in steps) for steps in by_feature.values()]
    path_features = [PathFeature(k, bit, bit, ratio) for k, (bit, ratio) in enumerate(zip(bits, ratios, strict=True))]
    return Subtree(list(by_feature.values()), list(by_feature), [(leaf.value, path_features)])


def _group_by_feature(path: Sequence[PathStep]) -> dict[int, list[PathStep]]:
    by_feature: dict[int, list[PathStep]] = {}
    for step in path:
        by_feature.setdefault(step.column.feature, []).append(step)
    return by_feature


def _collect_edges(trees: Sequence[Sequence[Leaf]]) -> dict[SplitColumn, list[float]]:
    """Split columns of all trees, with their sorted thresholds or their categories."""
    values_by_column: dict[SplitColumn, set[float]] = {}
    for step in (step for tree in trees for leaf in tree for step in leaf.path):
        values_by_column.setdefault(step.column, set(step.column.categories)).update(
            [step.threshold] if step.column.kind != CATEGORICAL else []
        )
    return {column: sorted(values) for column, values in values_by_column.items()}


def _threshold_codes(edges: Mapping[SplitColumn, Sequence[float]]) -> ThresholdCodes:
    return ThresholdCodes(
        _int_array(column.feature for column in edges),
        _int_array(column.kind for column in edges),
        _start_offsets(len(values) for values in edges.values()),
        np.array([edge for values in edges.values() for edge in values], np.float64),
    )


def _flatten_subtrees(subtrees: Sequence[Subtree], edges: Mapping[SplitColumn, Sequence[float]]) -> SubtreeTable:
    column_index = {column: k for k, column in enumerate(edges)}
    bits = [bit for subtree in subtrees for bit in subtree.bits]
    tests = [step for bit in bits for step in bit]
    leaves = [leaf for subtree in subtrees for leaf in subtree.leaves]
    path_features = [path_feature for _, path_features in leaves for path_feature in path_features]
    return SubtreeTable(
        first_bit=_start_offsets(len(subtree.bits) for subtree in subtrees),
        first_feature=_start_offsets(len(subtree.features) for subtree in subtrees),
        feature=_int_array(feature for subtree in subtrees for feature in subtree.features),
        first_leaf=_start_offsets(len(subtree.leaves) for subtree in subtrees),
        first_cell=_start_offsets(len(subtree.features) * _answer_count(subtree) for subtree in subtrees),
        first_output=_start_offsets(_answer_count(subtree) for subtree in subtrees),
        first_test=_start_offsets(len(bit) for bit in bits),
        column=_int_array(column_index[step.column] for step in tests),
        last_code=_int_array(
            0 if step.column.kind == CATEGORICAL else edges[step.column].index(step.threshold) for step in tests
        ),
        missing=_int_array(len(edges[step.column]) + 1 if step.missing_left else UNUSED_CODE for step in tests),
        left=np.array([step.left for step in tests], np.bool_),
        value=np.array([value for value, _ in leaves], np.float64),
        first_path_feature=_start_offsets(len(path_features) for _, path_features in leaves),
        position=_int_array(path_feature.position for path_feature in path_features),
        expected=_int_array(path_feature.expected for path_feature in path_features),
        mask=_int_array(path_feature.mask for path_feature in path_features),
        ratio=np.array([path_feature.ratio for path_feature in path_features], np.float64),
    )


def _answer_count(subtree: Subtree) -> int:
    """Number of tabulated combinations of answers: 2^bits, or 0 above `MAX_BITS` bits."""
    return 1 << len(subtree.bits) if len(subtree.bits) <= MAX_BITS else 0


def _int_array(numbers: Iterable[int]) -> Ints:
    return np.fromiter(numbers, np.int64)


def _start_offsets(lengths: Iterable[int]) -> Ints:
    return np.concatenate([[0], np.cumsum(_int_array(lengths))]).astype(np.int64)


def _shapley_weights(subtrees: Sequence[Subtree]) -> Floats:
    """Shapley weight of a set of q of the d - 1 other features, q! (d - 1 - q)! / d!, at [d, q]."""
    max_features = max((len(path_features) for subtree in subtrees for _, path_features in subtree.leaves), default=0)
    weights = np.zeros((max_features + 1, max_features + 1))
    for d in range(1, max_features + 1):
        weights[d, :d] = [1 / (d * math.comb(d - 1, q)) for q in range(d)]
    return weights


# --- compiled -----------------------------------------------------------------------------------------


@cached_njit
def _shapley_values(value, ratio, satisfied, weight, product, contribution):  # type: ignore[no-untyped-def]
    """Write the Shapley values of one leaf into `contribution`, one number per feature of its path.

    `product` becomes the coefficients of the product of (satisfied * x + ratio) over the features. The coefficient of
    x^q is the probability of reaching the leaf, summed over the sets of q known features. Division by the factor of one
    feature gives the polynomial of the other features.
    """
    d = len(ratio)
    product[0] = 1.0
    for k in range(d):
        is_satisfied = 1.0 if satisfied[k] else 0.0
        product[k + 1] = product[k] * is_satisfied
        for q in range(k, 0, -1):
            product[q] = product[q] * ratio[k] + product[q - 1] * is_satisfied
        product[0] *= ratio[k]
    unsatisfied_total = 0.0
    for q in range(d):
        unsatisfied_total += weight[q] * product[q]
    for k in range(d):
        if satisfied[k]:
            coefficient = product[d]
            total = weight[d - 1] * coefficient
            for q in range(d - 1, 0, -1):
                coefficient = product[q] - ratio[k] * coefficient
                total += weight[q - 1] * coefficient
            contribution[k] = value * (1.0 - ratio[k]) * total
        else:
            contribution[k] = -value * unsatisfied_total


@cached_njit
def _fill_tables(subtrees, weights, contribution_cells, margin_cells):  # type: ignore[no-untyped-def]
    """Fill both tables: for each combination of answers, the contributions summed over leaves, and the margin."""
    size = len(weights) + 1
    satisfied, product, leaf_contribution = np.zeros(size, np.bool_), np.zeros(size), np.zeros(size)
    for subtree in range(len(subtrees.first_cell) - 1):
        cell, output = subtrees.first_cell[subtree], subtrees.first_output[subtree]
        answers = subtrees.first_output[subtree + 1] - output
        for leaf in range(subtrees.first_leaf[subtree], subtrees.first_leaf[subtree + 1]):
            first, end = subtrees.first_path_feature[leaf], subtrees.first_path_feature[leaf + 1]
            ratio, weight = subtrees.ratio[first:end], weights[end - first]
            for answer in range(answers):
                reaches_leaf = True
                for k in range(end - first):
                    satisfied[k] = answer & subtrees.mask[first + k] == subtrees.expected[first + k]
                    reaches_leaf &= satisfied[k]
                if reaches_leaf:
                    margin_cells[output + answer] = subtrees.value[leaf]
                _shapley_values(subtrees.value[leaf], ratio, satisfied, weight, product, leaf_contribution)
                for k in range(end - first):
                    contribution_cells[cell + subtrees.position[first + k] * answers + answer] += leaf_contribution[k]


@cached_njit
def _encode_rows(values, codes, coded):  # type: ignore[no-untyped-def]
    """Write the codes of the rows into `coded`; split columns × rows."""
    column_values = np.empty(len(values))
    for column in range(len(codes.feature)):
        for i in range(len(column_values)):
            value = values[i, codes.feature[column]]
            column_values[i] = 0.0 if abs(value) <= ZERO_THRESHOLD else value
        edges = codes.edges[codes.first[column] : codes.first[column + 1]]
        if codes.kind[column] == CATEGORICAL:
            _encode_categories(column_values, edges, coded[column])
        else:
            _encode_thresholds(column_values, edges, codes.kind[column], coded[column])


@cached_njit
def _encode_categories(column, categories, code):  # type: ignore[no-untyped-def]
    """Write 0 for values in the set and 1 for others; values are truncated towards zero, as LightGBM does."""
    for i in range(len(column)):
        code[i] = 1
        for category in categories:
            if category <= column[i] < category + 1.0 or (category == 0.0 and -1.0 < column[i] < 0.0):
                code[i] = 0


@cached_njit
def _encode_thresholds(column, edges, kind, code):  # type: ignore[no-untyped-def]
    """Write the number of thresholds below each value; the number of all thresholds plus one if it is missing."""
    for i in range(len(column)):
        code[i] = 0
        if kind == MISSING_NONE and column[i] != column[i]:
            column[i] = 0.0
    for edge in edges:
        for i in range(len(column)):
            code[i] += column[i] > edge
    for i in range(len(column)):
        if column[i] != column[i] or (kind == MISSING_ZERO and column[i] == 0.0):
            code[i] = len(edges) + 1


@cached_njit
def _test_bit(subtrees, bit, coded, satisfied):  # type: ignore[no-untyped-def]
    """Write into `satisfied` if all tests of a bit hold; one flag per row."""
    satisfied[:] = 1
    for test in range(subtrees.first_test[bit], subtrees.first_test[bit + 1]):
        code, last, missing = coded[subtrees.column[test]], subtrees.last_code[test], subtrees.missing[test]
        if subtrees.left[test]:
            for i in range(len(satisfied)):
                satisfied[i] &= (code[i] <= last) | (code[i] >= missing)
        else:
            for i in range(len(satisfied)):
                satisfied[i] &= (code[i] > last) & (code[i] < missing)


@cached_njit
def _subtree_answers(subtrees, subtree, coded, satisfied, answer):  # type: ignore[no-untyped-def]
    """Write the combination of answers of a subtree as a bit mask into `answer`; one number per row."""
    answer[:] = 0
    first = subtrees.first_bit[subtree]
    for bit in range(first, subtrees.first_bit[subtree + 1]):
        _test_bit(subtrees, bit, coded, satisfied)
        for i in range(len(answer)):
            answer[i] |= satisfied[i] << (bit - first)


@cached_njit
def _add_margins(values, margin, codes, subtrees, margin_cells):  # type: ignore[no-untyped-def]
    """Write the margin of each row, summed tree by tree in the order of LightGBM."""
    coded = np.zeros((len(codes.feature), BLOCK), np.int32)
    satisfied, answer, reaches_leaf = np.empty(BLOCK, np.uint8), np.empty(BLOCK, np.uint8), np.empty(BLOCK, np.uint8)
    total = np.empty(BLOCK)
    for start in range(0, len(values), BLOCK):
        rows = min(BLOCK, len(values) - start)
        _encode_rows(values[start : start + rows], codes, coded)
        total[:] = 0.0
        for subtree in range(len(subtrees.first_output) - 1):
            table = margin_cells[subtrees.first_output[subtree] : subtrees.first_output[subtree + 1]]
            if len(table):
                _subtree_answers(subtrees, subtree, coded, satisfied, answer)
                for i in range(BLOCK):
                    total[i] += table[answer[i]]
                continue
            reaches_leaf[:] = 1
            for bit in range(subtrees.first_bit[subtree], subtrees.first_bit[subtree + 1]):
                _test_bit(subtrees, bit, coded, satisfied)
                reaches_leaf &= satisfied
            for i in range(BLOCK):
                total[i] += subtrees.value[subtrees.first_leaf[subtree]] if reaches_leaf[i] else 0.0
        for i in range(rows):
            margin[start + i] = total[i]


@cached_njit
def _look_up_contributions(values, contributions, codes, subtrees, contribution_cells, weights):  # type: ignore[no-untyped-def]
    """Write the contribution of each feature for each row of `values` into `contributions`; rows × features."""
    size = len(weights) + 1
    coded = np.zeros((len(codes.feature), BLOCK), np.int32)
    total = np.empty((values.shape[1], BLOCK))
    satisfied, answer = np.empty((size, BLOCK), np.uint8), np.empty(BLOCK, np.uint8)
    product, leaf_contribution = np.zeros(size), np.zeros(size)
    for start in range(0, len(values), BLOCK):
        rows = min(BLOCK, len(values) - start)
        _encode_rows(values[start : start + rows], codes, coded)
        total[:] = 0.0
        for subtree in range(len(subtrees.first_cell) - 1):
            bit, bits = subtrees.first_bit[subtree], subtrees.first_bit[subtree + 1] - subtrees.first_bit[subtree]
            feature = subtrees.feature[subtrees.first_feature[subtree] : subtrees.first_feature[subtree + 1]]
            cell = subtrees.first_cell[subtree]
            if subtrees.first_output[subtree] < subtrees.first_output[subtree + 1]:
                _subtree_answers(subtrees, subtree, coded, satisfied[0], answer)
                for k in range(len(feature)):
                    table = contribution_cells[cell + (k << bits) : cell + ((k + 1) << bits)]
                    feature_total = total[feature[k]]
                    for i in range(BLOCK):
                        feature_total[i] += table[answer[i]]
            else:
                for k in range(bits):
                    _test_bit(subtrees, bit + k, coded, satisfied[k])
                leaf = subtrees.first_leaf[subtree]
                ratio = subtrees.ratio[subtrees.first_path_feature[leaf] : subtrees.first_path_feature[leaf + 1]]
                for i in range(rows):
                    _shapley_values(
                        subtrees.value[leaf], ratio, satisfied[:, i], weights[bits], product, leaf_contribution
                    )
                    for k in range(bits):
                        total[feature[k], i] += leaf_contribution[k]
        for i in range(rows):
            for k in range(values.shape[1]):
                contributions[start + i, k] = total[k, i]
