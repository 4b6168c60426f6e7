"""Exact contributions of a LightGBM booster, looked up: the path-dependent TreeSHAP of Lundberg (2018), tabulated.

Where a row goes in a tree hangs on yes-or-no questions, one a split. The contributions of a leaf hang on which of the
features on its path are satisfied, so those of all leaves under one node hang on the answers of the splits above and
below it. A *piece* is the largest such set of leaves with at most `MAX_BITS` splits: for each of its 2^splits answers
the contributions are summed once a model, and a row's are found by its answers. A tree of depth 3 is one piece, so a
row costs seven comparisons and at most seven additions instead of a walk over all paths.

A leaf deeper than `MAX_BITS` is a piece of its own, with one bit for each distinct feature of its path; with more
features than `MAX_BITS` its contributions are worked out for every row, as GPUTreeShap (Mitchell 2022) and FastTreeSHAP
v2 (Yang 2021) write them.

A row's answers are found on small numbers: a feature's *code* is how many of the model's thresholds lie below its
value, so comparing codes is comparing the doubles as LightGBM does.
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
"""A node of `Booster.dump_model`, with all that is under it."""

MAX_BITS = 8
"""Questions a table answers at most: 256 numbers a feature stay in the fastest cache."""
BLOCK = 256
"""Rows worked on at a time, so that their codes and sums stay in the cache."""
UNUSED_CODE = 2**16 - 1
"""A code that no value has."""
ZERO_THRESHOLD = float(np.float32(1e-35))
"""LightGBM takes what is no larger for nought."""

INFINITE_THRESHOLD = 1e300
"""What LightGBM writes for a threshold without end, which only parts what is missing from all else."""

MISSING_NONE, MISSING_ZERO, MISSING_NAN, CATEGORICAL = range(4)
MISSING_TYPES = {"None": MISSING_NONE, "Zero": MISSING_ZERO, "NaN": MISSING_NAN}
"""What a split takes for missing: nothing (NaN is nought then), nought and NaN, or NaN."""


class SplitColumn(NamedTuple):
    """What a split looks at: a feature, and either what is missing there, or the categories that go left."""

    feature: int
    kind: int
    categories: tuple[int, ...] = ()


class PathStep(NamedTuple):
    """One split on the way to a leaf, and the side taken."""

    split: int
    """The split's number in its tree."""
    column: SplitColumn
    threshold: float
    missing_left: bool
    left: bool
    ratio: float
    """The share of the split's training rows that went this way."""


class Leaf(NamedTuple):
    """What a tree says at its end, and the way there."""

    value: float
    path: tuple[PathStep, ...]


class PathFeature(NamedTuple):
    """A distinct feature on a leaf's path: satisfied where answers & care == wanted."""

    place: int
    """Its place among the piece's features."""
    wanted: int
    care: int
    ratio: float
    """The share of training rows that stay on the path where the feature is not known."""


class Subtree(NamedTuple):
    """Some leaves of a tree, and the questions they hang on."""

    bits: list[list[PathStep]]
    """A bit is set where all its steps are taken."""
    features: list[int]
    leaves: list[tuple[float, list[PathFeature]]]
    """The value of each leaf, and the features on its path."""


class ParsedBooster(NamedTuple):
    """A booster's trees."""

    features: int
    trees: list[Node]


class ThresholdCodes(NamedTuple):
    """How values become codes; one entry per column, the edges of column c at first[c]:first[c + 1]."""

    feature: Ints
    kind: Ints
    first: Ints
    edges: Floats
    """Thresholds in rising order, or the categories that have code 0."""


class SubtreeTable(NamedTuple):
    """Every piece of the model; each array is cut by the `first_…` of the one above it."""

    first_bit: Ints
    first_feature: Ints
    feature: Ints
    first_leaf: Ints
    first_cell: Ints
    """Where the table begins: features × 2^bits, empty where there are more than `MAX_BITS`."""
    first_output: Ints
    """The same for what the leaves say: 2^bits."""

    first_test: Ints
    """A bit is set where all its tests hold …"""
    column: Ints
    last: Ints
    """… the code is at most this …"""
    missing: Ints
    """… or at least this …"""
    left: npt.NDArray[np.bool_]
    """… or, where this is false, neither."""

    value: Floats
    """Of each leaf."""
    first_slot: Ints
    place: Ints
    """Of each distinct feature on a leaf's path: its place among the piece's features, …"""
    wanted: Ints
    care: Ints
    """… satisfied where answers & care == wanted, …"""
    ratio: Floats
    """… and the share of training rows that stay on the path where it is not known."""


@dataclass(frozen=True)
class TreeShap:
    """The tables of one booster, or of several whose margins are added up."""

    features: int
    base: float
    """What the margin is where nothing is known: base + contributions of a row = its margin."""
    codes: ThresholdCodes
    pieces: SubtreeTable
    cells: Floats
    """The contributions, by piece, feature and answer."""
    outputs: Floats
    """What a piece adds to the margin, by answer: nothing where the row ends elsewhere."""
    weights: Floats
    """What Shapley gives to each size of a set, by the number of features."""

    @staticmethod
    def of(*boosters: lgb.Booster) -> TreeShap:
        """Tabulate. Raises ValueError for what is not a plain sum of trees of one outcome with constant leaves."""
        parsed = [_parse_booster(booster) for booster in boosters]
        trees = [list(_iterate_leaves(tree)) for model in parsed for tree in model.trees]
        edges = _collect_edges(trees)
        pieces = [_build_subtree(leaves) for tree in trees for leaves in _group_leaves(tree)]
        flat, weights = _flatten_subtrees(pieces, edges), _shapley_weights(pieces)
        cells, outputs = np.zeros(flat.first_cell[-1]), np.zeros(flat.first_output[-1])
        _fill_tables(flat, weights, cells, outputs)
        base = sum(leaf.value * math.prod(step.ratio for step in leaf.path) for tree in trees for leaf in tree)
        return TreeShap(parsed[0].features, base, _threshold_codes(edges), flat, cells, outputs, weights)

    def contributions(self, values: Floats, threads: int = 1) -> Floats:
        """What each feature adds to the margin of each row; rows × features, in log-odds where the margin is."""
        rows = self._rows(values)
        added = np.empty(rows.shape)

        def look(first: int, end: int) -> None:
            _look_up_contributions(rows[first:end], added[first:end], self.codes, self.pieces, self.cells, self.weights)

        run_in_blocks(look, len(rows), threads)
        return added

    def margin(self, values: Floats, threads: int = 1) -> Floats:
        """The margin of each row: to the last bit what the boosters' `predict(raw_score=True)` say, summed."""
        rows = self._rows(values)
        margin = np.zeros(len(rows))

        def add(first: int, end: int) -> None:
            _add_margins(rows[first:end], margin[first:end], self.codes, self.pieces, self.outputs)

        run_in_blocks(add, len(rows), threads)
        return margin

    def _rows(self, values: Floats) -> Floats:
        rows = np.ascontiguousarray(values, dtype=np.float64)
        if rows.shape[1] != self.features:
            raise ValueError(f"{rows.shape[1]} columns for a booster of {self.features} features")
        return rows


# --- the trees as LightGBM tells them -----------------------------------------------------------------


def _parse_booster(booster: lgb.Booster) -> ParsedBooster:
    told = booster.dump_model()
    if told["num_tree_per_iteration"] != 1:
        raise ValueError(f"the booster has {told['num_tree_per_iteration']} outcomes: contributions are told for one")
    if told["average_output"]:
        raise ValueError("the booster is the mean of its trees (rf): contributions are told for a sum")
    return ParsedBooster(told["max_feature_idx"] + 1, [tree["tree_structure"] for tree in told["tree_info"]])


def _iterate_leaves(node: Node, path: tuple[PathStep, ...] = ()) -> Iterator[Leaf]:
    """The leaves under a node, from left to right; each with the way to it from the root."""
    if "leaf_const" in node:
        raise ValueError("the leaves of the booster are linear (linear_tree): contributions are told for constant ones")
    if "split_feature" not in node:
        yield Leaf(float(node["leaf_value"]), path)
        return
    if node["internal_count"] <= 0:
        raise ValueError("the booster does not say how many rows it learned from: contributions need its counts")
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


# --- from trees to pieces -----------------------------------------------------------------------------


def _group_leaves(leaves: list[Leaf], depth: int = 0) -> Iterator[list[Leaf]]:
    """The leaves of a tree in the fewest sets that hang on at most `MAX_BITS` splits each; deeper ones one by one.

    Under a node at `depth` there are as many splits as leaves but one, and above it as many as it is deep.
    """
    if len(leaves) == 1 or depth + len(leaves) - 1 <= MAX_BITS:
        yield leaves
        return
    for side in (True, False):
        yield from _group_leaves([leaf for leaf in leaves if leaf.path[depth].left is side], depth + 1)


def _build_subtree(leaves: list[Leaf]) -> Subtree:
    """One bit for each split, or, where a leaf lies deeper than `MAX_BITS`, for each of its features."""
    if len(leaves[0].path) > MAX_BITS and len(leaves) == 1:
        return _deep_leaf_subtree(leaves[0])
    splits = {step.split: step._replace(left=True) for leaf in leaves for step in leaf.path}
    bit = {split: 1 << k for k, split in enumerate(splits)}
    features = list(dict.fromkeys(step.column.feature for step in splits.values()))
    told = []
    for leaf in leaves:
        own = _group_by_feature(leaf.path)
        told.append(
            (
                leaf.value,
                [
                    PathFeature(
                        features.index(feature),
                        sum(bit[step.split] for step in steps if step.left),
                        sum(bit[step.split] for step in steps),
                        math.prod(step.ratio for step in steps),
                    )
                    for feature, steps in own.items()
                ],
            )
        )
    return Subtree([[step] for step in splits.values()], features, told)


def _deep_leaf_subtree(leaf: Leaf) -> Subtree:
    own = _group_by_feature(leaf.path)
    bits = [1 << k if len(own) <= MAX_BITS else 0 for k in range(len(own))]
    ratios = [math.prod(step.ratio for step in steps) for steps in own.values()]
    slots = [PathFeature(k, bit, bit, ratio) for k, (bit, ratio) in enumerate(zip(bits, ratios, strict=True))]
    return Subtree(list(own.values()), list(own), [(leaf.value, slots)])


def _group_by_feature(path: Sequence[PathStep]) -> dict[int, list[PathStep]]:
    own: dict[int, list[PathStep]] = {}
    for step in path:
        own.setdefault(step.column.feature, []).append(step)
    return own


def _collect_edges(trees: Sequence[Sequence[Leaf]]) -> dict[SplitColumn, list[float]]:
    """Every column that some split looks at, with its thresholds in order, or its categories."""
    met: dict[SplitColumn, set[float]] = {}
    for step in (step for tree in trees for leaf in tree for step in leaf.path):
        met.setdefault(step.column, set(step.column.categories)).update(
            [step.threshold] if step.column.kind != CATEGORICAL else []
        )
    return {column: sorted(own) for column, own in met.items()}


def _threshold_codes(edges: Mapping[SplitColumn, Sequence[float]]) -> ThresholdCodes:
    return ThresholdCodes(
        _int_array(column.feature for column in edges),
        _int_array(column.kind for column in edges),
        _start_offsets(len(own) for own in edges.values()),
        np.array([edge for own in edges.values() for edge in own], np.float64),
    )


def _flatten_subtrees(subtrees: Sequence[Subtree], edges: Mapping[SplitColumn, Sequence[float]]) -> SubtreeTable:
    place = {column: k for k, column in enumerate(edges)}
    bits = [bit for piece in subtrees for bit in piece.bits]
    tests = [step for bit in bits for step in bit]
    leaves = [leaf for piece in subtrees for leaf in piece.leaves]
    slots = [slot for _, own in leaves for slot in own]
    return SubtreeTable(
        first_bit=_start_offsets(len(piece.bits) for piece in subtrees),
        first_feature=_start_offsets(len(piece.features) for piece in subtrees),
        feature=_int_array(feature for piece in subtrees for feature in piece.features),
        first_leaf=_start_offsets(len(piece.leaves) for piece in subtrees),
        first_cell=_start_offsets(len(piece.features) * _answer_count(piece) for piece in subtrees),
        first_output=_start_offsets(_answer_count(piece) for piece in subtrees),
        first_test=_start_offsets(len(bit) for bit in bits),
        column=_int_array(place[step.column] for step in tests),
        last=_int_array(
            0 if step.column.kind == CATEGORICAL else edges[step.column].index(step.threshold) for step in tests
        ),
        missing=_int_array(len(edges[step.column]) + 1 if step.missing_left else UNUSED_CODE for step in tests),
        left=np.array([step.left for step in tests], np.bool_),
        value=np.array([value for value, _ in leaves], np.float64),
        first_slot=_start_offsets(len(own) for _, own in leaves),
        place=_int_array(slot.place for slot in slots),
        wanted=_int_array(slot.wanted for slot in slots),
        care=_int_array(slot.care for slot in slots),
        ratio=np.array([slot.ratio for slot in slots], np.float64),
    )


def _answer_count(subtree: Subtree) -> int:
    """How many answers are tabulated: 0 where there are too many."""
    return 1 << len(subtree.bits) if len(subtree.bits) <= MAX_BITS else 0


def _int_array(numbers: Iterable[int]) -> Ints:
    return np.fromiter(numbers, np.int64)


def _start_offsets(lengths: Iterable[int]) -> Ints:
    return np.concatenate([[0], np.cumsum(_int_array(lengths))]).astype(np.int64)


def _shapley_weights(subtrees: Sequence[Subtree]) -> Floats:
    """How Shapley weighs q of d - 1 others: q! (d - 1 - q)! / d!, at [d, q]."""
    most = max((len(own) for piece in subtrees for _, own in piece.leaves), default=0)
    weights = np.zeros((most + 1, most + 1))
    for d in range(1, most + 1):
        weights[d, :d] = [1 / (d * math.comb(d - 1, q)) for q in range(d)]
    return weights


# --- compiled -----------------------------------------------------------------------------------------


@cached_njit
def _shapley_values(value, ratio, satisfied, weight, product, added):  # type: ignore[no-untyped-def]
    """The contributions of a leaf's features, `satisfied` where they are satisfied; as many numbers as features.

    `product` becomes the coefficients of the product of (held x + ratio) over the features: at x^q the chance of the
    leaf summed over the sets of q known features. Divided by a feature's own factor it is that of the others.
    """
    d = len(ratio)
    product[0] = 1.0
    for k in range(d):
        one = 1.0 if satisfied[k] else 0.0
        product[k + 1] = product[k] * one
        for q in range(k, 0, -1):
            product[q] = product[q] * ratio[k] + product[q - 1] * one
        product[0] *= ratio[k]
    unheld = 0.0
    for q in range(d):
        unheld += weight[q] * product[q]
    for k in range(d):
        if satisfied[k]:
            others = product[d]
            total = weight[d - 1] * others
            for q in range(d - 1, 0, -1):
                others = product[q] - ratio[k] * others
                total += weight[q - 1] * others
            added[k] = value * (1.0 - ratio[k]) * total
        else:
            added[k] = -value * unheld


@cached_njit
def _fill_tables(subtrees, weights, contribution_cells, margin_cells):  # type: ignore[no-untyped-def]
    """The tables: for each answer, the contributions of a piece's leaves, summed by feature."""
    room = len(weights) + 1
    held, product, added = np.zeros(room, np.bool_), np.zeros(room), np.zeros(room)
    for piece in range(len(subtrees.first_cell) - 1):
        cell, output = subtrees.first_cell[piece], subtrees.first_output[piece]
        answers = subtrees.first_output[piece + 1] - output
        for leaf in range(subtrees.first_leaf[piece], subtrees.first_leaf[piece + 1]):
            first, end = subtrees.first_slot[leaf], subtrees.first_slot[leaf + 1]
            ratio, weight = subtrees.ratio[first:end], weights[end - first]
            for answer in range(answers):
                here = True
                for k in range(end - first):
                    held[k] = answer & subtrees.care[first + k] == subtrees.wanted[first + k]
                    here &= held[k]
                if here:
                    margin_cells[output + answer] = subtrees.value[leaf]
                _shapley_values(subtrees.value[leaf], ratio, held, weight, product, added)
                for k in range(end - first):
                    contribution_cells[cell + subtrees.place[first + k] * answers + answer] += added[k]


@cached_njit
def _encode_rows(values, codes, coded):  # type: ignore[no-untyped-def]
    """The codes of some rows; columns × rows."""
    own = np.empty(len(values))
    for column in range(len(codes.feature)):
        for i in range(len(own)):
            value = values[i, codes.feature[column]]
            own[i] = 0.0 if abs(value) <= ZERO_THRESHOLD else value
        edges = codes.edges[codes.first[column] : codes.first[column + 1]]
        if codes.kind[column] == CATEGORICAL:
            _encode_categories(own, edges, coded[column])
        else:
            _encode_thresholds(own, edges, codes.kind[column], coded[column])


@cached_njit
def _encode_categories(column, categories, code):  # type: ignore[no-untyped-def]
    """0 for a value in the set and 1 for all else; it is cut to a whole number, towards nought, as LightGBM does."""
    for i in range(len(column)):
        code[i] = 1
        for category in categories:
            if category <= column[i] < category + 1.0 or (category == 0.0 and -1.0 < column[i] < 0.0):
                code[i] = 0


@cached_njit
def _encode_thresholds(column, edges, kind, code):  # type: ignore[no-untyped-def]
    """How many thresholds lie below each value; one more than all of them where it is missing."""
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
    """Whether all tests of a bit hold; one flag per row."""
    satisfied[:] = 1
    for test in range(subtrees.first_test[bit], subtrees.first_test[bit + 1]):
        code, last, missing = coded[subtrees.column[test]], subtrees.last[test], subtrees.missing[test]
        if subtrees.left[test]:
            for i in range(len(satisfied)):
                satisfied[i] &= (code[i] <= last) | (code[i] >= missing)
        else:
            for i in range(len(satisfied)):
                satisfied[i] &= (code[i] > last) & (code[i] < missing)


@cached_njit
def _subtree_answers(subtrees, subtree, coded, satisfied, answer):  # type: ignore[no-untyped-def]
    """The answers to a piece's questions, one number per row."""
    answer[:] = 0
    first = subtrees.first_bit[subtree]
    for bit in range(first, subtrees.first_bit[subtree + 1]):
        _test_bit(subtrees, bit, coded, satisfied)
        for i in range(len(answer)):
            answer[i] |= satisfied[i] << (bit - first)


@cached_njit
def _add_margins(values, margin, codes, subtrees, margin_cells):  # type: ignore[no-untyped-def]
    """Add what the trees say to the margin of each row: tree after tree, as LightGBM adds them."""
    coded = np.zeros((len(codes.feature), BLOCK), np.int32)
    held, answer, reached = np.empty(BLOCK, np.uint8), np.empty(BLOCK, np.uint8), np.empty(BLOCK, np.uint8)
    summed = np.empty(BLOCK)
    for start in range(0, len(values), BLOCK):
        rows = min(BLOCK, len(values) - start)
        _encode_rows(values[start : start + rows], codes, coded)
        summed[:] = 0.0
        for piece in range(len(subtrees.first_output) - 1):
            table = margin_cells[subtrees.first_output[piece] : subtrees.first_output[piece + 1]]
            if len(table):
                _subtree_answers(subtrees, piece, coded, held, answer)
                for i in range(BLOCK):
                    summed[i] += table[answer[i]]
                continue
            reached[:] = 1
            for bit in range(subtrees.first_bit[piece], subtrees.first_bit[piece + 1]):
                _test_bit(subtrees, bit, coded, held)
                reached &= held
            for i in range(BLOCK):
                summed[i] += subtrees.value[subtrees.first_leaf[piece]] if reached[i] else 0.0
        for i in range(rows):
            margin[start + i] = summed[i]


@cached_njit
def _look_up_contributions(values, added, codes, subtrees, contribution_cells, weights):  # type: ignore[no-untyped-def]
    """What each feature adds, for each row of `values`, into `added`; rows × features."""
    room = len(weights) + 1
    coded = np.zeros((len(codes.feature), BLOCK), np.int32)
    summed = np.empty((values.shape[1], BLOCK))
    held, answer = np.empty((room, BLOCK), np.uint8), np.empty(BLOCK, np.uint8)
    product, leaf_added = np.zeros(room), np.zeros(room)
    for start in range(0, len(values), BLOCK):
        rows = min(BLOCK, len(values) - start)
        _encode_rows(values[start : start + rows], codes, coded)
        summed[:] = 0.0
        for piece in range(len(subtrees.first_cell) - 1):
            bit, bits = subtrees.first_bit[piece], subtrees.first_bit[piece + 1] - subtrees.first_bit[piece]
            feature = subtrees.feature[subtrees.first_feature[piece] : subtrees.first_feature[piece + 1]]
            cell = subtrees.first_cell[piece]
            if subtrees.first_output[piece] < subtrees.first_output[piece + 1]:
                _subtree_answers(subtrees, piece, coded, held[0], answer)
                for k in range(len(feature)):
                    table = contribution_cells[cell + (k << bits) : cell + ((k + 1) << bits)]
                    own = summed[feature[k]]
                    for i in range(BLOCK):
                        own[i] += table[answer[i]]
            else:
                for k in range(bits):
                    _test_bit(subtrees, bit + k, coded, held[k])
                leaf = subtrees.first_leaf[piece]
                ratio = subtrees.ratio[subtrees.first_slot[leaf] : subtrees.first_slot[leaf + 1]]
                for i in range(rows):
                    _shapley_values(subtrees.value[leaf], ratio, held[:, i], weights[bits], product, leaf_added)
                    for k in range(bits):
                        summed[feature[k], i] += leaf_added[k]
        for i in range(rows):
            for k in range(values.shape[1]):
                added[start + i, k] = summed[k, i]
