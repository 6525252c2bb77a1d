"""A format and a scheme that nobody has heard of take one new file and one line each."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import quantwidget

FORMAT = """
from __future__ import annotations

import numpy as np

from quantwidget.dtypes import DTYPES
from quantwidget.quant import QuantScheme
from quantwidget.record import ModelRecord, TensorRecord
from quantwidget.sources import ModelFile
from quantwidget.storage import Storage

NAME = "stranger"
ENDINGS = (".stranger",)


def matches(path, head):
    return head.startswith(b"STRANGER")


def open_file(path):
    file = ModelFile(path)
    count = int.from_bytes(file.view(8, 4).tobytes(), "little")
    codes = Storage(file, DTYPES["uint8"], (count,), offset=12)
    quant = QuantScheme(
        kind="codebook", code_dtype="uint8", shape=(count,), block_shape=(count,), source="squares"
    )
    tensor = TensorRecord(
        name="odd.weight", layer="odd", role="weight", shape=(count,), dtype="float32", storage_dtype="SQUARES",
        storage_shape=(count,), nbytes=count, storage=codes, quant=quant,
    )
    return ModelRecord(format=NAME, tensors=(tensor,))
"""

SCHEME = """
from __future__ import annotations

import numpy as np


def matches(record):
    return record.quant is not None and record.quant.source == "squares"


def codes(record, region):
    return record.read_storage(region)


def values(record, region, codes):
    return codes.astype(np.float32) ** 2
"""

USE = """
import sys
import numpy as np
import quantwidget as qw
from quantwidget.manifest import manifest_of

index = qw.open_model(sys.argv[1])
assert index.format == "stranger"
tensor = index.tensors["odd.weight"]
assert tensor.codes().tolist() == [0, 3, 200]
assert tensor.values().tolist() == [0.0, 9.0, 40000.0]
assert tensor.stats().maximum == 40000.0
assert manifest_of(index, version="0", revision=1).schemes[0].decoded
"""


def test_a_stranger_adds_one_file_and_one_line_for_each(tmp_path):
    package = tmp_path / "quantwidget"
    shutil.copytree(Path(quantwidget.__file__).parent, package, ignore=shutil.ignore_patterns("static", "__pycache__"))
    for folder, content, neighbour in (("formats", FORMAT, "pytorch"), ("schemes", SCHEME, "plain")):
        (package / folder / "stranger.py").write_text(content, encoding="utf-8")
        listing = package / folder / "__init__.py"
        before = listing.read_text(encoding="utf-8")
        line = f'        "{neighbour}",\n'
        assert before.count(line) == 1
        listing.write_text(before.replace(line, f'        "stranger",\n{line}'), encoding="utf-8")
    model = tmp_path / "model.stranger"
    model.write_bytes(b"STRANGER" + (3).to_bytes(4, "little") + bytes([0, 3, 200]))
    subprocess.run([sys.executable, "-c", USE, str(model)], check=True, env={**os.environ, "PYTHONPATH": str(tmp_path)})
