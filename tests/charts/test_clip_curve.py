from __future__ import annotations

import numpy as np
import pytest
from drawn import marks_of, rows_of
from models import model, plain, quantized

from quantwidget import charts
from quantwidget.errors import NotDecodedError


def sqnr(values, clip, bits):
    values, last = values.astype(np.float64), 2 ** (bits - 1) - 1
    rounded = np.clip(np.rint(values / (clip / last)), -last, last) * (clip / last)
    return 20 * np.log10(np.linalg.norm(values) / np.linalg.norm(values - rounded))


def choices(chart, choice):
    return [mark for mark in marks_of(chart) if mark.get("marked", mark.get("choice")) == choice and "bits" in mark]


@pytest.mark.parametrize("seed", range(3))
def test_points_are_what_rounding_gives(seed):
    values = np.random.default_rng(seed).standard_t(4, 3000).astype(np.float16)
    chart = charts.error_curve(model(plain("w", values)).tensors["w"], (2, 4, 8))
    drawn = rows_of(chart)
    assert {row["bits"] for row in drawn} == {2, 4, 8}
    assert "lower_db" not in drawn[0]
    for row in drawn:
        assert row["sqnr_db"] == pytest.approx(sqnr(values, row["clip"], row["bits"]), abs=1e-6)
    for mark in choices(chart, "best"):
        of_these = [row["sqnr_db"] for row in drawn if row["bits"] == int(mark["bits"])]
        assert float(mark["SQNR in dB"]) >= max(of_these) - 0.005
    assert len(choices(chart, "best")) == len(choices(chart, "today")) == 3
    for mark in choices(chart, "today"):
        assert float(mark["clip at ±"]) == pytest.approx(np.abs(values).max(), rel=1e-4)


def test_estimates_have_their_ends_around_the_truth():
    values = np.random.default_rng(4).normal(0, 1, 200_000).astype(np.float32)
    drawn = rows_of(charts.error_curve(model(plain("w", values)).tensors["w"], 8))
    for row in drawn:
        assert row["lower_db"] <= sqnr(values, row["clip"], 8) <= row["upper_db"]


def test_the_range_of_a_scheme_is_todays():
    codes = np.random.default_rng(1).integers(-30, 31, (4, 50)).astype(np.int8)
    index = model(
        quantized("one", codes, 0.5),
        quantized("each", codes, [0.25, 0.5, 1, 0.125], block_shape=(1, 50)),
        quantized("moved", codes.astype(np.uint8) // 2, 0.5, np.uint8(100)),
    )
    for name, clip in (("one", 64), ("each", 128), ("moved", (255 - 100) / 2)):
        chart = charts.error_curve(index.tensors[name])
        assert {row["bits"] for row in rows_of(chart)} == {8}
        (today,) = choices(chart, "today")
        assert float(today["clip at ±"]) == clip
        assert float(today["SQNR in dB"]) == pytest.approx(sqnr(index.tensors[name].values(), clip, 8), abs=0.005)
        assert rows_of(chart)[-1]["clip"] == pytest.approx(clip)
    (today,) = choices(charts.error_curve(index.tensors["one"], 4, today=3.0), "today")
    assert float(today["clip at ±"]) == 3


def test_nothing_to_clip_is_refused():
    index = model(plain("zeros", np.zeros(4, np.float32)), plain("nan", np.full(3, np.nan)), plain("w", np.ones(3)))
    for name in ("zeros", "nan"):
        with pytest.raises(ValueError, match="no range to clip"):
            charts.error_curve(index.tensors[name])
    with pytest.raises(ValueError, match="positive"):
        charts.error_curve(index.tensors["w"], today=-1.0)
    with pytest.raises(ValueError, match="bits"):
        charts.error_curve(index.tensors["w"], 1)
    listed = model(plain("w", np.ones(3), storage=None)).tensors["w"]
    with pytest.raises(NotDecodedError):
        charts.error_curve(listed)


def test_a_curve_without_any_noise_has_no_number():
    values = np.float32([-127, 0, 1, 127])
    drawn = rows_of(charts.error_curve(model(plain("w", values)).tensors["w"], 8))
    assert drawn[-1]["sqnr_db"] is None
