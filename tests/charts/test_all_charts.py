"""What holds for every chart."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from pathlib import Path

import altair as alt
import numpy as np
import pytest
from drawn import nbytes_of
from models import model, plain, quantized

import quantwidget as qw
from quantwidget import charts
from quantwidget.charts import rows as rows_module

NAMES = ("channels", "compare", "error_curve", "histogram", "overview")
COLOUR = re.compile(r'"#[0-9a-fA-F]{3,8}"')


def made(rows=6, columns=50, seed=0):
    """Make one chart of each kind, of two tensors of ``rows × columns``."""
    values = np.random.default_rng(seed).standard_normal((rows, columns), dtype=np.float32)
    scales = np.abs(values).max(axis=1) / 127
    codes = np.rint(values / scales[:, None]).astype(np.int8)
    index = model(quantized("layer.weight", codes, scales, block_shape=(1, columns)))
    reference = model(plain("layer.weight", values))
    both = qw.compare_models(index, reference)
    return {
        "channels": charts.channels(index.tensors["layer.weight"]),
        "compare": charts.compare(both, "layer.weight"),
        "error_curve": charts.error_curve(reference.tensors["layer.weight"]),
        "histogram": reference.tensors["layer.weight"].chart(),
        "overview": charts.overview(index, both),
    }


@pytest.fixture(scope="module")
def drawn():
    return made()


def test_these_are_the_charts(drawn):
    assert list(NAMES) == charts.__all__ == sorted(drawn) == dir(charts)
    with pytest.raises(AttributeError, match="no attribute 'pie'"):
        charts.pie  # noqa: B018


def test_ten_million_elements_make_less_than_30_kilobytes():
    sizes = {name: nbytes_of(chart) for name, chart in made(1000, 10_000).items()}
    assert max(sizes.values()) < 30_000, sizes


@pytest.mark.parametrize("name", NAMES)
def test_a_chart_is_saved_as_picture_and_as_json_without_a_network(drawn, name, tmp_path, monkeypatch):
    def refuse(*_args, **_kwargs):
        pytest.fail("a chart asks the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    for proxy in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(proxy, "http://127.0.0.1:9")
    for ending, begins in (("svg", b"<svg"), ("png", b"\x89PNG"), ("json", b"{")):
        path = tmp_path / f"chart.{ending}"
        drawn[name].save(path)
        assert path.read_bytes().startswith(begins)
    spec = json.loads(path.read_text(encoding="utf-8"))
    assert spec.pop("$schema").startswith("https://vega.github.io/")
    assert "://" not in json.dumps(spec)


@pytest.mark.parametrize("name", NAMES)
def test_colours_are_those_of_the_theme(drawn, name):
    bodies = {}
    for theme in ("default", "dark"):
        with alt.theme.enable(theme):
            spec = drawn[name].to_dict()
        spec.pop("config")
        assert ("dark" in json.dumps(spec.pop("usermeta", {}))) is (theme == "dark")
        bodies[theme] = json.dumps(spec)
    assert bodies["default"] == bodies["dark"]
    assert not COLOUR.search(bodies["dark"])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("backend", ["pandas", "polars"])
def test_every_data_frame_gives_the_same_rows(drawn, name, backend, monkeypatch):
    monkeypatch.setattr(rows_module, "BACKENDS", (backend,))
    spec, expected = (json.loads(chart.to_json()) for chart in (made()[name], drawn[name]))
    assert list(spec["datasets"].values()) == list(expected["datasets"].values())


def test_without_any_data_frame_the_rows_are_plain(drawn, monkeypatch):
    monkeypatch.setattr(rows_module, "BACKENDS", ())
    plain_rows = {name: chart.to_dict()["data"]["values"] for name, chart in made().items()}
    for name, chart in drawn.items():
        (expected,) = json.loads(chart.to_json())["datasets"].values()
        assert plain_rows[name] == expected


BRUSHES = {
    "channels": ({"channels": {"first": [1, 3]}}, "first", [1, 2, 3]),
    "overview": ({"layers": {"layer": ["layer"]}}, "layer", ["layer"]),
}


@pytest.mark.parametrize("name", NAMES)
def test_marimo_gives_back_the_rows_under_the_brush(drawn, name):
    import marimo as mo  # noqa: PLC0415

    element = mo.ui.altair_chart(drawn[name])
    (rows,) = json.loads(drawn[name].to_json())["datasets"].values()
    if name in BRUSHES:
        selection, field, expected = BRUSHES[name]
    else:
        param, field = ("clips", "clip") if name == "error_curve" else ("range", "low")
        low, high = rows[2][field], rows[5][field]
        selection, expected = {param: {field: [low, high]}}, [row[field] for row in rows[2:6]]
    (param,) = selection
    assert param in {one["name"] for one in drawn[name].to_dict()["params"]}
    assert element._convert_value(selection)[field].to_list() == expected
    assert len(element._convert_value({})) == 0


def test_without_altair_the_reason_is_said_and_the_package_works():
    script = (
        "import sys; sys.modules['altair'] = None\n"
        "from quantwidget import *\n"
        "for name in charts.__all__:\n"
        "    try:\n        getattr(charts, name)\n    except ImportError as error:\n        print(error)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["charts are made by Altair: pip install 'quantwidget[charts]'"] * len(NAMES)


def test_no_chart_holds_a_name_as_anything_but_text():
    name = "</script><img src=x onerror=alert(1)>"
    chart = charts.overview(model(plain(f"{name}.weight", np.ones(3, np.float32))))
    assert name in json.dumps(chart.to_dict(), ensure_ascii=False)
    import vl_convert  # noqa: PLC0415

    assert "<img" not in vl_convert.vegalite_to_svg(chart.to_json())


def test_every_chart_is_in_the_guide():
    guide = (Path(__file__).parents[2] / "docs" / "charts.md").read_text(encoding="utf-8")
    assert all(f"charts.{name}(" in guide for name in NAMES)
