"""What each pickle opcode does to a `PickleReader`.

The opcodes are those of protocols 0 to 5, as the standard library's ``pickletools`` documents them. The ones that
would import or call something leave a record of it.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from quantwidget.errors import CorruptModelError
from quantwidget.formats.pytorch.inert import Call

if TYPE_CHECKING:
    from collections.abc import Callable

    from quantwidget.formats.pytorch.pickled import PickleReader

    Action = Callable[[PickleReader], None]

STOP = ord(".")

NEWEST_PROTOCOL = 5

MAX_NUMBER_LENGTH = 1024
"""Bytes or digits of one number: to read or show longer ones takes time that grows with the square of the length."""


_MEMO_SIZE = 1 << 32


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _python2_text(raw: bytes) -> str | bytes:
    return raw.decode("ascii") if raw.isascii() else raw


def _checked_length(raw: bytes) -> bytes:
    if len(raw) > MAX_NUMBER_LENGTH:
        message = f"the pickle holds a number that is {len(raw)} bytes long"
        raise CorruptModelError(message)
    return raw


def _integer(raw: bytes) -> int:
    return int.from_bytes(_checked_length(raw), "little", signed=True)


def _decimal(line: bytes) -> int | bool:
    if line in {b"00", b"01"}:
        return line == b"01"
    return int(_checked_length(line).rstrip(b"L"))


def _fixed(layout: str) -> Action:
    number = struct.Struct(layout)
    return lambda reader: reader.stack.append(reader.take_number(number))


def _counted(layout: str, decode: Callable[[bytes], object]) -> Action:
    length = struct.Struct(layout)
    return lambda reader: reader.stack.append(decode(reader.take(reader.take_number(length))))


def _line(decode: Callable[[bytes], object]) -> Action:
    return lambda reader: reader.push(decode(reader.take_line()))


def _tuple_of(count: int) -> Action:
    def action(reader: PickleReader) -> None:
        values = [reader.stack.pop() for _ in range(count)]
        reader.push(tuple(reversed(values)))

    return action


def _recall(layout: str) -> Action:
    index = struct.Struct(layout)
    return lambda reader: reader.stack.append(reader.memo[reader.take_number(index)])


def _remember(layout: str) -> Action:
    index = struct.Struct(layout)

    def action(reader: PickleReader) -> None:
        reader.memo[reader.take_number(index)] = reader.stack[-1]

    return action


def _remember_by_text(reader: PickleReader) -> None:
    index = _decimal(reader.take_line())
    if not 0 <= index < _MEMO_SIZE:
        message = "the pickle keeps a value under a number that is out of range"
        raise CorruptModelError(message)
    reader.memo[index] = reader.stack[-1]


def _remember_next(reader: PickleReader) -> None:
    reader.memo[len(reader.memo)] = reader.stack[-1]


def _drop_run(reader: PickleReader) -> None:
    reader.pop_run()


def _named(reader: PickleReader) -> None:
    module, name = reader.take_line(), reader.take_line()
    reader.push(reader.name(_text(module), _text(name)))


def _named_from_stack(reader: PickleReader) -> None:
    name, module = reader.stack.pop(), reader.stack.pop()
    reader.push(reader.name(module, name))


def _call(reader: PickleReader) -> None:
    args, callee = reader.stack.pop(), reader.stack.pop()
    reader.push(Call(callee, args))


def _call_with_keywords(reader: PickleReader) -> None:
    keywords, args, callee = reader.stack.pop(), reader.stack.pop(), reader.stack.pop()
    reader.push(Call(callee, args, entries=keywords if isinstance(keywords, dict) else None))


def _call_run(reader: PickleReader) -> None:
    callee, *args = reader.pop_run()
    reader.push(Call(callee, tuple(args)))


def _call_named(reader: PickleReader) -> None:
    module, name = reader.take_line(), reader.take_line()
    reader.push(Call(reader.name(_text(module), _text(name)), tuple(reader.pop_run())))


def _set_entry(reader: PickleReader) -> None:
    value, key = reader.stack.pop(), reader.stack.pop()
    reader.set_entries([key, value])


def _check_protocol(reader: PickleReader) -> None:
    (version,) = reader.take(1)
    if version > NEWEST_PROTOCOL:
        message = f"the pickle has protocol {version}, and the newest known one is {NEWEST_PROTOCOL}"
        raise CorruptModelError(message)


def _refused(what: str) -> Action:
    def action(_reader: PickleReader) -> None:
        message = f"the pickle uses {what}, which is refused"
        raise CorruptModelError(message)

    return action


def _skip_frame(reader: PickleReader) -> None:
    reader.take(8)


def _new_dictionary(reader: PickleReader) -> None:
    run = reader.pop_run()
    reader.push({})
    reader.set_entries(run)


ACTIONS: dict[int, Action] = {
    ord(code): action
    for code, action in {
        # constants
        b"N": lambda reader: reader.push(None),
        b"\x88": lambda reader: reader.push(True),
        b"\x89": lambda reader: reader.push(False),
        # numbers
        b"J": _fixed("<i"),
        b"K": _fixed("<B"),
        b"M": _fixed("<H"),
        b"G": _fixed(">d"),
        b"\x8a": _counted("<B", _integer),
        b"\x8b": _counted("<i", _integer),
        b"I": _line(_decimal),
        b"L": _line(_decimal),
        b"F": _line(lambda line: float(_checked_length(line))),
        # text and bytes; text of protocol 0 keeps its escapes
        b"S": _line(lambda line: _python2_text(line[1:-1])),
        b"V": _line(lambda line: line.decode("raw_unicode_escape")),
        b"T": _counted("<i", _python2_text),
        b"U": _counted("<B", _python2_text),
        b"X": _counted("<I", _text),
        b"\x8c": _counted("<B", _text),
        b"\x8d": _counted("<Q", _text),
        b"B": _counted("<I", bytes),
        b"C": _counted("<B", bytes),
        b"\x8e": _counted("<Q", bytes),
        b"\x96": _counted("<Q", bytes),
        # containers; a set is kept as a list
        b")": lambda reader: reader.push(()),
        b"]": lambda reader: reader.push([]),
        b"}": lambda reader: reader.push({}),
        b"\x8f": lambda reader: reader.push([]),
        b"\x85": _tuple_of(1),
        b"\x86": _tuple_of(2),
        b"\x87": _tuple_of(3),
        b"t": lambda reader: reader.push(tuple(reader.pop_run())),
        b"l": lambda reader: reader.push(reader.pop_run()),
        b"\x91": lambda reader: reader.push(reader.pop_run()),
        b"d": _new_dictionary,
        b"a": lambda reader: reader.append([reader.stack.pop()]),
        b"e": lambda reader: reader.append(reader.pop_run()),
        b"\x90": lambda reader: reader.append(reader.pop_run()),
        b"s": _set_entry,
        b"u": lambda reader: reader.set_entries(reader.pop_run()),
        # the stack and the memo
        b"(": lambda reader: reader.mark(),
        b"0": lambda reader: reader.drop(),
        b"1": _drop_run,
        b"2": lambda reader: reader.push(reader.stack[-1]),
        b"g": lambda reader: reader.push(reader.memo[_decimal(reader.take_line())]),
        b"h": _recall("<B"),
        b"j": _recall("<I"),
        b"p": _remember_by_text,
        b"q": _remember("<B"),
        b"r": _remember("<I"),
        b"\x94": _remember_next,
        # names and calls, recorded
        b"c": _named,
        b"\x93": _named_from_stack,
        b"R": _call,
        b"\x81": _call,
        b"\x92": _call_with_keywords,
        b"o": _call_run,
        b"i": _call_named,
        b"b": lambda reader: reader.build(),
        b"P": lambda reader: reader.refer(_python2_text(reader.take_line())),
        b"Q": lambda reader: reader.refer(reader.stack.pop()),
        b"\x82": _refused("the extension registry"),
        b"\x83": _refused("the extension registry"),
        b"\x84": _refused("the extension registry"),
        b"\x97": _refused("a buffer outside the file"),
        b"\x98": _refused("a buffer outside the file"),
        # framing
        b"\x80": _check_protocol,
        b"\x95": _skip_frame,
    }.items()
}
