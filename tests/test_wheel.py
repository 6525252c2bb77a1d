from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BUILT = ("widget.js", "kernel-panels.js", "page.js", "widget.css")
SOURCES = ("src", "hatch_build.py", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture
def checkout(tmp_path):
    target = tmp_path / "checkout"
    target.mkdir()
    for name in SOURCES:
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target / name)
    return target


def build(checkout):
    return subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", "dist"],
        cwd=checkout,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_wheel_carries_the_front_end_and_no_tests(checkout):
    done = build(checkout)
    assert done.returncode == 0, done.stderr
    (wheel,) = (checkout / "dist").glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"quantwidget/static/{name}" for name in BUILT} <= names
    assert "quantwidget/py.typed" in names
    assert not any(name.startswith(("tests", "js")) for name in names)


@pytest.mark.parametrize("name", BUILT)
def test_no_wheel_is_made_without_the_front_end(checkout, name):
    (checkout / "src" / "quantwidget" / "static" / name).unlink()
    done = build(checkout)
    assert done.returncode != 0
    assert f"the front end is not built ({name} missing): run `make build` first" in done.stderr
    assert not list(checkout.glob("dist/*.whl"))
