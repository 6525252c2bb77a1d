from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from quantwidget import wire
from quantwidget.dtypes import DTYPES
from quantwidget.sketches import Payload, Sketch, linear_edges
from quantwidget.sketches.kernels import LANES, KeyCounts, engine, engines, key_counts, plain, turn
from quantwidget.sketches.kernels import compiled as numba_kernels

ENGINES = {"numpy": plain, "numba": numba_kernels}
SPECIALS = np.float32([0, -0.0, np.nan, np.inf, -np.inf, 1e-42, -1e-42, 3e38])
FLOATS = hnp.arrays(np.float32, st.integers(1, 3 * LANES), elements=st.floats(width=32), fill=st.floats(width=32))


@pytest.fixture(params=ENGINES)
def chosen(request, monkeypatch):
    monkeypatch.setenv("QUANTWIDGET_ENGINE", request.param)
    return ENGINES[request.param]


def words_of(array):
    return array[: array.nbytes // 8 * 8 // array.itemsize].view(np.uint64)


@given(FLOATS, st.sampled_from([0.0, 0.1, -3e5, 1e30]))
def test_both_engines_sum_up_equally_to_the_last_bit(array, shift):
    one, other = (kernels.lane_sums(array, shift) for kernels in ENGINES.values())
    if one is None or other is None:
        assert one is other is None
        assert not (np.isfinite(array).all() and array.any())
        return
    np.testing.assert_array_equal(one.sums, other.sums)
    assert one[1:] == other[1:]


@pytest.mark.parametrize("size", [1, LANES - 1, LANES, LANES + 1, 65 * LANES, 200_001])
def test_long_pieces_are_summed_up_equally_and_as_exactly_as_they_should(size):
    array = np.random.default_rng(size).standard_normal(size).astype(np.float32) + np.float32(3)
    one, other = (kernels.lane_sums(array, 2.5) for kernels in ENGINES.values())
    np.testing.assert_array_equal(one.sums, other.sums)
    assert one[1:] == other[1:] == (array.min(), array.max())
    distances = array.astype(np.longdouble) - 2.5
    assert one.sums[0].sum() == pytest.approx(float(distances.sum()), rel=1e-13)
    assert one.sums[1].sum() == pytest.approx(float((distances**2).sum()), rel=1e-13)


@pytest.mark.parametrize(
    "array", [np.float32([]), SPECIALS, np.tile(SPECIALS, 9000)[:70_001]], ids=["none", "few", "many"]
)
@pytest.mark.parametrize("finite", [True, False])
def test_what_is_summed_up_is_counted_in_the_same_pass(finite, array):
    plus = np.random.default_rng(array.size).standard_normal(70_001).astype(np.float32)
    array = np.concatenate([plus, array[np.isfinite(array)] if finite else array])
    expected = np.bincount(array.view(np.uint32) >> 16, minlength=1 << 16)
    for kernels in ENGINES.values():
        tables = np.zeros((4, 1 << 16), np.uint32)
        with_tables, without = kernels.lane_sums(array, 0.5, tables), kernels.lane_sums(array, 0.5)
        np.testing.assert_array_equal(tables.sum(axis=0), expected)
        assert (with_tables is None) == (without is None) == (not np.isfinite(array).all())
        if with_tables is not None:
            np.testing.assert_array_equal(with_tables.sums, without.sums)


@pytest.mark.parametrize("size", [0, 2, 16, 17, 4096, 300_000])
@pytest.mark.parametrize("kernels", ENGINES.values(), ids=ENGINES)
def test_tables_hold_what_numpy_counts(kernels, size):
    array = np.random.default_rng(size).integers(0, 1 << 32, size, dtype=np.uint32)
    words = words_of(array)
    seen = words.view(np.uint32)
    for count, keys, most in (
        (kernels.count_tops, seen >> 16, 1 << 16),
        (kernels.count_fields, words.view(np.uint16), 1 << 16),
        (kernels.count_bytes, words.view(np.uint8), 256),
    ):
        tables = np.zeros((4, most), np.uint32)
        count(words, tables)
        np.testing.assert_array_equal(tables.sum(axis=0), np.bincount(keys, minlength=most))


@given(hnp.arrays(np.float32, st.integers(1, 200), elements=st.floats(-(2.0**90), 2.0**90, width=32)))
def test_both_engines_count_places_equally(array):
    low, high = float(array.min()), float(array.max())
    edges = linear_edges(low, high, wire.FINER_CELLS)
    span = edges[-1] - edges[0]
    doubt = 2.0**-50 * wire.FINER_CELLS * (1 + max(abs(low), abs(high)) / span)
    tables = [np.zeros(wire.FINER_CELLS + 1, np.int64) for _ in ENGINES]
    if span < 1e-290 or doubt > 0.25:
        return
    for kernels, table in zip(ENGINES.values(), tables, strict=True):
        kernels.count_places(array, edges, wire.FINER_CELLS / span, doubt, table)
    np.testing.assert_array_equal(tables[0], tables[1])
    below = np.searchsorted(np.sort(array.astype(np.float64)), edges)
    np.testing.assert_array_equal(tables[0], np.diff(below, append=array.size))


def awkward(array):
    """Return equal elements that are read-only and begin between two words."""
    content = b"\0" + array.tobytes()
    return np.frombuffer(content, array.dtype, array.size, 1)


TENSORS = {
    "float32": lambda rng: np.append(rng.standard_normal(70_001).astype(np.float32), SPECIALS),
    "float32, finite": lambda rng: (rng.standard_normal(70_001) * 0.02 + 0.1).astype(np.float32),
    "bfloat16": lambda rng: rng.standard_normal(70_001).astype(ml_dtypes.bfloat16),
    "float16": lambda rng: rng.standard_normal(70_001).astype(np.float16),
    "int8": lambda rng: rng.integers(-128, 128, 70_001).astype(np.int8),
    "uint8": lambda rng: rng.integers(0, 256, 70_001).astype(np.uint8),
    "int16": lambda rng: rng.integers(-9000, 9000, 70_001).astype(np.int16),
}


def sketched(name, array):
    sketch = Sketch(value_dtype=DTYPES[name.split(",")[0]], size=1 << 30)
    sketch.update(array[:50_000])
    sketch.update(array[50_000:])
    finer = sketch.empty_finer()
    if finer is not None:
        finer.update(array)
        sketch.refine(finer)
    payload = Payload()
    messages = [sketch.values.to_wire(payload)]
    if sketch.values.finer is not None:
        messages.append(sketch.values.finer.to_wire(payload))
    return sketch.statistics, messages, payload.tobytes()


@pytest.mark.parametrize("name", TENSORS)
def test_a_sketch_is_the_same_to_the_last_bit_whoever_made_it(name, monkeypatch):
    array = TENSORS[name](np.random.default_rng(5))
    made = []
    for forced in ENGINES:
        monkeypatch.setenv("QUANTWIDGET_ENGINE", forced)
        made += [sketched(name, array), sketched(name, awkward(array))]
    assert all(one == made[0] for one in made[1:])
    with np.errstate(invalid="ignore"):
        wide = array.astype(np.float64)
    finite = wide[np.isfinite(wide)]
    statistics = made[0][0]
    assert (statistics.minimum, statistics.maximum) == (finite.min(), finite.max())
    assert statistics.mean == pytest.approx(finite.mean(), rel=1e-12, abs=1e-12 * np.abs(finite).max())
    assert statistics.std == pytest.approx(finite.std(), rel=1e-12)
    assert (statistics.zeros, statistics.nan) == ((array == 0).sum(), np.isnan(wide).sum())


@pytest.mark.usefixtures("chosen")
def test_counts_beyond_32_bits_are_kept(monkeypatch):
    monkeypatch.setattr(key_counts, "_MOST", 40_000)
    array = np.zeros(30_000, np.int16)
    counts = KeyCounts()
    for _ in range(5):
        counts.add_fields(array)
    assert counts.table()[0] == counts.count_of(0) == 150_000


def test_the_environment_chooses_by_force(monkeypatch):
    for forced, kernels in ENGINES.items():
        monkeypatch.setenv("QUANTWIDGET_ENGINE", forced)
        assert engine() == forced
        assert engines.kernels_for(1 << 20) is kernels


@pytest.fixture
def numba_unused(monkeypatch):
    """Pretend that this process has counted nothing yet."""
    monkeypatch.delenv("QUANTWIDGET_ENGINE", raising=False)
    monkeypatch.setattr(engines, "_numba", engines._Numba())


def wait_for_numba():
    for thread in threading.enumerate():
        if thread.name == "quantwidget-numba":
            thread.join()


@pytest.mark.usefixtures("numba_unused")
def test_numba_is_loaded_after_much_has_been_counted_and_then_used():
    assert engines.kernels_for(engines.WORTHWHILE // 2) is plain
    wait_for_numba()
    assert engine() == "numpy"
    assert engines.kernels_for(engines.WORTHWHILE // 2) is plain
    wait_for_numba()
    assert engine() == "numba"
    assert engines.kernels_for(engines.SMALLEST) is numba_kernels
    assert engines.kernels_for(engines.SMALLEST - 1) is plain


@pytest.mark.usefixtures("numba_unused")
def test_without_numba_everything_goes_on_in_numpy(monkeypatch):
    monkeypatch.setitem(sys.modules, "quantwidget.sketches.kernels.compiled", None)
    for _ in range(3):
        assert engines.kernels_for(engines.WORTHWHILE) is plain
        wait_for_numba()
    assert engine() == "numpy"
    monkeypatch.setenv("QUANTWIDGET_ENGINE", "numba")
    with pytest.raises(ImportError):
        engines.kernels_for(1)


def test_importing_the_package_and_sketching_a_little_does_not_import_numba():
    lines = [
        "import sys, numpy, quantwidget",
        "from quantwidget.dtypes import DTYPES",
        "from quantwidget.sketches import Sketch",
        "Sketch(value_dtype=DTYPES['float32'], size=1 << 24).update(numpy.ones(1 << 24, 'f4'))",
        "sys.exit('numba' in sys.modules)",
    ]
    assert subprocess.run([sys.executable, "-c", "\n".join(lines)], check=False).returncode == 0


@pytest.mark.usefixtures("chosen")
@pytest.mark.parametrize("rest", [1, 5, LANES - 1, LANES])
def test_the_last_few_elements_are_counted_too(rest):
    array = np.random.default_rng(rest).standard_normal(key_counts.PIECE + rest).astype(np.float32)
    sketch = Sketch(value_dtype=DTYPES["float32"], size=1 << 30)
    sketch.update(array)
    assert sketch.values.cells().counts.sum() == sketch.statistics.count == array.size
    assert sketch.statistics.mean == pytest.approx(array.mean(dtype=np.float64), rel=1e-9)


def counted_in_turn(array):
    with turn():
        sketch = Sketch(value_dtype=DTYPES["float32"], size=array.size)
        sketch.update(array)
    return sketch.statistics.count


def test_while_numpy_counts_threads_take_turns(monkeypatch):
    monkeypatch.setenv("QUANTWIDGET_ENGINE", "numpy")
    order, begun = [], threading.Event()

    def wait_for_a_turn():
        begun.set()
        with turn():
            order.append("second")

    with turn():
        thread = threading.Thread(target=wait_for_a_turn)
        thread.start()
        begun.wait()
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    monkeypatch.setenv("QUANTWIDGET_ENGINE", "numba")
    with turn(), turn():
        pass


@pytest.mark.skipif(not hasattr(os, "fork"), reason="only where processes are forked")
def test_a_process_that_is_forked_off_in_the_middle_of_a_turn_does_not_wait(monkeypatch):
    monkeypatch.setenv("QUANTWIDGET_ENGINE", "numpy")
    with turn(), multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply_async(counted_in_turn, (np.ones(5000, np.float32),)).get(60) == 5000
