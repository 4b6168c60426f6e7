"""Exact contributions of a LightGBM booster, looked up: the path-dependent TreeSHAP of Lundberg (2018), tabulated.

Where a row goes in a tree hangs on yes-or-no questions, one a split. The contributions of a leaf hang on which of the
features on its path are satisfied, so those of all leaves under one node hang on the answers of the splits above and
below it. A *piece* is the largest such set of leaves with at most `BITS` splits: for each of its 2^splits answers
the contributions are summed once a model, and a row's are found by its answers. A tree of depth 3 is one piece, so a
row costs seven comparisons and at most seven additions instead of a walk over all paths.

A leaf deeper than `BITS` is a piece of its own, with one bit for each distinct feature of its path; with more features
than `BITS` its contributions are worked out for every row, as GPUTreeShap (Mitchell 2022) and FastTreeSHAP v2 (Yang
2021) write them.

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

from renewals.models.kernels.jit import compiled, shared

Floats = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]
Node = dict[str, Any]
"""A node of `Booster.dump_model`, with all that is under it."""

BITS = 8
"""Questions a table answers at most: 256 numbers a feature stay in the fastest cache."""
BLOCK = 256
"""Rows worked on at a time, so that their codes and sums stay in the cache."""
NEVER = 2**16 - 1
"""A code that no value has."""
ZERO = float(np.float32(1e-35))
"""LightGBM takes what is no larger for nought."""

ENDLESS = 1e300
"""What LightGBM writes for a threshold without end, which only parts what is missing from all else."""

NONE, NOUGHT, NAN, SET = range(4)
KINDS = {"None": NONE, "Zero": NOUGHT, "NaN": NAN}
"""What a split takes for missing: nothing (NaN is nought then), nought and NaN, or NaN."""


class Column(NamedTuple):
    """What a split looks at: a feature, and either what is missing there, or the categories that go left."""

    feature: int
    kind: int
    categories: tuple[int, ...] = ()


class Step(NamedTuple):
    """One split on the way to a leaf, and the side taken."""

    split: int
    """The split's number in its tree."""
    column: Column
    threshold: float
    missing_left: bool
    left: bool
    ratio: float
    """The share of the split's training rows that went this way."""


class Leaf(NamedTuple):
    """What a tree says at its end, and the way there."""

    value: float
    path: tuple[Step, ...]


class Slot(NamedTuple):
    """A distinct feature on a leaf's path: satisfied where answers & care == wanted."""

    place: int
    """Its place among the piece's features."""
    wanted: int
    care: int
    ratio: float
    """The share of training rows that stay on the path where the feature is not known."""


class Piece(NamedTuple):
    """Some leaves of a tree, and the questions they hang on."""

    bits: list[list[Step]]
    """A bit is set where all its steps are taken."""
    features: list[int]
    leaves: list[tuple[float, list[Slot]]]
    """The value of each leaf, and the features on its path."""


class Parsed(NamedTuple):
    """A booster's trees."""

    features: int
    trees: list[Node]


class Codes(NamedTuple):
    """How values become codes; one entry per column, the edges of column c at first[c]:first[c + 1]."""

    feature: Whole
    kind: Whole
    first: Whole
    edges: Floats
    """Thresholds in rising order, or the categories that have code 0."""


class Pieces(NamedTuple):
    """Every piece of the model; each array is cut by the `first_…` of the one above it."""

    first_bit: Whole
    first_feature: Whole
    feature: Whole
    first_leaf: Whole
    first_cell: Whole
    """Where the table begins: features × 2^bits, empty where there are more than `BITS`."""
    first_output: Whole
    """The same for what the leaves say: 2^bits."""

    first_test: Whole
    """A bit is set where all its tests hold …"""
    column: Whole
    last: Whole
    """… the code is at most this …"""
    missing: Whole
    """… or at least this …"""
    left: npt.NDArray[np.bool_]
    """… or, where this is false, neither."""

    value: Floats
    """Of each leaf."""
    first_slot: Whole
    place: Whole
    """Of each distinct feature on a leaf's path: its place among the piece's features, …"""
    wanted: Whole
    care: Whole
    """… satisfied where answers & care == wanted, …"""
    ratio: Floats
    """… and the share of training rows that stay on the path where it is not known."""


@dataclass(frozen=True)
class TreeShap:
    """The tables of one booster, or of several whose margins are added up."""

    features: int
    base: float
    """What the margin is where nothing is known: base + contributions of a row = its margin."""
    codes: Codes
    pieces: Pieces
    cells: Floats
    """The contributions, by piece, feature and answer."""
    outputs: Floats
    """What a piece adds to the margin, by answer: nothing where the row ends elsewhere."""
    weights: Floats
    """What Shapley gives to each size of a set, by the number of features."""

    @staticmethod
    def of(*boosters: lgb.Booster) -> TreeShap:
        """Tabulate. Raises ValueError for what is not a plain sum of trees of one outcome with constant leaves."""
        parsed = [_parsed(booster) for booster in boosters]
        trees = [list(_leaves(tree)) for model in parsed for tree in model.trees]
        edges = _edges(trees)
        pieces = [_piece(leaves) for tree in trees for leaves in _together(tree)]
        flat, weights = _flat(pieces, edges), _weights(pieces)
        cells, outputs = np.zeros(flat.first_cell[-1]), np.zeros(flat.first_output[-1])
        _fill(flat, weights, cells, outputs)
        base = sum(leaf.value * math.prod(step.ratio for step in leaf.path) for tree in trees for leaf in tree)
        return TreeShap(parsed[0].features, base, _codes(edges), flat, cells, outputs, weights)

    def contributions(self, values: Floats, threads: int = 1) -> Floats:
        """What each feature adds to the margin of each row; rows × features, in log-odds where the margin is."""
        rows = self._rows(values)
        added = np.empty(rows.shape)

        def look(first: int, end: int) -> None:
            _look(rows[first:end], added[first:end], self.codes, self.pieces, self.cells, self.weights)

        shared(look, len(rows), threads)
        return added

    def margin(self, values: Floats, threads: int = 1) -> Floats:
        """The margin of each row: to the last bit what the boosters' `predict(raw_score=True)` say, summed."""
        rows = self._rows(values)
        margin = np.zeros(len(rows))

        def add(first: int, end: int) -> None:
            _add(rows[first:end], margin[first:end], self.codes, self.pieces, self.outputs)

        shared(add, len(rows), threads)
        return margin

    def _rows(self, values: Floats) -> Floats:
        rows = np.ascontiguousarray(values, dtype=np.float64)
        if rows.shape[1] != self.features:
            raise ValueError(f"{rows.shape[1]} columns for a booster of {self.features} features")
        return rows


# --- the trees as LightGBM tells them -----------------------------------------------------------------


def _parsed(booster: lgb.Booster) -> Parsed:
    told = booster.dump_model()
    if told["num_tree_per_iteration"] != 1:
        raise ValueError(f"the booster has {told['num_tree_per_iteration']} outcomes: contributions are told for one")
    if told["average_output"]:
        raise ValueError("the booster is the mean of its trees (rf): contributions are told for a sum")
    return Parsed(told["max_feature_idx"] + 1, [tree["tree_structure"] for tree in told["tree_info"]])


def _leaves(node: Node, path: tuple[Step, ...] = ()) -> Iterator[Leaf]:
    """The leaves under a node, from left to right; each with the way to it from the root."""
    if "leaf_const" in node:
        raise ValueError("the leaves of the booster are linear (linear_tree): contributions are told for constant ones")
    if "split_feature" not in node:
        yield Leaf(float(node["leaf_value"]), path)
        return
    if node["internal_count"] <= 0:
        raise ValueError("the booster does not say how many rows it learned from: contributions need its counts")
    for side in ("left_child", "right_child"):
        yield from _leaves(node[side], (*path, _step(node, node[side], side == "left_child")))


def _step(node: Node, child: Node, left: bool) -> Step:
    ratio = child.get("internal_count", child.get("leaf_count")) / node["internal_count"]
    if node["decision_type"] == "==":
        column = Column(node["split_feature"], SET, tuple(sorted(map(int, node["threshold"].split("||")))))
        return Step(node["split_index"], column, 0.0, False, left, ratio)
    column = Column(node["split_feature"], KINDS[node["missing_type"]])
    missing_left = column.kind != NONE and node["default_left"]
    threshold = float(node["threshold"])
    return Step(node["split_index"], column, threshold if threshold < ENDLESS else math.inf, missing_left, left, ratio)


# --- from trees to pieces -----------------------------------------------------------------------------


def _together(leaves: list[Leaf], depth: int = 0) -> Iterator[list[Leaf]]:
    """The leaves of a tree in the fewest sets that hang on at most `BITS` splits each; deeper ones one by one.

    Under a node at `depth` there are as many splits as leaves but one, and above it as many as it is deep.
    """
    if len(leaves) == 1 or depth + len(leaves) - 1 <= BITS:
        yield leaves
        return
    for side in (True, False):
        yield from _together([leaf for leaf in leaves if leaf.path[depth].left is side], depth + 1)


def _piece(leaves: list[Leaf]) -> Piece:
    """One bit for each split, or, where a leaf lies deeper than `BITS`, for each of its features."""
    if len(leaves[0].path) > BITS and len(leaves) == 1:
        return _deep(leaves[0])
    splits = {step.split: step._replace(left=True) for leaf in leaves for step in leaf.path}
    bit = {split: 1 << k for k, split in enumerate(splits)}
    features = list(dict.fromkeys(step.column.feature for step in splits.values()))
    told = []
    for leaf in leaves:
        own = _by_feature(leaf.path)
        told.append(
            (
                leaf.value,
                [
                    Slot(
                        features.index(feature),
                        sum(bit[step.split] for step in steps if step.left),
                        sum(bit[step.split] for step in steps),
                        math.prod(step.ratio for step in steps),
                    )
                    for feature, steps in own.items()
                ],
            )
        )
    return Piece([[step] for step in splits.values()], features, told)


def _deep(leaf: Leaf) -> Piece:
    own = _by_feature(leaf.path)
    bits = [1 << k if len(own) <= BITS else 0 for k in range(len(own))]
    ratios = [math.prod(step.ratio for step in steps) for steps in own.values()]
    slots = [Slot(k, bit, bit, ratio) for k, (bit, ratio) in enumerate(zip(bits, ratios, strict=True))]
    return Piece(list(own.values()), list(own), [(leaf.value, slots)])


def _by_feature(path: Sequence[Step]) -> dict[int, list[Step]]:
    own: dict[int, list[Step]] = {}
    for step in path:
        own.setdefault(step.column.feature, []).append(step)
    return own


def _edges(trees: Sequence[Sequence[Leaf]]) -> dict[Column, list[float]]:
    """Every column that some split looks at, with its thresholds in order, or its categories."""
    met: dict[Column, set[float]] = {}
    for step in (step for tree in trees for leaf in tree for step in leaf.path):
        met.setdefault(step.column, set(step.column.categories)).update(
            [step.threshold] if step.column.kind != SET else []
        )
    return {column: sorted(own) for column, own in met.items()}


def _codes(edges: Mapping[Column, Sequence[float]]) -> Codes:
    return Codes(
        _whole(column.feature for column in edges),
        _whole(column.kind for column in edges),
        _starts(len(own) for own in edges.values()),
        np.array([edge for own in edges.values() for edge in own], np.float64),
    )


def _flat(pieces: Sequence[Piece], edges: Mapping[Column, Sequence[float]]) -> Pieces:
    place = {column: k for k, column in enumerate(edges)}
    bits = [bit for piece in pieces for bit in piece.bits]
    tests = [step for bit in bits for step in bit]
    leaves = [leaf for piece in pieces for leaf in piece.leaves]
    slots = [slot for _, own in leaves for slot in own]
    return Pieces(
        first_bit=_starts(len(piece.bits) for piece in pieces),
        first_feature=_starts(len(piece.features) for piece in pieces),
        feature=_whole(feature for piece in pieces for feature in piece.features),
        first_leaf=_starts(len(piece.leaves) for piece in pieces),
        first_cell=_starts(len(piece.features) * _answers(piece) for piece in pieces),
        first_output=_starts(_answers(piece) for piece in pieces),
        first_test=_starts(len(bit) for bit in bits),
        column=_whole(place[step.column] for step in tests),
        last=_whole(0 if step.column.kind == SET else edges[step.column].index(step.threshold) for step in tests),
        missing=_whole(len(edges[step.column]) + 1 if step.missing_left else NEVER for step in tests),
        left=np.array([step.left for step in tests], np.bool_),
        value=np.array([value for value, _ in leaves], np.float64),
        first_slot=_starts(len(own) for _, own in leaves),
        place=_whole(slot.place for slot in slots),
        wanted=_whole(slot.wanted for slot in slots),
        care=_whole(slot.care for slot in slots),
        ratio=np.array([slot.ratio for slot in slots], np.float64),
    )


def _answers(piece: Piece) -> int:
    """How many answers are tabulated: 0 where there are too many."""
    return 1 << len(piece.bits) if len(piece.bits) <= BITS else 0


def _whole(numbers: Iterable[int]) -> Whole:
    return np.fromiter(numbers, np.int64)


def _starts(lengths: Iterable[int]) -> Whole:
    return np.concatenate([[0], np.cumsum(_whole(lengths))]).astype(np.int64)


def _weights(pieces: Sequence[Piece]) -> Floats:
    """How Shapley weighs q of d - 1 others: q! (d - 1 - q)! / d!, at [d, q]."""
    most = max((len(own) for piece in pieces for _, own in piece.leaves), default=0)
    weights = np.zeros((most + 1, most + 1))
    for d in range(1, most + 1):
        weights[d, :d] = [1 / (d * math.comb(d - 1, q)) for q in range(d)]
    return weights


# --- compiled -----------------------------------------------------------------------------------------


@compiled
def _shapley(value, ratio, held, weight, product, added):  # type: ignore[no-untyped-def]
    """The contributions of a leaf's features, `held` where they are satisfied; as many numbers as features.

    `product` becomes the coefficients of the product of (held x + ratio) over the features: at x^q the chance of the
    leaf summed over the sets of q known features. Divided by a feature's own factor it is that of the others.
    """
    d = len(ratio)
    product[0] = 1.0
    for k in range(d):
        one = 1.0 if held[k] else 0.0
        product[k + 1] = product[k] * one
        for q in range(k, 0, -1):
            product[q] = product[q] * ratio[k] + product[q - 1] * one
        product[0] *= ratio[k]
    unheld = 0.0
    for q in range(d):
        unheld += weight[q] * product[q]
    for k in range(d):
        if held[k]:
            others = product[d]
            total = weight[d - 1] * others
            for q in range(d - 1, 0, -1):
                others = product[q] - ratio[k] * others
                total += weight[q - 1] * others
            added[k] = value * (1.0 - ratio[k]) * total
        else:
            added[k] = -value * unheld


@compiled
def _fill(pieces, weights, cells, outputs):  # type: ignore[no-untyped-def]
    """The tables: for each answer, the contributions of a piece's leaves, summed by feature."""
    room = len(weights) + 1
    held, product, added = np.zeros(room, np.bool_), np.zeros(room), np.zeros(room)
    for piece in range(len(pieces.first_cell) - 1):
        cell, output = pieces.first_cell[piece], pieces.first_output[piece]
        answers = pieces.first_output[piece + 1] - output
        for leaf in range(pieces.first_leaf[piece], pieces.first_leaf[piece + 1]):
            first, end = pieces.first_slot[leaf], pieces.first_slot[leaf + 1]
            ratio, weight = pieces.ratio[first:end], weights[end - first]
            for answer in range(answers):
                here = True
                for k in range(end - first):
                    held[k] = answer & pieces.care[first + k] == pieces.wanted[first + k]
                    here &= held[k]
                if here:
                    outputs[output + answer] = pieces.value[leaf]
                _shapley(pieces.value[leaf], ratio, held, weight, product, added)
                for k in range(end - first):
                    cells[cell + pieces.place[first + k] * answers + answer] += added[k]


@compiled
def _encode(values, codes, coded):  # type: ignore[no-untyped-def]
    """The codes of some rows; columns × rows."""
    own = np.empty(len(values))
    for column in range(len(codes.feature)):
        for i in range(len(own)):
            value = values[i, codes.feature[column]]
            own[i] = 0.0 if abs(value) <= ZERO else value
        edges = codes.edges[codes.first[column] : codes.first[column + 1]]
        if codes.kind[column] == SET:
            _outside(own, edges, coded[column])
        else:
            _passed(own, edges, codes.kind[column], coded[column])


@compiled
def _outside(own, categories, code):  # type: ignore[no-untyped-def]
    """0 for a value in the set and 1 for all else; it is cut to a whole number, towards nought, as LightGBM does."""
    for i in range(len(own)):
        code[i] = 1
        for category in categories:
            if category <= own[i] < category + 1.0 or (category == 0.0 and -1.0 < own[i] < 0.0):
                code[i] = 0


@compiled
def _passed(own, edges, kind, code):  # type: ignore[no-untyped-def]
    """How many thresholds lie below each value; one more than all of them where it is missing."""
    for i in range(len(own)):
        code[i] = 0
        if kind == NONE and own[i] != own[i]:
            own[i] = 0.0
    for edge in edges:
        for i in range(len(own)):
            code[i] += own[i] > edge
    for i in range(len(own)):
        if own[i] != own[i] or (kind == NOUGHT and own[i] == 0.0):
            code[i] = len(edges) + 1


@compiled
def _hold(pieces, bit, coded, held):  # type: ignore[no-untyped-def]
    """Whether all tests of a bit hold; one flag per row."""
    held[:] = 1
    for test in range(pieces.first_test[bit], pieces.first_test[bit + 1]):
        code, last, missing = coded[pieces.column[test]], pieces.last[test], pieces.missing[test]
        if pieces.left[test]:
            for i in range(len(held)):
                held[i] &= (code[i] <= last) | (code[i] >= missing)
        else:
            for i in range(len(held)):
                held[i] &= (code[i] > last) & (code[i] < missing)


@compiled
def _answer(pieces, piece, coded, held, answer):  # type: ignore[no-untyped-def]
    """The answers to a piece's questions, one number per row."""
    answer[:] = 0
    first = pieces.first_bit[piece]
    for bit in range(first, pieces.first_bit[piece + 1]):
        _hold(pieces, bit, coded, held)
        for i in range(len(answer)):
            answer[i] |= held[i] << (bit - first)


@compiled
def _add(values, margin, codes, pieces, outputs):  # type: ignore[no-untyped-def]
    """Add what the trees say to the margin of each row: tree after tree, as LightGBM adds them."""
    coded = np.zeros((len(codes.feature), BLOCK), np.int32)
    held, answer, reached = np.empty(BLOCK, np.uint8), np.empty(BLOCK, np.uint8), np.empty(BLOCK, np.uint8)
    summed = np.empty(BLOCK)
    for start in range(0, len(values), BLOCK):
        rows = min(BLOCK, len(values) - start)
        _encode(values[start : start + rows], codes, coded)
        summed[:] = 0.0
        for piece in range(len(pieces.first_output) - 1):
            table = outputs[pieces.first_output[piece] : pieces.first_output[piece + 1]]
            if len(table):
                _answer(pieces, piece, coded, held, answer)
                for i in range(BLOCK):
                    summed[i] += table[answer[i]]
                continue
            reached[:] = 1
            for bit in range(pieces.first_bit[piece], pieces.first_bit[piece + 1]):
                _hold(pieces, bit, coded, held)
                reached &= held
            for i in range(BLOCK):
                summed[i] += pieces.value[pieces.first_leaf[piece]] if reached[i] else 0.0
        for i in range(rows):
            margin[start + i] = summed[i]


@compiled
def _look(values, added, codes, pieces, cells, weights):  # type: ignore[no-untyped-def]
    """What each feature adds, for each row of `values`, into `added`; rows × features."""
    room = len(weights) + 1
    coded = np.zeros((len(codes.feature), BLOCK), np.int32)
    summed = np.empty((values.shape[1], BLOCK))
    held, answer = np.empty((room, BLOCK), np.uint8), np.empty(BLOCK, np.uint8)
    product, leaf_added = np.zeros(room), np.zeros(room)
    for start in range(0, len(values), BLOCK):
        rows = min(BLOCK, len(values) - start)
        _encode(values[start : start + rows], codes, coded)
        summed[:] = 0.0
        for piece in range(len(pieces.first_cell) - 1):
            bit, bits = pieces.first_bit[piece], pieces.first_bit[piece + 1] - pieces.first_bit[piece]
            feature = pieces.feature[pieces.first_feature[piece] : pieces.first_feature[piece + 1]]
            cell = pieces.first_cell[piece]
            if pieces.first_output[piece] < pieces.first_output[piece + 1]:
                _answer(pieces, piece, coded, held[0], answer)
                for k in range(len(feature)):
                    table = cells[cell + (k << bits) : cell + ((k + 1) << bits)]
                    own = summed[feature[k]]
                    for i in range(BLOCK):
                        own[i] += table[answer[i]]
            else:
                for k in range(bits):
                    _hold(pieces, bit + k, coded, held[k])
                leaf = pieces.first_leaf[piece]
                ratio = pieces.ratio[pieces.first_slot[leaf] : pieces.first_slot[leaf + 1]]
                for i in range(rows):
                    _shapley(pieces.value[leaf], ratio, held[:, i], weights[bits], product, leaf_added)
                    for k in range(bits):
                        summed[feature[k], i] += leaf_added[k]
        for i in range(rows):
            for k in range(values.shape[1]):
                added[start + i, k] = summed[k, i]
