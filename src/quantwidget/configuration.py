"""What states the scheme of quantized tensors beside them: the configuration files of a model's folder.

Libraries write it as ``quantization_config`` in ``config.json`` (transformers), as ``quantization`` in the same file
(MLX), or as a file of their own: ``quantize_config.json`` (AutoGPTQ), ``quant_config.json`` (AutoAWQ),
``hf_quant_config.json`` (ModelOpt).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from quantwidget.bounded_json import parse_json
from quantwidget.errors import ModelError
from quantwidget.neighbours import neighbour
from quantwidget.sources import ModelFile

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MAX_BYTES = 16_000_000
"""Length of a configuration file."""

MODEL_CONFIG = "config.json"
_PLACES = ("quantization_config", "compression_config", "quantization")
_PARTS = ("text_config", "llm_config", "language_config")
_OWN_FILES = {"quantize_config.json": "gptq", "quant_config.json": "awq", "hf_quant_config.json": "modelopt"}


@dataclass(frozen=True)
class Configuration:
    """What was found beside a model.

    Attributes
    ----------
    scheme
        What conventions look at, as the library wrote it, with ``quant_method`` filled in where a file implies it, and
        with the model's own ``dtype`` as ``model_dtype``; empty when nothing states a scheme.
    source
        The file that said so; empty for none.
    notes
        Sentences about files that could not be read.
    """

    scheme: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    notes: tuple[str, ...] = ()


def read_configuration(folder: Path) -> Configuration:
    """Look for the configuration files of a folder; what is wrong with one of them becomes a note."""
    notes: list[str] = []
    model = _object(folder, MODEL_CONFIG, notes)
    parts = [model, *(part for key in _PARTS if isinstance(part := model.get(key), dict))]
    dtype = next((word for part in parts for word in (part.get("dtype"), part.get("torch_dtype")) if word), None)
    known = {"model_dtype": dtype} if isinstance(dtype, str) else {}
    for part in parts:
        for place in _PLACES:
            scheme = part.get(place)
            if isinstance(scheme, dict) and scheme:
                method = {"quant_method": "mlx"} if place == "quantization" else {}
                return Configuration({**method, **known, **scheme}, MODEL_CONFIG, tuple(notes))
    for name, own_method in _OWN_FILES.items():
        stated = _object(folder, name, notes)
        stated = inner if isinstance(inner := stated.get("quantization"), dict) else stated
        if stated:
            return Configuration({"quant_method": own_method, **known, **stated}, name, tuple(notes))
    return Configuration(notes=tuple(notes))


def _object(folder: Path, name: str, notes: list[str]) -> dict[str, Any]:
    if not (folder / name).is_file():
        return {}
    try:
        file = ModelFile(neighbour(folder, name))
        if file.nbytes > MAX_BYTES:
            notes.append(f"{name} is larger than any configuration ({file.nbytes} bytes) and was not read")
            return {}
        value = parse_json(file.view(0, file.nbytes).tobytes(), name).value
    except (ModelError, OSError, ValueError) as error:
        notes.append(f"no scheme was read from {name}: {error}")
        return {}
    return value if isinstance(value, dict) else {}
