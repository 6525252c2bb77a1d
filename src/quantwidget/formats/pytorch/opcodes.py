"""What each pickle opcode does to a `Machine`.

The opcodes are those of protocols 0 to 5, as the standard library's ``pickletools`` documents them. The ones that
would import or call something leave a record of it.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from quantwidget.errors import CorruptModelError
from quantwidget.formats.pytorch.inert import Call
from quantwidget.formats.pytorch.machine import Machine

if TYPE_CHECKING:
    from collections.abc import Callable

    from quantwidget.formats.pytorch.inert import Name

    Action = Callable[[Machine], None]

    Taking = Callable[[Machine, int], int]
    """An action that is told where its argument starts, and returns where the next opcode does."""

STOP = ord(".")

NEWEST_PROTOCOL = 5

MAX_NUMBER_LENGTH = 1024
"""Bytes or digits of one number: to read or show longer ones takes time that grows with the square of the length."""

_MEMO_SIZE = 1 << 32


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _escaped_text(line: bytes) -> str:
    # Escapes can spell halves of a UTF-16 pair: two that fit become one character, a lone one cannot be encoded.
    return line.decode("raw_unicode_escape").encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


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


def _memo_index(line: bytes) -> int:
    index = _decimal(line)
    if not 0 <= index < _MEMO_SIZE:
        message = "the pickle keeps a value under a number that is out of range"
        raise CorruptModelError(message)
    return index


def _number(layout: str, act: Callable[[Machine, Any], None] = Machine.push) -> Taking:
    number = struct.Struct(layout)
    width = number.size

    def taking(machine: Machine, at: int) -> int:
        act(machine, number.unpack_from(machine.content, at)[0])
        return at + width

    return taking


def _counted(layout: str, decode: Callable[[bytes], object]) -> Taking:
    length = struct.Struct(layout)
    width = length.size

    def taking(machine: Machine, at: int) -> int:
        start = at + width
        stop = start + int(length.unpack_from(machine.content, at)[0])
        machine.push(decode(machine.bytes_between(start, stop)))
        return stop

    return taking


def _line(decode: Callable[[bytes], Any], act: Callable[[Machine, Any], None] = Machine.push) -> Taking:
    def taking(machine: Machine, at: int) -> int:
        line = machine.line_at(at)
        act(machine, decode(line))
        return at + len(line) + 1

    return taking


def _name(act: Callable[[Machine, Name], None]) -> Taking:
    def taking(machine: Machine, at: int) -> int:
        module = machine.line_at(at)
        name = machine.line_at(at + len(module) + 1)
        act(machine, machine.name(_text(module), _text(name)))
        return at + len(module) + len(name) + 2

    return taking


def _check_protocol(_machine: Machine, version: int) -> None:
    if version > NEWEST_PROTOCOL:
        message = f"the pickle has protocol {version}, and the newest known one is {NEWEST_PROTOCOL}"
        raise CorruptModelError(message)


def _tuple_of(count: int) -> Action:
    def action(machine: Machine) -> None:
        stack = machine.stack
        values = tuple(stack[-count:])
        if len(values) != count:
            message = f"the pickle makes a tuple of {count} values and has {len(values)}"
            raise CorruptModelError(message)
        stack[-count:] = [values]

    return action


def _new_dictionary(machine: Machine) -> None:
    run = machine.pop_run()
    machine.push({})
    machine.set_entries(run)


def _set_entry(machine: Machine) -> None:
    value, key = machine.stack.pop(), machine.stack.pop()
    machine.set_entries([key, value])


def _named_from_stack(machine: Machine) -> None:
    name, module = machine.stack.pop(), machine.stack.pop()
    machine.push(machine.name(module, name))


def _call(machine: Machine) -> None:
    stack = machine.stack
    args = stack.pop()
    stack.append(Call(stack.pop(), args))


def _call_with_keywords(machine: Machine) -> None:
    keywords, args, callee = machine.stack.pop(), machine.stack.pop(), machine.stack.pop()
    machine.push(Call(callee, args, entries=keywords if isinstance(keywords, dict) else None))


def _call_run(machine: Machine) -> None:
    callee, *args = machine.pop_run()
    machine.push(Call(callee, tuple(args)))


def _call_named(machine: Machine, callee: Name) -> None:
    machine.push(Call(callee, tuple(machine.pop_run())))


def _refused(what: str) -> Action:
    def action(_machine: Machine) -> None:
        message = f"the pickle uses {what}, which is refused"
        raise CorruptModelError(message)

    return action


WITH_ARGUMENT: dict[int, Taking] = {
    ord(code): taking
    for code, taking in {
        # numbers
        b"J": _number("<i"),
        b"K": _number("<B"),
        b"M": _number("<H"),
        b"G": _number(">d"),
        b"\x8a": _counted("<B", _integer),
        b"\x8b": _counted("<i", _integer),
        b"I": _line(_decimal),
        b"L": _line(_decimal),
        b"F": _line(lambda line: float(_checked_length(line))),
        # text and bytes; text of protocol 0 keeps its escapes
        b"S": _line(lambda line: _python2_text(line[1:-1])),
        b"V": _line(_escaped_text),
        b"T": _counted("<i", _python2_text),
        b"U": _counted("<B", _python2_text),
        b"X": _counted("<I", _text),
        b"\x8c": _counted("<B", _text),
        b"\x8d": _counted("<Q", _text),
        b"B": _counted("<I", bytes),
        b"C": _counted("<B", bytes),
        b"\x8e": _counted("<Q", bytes),
        b"\x96": _counted("<Q", bytes),
        # the memo
        b"g": _line(_decimal, Machine.recall),
        b"h": _number("<B", Machine.recall),
        b"j": _number("<I", Machine.recall),
        b"p": _line(_memo_index, Machine.remember),
        b"q": _number("<B", Machine.remember),
        b"r": _number("<I", Machine.remember),
        # names and calls, recorded
        b"c": _name(Machine.push),
        b"i": _name(_call_named),
        b"P": _line(_python2_text, Machine.refer),
        # framing
        b"\x80": _number("<B", _check_protocol),
        b"\x95": _number("<Q", lambda _machine, _length: None),
    }.items()
}
"""Opcodes that are followed by an argument."""

WITHOUT_ARGUMENT: dict[int, Action] = {
    ord(code): action
    for code, action in {
        # constants
        b"N": lambda machine: machine.push(None),
        b"\x88": lambda machine: machine.push(True),
        b"\x89": lambda machine: machine.push(False),
        # containers; a set is kept as a list
        b")": lambda machine: machine.push(()),
        b"]": lambda machine: machine.push([]),
        b"}": lambda machine: machine.push({}),
        b"\x8f": lambda machine: machine.push([]),
        b"\x85": _tuple_of(1),
        b"\x86": _tuple_of(2),
        b"\x87": _tuple_of(3),
        b"t": lambda machine: machine.push(tuple(machine.pop_run())),
        b"l": lambda machine: machine.push(machine.pop_run()),
        b"\x91": lambda machine: machine.push(machine.pop_run()),
        b"d": _new_dictionary,
        b"a": lambda machine: machine.append([machine.stack.pop()]),
        b"e": lambda machine: machine.append(machine.pop_run()),
        b"\x90": lambda machine: machine.append(machine.pop_run()),
        b"s": _set_entry,
        b"u": lambda machine: machine.set_entries(machine.pop_run()),
        # the stack and the memo
        b"(": Machine.mark,
        b"0": Machine.drop,
        b"1": Machine.drop_run,
        b"2": lambda machine: machine.push(machine.stack[-1]),
        b"\x94": lambda machine: machine.remember(len(machine.memo)),
        # names and calls, recorded
        b"\x93": _named_from_stack,
        b"R": _call,
        b"\x81": _call,
        b"\x92": _call_with_keywords,
        b"o": _call_run,
        b"b": Machine.build,
        b"Q": lambda machine: machine.refer(machine.stack.pop()),
        **dict.fromkeys((b"\x82", b"\x83", b"\x84"), _refused("the extension registry")),
        **dict.fromkeys((b"\x97", b"\x98"), _refused("a buffer outside the file")),
    }.items()
}
"""Opcodes that find all they need on the stack, and those that are refused before their argument is looked at."""
