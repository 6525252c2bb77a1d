"""What is read out of cells, as the page must read it too; `js/tests/estimates.test.ts` reads the same file."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from shapes import SHAPES, grids, tensor

from quantwidget.sketches import (
    Quantizer,
    best_clip,
    common_refinement,
    count_between,
    linear_edges,
    log_edges,
    quantile,
    rebin,
    sqnr,
    sqnr_curve,
)

GOLDEN = Path(__file__).parent.parent / "golden" / "estimates.json"
ELEMENTS = 400
CELLS = 120
SHARES = [0.0, 0.01, 0.25, 0.5, 0.9, 0.999, 1.0]
BITS = (2, 4, 8)


def listed(numbers):
    """Write numbers as JSON, which has no infinity: that one as a word."""
    return [float(number) if math.isfinite(number) else str(number) for number in np.asarray(numbers).tolist()]


def histogram(cells, kind, low, high, bins):
    edges = {"linear": linear_edges, "log": log_edges}[kind](low, high, bins)
    drawn = rebin(cells, edges)
    return {
        "kind": kind,
        "asked": [low, high, bins],
        "edges": listed(edges),
        "counts": listed(drawn.counts),
        "errors": listed(drawn.errors),
        "outside": [drawn.underflow, drawn.overflow],
    }


def described(shape):
    array = tensor(shape, ELEMENTS)
    every, statistics = grids(array, CELLS)
    refined = common_refinement(every, statistics)
    low, high, largest = array.min(), array.max(), np.abs(array).max()
    middle, quarter = float((low + high) / 2), float((high - low) / 4)
    ranges = [(low, high), (low, middle), (middle - quarter, middle + quarter), (middle, middle), (high, low)]
    quantizers = [
        made for bits in BITS for made in (Quantizer.symmetric(largest / 3, bits), Quantizer.affine(low, middle, bits))
    ]
    clips = largest * np.arange(1, 9) / 8
    best = {bits: best_clip(every, statistics, bits) for bits in BITS}
    return {
        "grids": [{name: listed(ends) for name, ends in vars(cells).items()} for cells in every],
        "statistics": asdict(statistics),
        "refined": {name: listed(ends) for name, ends in vars(refined).items()},
        "histograms": [
            histogram(every, "linear", low, high, 50),
            histogram(every, "linear", middle - quarter, middle + quarter, 7),
            histogram(every, "log", low, high, 24),
        ],
        "ranges": [
            [first, last, found.count, found.error]
            for first, last in ranges
            for found in [count_between(every, first, last)]
        ],
        "quantiles": [listed([share, *ends]) for share, *ends in zip(SHARES, *quantile(every, SHARES), strict=True)],
        "quantizers": [{**asdict(made), "sqnr": listed(sqnr(every, statistics, made))} for made in quantizers],
        "clips": listed(clips),
        "curves": {
            bits: [listed(row) for row in np.transpose(sqnr_curve(every, statistics, bits, clips)[1:])] for bits in BITS
        },
        "best": {bits: listed([found.clip, *found.sqnr]) for bits, found in best.items()},
    }


def close(actual, expected):
    """Compare JSON: numbers to a relative 1e-12, everything else exactly."""
    if isinstance(expected, dict):
        return actual.keys() == expected.keys() and all(close(actual[key], expected[key]) for key in expected)
    if isinstance(expected, list):
        return len(actual) == len(expected) and all(map(close, actual, expected))
    if isinstance(expected, float):
        return actual == pytest.approx(expected, rel=1e-12, abs=1e-14)
    return actual == expected


@pytest.mark.parametrize("shape", SHAPES)
def test_estimates_are_those_of_the_golden_file(shape):
    actual = json.loads(json.dumps(described(shape)))
    recorded = json.loads(GOLDEN.read_text(encoding="utf-8")) if GOLDEN.exists() else {}
    if os.environ.get("QUANTWIDGET_WRITE_GOLDEN"):
        recorded[shape] = actual
        lines = (f"{json.dumps(name)}: {json.dumps(body)}" for name, body in recorded.items())
        GOLDEN.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    assert close(actual, recorded[shape])
