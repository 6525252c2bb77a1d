"""Archives of torch.export put together by hand, without torch."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import numpy as np

CODES = np.arange(8, dtype=np.int8)
SCALES = np.array([0.5, 2], np.float32)


def tensor_meta(dtype: int, shape: list[int], **changes: Any) -> dict[str, Any]:
    strides = [int(np.prod(shape[place + 1 :])) for place in range(len(shape))]
    known = {"dtype": dtype, "sizes": shape, "strides": strides, "storage_offset": 0, "layout": 7}
    known.update(changes)
    integers = {key: [{"as_int": number} for number in known[key]] for key in ("sizes", "strides")}
    return {**known, **integers, "storage_offset": {"as_int": known["storage_offset"]}}


def entry(path: str, dtype: int, shape: list[int], *, use_pickle: bool = False, **changes: Any) -> dict[str, Any]:
    meta = tensor_meta(dtype, shape, **changes)
    return {"path_name": path, "is_param": True, "use_pickle": use_pickle, "tensor_meta": meta}


def payload(**more: Any) -> dict[str, Any]:
    known = {"codes": entry("weight_0", 2, [2, 4]), "scale": entry("weight_1", 7, [2])}
    return {"config": {**known, **more}}


def argument(name: str, **value: Any) -> dict[str, Any]:
    return {"name": name, "arg": value, "kind": 1}


def node(target: str, inputs: list[dict[str, Any]], output: str, stack: str = "") -> dict[str, Any]:
    outputs = [{"as_tensor": {"name": output}}]
    return {"target": target, "inputs": inputs, "outputs": outputs, "metadata": {"nn_module_stack": stack}}


def program(*nodes: dict[str, Any], inputs: tuple[str, ...] = ("codes", "scale")) -> dict[str, Any]:
    known = [
        node(
            "torch.ops.quantized_decomposed.dequantize_per_channel.default",
            [
                argument("input", as_tensor={"name": "b_codes"}),
                argument("scales", as_tensor={"name": "b_scale"}),
                argument("zero_points", as_none=True),
                argument("axis", as_int=0),
                argument("quant_min", as_int=-127),
                argument("quant_max", as_int=127),
            ],
            "values",
        ),
        node(
            "torch.ops.aten.linear.default",
            [argument("input", as_tensor={"name": "x"}), argument("weight", as_tensor={"name": "values"})],
            "y",
            "L__self__,,net.Net;L__self__fc,fc,torch.nn.Linear",
        ),
    ]
    specs = [{"buffer": {"arg": {"name": f"b_{name}"}, "buffer_name": name, "persistent": True}} for name in inputs]
    graph = {"inputs": [], "outputs": [{"as_tensor": {"name": "y"}}], "nodes": [*known, *nodes]}
    return {
        "graph_module": {"graph": graph, "signature": {"input_specs": specs}},
        "schema_version": {"major": 8, "minor": 20},
        "torch_version": "2.13.0",
    }


def archive(
    graph: dict[str, Any] | bytes, config: dict[str, Any] | bytes, method: int = zipfile.ZIP_STORED, **entries: bytes
) -> bytes:
    """Write an archive; further entries replace weights or add to them."""
    texts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (graph, config)]
    weights = {"weight_0": CODES.tobytes(), "weight_1": SCALES.tobytes(), **entries}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as out:
        for name, content in weights.items():
            out.writestr(f"model/data/weights/{name}", content)
        out.writestr("model/data/weights/model_weights_config.json", texts[1])
        out.writestr("model/models/model.json", texts[0])
        out.writestr("model/archive_format", b"pt2")
        out.writestr("model/byteorder", b"little")
    return buffer.getvalue()


def pickled(body: bytes, **entries: bytes) -> bytes:
    """Write an archive of torch.save, such as one that holds a single weight."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as out:
        for name, content in {"data.pkl": body, "byteorder": b"little", **entries}.items():
            out.writestr(f"archive/{name}", content)
    return buffer.getvalue()
