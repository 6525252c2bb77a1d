"""What quantizers do to drawn tensors, as the page must see it too; `js/tests/golden-what-ifs.test.ts` reads the file.

After a deliberate change, run it once with ``QUANTWIDGET_WRITE_GOLDEN=1`` and read the difference.
"""

from __future__ import annotations

import base64
import json
import os
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from models import model, plain, quantized

from quantwidget import wire
from quantwidget.manifest import manifest_of
from quantwidget.quantizing import checked
from quantwidget.session import Session

GOLDEN = Path(__file__).parent.parent / "golden" / "what_ifs.json"
WIDTHS = {"integer": (2, 3, 4, 8), "float8_e4m3fn": (8,), "float8_e5m2": (8,), "float4_e2m1fn": (4,), "nf4": (4,)}
RULES = (
    {"range_rule": "min_max"},
    {"range_rule": "percentile", "percentile": 97.5},
    {"range_rule": "mse"},
    {"range_rule": "manual", "low": -0.4, "high": 0.25},
    {"scale": 0.125},
)
SMALL = 2.0**-7


def tensors():
    rng = np.random.default_rng(20)
    wide = rng.standard_t(4, (24, 250)).astype(np.float32)
    halves = rng.normal(0.1, 0.3, (8, 75)).astype(np.float16)
    # Quotients lie on halves often.
    ties = (rng.integers(-96, 97, (4, 128)) * SMALL).astype(np.float32)
    codes = rng.integers(-128, 128, (6, 50)).astype(np.int8)
    # Signs, extremes and places where quotients round differently from products.
    odd = np.float32([0.1, -0.1, 3, -3, 1e-30, -1e-30, 1e-45, 0, 1 / 3, -2 / 3, 5e4, np.pi]).reshape(3, 4)
    return [
        plain("wide", wide),
        plain("halves", halves),
        plain("ties", ties),
        quantized("codes", codes, np.float32(0.013), zero_point=-7),
        plain("odd", odd),
    ]


def what_ifs():
    turn = 0
    for name, widths in WIDTHS.items():
        for bits in widths:
            for rule in RULES:
                # Each tensor, sign and narrowness has its turn with each rule.
                turn += 1
                what_if = {"number_format": name, "bits": bits, "granularity": "per_tensor", **rule}
                signs = {"symmetric": turn % 3 > 0, "narrow_range": turn % 4 == 0}
                yield (turn + turn // 5) % 5, {**what_if, **signs}
    for name in WIDTHS:
        what_if = {"number_format": name, "bits": WIDTHS[name][-1], "symmetric": False}
        yield 0, {**what_if, "granularity": "per_axis", "axis": 0}
        yield 1, {**what_if, "granularity": "per_block", "axis": 1, "group_size": 16, "range_rule": "mse"}


@pytest.fixture(scope="module")
def recorded():
    # A rough sketch of few elements keeps the file small.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("quantwidget.sketches.choice.FINE_ELEMENTS", 0)
        index = model(*tensors())
        session = Session(index, version="0", clock=lambda: 0.0)
        everything = list(range(len(index.tensors)))
        scan, payload = ask(session, {"op": "scan", "tensors": everything, "finer": -1})
        cases = []
        for number, what_if in what_ifs():
            complete = asdict(checked(what_if, list(index.tensors.values())[number].shape))
            reply, counts = ask(session, {"op": "what_if", "tensor": number, "what_if": complete})
            cases.append({"tensor": number, "what_if": complete, "effect": reply["effect"], "payload": text(counts)})
    manifest = asdict(manifest_of(index, version="0", revision=1))
    return json.loads(
        json.dumps(
            {
                "number_formats": manifest["number_formats"],
                "shapes": manifest["tensors"]["shape"],
                "sketches": scan["sketches"],
                "payload": text(payload),
                "cases": cases,
            },
            allow_nan=False,
        )
    )


def ask(session, body):
    while True:
        reply, payload = session.answer({"id": 1, "protocol": wire.PROTOCOL, **body})
        assert reply["op"] == body["op"], reply
        if reply["op"] == "scan" or reply["effect"] is not None:
            return reply, payload


def text(payload):
    return base64.b64encode(payload).decode()


def rounded(message):
    """Sums of floats differ in their last bits from one processor to another."""
    if isinstance(message, float):
        return float(f"{message:.9g}")
    if isinstance(message, list):
        return [rounded(item) for item in message]
    if isinstance(message, dict):
        return {key: rounded(item) for key, item in message.items() if key != "payload"}
    return message


def counts_of(case):
    span = case["effect"]["code_counts"]
    payload = base64.b64decode(case["payload"])
    return np.frombuffer(payload, {"u2": "<u2", "u4": "<u4", "f8": "<f8"}[span["type"]], span["length"], span["offset"])


def test_the_kernel_says_what_the_page_was_tested_with(recorded):
    if os.environ.get("QUANTWIDGET_WRITE_GOLDEN"):
        cases = ",\n".join(map(json.dumps, recorded["cases"]))
        rest = json.dumps({key: part for key, part in recorded.items() if key != "cases"})
        GOLDEN.write_text(f'{rest[:-1]},\n"cases": [\n{cases}\n]}}\n', encoding="utf-8")
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert rounded(recorded) == rounded(golden)
    for case, expected in zip(recorded["cases"], golden["cases"], strict=True):
        np.testing.assert_array_equal(counts_of(case), counts_of(expected))


def test_every_format_and_rule_is_among_them(recorded):
    said = {(case["what_if"]["number_format"], case["what_if"]["range_rule"]) for case in recorded["cases"]}
    assert said == {(name, rule) for name in WIDTHS for rule in ("min_max", "percentile", "mse", "manual")}
    assert {case["tensor"] for case in recorded["cases"]} == {0, 1, 2, 3, 4}
