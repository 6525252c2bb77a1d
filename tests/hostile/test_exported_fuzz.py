"""A small archive of torch.export changed at random, in its bytes and in its JSON, and cut everywhere."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from fuzzing import changed, fuzz, opens_or_says_why, truncate
from pickle_files import START, STOP, named, number, quantized, tuple_of

import quantwidget as qw

sys.path.insert(0, str(Path(__file__).parents[1] / "formats"))

from exported_parts import archive, entry, payload, pickled, program

CHANGED_JSON = 3_000


PICKLE = START + quantized(tuple_of(named("torch", "per_tensor_affine"), number(1), number(0))) + STOP


@pytest.fixture
def parts():
    return program(), payload(packed=entry("weight_2", 7, [4], use_pickle=True))


def test_changed_archives_open_or_say_why(tmp_path, parts):
    weight = pickled(PICKLE, **{"data/0": bytes(16)})
    fuzz(tmp_path / "model.pt2", archive(*parts, weight_2=weight), seed=41)


def test_changed_json_opens_or_says_why(tmp_path, parts):
    path, rng = tmp_path / "model.pt2", np.random.default_rng(42)
    texts = [json.dumps(part).encode() for part in parts]
    for turn in range(CHANGED_JSON):
        both = list(texts)
        both[turn % 2] = changed(texts[turn % 2], rng)
        path.write_bytes(archive(*both))
        opens_or_says_why(path)


def test_values_of_another_type_open_or_say_why(tmp_path, parts):
    """Each value in the JSON, one after the other, becomes something else."""
    path = tmp_path / "model.pt2"
    for which in (0, 1):
        for place in places(parts[which]):
            for other in (None, -1, 1 << 70, 1.5, "word", [], {}, [[]], True):
                both = [json.loads(json.dumps(part)) for part in parts]
                *way, last = place
                holder = both[which]
                for step in way:
                    holder = holder[step]
                holder[last] = other
                path.write_bytes(archive(*both))
                opens_or_says_why(path)


def places(node, way=()):
    entries = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in entries:
        yield (*way, key)
        yield from places(child, (*way, key))


def test_cut_archives_open_or_say_why(tmp_path, parts):
    weight = pickled(PICKLE, **{"data/0": bytes(16)})
    truncate(tmp_path / "model.pt2", archive(*parts, weight_2=weight))


def test_the_archive_that_is_changed_is_read(tmp_path, parts):
    path = tmp_path / "model.pt2"
    path.write_bytes(archive(*parts, weight_2=pickled(PICKLE, **{"data/0": bytes(16)})))
    tensors = qw.open_model(path).tensors
    assert {name for name, tensor in tensors.items() if tensor.is_readable} == {"codes", "scale", "packed"}
