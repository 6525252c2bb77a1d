"""Files that are not read, told by their first bytes, so that the refusal says what they are."""

from __future__ import annotations

_STAND_INS = (
    (b"version https://git-lfs", "is a git-lfs pointer, not the model itself: run 'git lfs pull' to fetch it"),
    (b"<!doctype html", "is a web page, not a model: the download answered with an error page"),
    (b"<html", "is a web page, not a model: the download answered with an error page"),
)
"""What lies where a model should be, whatever the file is called; compared in lower case."""

_GGML = "is a ggml file from the time before GGUF, which is not read: convert it with the tools of llama.cpp"

_BY_MAGIC = (
    (0, b"lmgg", _GGML),
    (0, b"fmgg", _GGML),
    (0, b"tjgg", _GGML),
    (0, b"algg", _GGML),
    (0, b"\x89HDF\r\n\x1a\n", "is an HDF5 file (Keras .h5), which is not read: export the model to ONNX or TFLite"),
    (0, b"\x93NUMPY", "is one NumPy array: load it with numpy.load and open a mapping of names to arrays"),
    (0, b"PK\x03\x04", "is a zip archive without a model that quantwidget reads: unpack it first"),
    (0, b"\x1f\x8b", "is compressed with gzip: unpack it first"),
    (0, b"\x28\xb5\x2f\xfd", "is compressed with zstd: unpack it first"),
    (0, b"7z\xbc\xaf\x27\x1c", "is a 7z archive: unpack it first"),
    (4, b"ET1", "is an ExecuTorch program, which is not read: open the .pt2 file that it was made from"),
    (4, b"PTMF", "is a FlatBuffer of PyTorch Mobile, which is not read: open the .ptl file that it was made from"),
    (4, b"ODTC", "is a training checkpoint of ONNX Runtime, which is not read: open the .onnx file beside it"),
    (0, b"\x80", "is a Python pickle that torch did not write, and pickles are never run: save it in another format"),
)


def stand_in(head: bytes) -> str:
    """Say what lies in the place of a model; empty for anything else.

    Parameters
    ----------
    head
        First bytes of the file; none for an empty one.
    """
    if not head:
        return "is empty (0 bytes): the download or copy did not finish"
    start = head.lstrip().lower()
    return next((sentence for magic, sentence in _STAND_INS if start.startswith(magic)), "")


def what_else(head: bytes) -> str:
    """Say what a file is that no format has recognised; empty when that is not known either."""
    found = (sentence for place, magic, sentence in _BY_MAGIC if head.startswith(magic, place))
    return next(found, "")
