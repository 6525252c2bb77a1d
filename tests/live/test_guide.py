from __future__ import annotations

import re
from pathlib import Path

import numpy as np

import quantwidget as qw

GUIDE = Path(__file__).parents[2] / "docs" / "live.md"


def test_the_examples_of_the_guide_run_and_give_what_it_says():
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 4
    names = {}
    for block in blocks:
        exec(block, names)  # noqa: S102 - our own guide
    assert list(qw.open_model(names["Net"]()).tensors) == [
        "layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bias",
    ]  # fmt: skip
    layer = names["QuantizedLinear"]()
    expected = (layer.q_weight.astype(np.float32) - 3) * np.float32(0.02)
    np.testing.assert_array_equal(qw.open_model(layer).tensors["q_weight"].values(), expected)
    scheme = qw.open_model(names["Packed"]()).tensors["weight"].quant
    assert repr(scheme) == "<QuantScheme affine uint4 per_block, scale explicit, stored>"
