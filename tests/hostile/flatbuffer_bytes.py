"""FlatBuffers written byte by byte, so that they can say what no library would write."""

from __future__ import annotations

import struct
from dataclasses import dataclass


@dataclass(eq=False)
class Table:
    """Fields by number: bytes lie in the table, everything else is referred to."""

    fields: dict[int, bytes | Table | Vector]


@dataclass(eq=False)
class Vector:
    """Entries: bytes as they are, or tables; ``count`` may lie."""

    entries: bytes | list[Table]
    count: int | None = None
    itemsize: int = 1


def u32(number: int) -> bytes:
    return struct.pack("<I", number)


def i32s(*numbers: int) -> Vector:
    return Vector(struct.pack(f"<{len(numbers)}i", *numbers), itemsize=4)


def text(words: str) -> Vector:
    return Vector(words.encode() + b"\0", count=len(words.encode()))


def flatbuffer(root: Table, identifier: bytes = b"TFL3") -> bytes:
    """Write level by level: offsets lead forward, and what several refer to is written once."""
    raw = bytearray(u32(0) + identifier)
    waiting: dict[object, list[int]] = {root: [0]}
    while waiting:
        following: dict[object, list[int]] = {}
        for item, places in waiting.items():
            raw += bytes(-len(raw) % 8)
            at = len(raw) + (_vtable_size(item) if isinstance(item, Table) else 0)
            for place in places:
                raw[place : place + 4] = u32(at - place)
            for place, child in _write(raw, item):
                following.setdefault(child, []).append(place)
        waiting = following
    return bytes(raw)


def _vtable_size(table: Table) -> int:
    size = 4 + 2 * (max(table.fields, default=-1) + 1)
    return size + -size % 8


def _write(raw: bytearray, item: object) -> list[tuple[int, object]]:
    children: list[tuple[int, object]] = []
    if isinstance(item, Table):
        slots, body = [0] * (max(item.fields, default=-1) + 1), bytearray()
        start = len(raw) + _vtable_size(item)
        for number, value in item.fields.items():
            body += bytes(-(len(body) + 4) % 8)
            slots[number] = len(body) + 4
            if isinstance(value, bytes):
                body += value
            else:
                children.append((start + slots[number], value))
                body += u32(0)
        vtable = struct.pack(f"<{2 + len(slots)}H", 4 + 2 * len(slots), 4 + len(body), *slots)
        raw += vtable + bytes(_vtable_size(item) - len(vtable)) + struct.pack("<i", _vtable_size(item)) + body
    elif isinstance(item, Vector):
        entries = item.entries
        if isinstance(entries, bytes):
            count = len(entries) // item.itemsize if item.count is None else item.count
            raw += u32(count) + entries
        else:
            raw += u32(len(entries) if item.count is None else item.count)
            for entry in entries:
                children.append((len(raw), entry))
                raw += u32(0)
    return children
