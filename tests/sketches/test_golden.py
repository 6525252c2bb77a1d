"""Sketches that the page must read as Python does; `js/tests/sketch.test.ts` reads the same file."""

from __future__ import annotations

import base64
import json
import os
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from quantwidget.dtypes import DTYPES
from quantwidget.sketches import (
    Distribution,
    Payload,
    count_between,
    integer_edges,
    linear_edges,
    map_cells,
    rebin,
)
from quantwidget.wire import AffineMap

GOLDEN = Path(__file__).parent.parent / "golden" / "sketches.json"
MANY = 1 << 20
RANDOM = np.random.default_rng(20)
BINS = (1, 7, 64, 200)
SHOWN_CELLS = 5


def normal(size, scale=0.05):
    return RANDOM.standard_normal(size) * scale


def case(dtype, array, size=MANY, affine=None, *, finer=False):
    return {"dtype": dtype, "array": array.astype(DTYPES[dtype].numpy), "size": size, "map": affine, "finer": finer}


HEAVY = RANDOM.standard_t(1, 3000)
EXTREMES = np.array([-1.7e308, -1e-310, -0.0, 0.0, 5e-324, 1.0, 1.7e308])
FLOAT16_LIMITS = np.array([-65504, -6e-8, 0, 6e-8, 1e-5, 1, 1.001, 65504, np.nan, np.inf])
CASES = {
    "int8 codes": case(
        "int8", normal(4000, 30).clip(-128, 127), affine=AffineMap(scale=0.02, zero_point=3.0, offset=0.0)
    ),
    "int8 codes, negative scale and offset": case(
        "int8", normal(4000, 30).clip(-128, 127), affine=AffineMap(scale=-0.01, zero_point=0.0, offset=0.25)
    ),
    "uint4 codes": case("uint4", RANDOM.integers(0, 16, 500)),
    "int16 codes": case("int16", normal(2000, 300)),
    "booleans": case("bool", RANDOM.integers(0, 2, 50)),
    "float16": case("float16", normal(3000)),
    "float16 to its limits": case("float16", FLOAT16_LIMITS),
    "bfloat16 with zeros": case("bfloat16", np.where(RANDOM.random(3000) < 0.3, 0, normal(3000))),
    "float8": case("float8_e4m3fn", normal(1000)),
    "float32": case("float32", normal(9000)),
    "float32 with zeros, denormals and specials": case(
        "float32", np.concatenate([[np.nan, np.inf, -np.inf, -0.0, 0.0, 1e-42, -1e-42, 1e-42], normal(1000)])
    ),
    "float32 around 1": case("float32", 1 + normal(5000, 1e-3)),
    "float32 constant": case("float32", np.full(5000, -0.3)),
    "float32 zeros": case("float32", np.zeros(5000)),
    "float64 with heavy tails": case("float64", HEAVY),
    "float64 to its limits": case("float64", EXTREMES),
    "int64 beyond tables": case("int64", normal(3000, 1e9)),
    "float32 points": case("float32", normal(300), size=300),
    "int32 points": case("int32", normal(100, 1e5), size=100),
    "float32 around 1, fine": case("float32", 1 + normal(9000, 1e-3), size=9000),
    "float32 with zeros, fine": case("float32", np.where(RANDOM.random(20000) < 0.3, 0, normal(20000)), size=20000),
    "float64 fine": case("float64", normal(9000) * 1e-200, size=9000),
    "int32 fine": case("int32", normal(9000, 1e8), size=9000),
    "float32 of few values, fine": case("float32", RANDOM.integers(-100, 100, 9000) * 0.01, size=9000),
    "float32 in equal cells": case("float32", np.append(normal(1500), np.zeros(9)), finer=True),
    "empty": case("float32", np.zeros(0)),
}


def histogram(cells, edges):
    drawn = rebin(cells, edges)
    return {
        "edges": [float(edges[0]), float(edges[-1])],
        "bins": edges.size - 1,
        "counts": drawn.counts.tolist(),
        "underflow": drawn.underflow,
        "overflow": drawn.overflow,
    }


def ranges(cells):
    """A few ranges: across cells, from cell to cell, of one value, and of nothing."""
    if not cells.size:
        ends = [(0.0, 1.0)]
    else:
        low, high = float(cells.lower[0]), float(cells.upper[-1])
        middle = low / 2 + high / 2
        inner = float(cells.lower[cells.size // 3])
        ends = [(low, high), (low, middle), (middle, high), (inner, middle), (inner, inner), (high, low)]
    rows = [(low, high, count_between(cells, low, high)) for low, high in ends]
    return [{"low": low, "high": high, "count": found.count, "exact": found.exact} for low, high, found in rows]


def shown(cells):
    places = np.unique(np.linspace(0, cells.size - 1, min(SHOWN_CELLS, cells.size)).astype(int))
    return {
        "size": cells.size,
        "exact": cells.exact,
        "places": places.tolist(),
        "lower": cells.lower[places].tolist(),
        "upper": cells.upper[places].tolist(),
        "counts": cells.counts[places].tolist(),
    }


def drawn(cells, statistics, *, integers):
    low, high = statistics.minimum or 0.0, statistics.maximum or 0.0
    quarter = high / 4 - low / 4
    linear = [linear_edges(low, high, bins) for bins in BINS] + [linear_edges(low + quarter, high - quarter, 50)]
    whole = [integer_edges(int(low), int(high), bins) for bins in (50, 300)] if integers else []
    return {
        "cells": shown(cells),
        "linear": [histogram(cells, edges) for edges in linear],
        "integer": [histogram(cells, edges) for edges in whole],
        "ranges": ranges(cells),
    }


def described(name):
    chosen = CASES[name]
    distribution = Distribution(DTYPES[chosen["dtype"]], chosen["size"])
    distribution.update(chosen["array"])
    written, cells, spread = distribution, distribution.cells(), distribution.cells(spread=True)
    if chosen["finer"]:
        written = distribution.empty_finer()
        written.update(chosen["array"])
        cells = spread = written.cells()
    payload = Payload()
    payload.add(np.zeros(3, np.uint16))
    counts, statistics = written.to_wire(payload), distribution.statistics
    integers = counts.grid == "integer"
    result = {
        "counts": asdict(counts),
        "statistics": asdict(statistics),
        "payload": base64.b64encode(payload.tobytes()).decode(),
        "map": None if chosen["map"] is None else asdict(chosen["map"]),
        "plain": drawn(cells, statistics, integers=integers),
        "spread": drawn(spread, statistics, integers=integers),
        "mapped": None,
    }
    if chosen["map"] is not None:
        cells = map_cells(cells, chosen["map"])
        result["mapped"] = {"cells": shown(cells), "ranges": ranges(cells)}
    return result


def close(actual, expected):
    """Compare JSON: numbers to a relative 1e-9, everything else exactly."""
    if isinstance(expected, dict):
        return actual.keys() == expected.keys() and all(close(actual[key], expected[key]) for key in expected)
    if isinstance(expected, list):
        return len(actual) == len(expected) and all(map(close, actual, expected))
    if isinstance(expected, float):
        return actual == pytest.approx(expected, rel=1e-9, abs=1e-9 * min(abs(expected), 1))
    return actual == expected


def test_sketches_are_those_of_the_golden_file():
    actual = {name: described(name) for name in CASES}
    if os.environ.get("QUANTWIDGET_WRITE_GOLDEN"):
        lines = (f"{json.dumps(name)}: {json.dumps(body)}" for name, body in actual.items())
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    expected = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert actual.keys() == expected.keys()
    for name, body in expected.items():
        assert close(actual[name], body), name
