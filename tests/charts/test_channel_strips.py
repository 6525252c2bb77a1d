from __future__ import annotations

import numpy as np
import pytest
from drawn import marks_of, rows_of
from models import model, plain, quantized

from quantwidget import charts
from quantwidget.charts.channel_strips import MOST_STRIPS


@pytest.fixture
def codes():
    return np.random.default_rng(5).integers(-100, 101, (6, 5, 4)).astype(np.int8)


@pytest.fixture
def scales():
    return np.float32([0.5, 0.25, 1, 2, 0.125])


@pytest.fixture
def tensor(codes, scales):
    zero_points = np.int8([3, 0, -5, 1, 0])
    return model(quantized("w", codes, scales, zero_points, block_shape=(6, 1, 4))).tensors["w"]


def test_rows_hold_the_extremes_of_each_channel_and_what_its_scale_can_stand_for(tensor, codes, scales):
    zero_points = np.float64([3, 0, -5, 1, 0])
    values = (codes - zero_points[None, :, None]) * scales[None, :, None]
    drawn = rows_of(charts.channels(tensor))
    assert [row["minimum"] for row in drawn] == values.min(axis=(0, 2)).tolist()
    assert [row["maximum"] for row in drawn] == values.max(axis=(0, 2)).tolist()
    assert [row["low"] for row in drawn] == ((-128 - zero_points) * scales).tolist()
    assert [row["high"] for row in drawn] == ((127 - zero_points) * scales).tolist()
    assert [row["elements"] for row in drawn] == [24] * 5
    assert [(row["first"], row["end"]) for row in drawn] == [(place, place + 1) for place in range(5)]


def test_other_axes_and_codes(tensor, codes):
    drawn = rows_of(charts.channels(tensor, 2, space="codes"))
    assert [row["minimum"] for row in drawn] == codes.min(axis=(0, 1)).tolist()
    assert {(row["low"], row["high"]) for row in drawn} == {(-128, 127)}
    assert {row["low"] for row in rows_of(charts.channels(tensor, 0))} == {None}


def test_strips_of_a_tensor_with_one_scale_all_have_its_range(codes):
    tensor = model(quantized("w", codes, -0.5)).tensors["w"]
    assert {(row["low"], row["high"]) for row in rows_of(charts.channels(tensor))} == {(-63.5, 64.0)}


def test_narrow_floats_reach_as_far_as_their_type_does():
    import ml_dtypes  # noqa: PLC0415

    from quantwidget.charts.representable import representable_range  # noqa: PLC0415
    from quantwidget.quant import QuantScheme  # noqa: PLC0415
    from quantwidget.storage import Storage  # noqa: PLC0415

    for name, largest in (("float8_e4m3fn", 448), ("float8_e5m2", 57344), ("float4_e2m1fn", 6)):
        assert float(ml_dtypes.finfo(getattr(ml_dtypes, name)).max) == largest
        scheme = QuantScheme(
            kind="float", code_dtype=name, shape=(2, 2), block_shape=(1, 2),
            scale_storage=Storage.of(np.float32([[0.5], [2]])),
        )  # fmt: skip
        low, high = representable_range(scheme)
        assert high.reshape(-1).tolist() == [largest / 2, largest * 2] == (-low).reshape(-1).tolist()


@pytest.mark.parametrize("number", [MOST_STRIPS, MOST_STRIPS + 1, 1000])
def test_neighbours_share_a_strip_where_there_are_many(number):
    values = np.random.default_rng(number).normal(0, 1, (number, 3)).astype(np.float32)
    values[0, 0], values[-1, 0] = np.nan, np.inf
    drawn = rows_of(charts.channels(model(plain("w", values)).tensors["w"]))
    assert number / (2 * MOST_STRIPS) <= len(drawn) <= MOST_STRIPS
    assert [row["end"] for row in drawn[:-1]] == [row["first"] for row in drawn[1:]]
    assert (drawn[0]["first"], drawn[-1]["end"]) == (0, number)
    finite = np.where(np.isfinite(values), values, np.nan)
    for row in drawn:
        inside = finite[row["first"] : row["end"]]
        assert (row["minimum"], row["maximum"]) == (np.nanmin(inside), np.nanmax(inside))
        assert row["elements"] == inside.size


@pytest.mark.parametrize("brushed", [None, (1, 2.5)])
def test_the_bars_below_add_up_the_strips_under_the_brush(brushed):
    values = np.random.default_rng(8).normal(0, 1, (4, 500)).astype(np.float32)
    chart = charts.channels(model(plain("w", values)).tensors["w"])
    selected = {} if brushed is None else {"channels": {"y": [*brushed]}}
    bars = [mark for mark in marks_of(chart, **selected) if "channel" not in mark]
    inside = values if brushed is None else values[1:3]
    assert len(bars) > 10
    for bar in bars:
        low, high = (float(end) for end in bar["value"].split(" – "))
        assert int(bar["elements"]) == np.count_nonzero((inside >= low) & (inside < high))
    assert sum(int(bar["elements"]) for bar in bars) == inside.size


def test_each_cell_of_a_strip_says_its_share():
    values = np.float32([[0, 0, 0, 8], [8, 8, 8, 8]])
    cells = [mark for mark in marks_of(charts.channels(model(plain("w", values)).tensors["w"])) if "value from" in mark]
    assert [(cell["channel"][:1], cell["elements"], cell["share"]) for cell in cells] == [
        ("0", "3", "75.000%"), ("0", "1", "25.000%"), ("1", "4", "100.000%"),
    ]  # fmt: skip


def test_many_channels_and_none():
    empty = charts.channels(model(plain("w", np.zeros((0, 3), np.float32))).tensors["w"])
    assert rows_of(empty) == []
    assert charts.channels(model(plain("w", np.float32(3))).tensors["w"]).to_dict()["title"]["text"] == "w"
