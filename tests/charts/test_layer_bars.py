from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import vl_convert
from drawn import nbytes_of, rows_of
from models import model, plain

import quantwidget as qw
from quantwidget import charts
from quantwidget.charts.layer_bars import MOST_LAYERS

MODELS = Path(__file__).parents[2] / "examples" / "models"


def test_layers_hold_the_bytes_of_their_tensors_and_the_noise_of_their_pairs():
    index = qw.open_model(MODELS / "resnet8_int8_qdq_per_channel.onnx")
    reference = qw.open_model(MODELS / "resnet8.onnx")
    both = qw.compare_models(index, reference)
    drawn = {row["layer"]: row for row in rows_of(charts.overview(index, both))}
    assert list(drawn) == list(index.layers)
    for path, layer in index.layers.items():
        tensors = [index.tensors[name] for name in layer.roles.values()]
        nbytes, elements = sum(one.nbytes for one in tensors), sum(one.size for one in tensors)
        row = drawn[path]
        assert (row["bytes"], row["elements"], row["bits"]) == (nbytes, elements, 8 * nbytes / elements)
        pairs = [
            (one.values().astype(np.float64).reshape(-1), reference.tensors[both.matching.pairs[one.name].reference])
            for one in tensors
            if one.name in both
        ]
        if not pairs:
            assert row["sqnr_db"] is None
            continue
        signal = np.concatenate([other.values().astype(np.float64).reshape(-1) for _, other in pairs])
        values = np.concatenate([one for one, _ in pairs])
        ratio = 20 * np.log10(np.linalg.norm(signal) / np.linalg.norm(values - signal))
        assert row["sqnr_db"] == pytest.approx(ratio, abs=1e-9)


def test_tensors_that_share_bytes_count_once():
    one = plain("a.weight", np.ones((4, 4), np.float32))
    other = plain("b.weight", np.ones((4, 4), np.float32), alias_of="a.weight")
    assert [(row["layer"], row["bytes"]) for row in rows_of(charts.overview(model(one, other)))] == [("a", 64)]
    lost = plain("b.weight", np.ones((4, 4), np.float32), alias_of="elsewhere")
    assert len(rows_of(charts.overview(model(lost)))) == 1


def test_of_many_layers_the_largest_are_drawn_and_the_others_added_up():
    sizes = np.random.default_rng(2).permutation(np.arange(1, 501))
    index = model(*(plain(f"layer{size}.weight", np.zeros(size, np.int8)) for size in sizes))
    chart = charts.overview(index)
    *named, rest = rows_of(chart)
    assert [row["layer"] for row in named] == [f"layer{size}" for size in sizes if size > 500 - MOST_LAYERS]
    assert rest["layer"] == f"{500 - MOST_LAYERS} smaller layers"
    assert rest["bytes"] == sum(range(1, 501 - MOST_LAYERS))
    assert nbytes_of(chart) < 30_000


def test_names_that_are_cut_stay_apart():
    names = [f"{'x' * 40}{'y' * number}{'x' * 40}.weight" for number in range(20, 23)]
    chart = charts.overview(model(*(plain(name, np.zeros(1, np.int8)) for name in names)))
    shown = [row["layer"] for row in rows_of(chart)]
    assert len(set(shown)) == 3
    assert all("…" in name and len(name) < 64 for name in shown)


def test_what_the_brush_leaves_out_is_fainter():
    index = model(*(plain(f"{name}.weight", np.zeros(3, np.int8)) for name in "abc"))
    chart = charts.overview(index)
    spec = chart.to_dict()
    assert 'opacity="0.25"' not in vl_convert.vegalite_to_svg(spec)
    (brush,) = spec["params"]
    brush["value"] = {"y": ["a", "b"]}
    assert vl_convert.vegalite_to_svg(spec).count('opacity="0.25"') == 2  # the bars of c


def test_an_empty_model_and_one_without_elements():
    assert rows_of(charts.overview(model())) == []
    (row,) = rows_of(charts.overview(model(plain("a.weight", np.zeros((0, 3), np.float32)))))
    assert row["bits"] is None
