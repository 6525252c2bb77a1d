"""The example models do what their record says, and hold nothing of the machine that made them."""

import importlib.util
import json
import re
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "examples" / "models"
RECORD = json.loads((FOLDER / "accuracy.json").read_text(encoding="utf-8"))
MODELS = sorted(name for name, entry in RECORD.items() if isinstance(entry, dict) and "accuracy" in entry)
KERNEL_DIFFERENCE = 2  # images: integer kernels differ by CPU
MACHINE_PATHS = re.compile(
    "|".join(
        [
            r"/(home|root|tmp|usr|opt|var|work|Users)/[\w.]",
            "site-packages",
            *(re.escape(str(path)) for path in (ROOT, Path.home(), tempfile.gettempdir()) if len(str(path)) > 1),
        ]
    ).encode()
)


@pytest.fixture(scope="module")
def make_models():
    spec = importlib.util.spec_from_file_location("make_models", ROOT / "scripts" / "make_models.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def split(make_models):
    return make_models.split_digits()


def logits_of(path, make_models, pixels):
    if path.suffix == ".onnx":
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        return session.run(["logits"], {"image": pixels})[0]
    if path.name == "resnet8_int8.pt":
        model = torch.jit.load(path)
    else:
        model = make_models.ResNet8().eval()
        model.load_state_dict(torch.load(path, weights_only=True)["state_dict"])
    with torch.no_grad():
        return model(torch.from_numpy(pixels)).numpy()


def contents(path):
    yield path.read_bytes()
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            yield from (archive.read(name) for name in archive.namelist())


def test_every_model_is_recorded():
    assert sorted(path.name for path in FOLDER.iterdir() if path.suffix in {".onnx", ".pt"}) == MODELS


def test_parts_of_the_dataset_are_disjoint_and_hold_every_image(split):
    images = [image.tobytes() for part in split for image in part.pixels]
    assert [len(part.labels) for part in split] == [1197, 240, RECORD["test_images"]]
    assert len(set(images)) == len(images) == 1797


@pytest.mark.filterwarnings("ignore:`torch.jit.load` is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")
@pytest.mark.parametrize("name", MODELS)
def test_recorded_accuracy_is_true(name, make_models, split):
    *_, test = split
    right = np.sum(logits_of(FOLDER / name, make_models, test.pixels).argmax(axis=1) == test.labels)
    recorded = RECORD[name]["accuracy"]
    assert recorded >= 0.98
    assert abs(right - recorded * len(test.labels)) <= (KERNEL_DIFFERENCE if "int8" in name else 0) + 1e-6


@pytest.mark.parametrize("name", MODELS)
def test_recorded_size_is_true(name):
    assert RECORD[name]["bytes"] == (FOLDER / name).stat().st_size


def test_checkpoint_repeats_the_recorded_accuracy_and_parameters(make_models):
    checkpoint = torch.load(FOLDER / "resnet8.pt", weights_only=True)
    assert checkpoint["accuracy"] == RECORD["resnet8.pt"]["accuracy"]
    assert checkpoint["classes"] == 10
    assert sum(parameter.numel() for parameter in make_models.ResNet8().parameters()) == RECORD["parameters"]


def test_folder_is_smaller_than_a_mebibyte():
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 1_000_000


@pytest.mark.parametrize("path", sorted(FOLDER.iterdir()), ids=lambda path: path.name)
def test_no_file_holds_a_machine_path(path):
    assert [match.group() for content in contents(path) for match in MACHINE_PATHS.finditer(content)] == []
