from __future__ import annotations

import json
import math
import zlib

import numpy as np
import pytest
from models import model, plain, quantized

from quantwidget.packing import zipped
from quantwidget.session import Session


@pytest.fixture(scope="module")
def session():
    rng = np.random.default_rng(8)
    floats = [plain(f"l{number}.weight", rng.standard_normal(4000).astype(np.float32)) for number in range(20)]
    codes = rng.integers(-128, 128, (80, 50), dtype=np.int8)
    scales = rng.uniform(0.01, 0.02, 80).astype(np.float32)
    made = Session(model(*floats, quantized("q.weight", codes, scales, block_shape=(1, 50))), version="1")
    made.scan_for(60)
    return made


def unzipped(packed):
    stored = zlib.decompress(packed)
    length = int.from_bytes(stored[:8], "little")
    return json.loads(stored[8 : 8 + length]), stored[8 + length :]


def array(span, payload):
    return np.frombuffer(payload, f"<{span['type']}", span["length"], span["offset"])


@pytest.mark.parametrize("budget", [0, 500, 5000, 20_000, 100_000, 10_000_000])
def test_what_is_packed_stays_within_its_budget(session, budget):
    packed = zipped(*session.pack(budget))
    assert len(packed) <= budget + 200
    pack, payload = unzipped(packed)
    assert len(payload) % 8 == 0
    numbers = [entry["tensor"] for entry in pack["sketches"]]
    assert numbers == sorted(set(numbers))


def test_everything_in_full_where_there_is_room(session):
    pack, payload = unzipped(zipped(*session.pack()))
    assert (pack["coarse"], len(pack["sketches"])) == (0, 21)
    for entry in pack["sketches"][:20]:
        values = session.index.tensors[f"l{entry['tensor']}.weight"].values().astype(np.float64)
        expected, counts = np.unique(values, return_counts=True)
        np.testing.assert_array_equal(array(entry["values"]["keys"], payload), expected)
        np.testing.assert_array_equal(array(entry["values"]["counts"], payload), counts)


def test_what_matters_most_is_in_full_and_the_rest_coarse(session):
    pack, payload = session.pack(60_000, first="l7.weight")
    in_full = [entry.tensor for entry in pack.sketches if entry.values.grid == "points"]
    assert len(pack.sketches) == 21
    assert {7, 20} <= set(in_full)
    assert pack.coarse == 21 - len(in_full) > 10
    assert all(not entry.is_finest for entry in pack.sketches if entry.tensor not in in_full)
    for entry in pack.sketches:
        counts = np.frombuffer(payload, "<u4", entry.values.counts.length, entry.values.counts.offset)
        assert counts.sum() == entry.statistics.count


def test_what_matters_most_is_there_when_little_is(session):
    assert [entry.tensor for entry in session.pack(3000, first="l7.weight")[0].sketches] == [7, 20]


def test_an_overview_is_coarse_whatever_the_room(session):
    pack, payload = session.pack(math.inf, in_full=False)
    assert (len(pack.sketches), pack.coarse) == (21, 21)
    assert len(payload) < 21 * 4500
