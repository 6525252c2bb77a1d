from __future__ import annotations

import pickle
import subprocess
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor

import fsspec
import gguf_bytes
import large_models
import numpy as np
import onnx
import pytest
import safetensors_bytes
from hypothesis import given
from hypothesis import strategies as st
from remote_server import serving
from upath import UPath

import quantwidget as qw
from quantwidget.remote import RemoteFile, RemotePath, attempts, is_address, place_of_address, shown, web
from quantwidget.remote.file import LARGE, LEAST, SHARE
from quantwidget.remote.store import Found, Part, Version

SECRET = "?X-Signature=5e1f3a7c"  # noqa: S105 - nobody's
EXAMPLES = ("resnet8.onnx", "resnet8.pt", "resnet8_int8.pt", "resnet8_int8_qdq_per_channel.onnx")


@pytest.fixture(autouse=True)
def _hurried(monkeypatch):
    monkeypatch.setattr(attempts, "PAUSES", (0, 0, 0))
    monkeypatch.setattr(web, "STALL", 5)


@pytest.fixture
def server(tmp_path):
    with serving(tmp_path) as made:
        yield made


@pytest.fixture
def memory():
    files = fsspec.filesystem("memory")
    yield files
    files.store.clear()
    files.pseudo_dirs[:] = [""]


def weights(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def safetensors_file(path, arrays):
    header, data = {}, b""
    for name, array in arrays.items():
        header[name] = safetensors_bytes.entry("F32", array.shape, len(data), len(data) + array.nbytes)
        data += array.tobytes()
    path.write_bytes(safetensors_bytes.file_bytes(header, data))
    return path


def assert_same(found, expected):
    assert list(found.tensors) == list(expected.tensors)
    assert found.notes == expected.notes
    assert found.metadata == expected.metadata
    assert found["layers"] == expected["layers"]
    for name, tensor in expected.tensors.items():
        if tensor.is_readable:
            np.testing.assert_array_equal(found.tensors[name].values(), tensor.values())


# What it costs


@pytest.mark.parametrize("name", large_models.MODELS)
def test_an_index_costs_a_hundredth_of_the_file_and_a_tensor_its_bytes(tmp_path, server, name):
    large_models.write(tmp_path / name)
    expected = qw.open_model(tmp_path / name)
    index = qw.open_model(f"{server.url}/{name}")
    assert server.sent <= (tmp_path / name).stat().st_size / 100
    assert len(server.requests) <= len(index.tensors) + 20
    assert list(index.tensors) == list(expected.tensors)
    assert len(index.tensors) in {large_models.COUNT, 32}
    middle = list(index.tensors)[len(index.tensors) // 2]
    server.forget()
    values = index.tensors[middle].values()
    assert server.sent <= 1.02 * values.nbytes
    assert np.count_nonzero(values) > 900
    np.testing.assert_array_equal(values, expected.tensors[middle].values())


def test_a_small_file_takes_one_request_and_its_many_small_tensors_no_more(tmp_path, server):
    arrays = {f"layer{number}.weight": weights(5, seed=number) for number in range(200)}
    safetensors_file(tmp_path / "small.safetensors", arrays)
    index = qw.open_model(f"{server.url}/small.safetensors")
    for name, array in arrays.items():
        np.testing.assert_array_equal(index.tensors[name].values(), array)
    assert [request.path for request in server.requests if request.sent] == ["/small.safetensors"]


def test_small_tensors_that_follow_one_another_are_read_in_long_blocks(tmp_path, server):
    arrays = {f"layer{number}.weight": weights(256, 16, seed=number) for number in range(400)}
    safetensors_file(tmp_path / "many.safetensors", arrays)
    index = qw.open_model(f"{server.url}/many.safetensors")
    for name, array in arrays.items():
        np.testing.assert_array_equal(index.tensors[name].values(), array)
    assert len(server.asked("many.safetensors")) < 60
    assert server.sent < 1.2 * (tmp_path / "many.safetensors").stat().st_size


@pytest.mark.parametrize("threads", [1, 4])
def test_threads_read_one_remote_file_at_once(tmp_path, server, threads):
    arrays = {
        "large.weight": weights(3000, 3000),
        **{f"layer{number}.weight": weights(70, 300) for number in range(40)},
    }
    path = safetensors_file(tmp_path / "m.safetensors", arrays)
    index, local = qw.open_model(f"{server.url}/m.safetensors"), qw.open_model(path)
    with ThreadPoolExecutor(threads) as pool:
        for (name, tensor), values in zip(
            index.tensors.items(), pool.map(lambda tensor: tensor.values(), index.tensors.values()), strict=True
        ):
            np.testing.assert_array_equal(values, arrays[name])
            assert tensor.stats() == local.tensors[name].stats()


# The same model, wherever it lies


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_model_on_a_web_server_is_the_one_on_disk(pytestconfig, name):
    folder = pytestconfig.rootpath / "examples/models"
    with serving(folder) as server:
        index = qw.open_model(f"{server.url}/{name}{SECRET}")
        assert_same(index, qw.open_model(folder / name))
        assert index.source == f"{server.url}/{name}"
        assert {request.query for request in server.requests} == {SECRET[1:]}


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_model_in_another_file_system_is_the_one_on_disk(pytestconfig, memory, name):
    path = pytestconfig.rootpath / "examples/models" / name
    memory.pipe_file(f"/models/{name}", path.read_bytes())
    index = qw.open_model(f"memory://models/{name}")
    assert_same(index, qw.open_model(path))
    assert index.source == f"memory:///models/{name}"


def test_options_come_with_what_fsspec_and_universal_pathlib_open(tmp_path, server, memory):
    path = safetensors_file(tmp_path / "m.safetensors", {"a.weight": weights(3, 4)})
    memory.pipe_file("/m.safetensors", path.read_bytes())
    headers = {"Authorization": "Bearer of a test"}
    for opened in (
        fsspec.open(f"{server.url}/m.safetensors", headers=headers),
        UPath(f"{server.url}/m.safetensors", headers=headers),
        fsspec.open("memory://m.safetensors"),
        UPath("memory://m.safetensors"),
        fsspec.open(f"file://{path}"),
        f"file://{path}",
    ):
        np.testing.assert_array_equal(qw.open_model(opened).tensors["a.weight"].values(), weights(3, 4))
    assert server.requests
    assert {request.headers.get("Authorization") for request in server.requests} == {"Bearer of a test"}


def sharded(folder):
    """A GPTQ-like model in two files with an index and a configuration."""
    safetensors_file(folder / "model-00001-of-00002.safetensors", {"a.weight": weights(3, 4)})
    safetensors_file(folder / "model-00002-of-00002.safetensors", {"b.weight": weights(5, 6)})
    places = {"a.weight": "model-00001-of-00002.safetensors", "b.weight": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(safetensors_bytes.json.dumps({"weight_map": places}))
    config = {"dtype": "float16", "quantization_config": {"quant_method": "gptq", "bits": 4}}
    (folder / "config.json").write_text(safetensors_bytes.json.dumps(config))
    return folder / "model.safetensors.index.json"


def with_external_data(folder):
    made = onnx.helper.make_model(
        onnx.helper.make_graph(
            [],
            "g",
            [],
            [],
            [onnx.numpy_helper.from_array(weights(30, 40), "w"), onnx.numpy_helper.from_array(weights(50), "v")],
        )
    )
    (folder / "data of it").mkdir()
    onnx.save(made, folder / "m.onnx", save_as_external_data=True, location="data of it/w#1?.bin", size_threshold=0)
    return folder / "m.onnx"


def split_gguf(folder):
    for number in (1, 2):
        content = weights(32, seed=number).tobytes()
        path = folder / f"m-{number:05}-of-00002.gguf"
        path.write_bytes(gguf_bytes.model([(f"blk.{number}.weight", (32,), 0, content)]))
    return folder / "m-00001-of-00002.gguf"


@pytest.mark.parametrize("make", [sharded, with_external_data, split_gguf])
def test_files_beside_a_model_are_found_beside_it_elsewhere_too(tmp_path, server, memory, make):
    path = make(tmp_path)
    expected = qw.open_model(path)
    assert len(expected.tensors) == 2
    assert_same(qw.open_model(f"{server.url}/{path.name}"), expected)
    memory.put(str(tmp_path), "/m/", recursive=True)
    address = next(name for name in memory.find("/m") if name.endswith(path.name))
    assert_same(qw.open_model(f"memory:/{address}"), expected)


def test_a_folder_opens_where_folders_are_listed(tmp_path, memory):
    expected = qw.open_model(sharded(tmp_path).parent)
    for file in tmp_path.iterdir():
        memory.pipe_file(f"/org/model/{file.name}", file.read_bytes())
    assert_same(qw.open_model("memory://org/model"), expected)


def test_a_part_of_a_model_says_where_the_whole_is(tmp_path, server):
    sharded(tmp_path)
    index = qw.open_model(f"{server.url}/model-00002-of-00002.safetensors")
    assert list(index.tensors) == ["b.weight"]
    assert "open model.safetensors.index.json" in index.notes[0]


# Names inside a file


@pytest.mark.parametrize(
    "name",
    [
        "http://127.0.0.1:{port}/x.safetensors",
        "//127.0.0.1:{port}/x",
        "../x.safetensors",
        "/x.safetensors",
        "..\\x",
        "a/../../x",
    ],
)
def test_names_inside_a_file_lead_nowhere_else(tmp_path, name):
    (tmp_path / "models").mkdir()
    safetensors_file(tmp_path / "x.safetensors", {"a.weight": weights(2)})
    with serving(tmp_path) as server, serving(tmp_path) as other:
        name = name.format(port=other.url.rpartition(":")[2])
        (tmp_path / "models/m.safetensors.index.json").write_text(
            safetensors_bytes.json.dumps({"weight_map": {"a.weight": name}})
        )
        tensor = onnx.numpy_helper.from_array(weights(2), "w")
        onnx.external_data_helper.set_external_data(tensor, name)
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        made = onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [], [tensor]))
        (tmp_path / "models/m.onnx").write_bytes(made.SerializeToString())
        for file in ("m.safetensors.index.json", "m.onnx"):
            index = qw.open_model(f"{server.url}/models/{file}")
            assert not any(tensor.is_readable for tensor in index.tensors.values())
        assert other.requests == []
        assert all(request.path.startswith("/models/") and not request.query for request in server.requests)


@pytest.mark.parametrize(
    "name", ["a?b.safetensors", "a%2Fb.safetensors", "a#b.safetensors", "a b%.safetensors", "é.safetensors"]
)
def test_a_name_is_a_name_whatever_letters_it_has(tmp_path, server, name):
    safetensors_file(tmp_path / name, {"a.weight": weights(2)})
    (tmp_path / "m.safetensors.index.json").write_text(safetensors_bytes.json.dumps({"weight_map": {"a.weight": name}}))
    index = qw.open_model(f"{server.url}/m.safetensors.index.json")
    np.testing.assert_array_equal(index.tensors["a.weight"].values(), weights(2))
    assert server.asked(name)


# Servers that do not do as they should


@pytest.fixture
def large(tmp_path, server):
    """A file of 8 MB on the server: more than one that is read whole."""
    safetensors_file(tmp_path / "m.safetensors", {"a.weight": weights(1024, 1024), "b.weight": weights(1024, 1024)})
    server.address = f"{server.url}/m.safetensors{SECRET}"
    return server


def of_the_model(answer):
    """Misbehave for the model's own file only."""
    return lambda handler, request: request.path == "/m.safetensors" and answer(handler, request) is not True


def whole(handler, request):
    path = handler.made_by.folder / request.path[1:]
    handler.send(200, path, 0, path.stat().st_size)


def whole_without_length(handler, request):
    path = handler.made_by.folder / request.path[1:]
    handler.close_connection = True
    handler.begin(200, {"Connection": "close"})
    handler.wfile.write(path.read_bytes())


def part(**changes):
    def answer(handler, request):
        path = handler.made_by.folder / request.path[1:]
        handler.send(206, path, request.first, request.last + 1 - request.first, **changes)

    return answer


def other_place(handler, request):
    path = handler.made_by.folder / request.path[1:]
    handler.send(206, path, request.first + 8, request.last + 1 - request.first)


def too_much(handler, request):
    path = handler.made_by.folder / request.path[1:]
    handler.send(206, path, request.first, min(2 * (request.last + 1 - request.first), path.stat().st_size))


def more_than_stated(handler, request):
    size = (handler.made_by.folder / request.path[1:]).stat().st_size
    handler.close_connection = True
    handler.begin(206, {"Content-Range": f"bytes {request.first}-{request.last}/{size}", "Connection": "close"})
    for _ in range(64):
        handler.wfile.write(bytes(1 << 16))


def less_than_stated(handler, request):
    size = (handler.made_by.folder / request.path[1:]).stat().st_size
    handler.close_connection = True
    handler.begin(206, {"Content-Range": f"bytes {request.first}-{request.last}/{size}", "Connection": "close"})
    handler.wfile.write(bytes(1000))


def no_place(handler, request):
    nbytes = request.last + 1 - request.first
    handler.begin(206, {"Content-Length": str(nbytes)})
    handler.wfile.write(bytes(nbytes))


def status(code, **headers):
    return lambda handler, _: handler.begin(code, {"Content-Length": "0", **headers})


MISBEHAVIOURS = {
    "sends the whole file": (whole, OSError, "no range requests: download the file"),
    "sends the whole file and does not say how much": (whole_without_length, OSError, "no range requests"),
    "sends another place": (other_place, OSError, "were asked for, and the server answers with 'bytes 8-"),
    "sends too much": (too_much, OSError, "were asked for, and the server answers with"),
    "sends more than it states": (more_than_stated, OSError, "sends more than"),
    "does not say which part it sends": (no_place, OSError, "bytes of no stated place"),
    "closes early": (part(only=1000), ConnectionError, r"closed the connection .*\(4 attempts\)"),
    "closes early and does not say how much was to come": (
        less_than_stated,
        ConnectionError,
        r"closed the connection \d+ bytes too early \(4 attempts\)",
    ),
    "stalls": (lambda handler, _: handler.stall(), TimeoutError, r"stalls \(4 attempts\)"),
    "sends it compressed": (part(Content_Encoding="gzip"), qw.UnsupportedFormatError, "compressed"),
    "has errors of its own": (status(503), ConnectionError, r"error 503 \(4 attempts\)"),
    "answers with nonsense": (status(204), OSError, "status 204"),
    "has nothing there": (status(404), FileNotFoundError, "there is no file"),
    "forbids it": (status(403), PermissionError, r"\(403\).* token"),
    "refuses the range": (status(416), OSError, "refuses the range"),
    "leads in a circle": (status(302, Location="/m.safetensors?again"), OSError, "leads nowhere"),
}


@pytest.mark.parametrize("how", MISBEHAVIOURS)
def test_a_server_that_misbehaves_gets_a_sentence_at_once_and_while_a_tensor_is_read(monkeypatch, large, how):
    answer, expected, words = MISBEHAVIOURS[how]
    if how == "stalls":
        monkeypatch.setattr(web, "STALL", 0.3)
    index = qw.open_model(large.address)
    large.misbehave = of_the_model(answer)
    for ask, kind in ((lambda: qw.open_model(large.address), expected), (index.tensors["b.weight"].values, None)):
        large.forget()
        with pytest.raises((OSError, qw.ModelError)) as caught:
            ask()
        message = str(caught.value)
        assert "m.safetensors" in message
        assert "Signature" not in "".join(traceback.format_exception(caught.value))
        if kind is not None:
            assert isinstance(caught.value, kind)
            caught.match(words)
        assert large.sent < 1 << 22


@pytest.mark.parametrize("how", ["sends the whole file", "has errors of its own", "forbids it"])
def test_the_lenient_twin_warns_of_a_server_that_misbehaves(large, how):
    answer, _, words = MISBEHAVIOURS[how]
    large.misbehave = of_the_model(answer)
    with pytest.warns(UserWarning, match=words):
        index = qw.load_tensor_index(large.address)
    assert (index.format, index.source) == ("none", f"{large.url}/m.safetensors")
    assert "Signature" not in index.notes[0]


def test_the_lenient_twin_takes_a_missing_file_as_a_local_one(server):
    index = qw.load_tensor_index(f"{server.url}/m.safetensors{SECRET}")
    assert index.notes == (f"there is no file {server.url}/m.safetensors",)


@pytest.mark.parametrize("answer", [status(503), status(429), part(only=1000), lambda handler, _: handler.end()])
def test_what_fails_once_is_asked_for_again(large, answer):
    failed = set()

    def fail_once(handler, request):
        if request.path != "/m.safetensors" or request.first in failed:
            return False
        failed.add(request.first)
        answer(handler, request)
        return True

    large.misbehave = fail_once
    index = qw.open_model(large.address)
    np.testing.assert_array_equal(index.tensors["b.weight"].values(), weights(1024, 1024))
    assert len(failed) >= 2


@pytest.mark.parametrize("answer", [whole, whole_without_length])
def test_a_server_without_ranges_gives_a_small_file(tmp_path, server, answer):
    arrays = {"a.weight": weights(40, 1000), "b.weight": weights(60, 1000, seed=1)}
    safetensors_file(tmp_path / "m.safetensors", arrays)
    server.misbehave = of_the_model(answer)
    index = qw.open_model(f"{server.url}/m.safetensors")
    for name, array in arrays.items():
        np.testing.assert_array_equal(index.tensors[name].values(), array)
    assert len(server.asked("m.safetensors")) == 1


def test_an_empty_file_is_called_empty(tmp_path, server, memory):
    (tmp_path / "m.onnx").write_bytes(b"")
    memory.pipe_file("/m.onnx", b"")
    for address in (f"{server.url}/m.onnx", "memory://m.onnx"):
        with pytest.raises(qw.UnsupportedFormatError, match="is empty"):
            qw.open_model(address)


def test_redirects_are_followed_to_another_server(tmp_path, server):
    (tmp_path / "store").mkdir()
    safetensors_file(tmp_path / "store/blob", {"a.weight": weights(1024, 1024)})
    with serving(tmp_path / "store") as store:
        server.misbehave = lambda handler, request: (
            request.path == "/m.safetensors"
            and (status(302, Location=f"{store.url}/blob?key=1")(handler, request), True)[1]
        )
        index = qw.open_model(f"{server.url}/m.safetensors")
        np.testing.assert_array_equal(index.tensors["a.weight"].values(), weights(1024, 1024))
        assert store.sent > 4_000_000


def test_no_server_leads_away_from_an_encrypted_connection():
    class Step:
        def __init__(self, scheme):
            self.url, self.history = type("Url", (), {"scheme": scheme}), ()

    reply = Step("http")
    reply.history = (Step("https"),)
    with pytest.raises(OSError, match="leads away from https"):
        web._check_way("https://host/m.pt", reply)
    reply.history = (Step("http"),)
    web._check_way("http://host/m.pt", reply)


def test_nobody_there_is_said_with_the_host(server):
    address = server.url.rpartition(":")[0] + ":9/m.onnx" + SECRET
    with pytest.raises(
        ConnectionError, match=r"127\.0\.0\.1:9/m\.onnx: the server cannot be reached \(.*4 attempts"
    ) as caught:
        qw.open_model(address)
    assert "Signature" not in str(caught.value)


# Files that change


def test_a_file_that_changes_on_the_server_is_refused(large):
    index = qw.open_model(large.address)
    index.tensors["a.weight"].values()
    large.etag = '"2"'
    with pytest.raises(qw.CorruptModelError, match=r"m\.safetensors has changed since it was opened"):
        index.tensors["b.weight"].values()


@pytest.mark.parametrize("etag", ['"1"', ""])
def test_a_file_of_another_size_is_refused_and_one_that_is_gone_too(tmp_path, large, etag):
    large.etag = etag
    path = tmp_path / "m.safetensors"
    index = qw.open_model(large.address)
    content = path.read_bytes()
    for other in (content[:-4], content + bytes(4), content[:100]):
        path.write_bytes(other)
        with pytest.raises(qw.CorruptModelError, match="has changed since"):
            index.tensors["b.weight"].values()
    path.unlink()
    with pytest.raises(qw.CorruptModelError, match="no longer there"):
        index.tensors["b.weight"].values()
    path.write_bytes(content)
    np.testing.assert_array_equal(index.tensors["b.weight"].values(), weights(1024, 1024))


def test_a_file_that_changes_in_another_file_system_is_refused(tmp_path, memory):
    content = safetensors_file(tmp_path / "m", {"a.weight": weights(1024, 1024)}).read_bytes()
    memory.pipe_file("/m.safetensors", content)
    index = qw.open_model("memory://m.safetensors")
    memory.pipe_file("/m.safetensors", content)
    with pytest.raises(qw.CorruptModelError, match="has changed since"):
        index.tensors["a.weight"].values()
    memory.rm("/m.safetensors")
    with pytest.raises(qw.CorruptModelError, match="no longer there"):
        index.tensors["a.weight"].values()


def test_a_link_that_is_signed_anew_leads_to_the_same_file(large):
    def identity(address):
        return qw.open_model(address).tensors["a.weight"].storage.source.identity()

    first = identity(large.address)
    assert first == identity(f"{large.url}/m.safetensors?X-Signature=other")
    assert first[0] == f"{large.url}/m.safetensors"
    assert first[2] == '"1"'
    index = qw.open_model(large.address)
    large.etag = '"2"'
    assert first != identity(large.address)
    with pytest.raises(qw.CorruptModelError, match="has changed since"):
        index.tensors["a.weight"].storage.source.identity()


# Other processes, missing packages, addresses


def test_a_remote_tensor_goes_to_another_process_without_its_bytes(large):
    index = qw.open_model(large.address)
    index.tensors["a.weight"].values()
    content = pickle.dumps(index.tensors["b.weight"])
    assert len(content) < 5000
    program = "import pickle, sys; sys.stdout.buffer.write(pickle.load(sys.stdin.buffer).values().tobytes())"
    made = subprocess.run([sys.executable, "-c", program], input=content, capture_output=True, check=True)
    np.testing.assert_array_equal(np.frombuffer(made.stdout, np.float32).reshape(1024, 1024), weights(1024, 1024))


def test_an_index_is_opened_again_by_another_process(large):
    index = qw.open_model(large.address)
    again = pickle.loads(pickle.dumps(index.reopen))()  # noqa: S301 - our own
    np.testing.assert_array_equal(again.tensors["b.weight"].values(), weights(1024, 1024))
    assert again.source == index.source


def test_a_local_file_needs_no_package_for_remote_ones(tmp_path):
    path = safetensors_file(tmp_path / "m.safetensors", {"a.weight": weights(2)})
    program = (
        "import sys, quantwidget; quantwidget.open_model(sys.argv[1]).tensors['a.weight'].values(); "
        "sys.exit(', '.join({'fsspec', 'aiohttp', 'upath', 'yarl'} & set(sys.modules)) or 0)"
    )
    subprocess.run([sys.executable, "-c", program, str(path)], check=True)


@pytest.mark.parametrize("package", ["fsspec.core", "aiohttp"])
def test_a_missing_package_is_named_with_what_to_install(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    if package == "aiohttp":
        monkeypatch.delitem(sys.modules, "fsspec.implementations.http", raising=False)
        monkeypatch.delitem(fsspec.core.get_filesystem_class.__globals__["_registry"], "https", raising=False)
    with pytest.raises(
        ImportError, match=r'h://host/m\.pt needs.*pip install "quantwidget\[remote\]"'.replace("h:", "https:")
    ):
        qw.open_model(f"https://host/m.pt{SECRET}")
    with pytest.warns(UserWarning, match="quantwidget"):
        index = qw.load_tensor_index(f"https://user:word@host/m.pt{SECRET}")
    assert (index.format, index.source) == ("none", "https://host/m.pt")


def test_an_unknown_scheme_is_refused():
    with pytest.raises(qw.UnsupportedFormatError, match="no address that fsspec knows"):
        qw.open_model("nonsense://a/b.pt")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://host/m.pt", True),
        ("s3://bucket/m.pt", True),
        ("simplecache::https://host/m.pt", True),
        ("zip://m.pt::https://host/m.zip", True),
        ("abfss+x://a", True),
        ("C://models/m.pt", False),
        ("C:\\models\\m.pt", False),
        ("/models/m.pt", False),
        ("models/https://m.pt", False),
        ("a::b", False),
        ("", False),
    ],
)
def test_addresses_are_told_from_paths(text, expected):
    assert is_address(text) is expected


def test_what_is_shown_of_an_address_holds_no_secret():
    text = "zip://m.pt::https://user:word@host/a/m.zip?key=1#x cannot be read, nor https://host/b?key=2"
    assert shown(text) == "zip://m.pt::https://host/a/m.zip cannot be read, nor https://host/b"


def test_a_remote_path_is_spelled_without_secrets_and_stays_below_its_folder():
    path = place_of_address(f"https://user:word@host/a%20b/m.x.pt{SECRET}")
    assert (path.name, path.suffix) == ("m.x.pt", ".pt")
    assert str(path.parent) == "https://host/a%20b"
    assert "word" not in f"{path!r}{path}"
    assert (path.parent / "c/d e?.bin").address == f"https://user:word@host/a%20b/c/d%20e%3F.bin{SECRET}"
    assert (path.parent / "c/d").is_relative_to(path.parent)
    assert not path.parent.is_relative_to(path)
    assert not place_of_address("https://other/a%20b/m").is_relative_to(path.parent)
    for below in ("../x", "/x", "a/../../x", ""):
        with pytest.raises(ValueError, match="does not lie below"):
            path.parent / below


# Reading ahead


class Shelf:
    """A store of one file that counts what is asked of it."""

    def __init__(self, content):
        self.content, self.asked = content, []

    def find(self, address, nbytes):
        return Found("file", self.read(address, 0, nbytes))

    def read(self, address, offset, nbytes):
        assert address == "a"
        assert offset >= 0
        self.asked.append(nbytes)
        return Part(offset, self.content[offset : offset + nbytes], Version(len(self.content), "1"))


@given(
    st.integers(0, 300_000),
    st.lists(st.tuples(st.integers(0, 310_000), st.one_of(st.integers(0, 600), st.integers(0, 200_000)))),
)
def test_any_looks_give_the_bytes_of_the_file(size, looks):
    content = np.random.default_rng(size).bytes(size)
    file = RemoteFile(RemotePath(Shelf(content), "a"))
    for offset, nbytes in looks:
        assert file.read(offset, nbytes) == content[offset : offset + nbytes]


@pytest.mark.parametrize("step", [300, 5_000, 100_000])
def test_reading_ahead_stays_within_its_share(step):
    size = 400 * LARGE
    shelf = Shelf(memoryview(np.zeros(size, np.uint8)))
    file = RemoteFile(RemotePath(shelf, "a"))
    looks = range(0, size, step) if step > LEAST else range(0, size // 20, step)
    for offset in looks[:4000]:
        file.read(offset, 100)
    needed = len(looks[:4000]) * (4 * LEAST)
    assert sum(shelf.asked) <= size // SHARE + needed + 2 * LARGE
    if step == 300:
        assert len(shelf.asked) < 20
