from __future__ import annotations

import math
import tracemalloc
from dataclasses import replace

import ml_dtypes
import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from models import model, plain, quantized
from onnx import TensorProto, helper

from quantwidget.dtypes import DTYPES
from quantwidget.errors import NotDecodedError
from quantwidget.quant import QuantScheme
from quantwidget.sources import HeldBytes
from quantwidget.storage import Storage


@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=3).flatmap(
        lambda shape: st.tuples(st.just(tuple(shape)), st.tuples(*(st.integers(1, length) for length in shape)))
    ),
    st.integers(0, 2**32 - 1),
    st.booleans(),
)
def test_values_are_codes_minus_zero_point_times_scale_for_every_block_shape(shapes, seed, with_zero_point):
    shape, block_shape = shapes
    rng = np.random.default_rng(seed)
    codes = rng.integers(-128, 128, shape, dtype=np.int8)
    blocks = tuple(math.ceil(length / block) for length, block in zip(shape, block_shape, strict=True))
    scale = rng.uniform(1e-4, 2, blocks).astype(np.float32)
    zero_point = rng.integers(-128, 128, blocks, dtype=np.int8) if with_zero_point else None
    tensor = model(quantized("a.weight", codes, scale, zero_point, block_shape=block_shape)).tensors["a.weight"]

    expected = np.empty(shape, np.float32)
    for place in np.ndindex(shape):
        block = tuple(index // length for index, length in zip(place, block_shape, strict=True))
        zero = 0 if zero_point is None else int(zero_point[block])
        expected[place] = np.float32((int(codes[place]) - zero) * float(scale[block]))
    values = tensor.values()
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, expected)
    np.testing.assert_array_equal(tensor.codes(), codes)
    pieces = list(tensor.chunks(elements=5))
    np.testing.assert_array_equal(np.concatenate([piece.values for piece in pieces]), expected.reshape(-1))
    np.testing.assert_array_equal(np.concatenate([piece.codes for piece in pieces]), codes.reshape(-1))


@pytest.mark.parametrize(
    ("block_shape", "granularity", "axis"),
    [((4, 6), "per_tensor", None), ((1, 6), "per_axis", 0), ((4, 1), "per_axis", 1), ((1, 3), "per_block", None)],
)
def test_granularity_and_axis_follow_from_the_block_shape(block_shape, granularity, axis):
    quant = QuantScheme(kind="affine", code_dtype="int8", shape=(4, 6), block_shape=block_shape)
    assert (quant.granularity, quant.axis) == (granularity, axis)


def test_the_offset_is_added_after_scaling():
    record = quantized("a", np.array([0, 1, 2], np.uint8), 0.5)
    quant = replace(record.quant, offset_storage=Storage.of(np.array([-1.0], np.float32)))
    tensor = model(replace(record, quant=quant)).tensors["a"]
    np.testing.assert_array_equal(tensor.values(), np.array([-1, -0.5, 0], np.float32))


def test_plain_values_keep_their_type_and_have_no_codes():
    array = np.arange(6, dtype=np.int64).reshape(2, 3)
    tensor = model(plain("steps", array)).tensors["steps"]
    np.testing.assert_array_equal(tensor.values(), array)
    assert tensor.values().dtype == np.int64
    assert not tensor.is_quantized
    with pytest.raises(NotDecodedError, match="plain values"):
        tensor.codes()


def test_bfloat16_comes_as_float32():
    array = np.array([1.5, -2.25], ml_dtypes.bfloat16)
    values = model(plain("a", array)).tensors["a"].values()
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, [1.5, -2.25])


def test_a_tensor_that_is_listed_only_says_why():
    record = plain("a", np.zeros(3, np.float32), storage=None, note="it lies past the end of the file")
    tensor = model(record).tensors["a"]
    assert not tensor.is_readable
    with pytest.raises(NotDecodedError, match="past the end"):
        tensor.values()


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int32, np.int8, np.bool_])
@pytest.mark.parametrize("size", [0, 1, 1000, 10_000])
def test_statistics_and_histogram_equal_numpy_on_the_whole_tensor(dtype, size):
    array = (np.random.default_rng(size).standard_normal(size) * 40).astype(dtype)
    tensor = model(plain("a", array)).tensors["a"]
    statistics = tensor.stats()
    wide = array.astype(np.float64)
    assert statistics.count == size
    assert statistics.zeros == np.count_nonzero(wide == 0)
    if size == 0:
        assert statistics.minimum is statistics.mean is None
        return
    assert (statistics.minimum, statistics.maximum) == (wide.min(), wide.max())
    np.testing.assert_allclose([statistics.mean, statistics.std], [wide.mean(), wide.std()], rtol=1e-12, atol=1e-15)
    histogram = tensor.histogram(bins=37)
    counts, edges = np.histogram(wide, bins=37)
    np.testing.assert_array_equal(histogram.edges, edges)
    np.testing.assert_array_equal(histogram.counts, counts)


def test_a_sketch_of_one_scale_counts_codes_only():
    codes = np.random.default_rng(3).integers(-128, 128, 5000, dtype=np.int8)
    one = model(quantized("a", codes, 0.25, np.int8(3))).tensors["a"].sketch()
    assert one.values is None
    assert one.statistics.maximum == (int(codes.max()) - 3) * 0.25
    many = model(quantized("a", codes.reshape(50, 100), np.full(50, 0.25), block_shape=(1, 100))).tensors["a"].sketch()
    assert many.values is not None


@pytest.mark.parametrize(("scale", "nan", "infinite"), [(np.inf, 1, 1), (np.nan, 3, 0), (3e38, 0, 1)])
def test_a_scale_that_is_no_good_shows_in_the_values(scale, nan, infinite):
    tensor = model(quantized("a", np.array([-2, 0, 1], np.int8), scale)).tensors["a"]
    statistics = tensor.sketch().statistics
    assert (statistics.nan, statistics.positive_infinity, statistics.negative_infinity) == (
        nan,
        infinite if scale == np.inf else 0,
        infinite,
    )
    assert (tensor.affine_map() is None) == (not np.isfinite(scale))


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("scale", [0.05, 1 / 3, 1e-40])
def test_values_equal_what_torch_dequantizes_also_for_scales_that_float32_does_not_hold(scale):
    codes = np.arange(-128, 128, dtype=np.int8)
    record = quantized("a", codes, 1)
    exact = replace(record.quant, scale_storage=Storage.of(np.array([scale])))
    tensor = model(replace(record, quant=exact)).tensors["a"]
    quantize = torch._make_per_tensor_quantized_tensor
    expected = quantize(torch.from_numpy(codes), scale, 0).dequantize().numpy()
    np.testing.assert_array_equal(tensor.values(), expected)
    one_map = tensor.affine_map()
    np.testing.assert_array_equal((codes * one_map.scale).astype(np.float32), expected)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_values_equal_what_torch_dequantizes_with_float_zero_points():
    rng = np.random.default_rng(8)
    weight = torch.from_numpy(rng.standard_normal((6, 50)).astype(np.float32))
    scales, zero_points = torch.rand(6) / 100, torch.randn(6) * 20
    made = torch.quantize_per_channel(weight, scales, zero_points, 0, torch.quint8)
    record = quantized("a", made.int_repr().numpy(), np.ones(6), block_shape=(1, 50))
    exact = replace(
        record.quant,
        scale_storage=Storage.of(made.q_per_channel_scales().numpy().reshape(6, 1)),
        zero_point_storage=Storage.of(made.q_per_channel_zero_points().numpy().reshape(6, 1)),
    )
    tensor = model(replace(record, quant=exact)).tensors["a"]
    assert exact.zero_point.dtype.kind == "f"
    np.testing.assert_array_equal(tensor.values(), made.dequantize().numpy())


def test_a_scale_beyond_float32_is_infinite():
    record = quantized("a", np.array([1], np.int8), 1)
    huge = replace(record.quant, scale_storage=Storage.of(np.array([1e300])))
    tensor = model(replace(record, quant=huge)).tensors["a"]
    assert tensor.stats().positive_infinity == 1
    assert tensor.affine_map() is None


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("dtype", "zero_point"), [(torch.qint8, 3), (torch.quint8, 0), (torch.qint32, 7)])
@pytest.mark.parametrize("per_channel", [False, True])
def test_values_equal_what_torch_dequantizes_also_for_large_codes(dtype, zero_point, per_channel):
    rng = np.random.default_rng(9)
    numpy_type = {torch.qint8: np.int8, torch.quint8: np.uint8, torch.qint32: np.int32}[dtype]
    limits = np.iinfo(numpy_type)
    codes = rng.integers(limits.min // 2, limits.max // 2, (5, 400), dtype=numpy_type, endpoint=True)
    integers = torch.from_numpy(codes)
    if per_channel:
        scales, zero_points = torch.rand(5, dtype=torch.float64), torch.full((5,), zero_point)
        made = torch._make_per_channel_quantized_tensor(integers, scales, zero_points, 0)
        stored, block = scales.numpy().reshape(5, 1), (1, 400)
    else:
        made = torch._make_per_tensor_quantized_tensor(integers, 0.07, zero_point)
        stored, block = np.full((1, 1), 0.07), (5, 400)
    record = quantized("a", codes, np.ones(stored.shape), np.full(stored.shape, zero_point), block_shape=block)
    tensor = model(replace(record, quant=replace(record.quant, scale_storage=Storage.of(stored)))).tensors["a"]
    np.testing.assert_array_equal(tensor.values(), made.dequantize().numpy())


def test_large_codes_equal_what_onnxruntime_dequantizes():
    codes = np.random.default_rng(10).integers(-(2**31), 2**31 - 1, 500, dtype=np.int32)
    graph = helper.make_graph(
        [helper.make_node("DequantizeLinear", ["x", "s"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.INT32, [500])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [500])],
        [helper.make_tensor("s", TensorProto.FLOAT, [], [0.013])],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {"x": codes})
    np.testing.assert_array_equal(model(quantized("a", codes, 0.013)).tensors["a"].values(), expected)


def test_values_are_rounded_to_the_type_that_the_model_computes_with():
    codes = np.arange(-128, 128, dtype=np.int8)
    record = quantized("a", codes, 0.1)
    tensor = model(replace(record, dtype="float16")).tensors["a"]
    expected = (codes * np.float32(0.1)).astype(np.float16)
    np.testing.assert_array_equal(tensor.values(), expected.astype(np.float32))


def test_a_transposed_tensor_is_read_in_the_order_of_the_file(monkeypatch):
    whole = np.arange(300 * 400, dtype=np.float32).reshape(300, 400)
    source = HeldBytes(whole.tobytes())
    storage = Storage(source, DTYPES["float32"], (400, 300), strides=(1, 400))
    tensor = model(plain("a", np.zeros(1, np.float32), storage=storage, shape=(400, 300))).tensors["a"]
    np.testing.assert_array_equal(tensor.values(), whole.T)
    looked_at = []
    view = source.view
    monkeypatch.setattr(source, "view", lambda offset, nbytes: looked_at.append(nbytes) or view(offset, nbytes))
    pieces = [chunk.values for chunk in tensor.chunks(elements=4000)]
    np.testing.assert_array_equal(np.sort(np.concatenate(pieces)), np.arange(whole.size))
    assert sum(looked_at) == whole.nbytes


def test_complex_numbers_have_values_and_no_distribution():
    tensor = model(plain("a", np.array([1 + 2j, 3]))).tensors["a"]
    np.testing.assert_array_equal(tensor.values(), [1 + 2j, 3])
    with pytest.raises(NotDecodedError, match="complex"):
        tensor.sketch()


@pytest.mark.parametrize("ask", ["values", "codes", "sketch", "stats", "histogram"])
def test_a_tensor_of_an_unknown_type_and_an_absurd_shape_is_listed_only(ask):
    record = plain("a", np.zeros(1), storage=None, dtype="type 39", shape=(2**62, 2**62), note="unknown type")
    with pytest.raises(NotDecodedError, match="unknown type"):
        getattr(model(record).tensors["a"], ask)()


@pytest.mark.parametrize(
    ("bins", "limits"), [(0, None), (-3, None), (5, (1, 0)), (5, (np.nan, 1)), (5, (0, np.inf)), (5, (-np.inf, 0))]
)
def test_a_histogram_of_nonsense_is_refused(bins, limits):
    tensor = model(plain("a", np.arange(9.0))).tensors["a"]
    with pytest.raises(ValueError, match=r"at least one bin|ascends"):
        tensor.histogram(bins=bins, range=limits)


def test_complex_numbers_have_no_histogram():
    with pytest.raises(NotDecodedError, match="complex"):
        model(plain("a", np.array([1 + 2j]))).tensors["a"].histogram(range=(0, 1))


@pytest.mark.parametrize("block_shape", [(0, 4), (1, 4)])
def test_an_empty_quantized_tensor_has_empty_statistics(block_shape):
    record = quantized("a", np.zeros((0, 4), np.int8), np.zeros(0), block_shape=block_shape)
    tensor = model(record).tensors["a"]
    assert tensor.stats().count == 0
    assert tensor.histogram().counts.sum() == 0
    assert tensor.values().shape == (0, 4)


def test_a_reference_shows_itself_in_one_line():
    tensor = model(quantized("conv.weight", np.zeros((2, 3), np.int8), np.ones(2), block_shape=(1, 3))).tensors
    assert repr(tensor["conv.weight"]) == "<TensorRef 'conv.weight': 2 × 3, int8 per_axis>"
    assert repr(tensor["conv.weight"].quant) == "<QuantScheme affine int8 per_axis 0, scale explicit, stored>"


def test_a_finished_sketch_holds_no_table_of_all_keys():
    array = np.random.default_rng(1).standard_normal(1 << 19).astype(np.float32)
    tensor = model(plain("w", array)).tensors["w"]
    tensor.sketch(fine=False)
    tracemalloc.start()
    try:
        kept = [tensor.sketch(fine=False) for _ in range(6)]
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(kept) == 6
    # The thread keeps a table to use it again; the sketches hold what occurs.
    assert held < 3 << 20
