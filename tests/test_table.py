from __future__ import annotations

import math
import sys
from collections import Counter

import ml_dtypes
import numpy as np
import pytest
from models import model, plain, quantized

import quantwidget as qw
from quantwidget.figures import figures_of
from quantwidget.table import BACKENDS, columns_of, data_frame


def entropy(codes):
    counts = Counter(codes.reshape(-1).tolist())
    return -sum(count / codes.size * math.log2(count / codes.size) for count in counts.values())


def figures(record):
    (tensor,) = model(record).tensors.values()
    return tensor, figures_of(tensor, tensor.sketch())


@pytest.mark.parametrize("seed", range(8))
def test_figures_of_codes_are_those_of_their_definitions(seed):
    rng = np.random.default_rng(seed)
    codes = np.clip(rng.normal(0, 10 * (seed + 1), (16, 25)).round(), -128, 127).astype(np.int8)
    tensor, found = figures(quantized("w", codes, 0.5, np.int8(seed)))
    values = tensor.values().astype(np.float64)
    assert (found.minimum, found.maximum) == (values.min(), values.max())
    assert found.mean == pytest.approx(values.mean(), abs=1e-12)
    assert found.std == pytest.approx(values.std(), rel=1e-12)
    assert found.sparsity == np.mean(values == 0)
    assert found.saturation == np.mean((codes == -128) | (codes == 127))
    assert found.unused_codes == 256 - np.unique(codes).size
    assert found.effective_bits == pytest.approx(entropy(codes), abs=1e-12)


def test_equal_codes_hold_no_bits_at_all():
    _, found = figures(quantized("w", np.full((4, 4), 7, np.int8), 1.0))
    assert (found.effective_bits, found.unused_codes, found.saturation) == (0, 255, 0)


def test_plain_values_have_no_figures_of_codes():
    _, found = figures(plain("w", np.float32([0, 0, 1, -3])))
    assert (found.sparsity, found.minimum, found.maximum) == (0.5, -3, 1)
    assert found.saturation is found.unused_codes is found.effective_bits is None


def test_wide_codes_say_what_is_certain():
    codes = np.random.default_rng(1).integers(-(1 << 30), 1 << 30, 1 << 19, dtype=np.int32)
    _, found = figures(quantized("w", codes, 1e-6))
    assert found.saturation == 0
    assert found.unused_codes is found.effective_bits is None


def test_empty_and_not_finite_tensors_have_no_figures():
    _, empty = figures(plain("w", np.zeros((0, 3), np.float32)))
    assert set(vars(empty).values()) == {None}
    _, nothing = figures(plain("w", np.full(3, np.nan, ml_dtypes.bfloat16)))
    assert (nothing.minimum, nothing.sparsity) == (None, 0)


@pytest.fixture
def index():
    codes = np.random.default_rng(4).integers(-128, 128, (8, 50), dtype=np.int8)
    return model(
        quantized("a.weight", codes, 0.5, np.int8(-3)),
        plain("a.bias", np.float32([1, 2, 3])),
        plain("a.tied", np.float32([1, 2, 3]), alias_of="a.bias"),
        plain("b.weight", np.zeros(4, np.float32), storage=None, note="gone"),
    )


@pytest.mark.parametrize("backend", ["pandas", "polars"])
def test_the_widget_gives_a_data_frame(index, backend):
    frame = qw.QuantWidget(index).table(backend)
    assert type(frame).__module__.startswith(backend)
    assert list(frame["name"]) == list(index.tensors)
    assert list(frame["maximum"])[:3] == [float(index.tensors["a.weight"].values().max()), 3, 3]
    assert list(frame["parameters"]) == [400, 3, 3, 4]
    missing = list(frame["minimum"])[3]
    assert missing is None or math.isnan(missing)
    assert [list(shape) for shape in frame["shape"]] == [[8, 50], [3], [3], [4]]


def test_the_first_backend_that_is_there_is_taken(index):
    assert type(qw.QuantWidget(index).table()).__module__.startswith(BACKENDS[0])


def test_a_model_without_tensors_is_an_empty_table():
    assert columns_of(model(), {}) == {}
    assert len(data_frame({}, "pandas")) == 0


def test_what_is_missing_is_said(monkeypatch, index):
    with pytest.raises(ValueError, match="not by 'excel'"):
        data_frame({}, "excel")
    monkeypatch.setattr("quantwidget.table.find_spec", lambda name: None if name == "polars" else sys.modules[name])
    with pytest.raises(ImportError, match="polars"):
        qw.QuantWidget(index).table("polars")
    monkeypatch.setattr("quantwidget.table.find_spec", lambda _: None)
    with pytest.raises(ImportError, match="pandas or polars or pyarrow"):
        qw.QuantWidget(index).table()
