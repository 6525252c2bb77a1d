"""Train a ResNet-8 on handwritten digits and save it, float and int8, in every example format.

Run from the root of the repository::

    python scripts/make_models.py [--out examples/models]

Seeds, splits and thread counts are fixed, so the same library versions on the same kind of CPU write the same files.
"""

from __future__ import annotations

import argparse
import copy
import io
import json
import tempfile
import time
import warnings
import zipfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import onnx
import onnxruntime
import sklearn
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.ao.quantization import get_default_qconfig_mapping
from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx
from torch.nn.utils.fusion import fuse_conv_bn_eval

if TYPE_CHECKING:
    from collections.abc import Iterator

SEED = 8
CLASSES = 10
EPOCHS = 60
BATCH = 32
OPSET = 17
ENGINE = "x86"
CALIBRATION_IMAGES = 256
ALIGNMENT = 64


class Images(NamedTuple):
    """Images as float32 of shape (N, 1, 8, 8) between 0 and 1, with their labels as int64 of shape (N,)."""

    pixels: np.ndarray
    labels: np.ndarray


def split_digits() -> tuple[Images, ...]:
    """Split scikit-learn's 1797 digits into 1197 for training, 240 for validation and 360 for test, by class."""
    digits = load_digits()
    pixels = (digits.images[:, np.newaxis] / 16).astype(np.float32)
    labels = digits.target.astype(np.int64)
    rest, test = train_test_split(np.arange(len(labels)), test_size=360, random_state=SEED, stratify=labels)
    training, validation = train_test_split(rest, test_size=240, random_state=SEED, stratify=labels[rest])
    return tuple(Images(pixels[chosen], labels[chosen]) for chosen in (training, validation, test))


class Stage(nn.Module):
    """Two 3×3 convolutions beside a shortcut, which is a 1×1 convolution where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        same_shape = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same_shape else nn.Conv2d(inputs, outputs, 1, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the stage's feature map for the feature map `x`."""
        y = nn.functional.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return nn.functional.relu(y + self.shortcut(x))


class ResNet8(nn.Module):
    """The ResNet-8 of MLPerf Tiny for grey images of any size, with 56 instead of 64 channels in its last stage."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.stage1 = Stage(16, 16, stride=1)
        self.stage2 = Stage(16, 32, stride=2)
        self.stage3 = Stage(32, 56, stride=2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(56, CLASSES)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return the logits of a batch of images."""
        x = nn.functional.relu(self.bn1(self.conv1(image)))
        x = self.stage3(self.stage2(self.stage1(x)))
        return self.fc(torch.flatten(self.pool(x), 1))


def shifted(batch: torch.Tensor) -> torch.Tensor:
    """Shift every image of a batch by up to one pixel each way, filling with black."""
    padded = nn.functional.pad(batch, (1, 1, 1, 1))
    corners = torch.randint(0, 3, (len(batch), 2)).tolist()
    return torch.stack([image[:, y : y + 8, x : x + 8] for image, (y, x) in zip(padded, corners, strict=True)])


def train(images: Images, validation: Images) -> ResNet8:
    """Train with SGD, a one-cycle learning rate and shifted images; keep the epoch with the lowest validation loss."""
    torch.manual_seed(SEED)
    model = ResNet8()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4)
    steps = -(-len(images.labels) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, epochs=EPOCHS, steps_per_epoch=steps)
    pixels, labels = map(torch.from_numpy, images)
    validation_pixels, validation_labels = map(torch.from_numpy, validation)
    lowest, best = float("inf"), model.state_dict()
    for epoch in range(EPOCHS):
        model.train()
        for chosen in torch.randperm(len(labels)).split(BATCH):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(shifted(pixels[chosen])), labels[chosen], label_smoothing=0.05).backward()
            optimizer.step()
            schedule.step()
        model.eval()
        with torch.no_grad():
            loss = nn.functional.cross_entropy(model(validation_pixels), validation_labels).item()
        if loss < lowest:
            lowest, best = loss, copy.deepcopy(model.state_dict())
        print(f"epoch {epoch + 1:2d}/{EPOCHS}: validation loss {loss:.4f}")
    model.load_state_dict(best)
    return model


def logits_of(model: nn.Module, pixels: np.ndarray) -> np.ndarray:
    """Return what a model in evaluation mode gives to images."""
    with torch.no_grad():
        return model(torch.from_numpy(pixels)).numpy()


def accuracy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the share of images whose highest logit is that of their label."""
    return float(np.mean(logits.argmax(axis=1) == labels))


def save_checkpoint(model: ResNet8, test: Images, path: Path) -> None:
    """Save the float checkpoint, batch normalisation included, as a training script would."""
    test_accuracy = accuracy(logits_of(model, test.pixels), test.labels)
    torch.save({"state_dict": model.state_dict(), "accuracy": test_accuracy, "classes": CLASSES}, path)


@contextmanager
def old_torch_apis() -> Iterator[None]:
    """Ignore PyTorch's deprecation of TorchScript and of quantized tensors: model files are full of both."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", message=r"torch\.quantize_per_tensor.* are deprecated", category=UserWarning)
        warnings.filterwarnings("ignore", message="Please use quant_min", category=UserWarning)
        warnings.filterwarnings("ignore", message="The TorchScript type system", category=UserWarning)
        yield


def without_batch_norm(model: ResNet8) -> ResNet8:
    """Return a copy with each batch normalisation folded into its convolution, which keeps its name."""
    folded = copy.deepcopy(model)
    for module in (folded, folded.stage1, folded.stage2, folded.stage3):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                conv = name.replace("bn", "conv")
                setattr(module, conv, fuse_conv_bn_eval(getattr(module, conv), child))
                setattr(module, name, nn.Identity())
    return folded


def save_onnx(model: ResNet8, path: Path) -> None:
    """Export the float model to ONNX with a free batch size."""
    with old_torch_apis():
        torch.onnx.export(
            without_batch_norm(model),
            (torch.zeros(1, 1, 8, 8),),
            path,
            dynamo=False,
            opset_version=OPSET,
            input_names=["image"],
            output_names=["logits"],
            dynamic_axes={"image": {0: "batch"}, "logits": {0: "batch"}},
        )
    remove_docs(path)


def remove_docs(path: Path) -> None:
    """Remove from an ONNX file the doc strings and metadata, in which tools leave machine paths, and check it."""
    model = onnx.load(path)
    for part in (model, model.graph, *model.graph.node, *model.graph.initializer):
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def save_torchscript_int8(model: ResNet8, calibration: np.ndarray, path: Path) -> None:
    """Quantize with PyTorch's FX static quantization (per-channel int8 weights) and save as TorchScript."""
    torch.backends.quantized.engine = ENGINE
    buffer = io.BytesIO()
    with old_torch_apis():
        example = (torch.zeros(1, 1, 8, 8),)
        prepared = prepare_fx(copy.deepcopy(model), get_default_qconfig_mapping(ENGINE), example)
        logits_of(prepared, calibration)
        quantized = convert_fx(prepared)
        for node in quantized.graph.nodes:
            node.type = None  # torch.jit.script cannot resolve the annotations that FX repeats
        quantized.recompile()
        torch.jit.save(torch.jit.script(quantized), buffer)
    save_without_sources(buffer, path)


def save_without_sources(archive: io.BytesIO, path: Path) -> None:
    """Copy a TorchScript archive without its debug records, which hold the paths of the sources it was made from.

    Records stay aligned as PyTorch aligns them. The optional serialization id goes too: it is a hash of all records.
    """
    with zipfile.ZipFile(archive) as source, path.open("wb") as stream, zipfile.ZipFile(stream, "w") as target:
        for entry in source.infolist():
            if entry.filename.endswith((".debug_pkl", "/.data/serialization_id")):
                continue
            copied = zipfile.ZipInfo(entry.filename)
            copied.compress_type = entry.compress_type
            header = 30 + len(entry.filename) + 4  # the fixed part, the name and the head of the padding
            padding = -(stream.tell() + header) % ALIGNMENT
            copied.extra = b"FB" + padding.to_bytes(2, "little") + bytes(padding)
            target.writestr(copied, source.read(entry))


class Calibration(CalibrationDataReader):
    """Feed images to onnxruntime's calibration, 32 at a time."""

    def __init__(self, pixels: np.ndarray) -> None:
        self._batches: Iterator[np.ndarray] = iter(np.split(pixels, len(pixels) // 32))

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return the next batch, or None when there is no more."""
        batch = next(self._batches, None)
        return None if batch is None else {"image": batch}


# onnxruntime quantizes signed weights symmetrically and unsigned ones with a zero point; the files show both.
ONNX_SCHEMES = {
    "resnet8_int8_qdq_per_tensor.onnx": (QuantFormat.QDQ, QuantType.QInt8, False),
    "resnet8_int8_qdq_per_channel.onnx": (QuantFormat.QDQ, QuantType.QInt8, True),
    "resnet8_int8_qoperator.onnx": (QuantFormat.QOperator, QuantType.QUInt8, False),
}


def save_onnx_int8(source: Path, calibration: np.ndarray, path: Path) -> None:
    """Quantize the float ONNX file with onnxruntime's static quantization; the scheme goes by the file's name."""
    quant_format, integers, per_channel = ONNX_SCHEMES[path.name]
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder, "prepared.onnx")
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            path,
            Calibration(calibration),
            quant_format=quant_format,
            per_channel=per_channel,
            activation_type=integers,
            weight_type=integers,
        )
    remove_docs(path)


def run(path: Path, pixels: np.ndarray) -> np.ndarray:
    """Return the logits that the model in a file, float or int8, gives to images."""
    if path.suffix == ".onnx":
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        return session.run(None, {"image": pixels})[0]
    if "int8" in path.name:
        with old_torch_apis():
            return logits_of(torch.jit.load(path), pixels)
    model = ResNet8().eval()
    model.load_state_dict(torch.load(path)["state_dict"])
    return logits_of(model, pixels)


def report(folder: Path, names: list[str], test: Images) -> dict[str, object]:
    """Measure every file on the test images; beside the files, tell what they were measured on and made with."""
    accuracies = {name: accuracy(run(folder / name, test.pixels), test.labels) for name in names}
    libraries = (np, onnx, onnxruntime, sklearn, torch)
    return {
        **{name: {"accuracy": accuracies[name], "bytes": (folder / name).stat().st_size} for name in names},
        "dataset": "scikit-learn digits: 8×8 grey images of 10 digits",
        "test_images": len(test.labels),
        "parameters": sum(parameter.numel() for parameter in ResNet8().parameters()),
        "versions": {library.__name__: library.__version__ for library in libraries},
    }


def main() -> None:
    """Train the model, save it in every format and record the accuracy of each file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("examples/models"), help="where to write (%(default)s)")
    folder = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)

    images, validation, test = split_digits()
    calibration = images.pixels[:CALIBRATION_IMAGES]
    start = time.perf_counter()
    model = train(images, validation)
    print(f"trained in {time.perf_counter() - start:.0f} s")
    save_checkpoint(model, test, folder / "resnet8.pt")
    save_onnx(model, folder / "resnet8.onnx")
    save_torchscript_int8(model, calibration, folder / "resnet8_int8.pt")
    for name in ONNX_SCHEMES:
        save_onnx_int8(folder / "resnet8.onnx", calibration, folder / name)

    names = ["resnet8.pt", "resnet8.onnx", "resnet8_int8.pt", *ONNX_SCHEMES]
    text = json.dumps(report(folder, names, test), indent=2, ensure_ascii=False)
    (folder / "accuracy.json").write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
