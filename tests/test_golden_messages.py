"""What the kernel says, message by message: the page's tests read the very file that this one compares with.

After a deliberate change, run it once with ``QUANTWIDGET_WRITE_GOLDEN=1`` and read the difference.
"""

import base64
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from quantwidget import wire
from quantwidget.index import TensorIndex
from quantwidget.manifest import manifest_of
from quantwidget.quant import QuantScheme
from quantwidget.record import ModelRecord, TensorRecord
from quantwidget.session import Session
from quantwidget.storage import Storage

GOLDEN = Path(__file__).parent / "golden" / "messages.json"
VERSION = "0.0.0"
PANELS = b"export const build = '\xe2\x98\x83';"


def plain(name, array, **facts):
    layer, _, role = name.rpartition(".")
    return TensorRecord(
        name=name,
        layer=layer,
        role=role,
        shape=array.shape,
        dtype=array.dtype.name,
        storage_dtype=array.dtype.name.upper(),
        storage_shape=array.shape,
        nbytes=array.nbytes,
        storage=Storage.of(array),
        **facts,
    )


def quantized(name, codes, scale, zero_point=None, axis=None):
    info = np.iinfo(codes.dtype)
    block = tuple(1 if place == axis else length for place, length in enumerate(codes.shape))
    parameter_shape = tuple(length if place == axis else 1 for place, length in enumerate(codes.shape))
    scheme = QuantScheme(
        kind="affine",
        code_dtype=codes.dtype.name,
        shape=codes.shape,
        block_shape=block,
        scale_storage=Storage.of(np.float32(scale).reshape(parameter_shape)),
        zero_point_storage=None
        if zero_point is None
        else Storage.of(np.full(parameter_shape, zero_point, codes.dtype)),
        code_min=int(info.min),
        code_max=int(info.max),
        source="DequantizeLinear",
    )
    return plain(name, codes, quant=scheme)


def model():
    ramp = np.arange(-24, 24, dtype=np.int8)
    many = np.float32((np.arange(8192) ** 2 % 6007 - 3000) / 1024)
    special = np.float16([0, -0.0, 1, 65504, np.nan, np.inf, -np.inf, 2**-24])
    listed = TensorRecord(
        name="head.packed",
        layer="head",
        role="packed",
        shape=(4, 32),
        dtype="float32",
        storage_dtype="Q9_Z",
        storage_shape=(72,),
        nbytes=72,
        note="the packing Q9_Z is not decoded",
    )
    return ModelRecord(
        format="onnx",
        tensors=(
            quantized("stem.conv.weight", ramp.reshape(4, 12), 0.5, zero_point=-4),
            quantized("stem.conv.bias", np.int32([-70_000, 0, 1, 70_000]), 2**-10),
            quantized("body.0.weight", ramp.reshape(3, 16), [0.25, 0.5, 1], axis=0),
            plain("body.1.weight", many),
            plain("body.1.scale", special),
            plain("head.weight", np.float32([[1, 2], [2, 4]])),
            plain("head.tied", np.float32([[1, 2], [2, 4]]), alias_of="head.weight"),
            plain("head.mask", np.array([True, False, True])),
            plain("head.state", np.zeros((0, 3), np.float32)),
            listed,
            plain("<img src=x>.☃", np.int64([2**40, 2**40, -1])),
        ),
        op_types={"stem.conv": "Conv"},
        producer="golden 1",
        notes=("A note about the file.",),
    )


def reference():
    many = np.float32((np.arange(8192) ** 2 % 6007 - 3000) / 1024)
    return ModelRecord(
        format="onnx",
        tensors=(plain("body.1.weight", many * np.float32(1.25)), plain("tail.weight", np.float32([[1, 2, 3, 4, 5]]))),
    )


WHAT_IF = {
    "number_format": "integer",
    "bits": 4,
    "symmetric": True,
    "narrow_range": False,
    "granularity": "per_tensor",
    "axis": None,
    "group_size": None,
    "range_rule": "min_max",
    "percentile": None,
    "low": None,
    "high": None,
    "scale": None,
    "zero_point": None,
}


def rounded(message):
    """Sums of floats differ in their last bit from one processor to another."""
    if isinstance(message, float):
        return float(f"{message:.12g}")
    if isinstance(message, list):
        return [rounded(item) for item in message]
    if isinstance(message, dict):
        return {key: rounded(item) for key, item in message.items()}
    return message


def requests():
    everything = list(range(len(model().tensors)))
    bodies = [
        {"op": "hello"},
        {"op": "scan", "tensors": everything, "finer": -1},
        {"op": "scan", "tensors": [], "finer": 1},
        {"op": "count_range", "tensor": 0, "space": "codes", "low": -3, "high": 4},
        {"op": "count_range", "tensor": 0, "space": "values", "low": 0.5, "high": 4},
        {"op": "count_range", "tensor": 3, "space": "values", "low": -0.5, "high": 0.5},
        {"op": "channels", "tensor": 0, "axis": 0, "space": "values"},
        {"op": "find", "tensor": 0, "space": "codes", "low": 1, "high": 4},
        {"op": "find", "tensor": 3, "space": "values", "low": 99, "high": 100},
        {"op": "explain", "tensor": 2, "index": [2, 5]},
        {"op": "explain", "tensor": 3, "index": [8191]},
        {"op": "lint", "tensor": 2},
        {"op": "lint", "tensor": -1},
        {"op": "match"},
        {"op": "compare", "tensor": 3},
        {"op": "what_if", "tensor": 3, "what_if": WHAT_IF},
        {"op": "panels"},
        {"op": "cancel"},
        {"op": "count_range", "tensor": 3, "space": "codes", "low": 0, "high": 1},
        {"op": "count_range", "tensor": 0, "space": "values", "low": None, "high": 1},
        {"op": "explain", "tensor": 2, "index": [3, 0]},
        {"op": "scan", "tensors": [99], "finer": -1},
        {"op": "scan", "tensors": "all", "finer": -1},
        {"op": "compare", "tensor": 0},
        {"op": "what_if", "tensor": 3, "what_if": {**WHAT_IF, "bits": 99}},
        {"op": "delete"},
        {"op": "hello", "protocol": 99},
    ]
    return [{"id": number, "protocol": wire.PROTOCOL, **body} for number, body in enumerate(bodies, start=1)]


@pytest.fixture(scope="module")
def messages():
    # A rough sketch of few elements keeps the file small.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("quantwidget.sketches.choice.FINE_ELEMENTS", 0)
        yield recorded()


def is_under_way(reply):
    return reply.get("complete") is False or (reply["op"] == "compare" and reply["comparison"] is None)


def recorded():
    index = TensorIndex(model(), source="/somewhere/golden.onnx")
    # On a clock that stands still every request is answered in one piece.
    session = Session(index, version=VERSION, clock=lambda: 0.0, reference=TensorIndex(reference()), panels=PANELS)
    replies = []
    for request in requests():
        reply, payload = session.answer(request)
        while is_under_way(reply):
            reply, payload = session.answer(request)
        replies.append({"request": request, "reply": reply, "payload": base64.b64encode(payload).decode()})
    manifest = asdict(manifest_of(index, version=VERSION, revision=1))
    # Through JSON, as on the wire: no NaN may be in it.
    return json.loads(json.dumps({"manifest": manifest, "replies": replies}, allow_nan=False))


def test_the_kernel_says_what_the_page_was_tested_with(messages):
    if os.environ.get("QUANTWIDGET_WRITE_GOLDEN"):
        text = json.dumps(messages, indent=1, ensure_ascii=False)
        GOLDEN.write_text(text + "\n", encoding="utf-8")
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert messages["manifest"] == golden["manifest"]
    assert rounded(messages["replies"]) == rounded(golden["replies"])


def test_every_operation_and_every_error_but_a_failure_is_among_them(messages):
    assert {one["reply"]["op"] for one in messages["replies"]} == {*get_args(wire.Op), "error"}
    codes = {one["reply"]["code"] for one in messages["replies"] if one["reply"]["op"] == "error"}
    assert codes == {"malformed", "unknown_op", "wrong_protocol"}


def test_only_the_last_part_of_the_path_is_told(messages):
    assert messages["manifest"]["source"] == "golden.onnx"
    assert "somewhere" not in json.dumps(messages)
