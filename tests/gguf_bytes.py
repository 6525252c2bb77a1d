"""GGUF files put together by hand, right or wrong in one place."""

from __future__ import annotations

import struct

KINDS = {"B": 0, "b": 1, "H": 2, "h": 3, "I": 4, "i": 5, "f": 6, "?": 7, "Q": 10, "q": 11, "d": 12}
STRING, ARRAY = 8, 9


def text(content, order="<"):
    raw = content if isinstance(content, bytes) else content.encode()
    return struct.pack(order + "Q", len(raw)) + raw


def scalar(key, layout, number, order="<"):
    return text(key, order) + struct.pack(f"{order}I{layout}", KINDS[layout], number)


def string(key, content, order="<"):
    return text(key, order) + struct.pack(order + "I", STRING) + text(content, order)


def listed(kind, count, content=b"", order="<"):
    """Give the value of an array, without its key."""
    return struct.pack(order + "IQ", kind, count) + content


def array(key, kind, count, content=b"", order="<"):
    return text(key, order) + struct.pack(order + "I", ARRAY) + listed(kind, count, content, order)


def entry(name, sizes, kind, offset, order="<"):
    return text(name, order) + struct.pack(f"{order}I{len(sizes)}QIQ", len(sizes), *sizes, kind, offset)


def header(keys=(), entries=(), *, version=3, counts=None, order="<"):
    """Put a header together; ``counts`` are those of tensors and keys that it states."""
    counts = counts or (len(entries), len(keys))
    return b"GGUF" + struct.pack(order + "IQQ", version, *counts) + b"".join(keys) + b"".join(entries)


def padded(content, alignment=32):
    return content + b"\0" * (-len(content) % alignment)


def model(tensors, keys=(), *, alignment=32, order="<", version=3):
    """Put a file together from tensors: name, sizes with the fastest first, kind, and bytes."""
    entries, data = [], b""
    for name, sizes, kind, content in tensors:
        entries.append(entry(name, sizes, kind, len(data), order))
        data += padded(content, alignment)
    return padded(header(keys, entries, order=order, version=version), alignment) + data


def write(path, content):
    path.write_bytes(content)
    return path
