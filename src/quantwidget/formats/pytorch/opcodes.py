"""What each pickle opcode does to a `Machine`; the ones that each tensor takes several of are spelled out.

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

    Action = Callable[[Machine, int], int]
    """What an opcode does: it is told where its argument starts, and returns where the next opcode does."""

STOP = ord(".")

NEWEST_PROTOCOL = 5

MAX_NUMBER_LENGTH = 1024
"""Bytes or digits of one number: to read or show longer ones takes time that grows with the square of the length."""

_MEMO_SIZE = 1 << 32
_UINT32 = struct.Struct("<I").unpack_from


def _remember_byte(machine: Machine, at: int) -> int:
    machine.memo[machine.content[at]] = machine.stack[-1]
    return at + 1


def _remember_uint32(machine: Machine, at: int) -> int:
    machine.memo[_UINT32(machine.content, at)[0]] = machine.stack[-1]
    return at + 4


def _remember_next(machine: Machine, at: int) -> int:
    machine.memo[len(machine.memo)] = machine.stack[-1]
    return at


def _recall_byte(machine: Machine, at: int) -> int:
    machine.stack.append(machine.memo[machine.content[at]])
    return at + 1


def _recall_uint32(machine: Machine, at: int) -> int:
    machine.stack.append(machine.memo[_UINT32(machine.content, at)[0]])
    return at + 4


def _byte(machine: Machine, at: int) -> int:
    machine.stack.append(machine.content[at])
    return at + 1


def _unicode(machine: Machine, at: int) -> int:
    start = at + 4
    stop = start + int(_UINT32(machine.content, at)[0])
    machine.stack.append(machine.bytes_between(start, stop).decode("utf-8", "replace"))
    return stop


def _constant(value: object) -> Action:
    def action(machine: Machine, at: int) -> int:
        machine.stack.append(value)
        return at

    return action


def _simple(act: Callable[[Machine], None]) -> Action:
    def action(machine: Machine, at: int) -> int:
        act(machine)
        return at

    return action


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


def _number(layout: str, act: Callable[[Machine, Any], None] = Machine.push) -> Action:
    number = struct.Struct(layout)
    width = number.size

    def taking(machine: Machine, at: int) -> int:
        act(machine, number.unpack_from(machine.content, at)[0])
        return at + width

    return taking


def _counted(layout: str, decode: Callable[[bytes], object]) -> Action:
    length = struct.Struct(layout)
    width = length.size

    def taking(machine: Machine, at: int) -> int:
        start = at + width
        stop = start + int(length.unpack_from(machine.content, at)[0])
        machine.push(decode(machine.bytes_between(start, stop)))
        return stop

    return taking


def _line(decode: Callable[[bytes], Any], act: Callable[[Machine, Any], None] = Machine.push) -> Action:
    def taking(machine: Machine, at: int) -> int:
        line = machine.line_at(at)
        act(machine, decode(line))
        return at + len(line) + 1

    return taking


def _name(act: Callable[[Machine, Name], None]) -> Action:
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


def _mark(machine: Machine, at: int) -> int:
    machine.mark()
    return at


def _tuple(machine: Machine, at: int) -> int:
    run = tuple(machine.pop_run())
    machine.stack.append(run)
    return at


def _tuple_of_1(machine: Machine, at: int) -> int:
    machine.stack[-1] = (machine.stack[-1],)
    return at


def _tuple_of(count: int) -> Action:
    def action(machine: Machine, at: int) -> int:
        stack = machine.stack
        values = tuple(stack[-count:])
        if len(values) != count:
            message = f"the pickle makes a tuple of {count} values and has {len(values)}"
            raise CorruptModelError(message)
        stack[-count:] = [values]
        return at

    return action


def _new_dictionary(machine: Machine) -> None:
    run = machine.pop_run()
    machine.push({})
    machine.set_entries(run)


def _set_entry(machine: Machine) -> None:
    value, key = machine.stack.pop(), machine.stack.pop()
    machine.set_entry(key, value)


def _named_from_stack(machine: Machine) -> None:
    name, module = machine.stack.pop(), machine.stack.pop()
    machine.push(machine.name(module, name))


def _call(machine: Machine, at: int) -> int:
    stack = machine.stack
    args = stack.pop()
    stack[-1] = Call(stack[-1], args)
    return at


def _refer(machine: Machine, at: int) -> int:
    machine.refer(machine.stack.pop())
    return at


def _call_with_keywords(machine: Machine) -> None:
    keywords, args, callee = machine.stack.pop(), machine.stack.pop(), machine.stack.pop()
    machine.push(Call(callee, args, entries=keywords if isinstance(keywords, dict) else None))


def _call_run(machine: Machine) -> None:
    callee, *args = machine.pop_run()
    machine.push(Call(callee, tuple(args)))


def _call_named(machine: Machine, callee: Name) -> None:
    machine.push(Call(callee, tuple(machine.pop_run())))


def _refused(what: str) -> Action:
    def action(_machine: Machine, _at: int) -> int:
        message = f"the pickle uses {what}, which is refused"
        raise CorruptModelError(message)

    return action


def _unknown(_machine: Machine, at: int) -> int:
    message = f"the pickle cannot be read at byte {at}: there is no such opcode"
    raise CorruptModelError(message)


_KNOWN: dict[bytes, Action] = {
    # constants
    b"N": _constant(None),
    b"\x88": _constant(True),
    b"\x89": _constant(False),
    b")": _constant(()),
    # numbers
    b"J": _number("<i"),
    b"K": _byte,
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
    b"X": _unicode,
    b"\x8c": _counted("<B", _text),
    b"\x8d": _counted("<Q", _text),
    b"B": _counted("<I", bytes),
    b"C": _counted("<B", bytes),
    b"\x8e": _counted("<Q", bytes),
    b"\x96": _counted("<Q", bytes),
    # containers; a set is kept as a list
    b"]": _simple(lambda machine: machine.push([])),
    b"}": _simple(lambda machine: machine.push({})),
    b"\x8f": _simple(lambda machine: machine.push([])),
    b"\x85": _tuple_of_1,
    b"\x86": _tuple_of(2),
    b"\x87": _tuple_of(3),
    b"t": _tuple,
    b"l": _simple(lambda machine: machine.push(machine.pop_run())),
    b"\x91": _simple(lambda machine: machine.push(machine.pop_run())),
    b"d": _simple(_new_dictionary),
    b"a": _simple(lambda machine: machine.append([machine.stack.pop()])),
    b"e": _simple(lambda machine: machine.append(machine.pop_run())),
    b"\x90": _simple(lambda machine: machine.append(machine.pop_run())),
    b"s": _simple(_set_entry),
    b"u": _simple(lambda machine: machine.set_entries(machine.pop_run())),
    # the stack and the memo
    b"(": _mark,
    b"0": _simple(Machine.drop),
    b"1": _simple(Machine.drop_run),
    b"2": _simple(lambda machine: machine.push(machine.stack[-1])),
    b"g": _line(_decimal, Machine.recall),
    b"h": _recall_byte,
    b"j": _recall_uint32,
    b"p": _line(_memo_index, Machine.remember),
    b"q": _remember_byte,
    b"r": _remember_uint32,
    b"\x94": _remember_next,
    # names and calls, recorded
    b"c": _name(Machine.push),
    b"\x93": _simple(_named_from_stack),
    b"R": _call,
    b"\x81": _call,
    b"\x92": _simple(_call_with_keywords),
    b"o": _simple(_call_run),
    b"i": _name(_call_named),
    b"b": _simple(Machine.build),
    b"P": _line(_python2_text, Machine.refer),
    b"Q": _refer,
    # framing
    b"\x80": _number("<B", _check_protocol),
    b"\x95": _number("<Q", lambda _machine, _length: None),
    # refused before their argument is looked at
    **dict.fromkeys((b"\x82", b"\x83", b"\x84"), _refused("the extension registry")),
    **dict.fromkeys((b"\x97", b"\x98"), _refused("a buffer outside the file")),
}

ACTIONS: tuple[Action, ...] = tuple(_KNOWN.get(bytes((code,)), _unknown) for code in range(256))
"""What each opcode does, by its byte; `STOP` is left to the reader."""
