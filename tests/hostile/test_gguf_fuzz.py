"""GGUF files changed at random and cut off anywhere."""

from __future__ import annotations

import numpy as np
import pytest
from fuzzing import fuzz, truncate
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf_bytes import STRING, array, listed, model, scalar, string, text

KINDS = [kind for kind in GGMLQuantizationType if kind.name != "F64"]


@pytest.fixture(scope="module")
def content():
    """Give a small file with a tensor of each type and a value of each kind."""
    rng = np.random.default_rng(7)
    keys = [
        string("general.architecture", "llama"),
        scalar("general.alignment", "I", 32),
        scalar("general.file_type", "I", 15),
        array("tokenizer.ggml.tokens", STRING, 3, text("a") + text("") + text("longer")),
        array("tokenizer.ggml.scores", 6, 3, bytes(12)),
        array("nested", 9, 2, listed(0, 2, b"ab") + listed(STRING, 1, text("x"))),
        *(scalar(f"number.{layout}", layout, 1) for layout in "BbHhIifQqd?"),
    ]
    tensors = []
    for kind in KINDS:
        size, nbytes = GGML_QUANT_SIZES[kind]
        sizes = (size, 2) if size > 1 else (4, 2)
        tensors.append((f"blk.0.{kind.name}.weight", sizes, kind, rng.bytes(nbytes * 2 * sizes[0] // size)))
    return model(tensors, keys)


def test_changed_files_open_or_say_why(tmp_path, content):
    fuzz(tmp_path / "m.gguf", content, seed=20_260)


def test_changed_headers_open_or_say_why(tmp_path):
    small = model([("a.weight", (4, 2), 0, bytes(32)), ("b.weight", (32,), 2, bytes(18))], [scalar("n", "I", 1)])
    fuzz(tmp_path / "m.gguf", small, seed=20_261)


def test_parts_of_files_open_or_say_why(tmp_path, content):
    truncate(tmp_path / "m.gguf", content)
