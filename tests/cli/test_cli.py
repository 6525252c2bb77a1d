from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import unicodedata
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from running import COMMAND, OnTerminal, environment, run
from safetensors.numpy import save_file

import quantwidget as qw
from quantwidget import cli
from quantwidget.cli import main

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "examples" / "models"
CORPUS = Path(os.environ.get("QUANTWIDGET_CORPUS", ROOT.parent / "shared" / "corpus"))
SCHEMA = json.loads((ROOT / "docs" / "summary.schema.json").read_text(encoding="utf-8"))
VALID = jsonschema.Draft202012Validator(SCHEMA)
SAMPLE = 12
"""Files of the corpus, the smallest of each ending and some beside."""


def corpus_sample():
    files = sorted((path for path in CORPUS.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    smallest = {path.suffix: path for path in reversed(files)}
    return [MODELS / "resnet8.onnx", *smallest.values(), *files[:: max(len(files) // SAMPLE, 1)]]


def document(capsys, *arguments):
    status = main([str(argument) for argument in (*arguments, "--json")])
    written = capsys.readouterr().out
    found = json.loads(written, parse_constant=lambda constant: pytest.fail(f"{constant} is no JSON"))
    VALID.validate(found)
    return status, found


@pytest.fixture
def broken(tmp_path):
    """A model with one error, one warning at least, and things that do not exist."""
    rng = np.random.default_rng(0)
    weight = rng.normal(0, 1, (64, 32)).astype(np.float32)
    weight[3, 4] = np.nan
    outlier = rng.normal(0, 1e-3, (64, 64)).astype(np.float32)
    outlier[0, 0] = 100
    path = tmp_path / "broken.safetensors"
    save_file(
        {"a.weight": weight, "b.weight": outlier, "empty": np.zeros((0, 3), np.float32), "inf": np.full(4, np.inf)},
        path,
    )
    return path


HOSTILE = ("\x1b]0;title\x07\x1b[2J", "over\rwritten", "two\nlines", "\x9b31m", "a\u202eb\u2066c", "\u200bhidden")


@pytest.fixture
def hostile(tmp_path):
    """A model whose names, and what is said about it, are meant for the terminal."""
    path = tmp_path / "hostile.safetensors"
    tensors = {f"{name}.weight": np.full((40, 40), np.nan, np.float32) for name in HOSTILE}
    save_file(tensors, path, metadata={name: name for name in HOSTILE})
    return path


def test_without_an_option_there_are_a_table_and_the_number_of_findings():
    done = run(MODELS / "resnet8.onnx")
    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    assert lines[0] == "resnet8.onnx: onnx, 10 layers, 20 tensors, 66,114 parameters, 264,456 bytes, not quantized"
    assert lines[-1] == "1 finding: 1 note (--lint lists them)"
    tensor = qw.open_model(MODELS / "resnet8.onnx").tensors["stage1.conv1.weight"]
    values = tensor.values().astype(np.float64)
    (row,) = [line.split() for line in lines if line.startswith("stage1.conv1.weight ")]
    expected = [f"{number:.4g}" for number in (values.min(), values.max(), values.std())]
    assert row == ["stage1.conv1.weight", "float32", "16×16×3×3", f"{values.size * 4:,}", *expected, "0", "%"]
    assert sum(1 for line in lines if "float32" in line) == 20


@pytest.mark.parametrize("path", sorted(MODELS.glob("*.[op][nt]*")), ids=lambda path: path.name)
def test_the_document_fits_its_schema_and_holds_what_numpy_finds(path, capsys):
    status, found = document(capsys, path)
    index = qw.open_model(path)
    assert status == 0
    assert [tensor["name"] for tensor in found["tensors"]] == list(index.tensors)
    for said in found["tensors"]:
        tensor = index.tensors[said["name"]]
        values = tensor.values().astype(np.float64)
        assert said["shape"] == list(values.shape)
        assert (said["statistics"]["minimum"], said["statistics"]["maximum"]) == (values.min(), values.max())
        assert said["statistics"]["std"] == pytest.approx(values.std(), rel=1e-9, abs=1e-15)
        assert said["sparsity"] == np.count_nonzero(values == 0) / values.size
        assert (said["scheme"] is None) == (tensor.quant is None)
        if said["saturation"] is not None:
            codes, scheme = tensor.codes(), said["scheme"]
            at_ends = np.isin(codes, (scheme["code_min"], scheme["code_max"]))
            assert said["saturation"] == pytest.approx(at_ends.mean(), rel=1e-12)
    assert found["model"]["nbytes"] == sum(tensor.nbytes for tensor in index.tensors.values())
    assert found["version"] == qw.__version__


def test_the_comparison_in_the_document_is_that_of_numpy(capsys):
    path, reference = MODELS / "resnet8_int8_qdq_per_channel.onnx", MODELS / "resnet8.onnx"
    _, found = document(capsys, path, "--reference", reference)
    index, original = qw.open_model(path), qw.open_model(reference)
    pairs = found["reference"]["pairs"]
    assert len(pairs) == 20
    for pair in pairs:
        values, expected = (
            model.tensors[pair[side]].values().astype(np.float64)
            for model, side in ((index, "tensor"), (original, "reference"))
        )
        error = values - expected
        assert pair["sqnr_db"] == pytest.approx(20 * np.log10(np.linalg.norm(expected) / np.linalg.norm(error)))
        assert pair["max_error"] == np.abs(error).max()
        assert pair["mse"] == pytest.approx((error**2).mean())
    assert set(found["reference"]["unmatched"]) | {pair["tensor"] for pair in pairs} == set(index.tensors)
    assert found["reference"]["model"]["tensors"] == 20


def test_figures_that_do_not_exist_are_null(broken, capsys):
    status, found = document(capsys, broken, "--reference", broken)
    assert status == 0
    by_name = {tensor["name"]: tensor for tensor in found["tensors"]}
    assert by_name["empty"]["statistics"]["minimum"] is None
    assert by_name["empty"]["sparsity"] is None
    assert by_name["inf"]["statistics"]["mean"] is None
    assert by_name["a.weight"]["statistics"]["nan"] == 1
    pairs = {pair["tensor"]: pair for pair in found["reference"]["pairs"]}
    assert {(pairs[name]["sqnr_db"], pairs[name]["differing"]) for name in ("a.weight", "b.weight")} == {(None, 0)}


@pytest.mark.parametrize(
    ("options", "status"),
    [
        (["--lint"], 0),
        (["--lint", "--fail-on", "error"], 1),
        (["--lint", "--fail-on", "warning"], 1),
        (["--fail-on", "error"], 1),
        (["--json", "--fail-on", "error"], 1),
    ],
)
def test_findings_end_with_status_1_where_that_is_asked_for(broken, options, status, capsys):
    assert main([str(broken), *options]) == status
    written = capsys.readouterr()
    if "--lint" in options:
        assert re.search(r"^error +a\.weight: .*NaN", written.out, re.MULTILINE)
        assert re.search(r"^\d findings: 1 error", written.out, re.MULTILINE)


def test_a_warning_is_no_error_and_a_note_no_warning(tmp_path, capsys):
    outlier = np.random.default_rng(1).normal(0, 1, (64, 64)).astype(np.float32)
    path = tmp_path / "model.safetensors"
    save_file({"weight": np.zeros((64, 64), np.float32), "other.weight": outlier}, path)
    severities = {finding.severity for finding in qw.open_model(path).lint()}
    assert severities == {"warning"}
    assert [main([str(path), "--fail-on", level]) for level in ("error", "warning")] == [0, 1]
    assert {finding.severity for finding in qw.open_model(MODELS / "resnet8.onnx").lint()} == {"note"}
    assert main([str(MODELS / "resnet8.onnx"), "--fail-on", "warning"]) == 0
    assert "1 finding: 1 note" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{tmp}/missing.pt"], "there is no file"),
        (["{tmp}/text.pt"], "text.pt"),
        (["{tmp}"], ""),
        (["{model}", "--reference", "{tmp}/missing.onnx"], "there is no file"),
        (["{model}", "-o", "{tmp}/nowhere/page.html"], "there is no folder"),
        (["{model}", "-o", "{tmp}"], "is a folder"),
        (["{model}", "--reference", "{model}", "--match", "nothing", "conv1.weight"], "nothing"),
        (["nowhere://host/model.onnx"], "nowhere"),
    ],
)
def test_what_cannot_be_done_ends_with_status_2_and_a_sentence(arguments, words, tmp_path, capsys):
    (tmp_path / "text.pt").write_text("no model")
    places = {"tmp": tmp_path, "model": MODELS / "resnet8.onnx"}
    assert main([argument.format(**places) for argument in arguments]) == 2
    written = capsys.readouterr()
    assert written.out == ""
    assert written.err.startswith("quantwidget: ")
    assert words in written.err
    assert len(written.err.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments", [[], ["model", "--fail-on", "note"], ["model", "--match", "a", "b"], ["m", "--tab"]]
)
def test_wrong_arguments_end_with_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: quantwidget" in capsys.readouterr().err


def test_options_work_together(broken, tmp_path):
    page = tmp_path / "page.html"
    done = run(broken, "--table", "--lint", "--json", "-o", page, "--fail-on", "error", "--theme", "dark")
    assert done.returncode == 1
    VALID.validate(json.loads(done.stdout))
    assert "a.weight" in done.stderr
    assert "error   a.weight" in done.stderr
    assert f"wrote {page}" in done.stderr
    assert "quantwidget-state" in page.read_text(encoding="utf-8")
    both = run(broken, "--table", "--lint").stdout
    assert both.index("a.weight ") < both.index("error   a.weight")


def test_a_page_is_written_and_opened(tmp_path, monkeypatch, capsys):
    opened = []
    monkeypatch.setattr(cli.webbrowser, "open", lambda address: not opened.append(address))
    page = tmp_path / "page.html"
    model = str(MODELS / "resnet8_int8.pt")
    assert main([model, "-o", str(page), "--open"]) == 0
    assert opened == [page.as_uri()]
    monkeypatch.setattr(cli.tempfile, "tempdir", str(tmp_path))
    assert main([model, "--open", "--reference", str(MODELS / "resnet8.pt")]) == 0
    assert re.fullmatch(rf"{tmp_path.as_uri()}/quantwidget-\w+/report\.html", opened[1])
    assert capsys.readouterr().out == ""
    # The folder of the page is left, that of the sketches is not.
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 1


def test_match_corrects_what_stands_for_what(capsys):
    path, reference = MODELS / "resnet8_int8.pt", MODELS / "resnet8.pt"
    _, found = document(
        capsys, path, "--reference", reference,
        "--match", "conv1.weight", "", "--match", "stage1.conv1.weight", "stage1.conv2.weight",
    )  # fmt: skip
    pairs = {pair["tensor"]: pair for pair in found["reference"]["pairs"]}
    assert "conv1.weight" not in pairs
    assert pairs["stage1.conv1.weight"]["reference"] == "stage1.conv2.weight"
    assert pairs["stage1.conv1.weight"]["how"] == "given"


@pytest.mark.parametrize("options", [[], ["--table"], ["--lint"], ["--json"], ["--json", "--table", "--lint"]])
def test_names_do_nothing_to_a_terminal(hostile, options):
    done = run(hostile, *options)
    written = done.stdout + done.stderr
    assert "weight" in written
    assert {one for one in written if unicodedata.category(one) in {"Cc", "Cf", "Cs", "Zl", "Zp"}} == {"\n"}


def test_names_do_nothing_to_a_terminal_in_errors_either(tmp_path, capsys):
    assert main([str(tmp_path / "\x1b[31m\u202emissing.pt")]) == 2
    assert r"\x1b[31m\u202emissing.pt" in capsys.readouterr().err


def test_a_hostile_name_is_whole_in_the_document(hostile, capsys):
    _, found = document(capsys, hostile)
    assert {tensor["name"] for tensor in found["tensors"]} == {f"{name}.weight" for name in HOSTILE}


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_the_terminals_width_is_kept(columns):
    terminal = OnTerminal(MODELS / "resnet8_int8_qdq_per_channel.onnx", "--table", "--lint", COLUMNS=str(columns))
    assert terminal.end() == 0
    lines = re.sub(r"\x1b\[\d*[mK]", "", terminal.shown).split("\r\n")
    assert len(lines) > 90
    assert max(len(line.rsplit("\r", 1)[-1]) for line in lines) <= columns


@pytest.mark.parametrize("no_colour", [True, False])
def test_colour_is_for_terminals_that_want_it(broken, no_colour):
    terminal = OnTerminal(broken, "--lint", **({"NO_COLOR": "1"} if no_colour else {}))
    assert terminal.end() == 0
    assert ("\x1b[31merror" in terminal.shown) is not no_colour
    assert "\x1b" not in run(broken, "--lint").stdout


def zeros(path, gigabytes):
    """Write a model that takes no room on the disk."""
    size = int(gigabytes * (1 << 30))
    header = json.dumps({"weight": {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}}).encode()
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + size)
    return path


def test_a_long_scan_shows_how_far_it_is_and_can_be_interrupted(tmp_path):
    with OnTerminal(zeros(tmp_path / "large.safetensors", 40)) as terminal:
        assert terminal.read_until(r"reading.*%")
        os.kill(terminal.process.pid, signal.SIGINT)
        assert terminal.end() == 130
    assert "Traceback" not in terminal.shown


def test_no_progress_goes_into_a_pipe(tmp_path):
    path = zeros(tmp_path / "model.safetensors", 0.25)
    with OnTerminal(path) as terminal:
        assert terminal.end() == 0
    assert re.search(r"reading.*%", terminal.shown)
    done = run(path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "reading" not in done.stdout


def test_nobody_has_to_read_to_the_end():
    command = f"{' '.join(COMMAND)} {MODELS / 'resnet8.onnx'}"
    script = f"{command} | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, env=environment())
    assert done.stderr == ""
    assert done.stdout == "141\n"


@pytest.mark.parametrize("path", corpus_sample(), ids=lambda path: path.name)
def test_files_of_the_corpus_are_summed_up_or_refused_in_a_sentence(path, capsys):
    status = main([str(path), "--json", "--table", "--lint"])
    written = capsys.readouterr()
    if status == 2:
        assert len(written.err.splitlines()) == 1
        assert written.out == ""
    else:
        assert status == 0
        VALID.validate(json.loads(written.out))


def test_the_schema_is_one_and_says_what_every_field_is():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    for described in (SCHEMA, *SCHEMA["$defs"].values()):
        assert described["additionalProperties"] is False
        if described["description"].startswith("Of all elements"):
            continue  # its names say it
        assert all("description" in field for field in described["properties"].values())


def test_the_schema_is_that_of_the_code():
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "generate_schema.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "change",
    [
        lambda found: found.pop("findings"),
        lambda found: found.update(more=1),
        lambda found: found["tensors"][0].update(nbytes="4"),
        lambda found: found["tensors"][0]["statistics"].update(mean="NaN"),
        lambda found: found["findings"].append({"rule": "a"}),
        lambda found: found.update(schema="urn:quantwidget:summary:0"),
    ],
)
def test_the_schema_refuses_other_documents(change, capsys):
    _, found = document(capsys, MODELS / "resnet8.onnx")
    change(found)
    assert not VALID.is_valid(found)


def test_the_installed_command_is_this_one():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert 'quantwidget = "quantwidget.cli:main"' in text
    assert run("--version").stdout == f"quantwidget {qw.__version__}\n"
