"""The benchmarks compare what they say they compare; what they measure is for `make bench`."""

from __future__ import annotations

import importlib
import itertools
import json
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

ROOT = Path(__file__).parent.parent
GOALS = {
    "open_1gb_onnx": (">=", 200),
    "open_1gb_pt": (">=", 50),
    "open_1gb_safetensors": (">=", 50),
    "open_1gb_gguf": (">=", 20),
    "open_20k_tensors_pt": (">=", 1.5),
    "open_gguf_vocab_152k": (">=", 100),
    "open_memory_mb": ("<=", 32),
    "sketch_f32_engine": (">=", 50),
    "sketch_bf16_engine": (">=", 25),
    "sketch_int8_engine": (">=", 15),
    "sketch_f32_engine_x": (">=", 15),
    "sketch_f32_numpy": (">=", 2.5),
    "all_tensors_1gb_numpy": (">=", 5),
    "all_tensors_1gb_engine": (">=", 8),
    "cold_1gb": ("<=", 1.6),
    "tiny_tensors": (">=", 10),
    "scan_memory_mb": ("<=", 32),
    "channels_4096x14336": (">=", 5),
    "first_histogram_small": ("<=", 5),
    "page_bytes_1e7": ("<=", 1e-3),
    "whatif_curve_1e7": (">=", 100),
}
FIELDS = ["name", "ratio", "goal", "better", "ours", "theirs", "unit", "n"]


@pytest.fixture
def load(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    return lambda name: importlib.import_module(f"benchmarks.{name}")


@pytest.fixture
def goal(load):
    return lambda **fields: load("goals").Goal(
        **{"name": "sketch_f32_numpy", "goal": 2.5, "ours": "a", "theirs": "b"} | fields
    )


@pytest.fixture
def bench(load, tmp_path):
    module = load("bench")
    return module.Bench(sizes=module.QUICK, folder=tmp_path)


def test_every_goal_has_a_measure_and_a_row_of_its_name(load):
    goals = load("goals").GOALS
    assert {goal.name: (">=" if goal.better == "higher" else "<=", goal.goal) for goal in goals} == GOALS
    assert [goal.name for goal in goals] == list(load("rows").MEASURES)


@pytest.mark.parametrize(
    ("fields", "sides", "ratio", "is_met"),
    [
        ({}, (2.0, 5.0), 2.5, True),
        ({}, (2.0, 4.9), 2.45, False),
        ({"better": "lower", "goal": 1.6}, (8.0, 5.0), 1.6, True),
        ({"better": "lower", "goal": 1.6}, (9.0, 5.0), 1.8, False),
        ({"measure": "share", "goal": 50}, (8.0, 4.0), 50.0, True),
        ({"measure": "figure", "better": "lower", "goal": 32}, (33.0, 7.0), 33.0, False),
    ],
)
def test_a_ratio_is_how_many_times_faster_or_how_many_times_the_size(goal, fields, sides, ratio, is_met):
    row = goal(**fields).row(*sides, 5)
    assert row.ratio == pytest.approx(ratio)
    assert row.is_met is is_met
    assert row.n == 5


def test_a_share_is_shown_against_the_whole_and_a_figure_against_nothing(goal):
    share, figure = goal(measure="share").row(8.0, 4.0, 5), goal(measure="figure").row(33.0, 7.0, 5)
    assert (share.ours, share.theirs) == (50.0, 100.0)
    assert (figure.ours, figure.theirs) == (33.0, 0.0)


def test_calls_take_turns_and_the_first_round_does_not_count(load, monkeypatch):
    harness = load("harness")
    seen = []
    clock = itertools.accumulate([0, 100, 0, 100, 0, 1, 0, 2, 0, 5, 0, 4, 0, 3, 0, 6])
    monkeypatch.setattr(harness.time, "perf_counter", partial(next, clock))
    assert harness.in_turn(3, partial(seen.append, "a"), partial(seen.append, "b")) == (3000, 4000)
    assert seen == ["a", "b"] * 4


def test_the_exponent_is_that_of_the_power_law(load):
    exponent = load("harness").exponent
    sizes = [10, 100, 1000]
    assert exponent(sizes, [7 * size**1.5 for size in sizes]) == pytest.approx(1.5)
    assert exponent(sizes, [7, 7, 7]) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("ours", [1.2, float("nan")])
def test_what_does_not_agree_is_not_compared(load, ours):
    agree = load("harness").agree
    agree("mean", 1.0, 1.05, 0.1)
    with pytest.raises(ValueError, match="mean"):
        agree("mean", ours, 1.0, 0.1)


@pytest.fixture
def run(load, monkeypatch, tmp_path):
    """Return what measures nothing and writes elsewhere."""
    module = load("run")
    monkeypatch.setattr(module, "MEASURES", {goal.name: measured for goal in load("goals").GOALS})
    monkeypatch.setattr(module.growth, "grown", lambda _: [])
    monkeypatch.setattr(module.peers, "counted", lambda _: None)
    monkeypatch.setattr(module, "RESULTS", tmp_path / "results.json")
    monkeypatch.setattr(module, "PAGE", tmp_path / "performance.md")
    return module


def measured(goal, _):
    return goal.row(2.0, 6.0, 3)


def failing(*_):
    message = "no such peer"
    raise ImportError(message)


def test_a_row_that_fails_is_reported_and_the_others_go_on(load, run, bench, monkeypatch, capsys):
    goals = load("goals").GOALS[:2]
    first, second = (goal.name for goal in goals)
    monkeypatch.setitem(run.MEASURES, first, failing)
    rows, failed = run.measure(bench, goals)
    assert [row.name for row in rows] == [second]
    assert [(failure.name, failure.reason) for failure in failed] == [(first, "ImportError: no such peer")]
    assert "FAILED  ImportError: no such peer" in capsys.readouterr().out


@pytest.mark.parametrize("failed", [[], ["cold_1gb"]])
def test_a_run_writes_its_results_and_ends_with_1_when_a_row_failed(run, monkeypatch, failed):
    for name in failed:
        monkeypatch.setitem(run.MEASURES, name, failing)
    assert run.main(["--full"]) == len(failed)
    written = json.loads(run.RESULTS.read_text(encoding="utf-8"))
    assert isinstance(written["machine"], str)
    assert [row["name"] for row in written["rows"]] == [name for name in GOALS if name not in failed]
    assert [failure["name"] for failure in written["failed"]] == failed
    assert all(list(row) == FIELDS for row in written["rows"])
    page = run.PAGE.read_text(encoding="utf-8")
    assert all(f"| `{name}` |" in page for name in GOALS)


def test_a_short_run_leaves_the_page_for_people_alone(run):
    assert run.main(["--quick"]) == 0
    assert json.loads(run.RESULTS.read_text(encoding="utf-8"))["quick"] is True
    assert not run.PAGE.exists()


def test_a_few_rows_are_printed_and_nothing_is_written(run, capsys):
    assert run.main(["--quick", "--only", "tiny_tensors", "cold_1gb"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["cold_1gb", "tiny_tensors"]
    assert not run.RESULTS.exists()


def test_the_page_shows_what_was_seen_beside_the_ratios(load):
    def process(seconds):
        return {"seconds": seconds, "user": 1.5, "system": 0.25, "faults": 70_000, "anonymous_mb": 12.0}

    page = load("report").markdown(
        {
            "machine": "a machine",
            "rows": [],
            "failed": [{"name": "cold_1gb", "reason": "OSError: no disk"}],
            "beside": {
                "gigabytes_per_second": {"sketch_f32_engine": {"ours": 12.5, "read": 19.0}},
                "cold_gigabytes_per_second": 3.2,
                "processes": {
                    "numpy": [process(seconds) for seconds in (1.0, 2.0, 4.0)],
                    "numba": [process(0.5)] * 3,
                    "theirs": [process(10.0)] * 3,
                },
                "scan_memory": [{"model_mb": 105.0, "by_default": 12.5, "numpy": 11.5}],
                "growth": [
                    {"of": "elements", "what": "a sketch", "sizes": [10, 1000], "milliseconds": [2, 200], "exponent": 1}
                ],
                "peers": {
                    "elements": 10,
                    "nanoseconds": {"`np.histogram`, range known": 5.0, "quick": 0.5, "gone": None},
                },
                "payloads": {
                    "quantwidget": {"nbytes": 200, "milliseconds": 3.0},
                    "raw": {"nbytes": 1000, "milliseconds": 9.0},
                    "gone": None,
                },
            },
        }
    )
    lines = page.splitlines()
    assert "(a machine)" in page
    assert any(line.startswith("| `cold_1gb` | failed: OSError: no disk |") for line in lines)
    assert any(line.startswith("| `tiny_tensors` | not measured |") for line in lines)
    assert "| `sketch_f32_engine` | 12.5 | 19.0 |" in lines
    assert "| quantwidget, NumPy | 2.00 | 1.50 | 0.2500 | 70,000 | 12.0 | 2.50 to 10.0 |" in lines
    assert "| 105 | 12.5 | 11.5 |" in lines
    assert "| a sketch | elements | 10: 2.00 · 1,000: 200 | 1.00 |" in lines
    assert "| quick | 0.5000 | 10.0 |" in lines
    assert "| gone | not installed |  |" in lines
    assert "| raw | 1,000 | 5.00 | 9.00 |" in lines


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0.0000"), (0.00025, "2.50e-04"), (0.0625, "0.0625"), (2.5, "2.50"), (25.04, "25.0"), (12345.6, "12,346")],
)
def test_numbers_are_written_with_three_digits(load, value, text):
    assert load("report").number(value) == text


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what is in the page cache")
def test_a_file_that_was_just_read_is_told_from_one_that_is_not_there(load, tmp_path, monkeypatch):
    page_cache = load("page_cache")
    path = tmp_path / "file"
    path.write_bytes(bytes(1 << 20))
    path.read_bytes()
    assert page_cache.cached_share(path) == 1
    with path.open("ab") as file:
        file.truncate(4 << 20)
    assert page_cache.cached_share(path) == 0.25
    monkeypatch.setattr(page_cache.os, "posix_fadvise", lambda *_: None)
    with pytest.raises(OSError, match="stay in the page cache"):
        page_cache.make_cold(path)


def test_a_program_is_measured_in_a_process_of_its_own(load):
    usage = load("processes").run("open_only", ROOT / "examples" / "models" / "resnet8.onnx")
    assert usage.said["tensors"] > 10
    assert usage.user + usage.system > 0
    assert usage.seconds > 0
    assert usage.faults > 0
    assert usage.anonymous_mb > usage.said["grown"]


def test_a_program_that_fails_says_why(load, tmp_path):
    with pytest.raises(RuntimeError, match=r"open_only ended with 1: FileNotFoundError.*missing\.onnx"):
        load("processes").run("open_only", tmp_path / "missing.onnx")


def test_large_models_are_what_their_library_reads(load, tmp_path):
    load("model_files").write_safetensors(tmp_path / "model.safetensors", tensors=3, elements=5)
    tensors = load_file(tmp_path / "model.safetensors")
    expected = np.random.default_rng(1).standard_normal(5, dtype=np.float32)
    assert sorted(tensors) == [f"layers.{place}.weight" for place in range(3)]
    assert all(np.array_equal(tensor, expected) for tensor in tensors.values())


def test_a_payload_of_a_package_that_is_not_installed_is_left_out(load):
    payloads = load("payloads")
    array = np.arange(5000, dtype=np.float32)
    assert payloads.measured(payloads.raw, "no_such_package", array) is None
    assert payloads.measured(payloads.raw, "numpy", array).nbytes == 4 * len(array) * 4 / 3 // 4 * 4 + 4


def test_what_the_page_receives_holds_both_counts_of_a_tensor(load):
    array = np.random.default_rng(0).standard_normal(1 << 19, dtype=np.float32)
    assert 51_200 * 4 < load("payloads").quantwidget(array) < array.nbytes
