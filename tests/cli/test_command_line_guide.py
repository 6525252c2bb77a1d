from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from quantwidget import cli

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")


def test_the_commands_of_the_guide_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli.webbrowser, "open", lambda _address: True)
    shutil.copy(ROOT / "examples" / "models" / "resnet8_int8_qdq_per_channel.onnx", "model_int8.onnx")
    shutil.copy(ROOT / "examples" / "models" / "resnet8.pt", "model.pt")
    commands = re.findall(r"^quantwidget (.*?)(?: > .*?)?(?:  #.*)?$", GUIDE, re.MULTILINE)
    assert len(commands) == 6
    for command in commands:
        assert cli.main(shlex.split(command)) == 0
    assert (tmp_path / "report.html").is_file()
    assert "compared with model.pt" in capsys.readouterr().out


def test_the_example_of_the_guide_runs(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    (block,) = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    exec(block, {})  # noqa: S102 - our own guide
    assert re.fullmatch(r"stage3\.conv2\.weight int8 [\d.]+\n\[\]\n", capsys.readouterr().out)


@pytest.mark.parametrize("action", cli.parser()._actions, ids=lambda action: action.dest)
def test_every_option_is_in_the_guide(action):
    assert all(option in GUIDE for option in action.option_strings if len(option) > 2 or option == "-o")


def test_every_status_is_in_the_guide():
    assert all(f"| {status} |" in GUIDE for status in (0, cli.FOUND, cli.FAILED, cli.INTERRUPTED, cli.CLOSED))
