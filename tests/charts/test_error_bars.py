from __future__ import annotations

import numpy as np
import pytest
from drawn import marks_of, rows_of
from models import model, plain, quantized

import quantwidget as qw
from quantwidget import charts


def both_of(values, scale, low=-128, high=127):
    codes = np.clip(np.rint(values / scale), low, high).astype(np.int8)
    both = qw.compare_models(model(quantized("w", codes, scale)), model(plain("w", values)))
    return both, codes.astype(np.float32) * np.float32(scale)


@pytest.mark.parametrize("seed", range(3))
def test_bins_hold_what_numpy_counts_on_both_sides(seed):
    values = np.random.default_rng(seed).normal(0, 1, (40, 50)).astype(np.float32)
    both, rounded = both_of(values, 0.05)
    drawn = rows_of(charts.compare(both, "w"))
    edges = [row["low"] for row in drawn] + [drawn[-1]["high"]]
    for name, side in (("reference", values), ("values", rounded)):
        assert [row[name] for row in drawn] == np.histogram(side.astype(np.float64), edges)[0].tolist()
        assert sum(row[name] for row in drawn) == values.size


@pytest.mark.parametrize("brushed", [None, (0.0, 0.999)])
def test_the_errors_below_are_those_of_the_elements_under_the_brush(brushed):
    values = np.random.default_rng(6).uniform(-4, 4, (64, 64)).astype(np.float32)
    both, rounded = both_of(values, 0.1)
    chart = charts.compare(both, "w")
    selected = {} if brushed is None else {"range": {"x": [*brushed]}}
    errors = rounded.astype(np.float64) - values
    inside = np.ones(values.shape, bool) if brushed is None else (values >= brushed[0]) & (values < 1)
    bars = [mark for mark in marks_of(chart, **selected) if "error from" in mark]
    assert len(bars) > 10
    for bar in bars:
        low, high = (float(end) for end in bar["error"].split(" – "))
        assert int(bar["elements"]) == np.count_nonzero(inside & (errors >= low) & (errors < high))
    assert sum(int(bar["elements"]) for bar in bars) == np.count_nonzero(inside)


def test_values_beyond_the_reference_are_drawn_or_counted():
    values = np.linspace(-1, 1, 64, dtype=np.float32).reshape(8, 8)
    shifted = values + np.float32(0.25)
    shifted[0, 0] = 1e6
    both = qw.compare_models(model(plain("w", shifted)), model(plain("w", values)), match={"w": "w"})
    chart = charts.compare(both, "w")
    drawn = rows_of(chart)
    assert drawn[-1]["low"] > 1
    assert sum(row["values"] for row in drawn) == 63
    assert "1 value beyond" in chart.to_dict()["title"]["subtitle"]


def test_what_is_not_finite_is_left_out():
    values = np.random.default_rng(3).normal(0, 1, (8, 8)).astype(np.float32)
    broken = values.copy()
    broken[0, :3] = np.nan, np.inf, -np.inf
    both = qw.compare_models(model(plain("w", broken)), model(plain("w", values)), match={"w": "w"})
    chart = charts.compare(both, "w")
    assert sum(row["reference"] for row in rows_of(chart)) == 61
    assert "nothing differs" in chart.to_dict()["title"]["subtitle"]
    nothing = model(plain("w", np.full((8, 8), np.nan, np.float32)))
    with pytest.raises(ValueError, match="no element that is finite"):
        charts.compare(qw.compare_models(nothing, model(plain("w", values)), match={"w": "w"}), "w")
    with pytest.raises(KeyError):
        charts.compare(both, "other")
