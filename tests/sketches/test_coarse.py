"""Coarse counts, told again from the elements themselves."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from quantwidget.dtypes import DTYPES
from quantwidget.sketches import Distribution, Payload
from quantwidget.sketches.coarse import COARSE_CELLS, array_of, coarse_counts

WIDTHS = {"float32": (np.float32, np.uint32, 32), "float64": (np.float64, np.uint64, 64)}


def bell(dtype, size=50_000):
    return (np.random.default_rng(size).standard_normal(size) * 3).astype(dtype)


CASES = {
    "float32": ("float32", bell(np.float32, 300_000)),
    "float32, few elements": ("float32", bell(np.float32, 5000)),
    "float32 around one": ("float32", (1 + bell(np.float32, 9000) / 1e4).astype(np.float32)),
    "float32 over all powers": (
        "float32",
        (
            2.0 ** np.random.default_rng(1).uniform(-149, 127, 300_000)
            * np.random.default_rng(2).choice([-1, 1], 300_000)
        ).astype(np.float32),
    ),
    "float64": ("float64", bell(np.float64, 300_000)),
    "float16": ("float16", bell(np.float16)),
    "bfloat16": ("bfloat16", bell(ml_dtypes.bfloat16)),
    "int16": ("int16", np.random.default_rng(3).integers(-30_000, 30_000, 50_000).astype(np.int16)),
    "int32": ("int32", np.random.default_rng(4).integers(-(10**9), 10**9, 300_000).astype(np.int32)),
}


def told(dtype, elements, size=None):
    distribution = Distribution(DTYPES[dtype], size or elements.size)
    distribution.update(elements)
    payload, into = Payload(), Payload()
    counts = distribution.to_wire(payload)
    return counts, coarse_counts(counts, payload.tobytes(), into), payload.tobytes(), into.tobytes()


@pytest.mark.parametrize("case", CASES)
def test_every_element_stays_in_a_cell_that_holds_it(case):
    dtype, elements = CASES[case]
    elements[::7] = 0
    fine, coarse, _, payload = told(dtype, elements)
    wide, pattern, width = WIDTHS[coarse.grid]
    expected, counts = np.unique(
        elements.astype(wide).view(pattern) >> pattern(width - coarse.bits), return_counts=True
    )
    keys, amounts = array_of(coarse.keys, payload), array_of(coarse.counts, payload)
    assert dict(zip(keys.tolist(), amounts.tolist(), strict=True)) == dict(
        zip(expected.tolist(), counts.tolist(), strict=True)
    )
    assert coarse.bits < fine.bits or coarse.grid != fine.grid
    lowest = (keys.astype(pattern) << pattern(width - coarse.bits)).view(wide)
    assert np.all(np.diff(lowest.astype(np.float64)) >= 0)


@pytest.mark.parametrize("case", [case for case in CASES if "powers" not in case])
def test_there_are_as_many_cells_as_are_allowed_and_no_more(case):
    _, coarse, _, payload = told(*CASES[case])
    assert COARSE_CELLS / 4 < coarse.counts.length <= COARSE_CELLS
    assert len(payload) < 8 * COARSE_CELLS + 16


def test_few_cells_are_copied():
    fine, coarse, before, after = told("int8", np.arange(-100, 100).astype(np.int8))
    assert (coarse.grid, coarse.first, coarse.keys) == ("integer", fine.first, None)
    np.testing.assert_array_equal(array_of(coarse.counts, after), array_of(fine.counts, before))


def test_counts_that_need_float64_stay_exact():
    fine, coarse, _, _ = told("float16", np.zeros(3, np.float16))
    assert fine == coarse
    elements = bell(np.float16)
    distribution = Distribution(DTYPES["float16"], elements.size)
    distribution.update(elements)
    keys = distribution.counts.keys
    many = type(distribution.counts)(distribution.counts.grid, keys, np.full(keys.size, 2**33, np.int64))
    payload, into = Payload(), Payload()
    coarse = coarse_counts(many.to_wire(payload), payload.tobytes(), into)
    assert coarse.counts.type == "f8"
    assert array_of(coarse.counts, into.tobytes()).sum() == keys.size * 2.0**33
