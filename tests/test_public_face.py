from __future__ import annotations

import subprocess
import sys

import pytest

import quantwidget as qw


def test_the_public_names_are_these():
    assert qw.__all__ == [
        "CorruptModelError",
        "Layer",
        "ModelError",
        "NotDecodedError",
        "QuantScheme",
        "QuantWidget",
        "TensorIndex",
        "TensorRef",
        "UnsupportedFormatError",
        "__version__",
        "charts",
        "compare_models",
        "load_tensor_index",
        "open_model",
    ]
    assert all(getattr(qw, name) is not None for name in qw.__all__)
    assert dir(qw) == sorted(qw.__all__)
    with pytest.raises(AttributeError, match="no attribute 'QuantWidgets'"):
        qw.QuantWidgets  # noqa: B018


@pytest.mark.parametrize("name", ["torch", "onnx", "anywidget", "IPython", "marimo", "altair", "pickle"])
def test_importing_the_package_leaves_heavy_things_alone(name):
    # NumPy itself may import pickle; what counts is what comes on top of it.
    script = (
        "import sys, numpy, ml_dtypes; before = set(sys.modules); import quantwidget; "
        f"print({name!r} in set(sys.modules) - before)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
