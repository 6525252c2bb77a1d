"""Pickles put together opcode by opcode, and archives around them, as an attacker would."""

from __future__ import annotations

import pickletools
import struct
import zipfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

CODES = {opcode.name: opcode.code.encode("latin-1") for opcode in pickletools.opcodes}
START, STOP = b"\x80\x02", b"."


def text(word: str) -> bytes:
    """Push a string."""
    raw = word.encode("utf-8", "surrogatepass")
    return CODES["BINUNICODE"] + struct.pack("<I", len(raw)) + raw


def number(value: int) -> bytes:
    """Push a whole number of any size."""
    raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return CODES["LONG4"] + struct.pack("<i", len(raw)) + raw


def named(module: str, name: str) -> bytes:
    """Push a class or function."""
    return CODES["GLOBAL"] + f"{module}\n{name}\n".encode()


def tuple_of(*parts: bytes) -> bytes:
    """Push a tuple."""
    return CODES["MARK"] + b"".join(parts) + CODES["TUPLE"]


def dict_of(entries: dict[bytes, bytes] | list[tuple[bytes, bytes]]) -> bytes:
    """Push a dictionary."""
    pairs = entries.items() if isinstance(entries, dict) else entries
    return CODES["EMPTY_DICT"] + CODES["MARK"] + b"".join(key + value for key, value in pairs) + CODES["SETITEMS"]


def call(callee: bytes, *args: bytes) -> bytes:
    """Ask for a call."""
    return callee + tuple_of(*args) + CODES["REDUCE"]


def storage(key: str = "0", word: str = "FloatStorage", count: bytes | None = None) -> bytes:
    """Refer to a storage."""
    parts = (text("storage"), named("torch", word), text(key), text("cpu"), count or number(4))
    return tuple_of(*parts) + CODES["BINPERSID"]


def tensor(
    source: bytes | None = None,
    offset: bytes | None = None,
    size: tuple[int, ...] | bytes = (4,),
    stride: tuple[int, ...] | bytes = (1,),
) -> bytes:
    """Ask for a tensor."""
    shape, steps = (part if isinstance(part, bytes) else tuple_of(*map(number, part)) for part in (size, stride))
    hooks = call(named("collections", "OrderedDict"))
    return call(
        named("torch._utils", "_rebuild_tensor_v2"),
        source or storage(),
        offset or number(0),
        shape,
        steps,
        CODES["NEWFALSE"],
        hooks,
    )


def quantized(parameters: bytes, size: tuple[int, ...] = (4,)) -> bytes:
    """Ask for a quantized tensor."""
    source = storage(word="QInt8Storage")
    shape, steps = tuple_of(*map(number, size)), tuple_of(*(number(1) for _ in size))
    function = named("torch._utils", "_rebuild_qtensor")
    return call(function, source, number(0), shape, steps, parameters, CODES["NEWFALSE"], CODES["NONE"])


def archive(path: Path, body: bytes, storages: dict[str, bytes] | None = None) -> Path:
    """Write an archive around a pickle; storage ``0`` holds 16 zero bytes."""
    with zipfile.ZipFile(path, "w") as out:
        out.writestr("a/data.pkl", START + body + STOP)
        for key, content in ({"0": bytes(16)} if storages is None else storages).items():
            out.writestr(f"a/data/{key}", content)
    return path
