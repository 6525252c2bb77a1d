from __future__ import annotations

import re
from pathlib import Path

from quantwidget.charts.channel_strips import MOST_STRIPS
from quantwidget.charts.layer_bars import MOST_LAYERS

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "charts.md").read_text(encoding="utf-8")


def test_the_examples_of_the_guide_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    names = {}
    for block in re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL):
        exec(block, names)  # noqa: S102 - our own guide
    assert {path.name for path in tmp_path.iterdir() if path.is_file()} == {
        "channels.svg", "overview.json", "overview.png", "overview.svg",
    }  # fmt: skip
    assert len(names["picture"].value) == 0


def test_the_numbers_of_the_guide_are_those_of_the_code():
    assert f"more than {MOST_STRIPS} channels" in GUIDE
    assert f"more than {MOST_LAYERS + 1} layers, the {MOST_LAYERS} largest" in GUIDE
