"""Sparse tensors of .tflite files against LiteRT's DENSIFY operator and a densifier written from the schema."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from tflite_files import Op, Tensor, dequantized, file_of, pack, schema

import quantwidget as qw

VECTORS = {np.uint8: schema.Uint8VectorT, np.uint16: schema.Uint16VectorT, np.int32: schema.Int32VectorT}
KINDS = {np.int32: 1, np.uint16: 2, np.uint8: 3}
DTYPES = {"FLOAT32": np.float32, "FLOAT16": np.float16, "INT8": np.int8}


def vector_of(numbers, dtype):
    made = VECTORS[dtype]()
    made.values = np.asarray(numbers, dtype)
    return made


def dimension(size, segments=None, indices=None, dtypes=(np.int32, np.int32)):
    made = schema.DimensionMetadataT()
    if segments is None:
        made.format, made.denseSize = 0, size
        return made
    made.format = 1
    made.arraySegments, made.arraySegmentsType = vector_of(segments, dtypes[0]), KINDS[dtypes[0]]
    made.arrayIndices, made.arrayIndicesType = vector_of(indices, dtypes[1]), KINDS[dtypes[1]]
    return made


def parameters_of(order, block_map, dimensions):
    made = schema.SparsityParametersT()
    made.traversalOrder, made.dimMetadata = list(order), list(dimensions)
    made.blockMap = list(block_map) or None
    return made


def compressed(dense, order, blocks, are_compressed, dtypes=(np.int32, np.int32)):
    """Store a tensor level by level; ``blocks`` maps a dimension to the length of its blocks."""
    block_map = sorted(blocks)
    split = [length // blocks.get(axis, 1) for axis, length in enumerate(dense.shape)]
    interleaved = [part for axis, outer in enumerate(split) for part in (outer, blocks.get(axis, 1))]
    outers = [2 * axis for axis in range(dense.ndim)]
    inners = [2 * axis + 1 for axis in block_map]
    rest = [place for place in range(2 * dense.ndim) if place not in outers + inners]
    spread = dense.reshape(interleaved).transpose([*outers, *inners, *rest])
    spread = spread.reshape(spread.shape[: dense.ndim + len(block_map)]).transpose(order)
    entries, dimensions = [()], []
    for level, size in enumerate(spread.shape):
        if not are_compressed[level]:
            dimensions.append(dimension(size))
            entries = [(*entry, index) for entry in entries for index in range(size)]
            continue
        segments, found = [0], []
        for entry in entries:
            found += [(*entry, index) for index in range(size) if np.any(spread[(*entry, index)])]
            segments.append(len(found))
        dimensions.append(dimension(None, segments, [entry[-1] for entry in found], dtypes))
        entries = found
    values = np.array([spread[entry] for entry in entries], dense.dtype)
    return values, parameters_of(order, block_map, dimensions)


def densified(values, parameters, shape):
    """Walk the levels one stored element at a time, as the schema describes them."""
    order, block_map = list(parameters.traversalOrder), list(parameters.blockMap or [])
    sizes = {}
    for number, made in zip(order, parameters.dimMetadata, strict=True):
        if number >= len(shape):
            sizes[block_map[number - len(shape)]] = made.denseSize
    dense, stored = np.zeros(shape, values.dtype), itertools.count()

    def visit(level, entry, index):
        if level == len(order):
            place = [index[axis] * sizes.get(axis, 1) for axis in range(len(shape))]
            for number, axis in enumerate(block_map):
                place[axis] += index[len(shape) + number]
            assert entry == next(stored)
            dense[tuple(place)] = values[entry]
            return
        made = parameters.dimMetadata[level]
        if made.format == 0:
            for step in range(made.denseSize):
                visit(level + 1, entry * made.denseSize + step, {**index, order[level]: step})
            return
        segments, indices = made.arraySegments.values, made.arrayIndices.values
        for at in range(segments[entry], segments[entry + 1]):
            visit(level + 1, at, {**index, order[level]: int(indices[at])})

    visit(0, 0, {})
    return dense


def tensor_of(values, parameters, shape, word, **more):
    return Tensor("w", word, shape, values, changes={"sparsity": parameters}, **more)


def opened(folder, *tensors):
    path = folder / "model.tflite"
    made = Tensor("y", tensors[0].word, tensors[0].shape)
    path.write_bytes(file_of(([*tensors, made], [Op("DENSIFY", [0], [len(tensors)])])))
    return qw.open_model(path)


def by_litert(path, output):
    interpreter = Interpreter(str(path), experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    interpreter.allocate_tensors()
    interpreter.invoke()
    return np.array(interpreter.get_tensor(output))


def drawn(rng, shape, word, blocks=None):
    """Draw elements of which whole blocks are zero."""
    coarse = [length // (blocks or {}).get(axis, 1) for axis, length in enumerate(shape)]
    kept = rng.random(coarse) < rng.choice([0.1, 0.5, 0.9])
    for axis, size in (blocks or {}).items():
        kept = np.repeat(kept, size, axis)
    if word == "INT8":
        return (rng.integers(-128, 128, shape) * kept).astype(np.int8)
    return (rng.normal(size=shape) * kept).astype(DTYPES[word])


PATTERNS = {
    "rows of a matrix": ((6, 10), (0, 1), {}, (0, 1)),
    "columns of a matrix": ((6, 10), (1, 0), {}, (0, 1)),
    "both compressed": ((6, 10), (0, 1), {}, (1, 1)),
    "blocks along rows": ((6, 16), (0, 1, 2), {1: 4}, (0, 1, 0)),
    "blocks of 1 × 16": ((5, 48), (0, 1, 2), {1: 16}, (0, 1, 0)),
    "blocks of 4 × 4": ((8, 12), (0, 1, 2, 3), {0: 4, 1: 4}, (0, 1, 0, 0)),
    "a kernel": ((4, 3, 3, 8), (0, 1, 2, 3), {}, (0, 0, 0, 1)),
    "every level of a kernel": ((4, 3, 3, 8), (0, 1, 2, 3), {}, (1, 1, 1, 1)),
    "a kernel by channel": ((4, 3, 3, 8), (3, 0, 2, 1), {}, (0, 1, 0, 1)),
    "a vector": ((40,), (0,), {}, (1,)),
    "nothing compressed": ((6, 10), (1, 0), {}, (0, 0)),
}


@pytest.mark.parametrize("word", DTYPES)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_elements_are_those_of_densify(tmp_path, pattern, word):
    shape, order, blocks, are_compressed = PATTERNS[pattern]
    for seed in range(5):
        dense = drawn(np.random.default_rng(seed), shape, word, blocks)
        values, parameters = compressed(dense, order, blocks, are_compressed)
        scale = {"scale": [0.5], "zero_point": [0]} if word == "INT8" else {}
        index = opened(tmp_path, tensor_of(values, parameters, shape, word, **scale))
        found = index.tensors["w"]
        read = found.codes() if word == "INT8" else found.values()
        assert read.dtype == dense.dtype
        np.testing.assert_array_equal(read, dense)
        np.testing.assert_array_equal(read, by_litert(tmp_path / "model.tflite", 1))
        assert f"{values.size} of {dense.size} elements are stored" in found.note


@pytest.mark.parametrize("seed", range(40))
def test_random_levels_are_walked_as_the_schema_describes(tmp_path, seed):
    rng = np.random.default_rng(1000 + seed)
    rank = int(rng.integers(1, 5))
    blocks = {axis: int(rng.integers(1, 4)) for axis in range(rank) if rng.random() < 0.4}
    shape = tuple(int(rng.integers(1, 5)) * blocks.get(axis, 1) for axis in range(rank))
    order = [int(number) for number in rng.permutation(rank + len(blocks))]
    are_compressed = [number < rank and rng.random() < 0.5 for number in order]
    dtypes = tuple(rng.choice([np.uint8, np.uint16, np.int32], 2))
    dense = drawn(rng, shape, "FLOAT32", blocks)
    values, parameters = compressed(dense, order, blocks, are_compressed, dtypes)
    np.testing.assert_array_equal(densified(values, parameters, shape), dense)
    found = opened(tmp_path, tensor_of(values, parameters, shape, "FLOAT32")).tensors["w"]
    np.testing.assert_array_equal(found.values(), dense)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int32])
def test_segments_and_indices_of_every_width_are_read(tmp_path, kind):
    dense = drawn(np.random.default_rng(3), (3, 70), "FLOAT16")
    values, parameters = compressed(dense, (0, 1), {}, (0, 1), (kind, kind))
    found = opened(tmp_path, tensor_of(values, parameters, dense.shape, "FLOAT16")).tensors["w"]
    np.testing.assert_array_equal(found.values(), dense)
    np.testing.assert_array_equal(found.values(), by_litert(tmp_path / "model.tflite", 1))


def test_codes_that_are_not_stored_are_zero_before_the_zero_point(tmp_path):
    rng = np.random.default_rng(5)
    dense = drawn(rng, (4, 12), "INT8")
    scale, zero_point = rng.random(4).astype(np.float32), rng.integers(-3, 4, 4)
    values, parameters = compressed(dense, (0, 1), {}, (0, 1))
    found = opened(
        tmp_path, tensor_of(values, parameters, dense.shape, "INT8", scale=scale, zero_point=zero_point)
    ).tensors["w"]
    assert found.quant.granularity == "per_axis"
    np.testing.assert_array_equal(found.codes(), dense)
    whole = Tensor("w", "INT8", dense.shape, dense, scale, zero_point)
    np.testing.assert_array_equal(found.values(), dequantized(whole))


def test_narrow_codes_are_scattered(tmp_path):
    dense = np.array([[0, -8, 0], [7, 0, -1]], np.int8)
    values, parameters = compressed(dense, (0, 1), {}, (0, 1))
    tensor = Tensor("w", "INT4", (2, 3), pack(values, 4), [0.5], [0], changes={"sparsity": parameters})
    assert opened(tmp_path, tensor).tensors["w"].codes().tolist() == dense.tolist()


def test_one_buffer_under_two_patterns_is_no_alias(tmp_path):
    dense = np.array([[0, 1, 0], [2, 0, 3]], np.float32)
    values, by_row = compressed(dense, (0, 1), {}, (0, 1))
    shifted = parameters_of((0, 1), (), [dimension(2), dimension(None, [0, 2, 3], [0, 1, 2])])
    tensors = tensor_of(values, by_row, (2, 3), "FLOAT32"), Tensor("v", "FLOAT32", (2, 3), None)
    tensors[1].changes = {"sparsity": shifted, "buffer": 1}
    index = opened(tmp_path, *tensors)
    assert index.tensors["w"].values().tolist() == dense.tolist()
    assert index.tensors["v"].values().tolist() == [[1, 2, 0], [0, 0, 3]]
    assert not index.tensors["v"].alias_of


def test_a_tensor_of_zeros_stores_nothing_but_its_segments(tmp_path):
    parameters = parameters_of((0, 1), (), [dimension(2), dimension(None, [0, 1, 1], [2])])
    found = opened(tmp_path, tensor_of(np.zeros(1, np.float32), parameters, (2, 3), "FLOAT32")).tensors["w"]
    assert not found.values().any()


DENSE, SPARSE = dimension(2), dimension(None, [0, 1, 2], [0, 2])
DAMAGED = {
    "no traversal order": parameters_of((), (), []),
    "a dimension twice": parameters_of((0, 0), (), [DENSE, SPARSE]),
    "a dimension that is not there": parameters_of((0, 5), (), [DENSE, SPARSE]),
    "a negative dimension": parameters_of((0, -1), (), [DENSE, SPARSE]),
    "a level too few": parameters_of((0, 1), (), [DENSE]),
    "a block of nothing": parameters_of((0, 1, 2), (1,), [DENSE, SPARSE, dimension(0)]),
    "a negative block": parameters_of((0, 1, 2), (1,), [DENSE, SPARSE, dimension(-1)]),
    "blocks that do not divide": parameters_of((0, 1, 2), (1,), [DENSE, SPARSE, dimension(2)]),
    "blocks of a dimension that is not there": parameters_of((0, 1, 2), (7,), [DENSE, SPARSE, dimension(1)]),
    "blocks of a dimension twice": parameters_of((0, 1, 2, 3), (1, 1), [DENSE, SPARSE, dimension(1), dimension(1)]),
    "another length than the shape's": parameters_of((0, 1), (), [dimension(1 << 30), SPARSE]),
    "segments for fewer entries": parameters_of((0, 1), (), [DENSE, dimension(None, [0, 2], [0, 2])]),
    "more places than elements": parameters_of((0, 1), (), [DENSE, dimension(None, [0, 1, 3], [0, 1, 2])]),
    "no index vectors": parameters_of((0, 1), (), [DENSE, schema.DimensionMetadataT()]),
}
DAMAGED["no index vectors"].dimMetadata[1].format = 1
UNREADABLE = {
    "segments that descend": ([0, 3, 2], [0, 2]),
    "segments that do not start at 0": ([1, 1, 2], [0, 2]),
    "segments that end elsewhere": ([0, 1, 1], [0, 2]),
    "negative segments": ([0, -1, 2], [0, 2]),
    "an index outside": ([0, 1, 2], [0, 3]),
    "a negative index": ([0, 1, 2], [0, -1]),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_contradicting_parameters_are_told_and_cost_their_tensor_only(tmp_path, damage):
    bad = tensor_of(np.ones(2, np.float32), DAMAGED[damage], (2, 3), "FLOAT32")
    index = opened(tmp_path, bad, Tensor("good", "FLOAT32", (1,), np.ones(1, np.float32)))
    assert not index.tensors["w"].is_readable
    assert index.tensors["w"].note.startswith("sparse: ")
    assert index.tensors["good"].values().tolist() == [1]


@pytest.mark.parametrize("damage", UNREADABLE)
def test_places_outside_the_tensor_are_refused_when_it_is_read(tmp_path, damage):
    parameters = parameters_of((0, 1), (), [DENSE, dimension(None, *UNREADABLE[damage])])
    found = opened(tmp_path, tensor_of(np.ones(2, np.float32), parameters, (2, 3), "FLOAT32")).tensors["w"]
    with pytest.raises(qw.CorruptModelError, match="level 1"):
        found.values()


@pytest.mark.parametrize("shape", [(1 << 13, (1 << 13) + 1), (1 << 30, 1 << 22), (1 << 20, 1 << 20, 2)])
def test_more_zeros_than_any_model_has_are_refused(tmp_path, shape):
    levels = [dimension(None, [0, 1], [0]) for _ in shape]
    parameters = parameters_of(range(len(shape)), (), levels)
    found = opened(tmp_path, tensor_of(np.ones(1, np.float32), parameters, shape, "FLOAT32")).tensors["w"]
    assert "more than the limit" in found.note
    assert not found.is_readable


def test_dense_levels_that_claim_more_than_is_stored_are_refused_before_they_are_walked(tmp_path):
    parameters = parameters_of((0, 1), (), [dimension(1 << 13), dimension(1 << 13)])
    found = opened(tmp_path, tensor_of(np.ones(1, np.float32), parameters, (1 << 13, 1 << 13), "FLOAT32")).tensors["w"]
    assert "level 1 has 67108864 entries, more than the limit" in found.note
