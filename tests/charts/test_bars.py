from __future__ import annotations

import numpy as np
import pytest
import vl_convert
from drawn import marks_of, nbytes_of, rows_of
from models import model, plain, quantized

import quantwidget as qw
from quantwidget import charts
from quantwidget.errors import NotDecodedError
from quantwidget.sketches import Histogram
from quantwidget.tensor import MOST_BARS


@pytest.fixture
def values():
    return np.random.default_rng(2).normal(0.1, 2, (30, 40)).astype(np.float32)


@pytest.fixture
def index(values):
    codes = np.clip(np.rint(values * 20), -128, 127).astype(np.int8)
    return model(
        plain("a", values), quantized("b", codes, 0.05), quantized("wide", codes.astype(np.int32) * 1000, 1e-3)
    )


@pytest.mark.parametrize("bins", [1, 7, 50])
def test_bars_hold_what_numpy_counts(index, values, bins):
    counts, edges = np.histogram(values.astype(np.float64), bins)
    drawn = rows_of(index.tensors["a"].chart(bins))
    assert [bar["count"] for bar in drawn] == counts.tolist()
    assert [bar["low"] for bar in drawn] == pytest.approx(edges[:-1].tolist())
    assert [bar["high"] for bar in drawn] == pytest.approx(edges[1:].tolist())
    assert sum(bar["share"] for bar in drawn) == pytest.approx(1)


def test_a_range_leaves_the_rest_out_of_the_bars_but_not_of_the_shares(index, values):
    drawn = rows_of(index.tensors["a"].chart(4, range=(0.0, 1.0)))
    inside = (values >= 0) & (values <= 1)
    assert sum(bar["count"] for bar in drawn) == np.count_nonzero(inside)
    assert sum(bar["share"] for bar in drawn) == pytest.approx(inside.mean())


def test_each_code_has_a_bar_of_its_own(index):
    codes = index.tensors["b"].codes()
    drawn = {round(bar["low"] + 0.5): bar["count"] for bar in rows_of(index.tensors["b"].chart(space="codes"))}
    assert drawn == {code: np.count_nonzero(codes == code) for code in range(codes.min(), codes.max() + 1)}
    assert len(rows_of(index.tensors["wide"].chart(space="codes"))) == 50 < MOST_BARS
    assert rows_of(index.tensors["b"].chart(space="codes", range=(-2, 2)))[0]["low"] == -2.5
    with pytest.raises(NotDecodedError, match="plain values"):
        index.tensors["a"].chart(space="codes")


@pytest.mark.parametrize("log", [False, True])
def test_a_chart_becomes_a_picture_without_a_network(index, log):
    chart = index.tensors["a"].chart(log=log)
    picture = vl_convert.vegalite_to_svg(chart.to_json())
    assert picture.count("<path") > 20
    assert "a" in picture


def test_large_tensors_make_small_charts():
    tensor = model(plain("a", np.random.default_rng(1).standard_normal(1 << 20, dtype=np.float32))).tensors["a"]
    assert nbytes_of(tensor.chart()) < 10_000


def test_names_are_text():
    record = plain("<script>", np.ones(3, np.float32))
    picture = vl_convert.vegalite_to_svg(model(record).tensors["<script>"].chart().to_json())
    assert "<script>" not in picture
    assert "&lt;script&gt;" in picture


def test_the_widget_draws_the_selected_tensor(index):
    widget = qw.QuantWidget(index)
    widget.select("b")
    assert widget.chart(12).to_dict()["title"]["text"] == "b"
    assert len(rows_of(widget.chart(12))) == 12
    widget.selected = None
    with pytest.raises(ValueError, match="selected"):
        widget.chart()


def test_bounds_show_where_a_count_is_an_estimate():
    edges, counts = np.float64([0, 1, 2]), np.float64([3, 4])
    for errors, shows in ((np.float64([1, 0]), True), (np.zeros(2), False)):
        chart = charts.histogram(Histogram(edges, counts, 0.0, 1.0, errors))
        titles = [tip["title"] for tip in chart.to_dict()["layer"][0]["encoding"]["tooltip"]]
        assert ("± at most" in titles) is shows


def test_the_picture_shows_the_counts_and_the_marks(index, values):
    counts, edges = np.histogram(values.astype(np.float64), 5)
    *bars, mark = marks_of(index.tensors["a"].chart(5))
    assert [int(bar["elements"]) for bar in bars] == counts.tolist()
    assert [float(bar["value from"]) for bar in bars] == pytest.approx(edges[:-1].tolist(), rel=1e-4)
    assert mark["name"] == "mean"
    assert float(mark["at"]) == pytest.approx(values.astype(np.float64).mean(), rel=1e-4)
