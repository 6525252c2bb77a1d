"""Real files: each opens, and its tensors are what the safetensors package loads."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

import quantwidget as qw

CORPUS = Path(os.environ.get("QUANTWIDGET_CORPUS", Path(__file__).parents[3] / "shared" / "corpus"))
FILES = sorted(CORPUS.rglob("*.safetensors"))
ABSENT = "the corpus of model files is not here; QUANTWIDGET_CORPUS names its folder"


@pytest.mark.skipif(not FILES, reason=ABSENT)
@pytest.mark.parametrize("path", FILES, ids=lambda path: "/".join(path.parts[-2:]))
def test_tensors_are_those_that_the_library_loads(path):
    found, loaded = qw.open_model(path), load_file(path)
    assert set(found.tensors) == set(loaded)
    for name, tensor in loaded.items():
        values = found.tensors[name].values()
        assert values.shape == tuple(tensor.shape)
        np.testing.assert_array_equal(values.astype(np.float64), tensor.double().numpy())
