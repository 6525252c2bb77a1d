"""Write ``js/src/wire.ts`` from ``src/quantwidget/wire.py``; with ``--check``, fail when the two differ."""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import sys
import types
import typing
from pathlib import Path

from quantwidget import wire

TARGET = Path(__file__).parent.parent / "js" / "src" / "wire.ts"
HEADER = "// Generated from src/quantwidget/wire.py by scripts/generate_wire.py: edit that file and run `make build`.\n"
SCALARS = {int: "number", float: "number", str: "string", bool: "boolean", type(None): "null"}


def spell(kind: object, aliases: dict[object, str]) -> str:
    """Spell a Python type as TypeScript.

    Raises
    ------
    TypeError
        The type has no place on the wire.
    """
    if kind in aliases:
        return aliases[kind]
    if isinstance(kind, type) and kind in SCALARS:
        return SCALARS[kind]
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return kind.__name__
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return " | ".join(f'"{choice}"' for choice in arguments)
    if origin in {list, tuple}:
        item = spell(arguments[0], aliases)
        return f"({item})[]" if " | " in item else f"{item}[]"
    if origin in {types.UnionType, typing.Union}:
        return " | ".join(spell(argument, aliases) for argument in arguments)
    message = f"{kind!r} has no place on the wire"
    raise TypeError(message)


def comment(text: str) -> str:
    """Turn a docstring into a TypeScript comment."""
    lines = inspect.cleandoc(text).replace("``", "`").splitlines()
    if len(lines) == 1:
        return f"/** {lines[0]} */\n"
    return "/**\n" + "".join(f" * {line}".rstrip() + "\n" for line in lines) + " */\n"


def generate() -> str:
    """Return the whole of ``wire.ts``."""
    parts = [HEADER]
    aliases: dict[object, str] = {}
    for name, item in vars(wire).items():
        if isinstance(item, int) and name.isupper():
            parts.append(f"export const {name} = {item};\n")
        elif typing.get_origin(item) is typing.Literal:
            parts.append(f"export type {name} = {spell(item, aliases)};\n")
            aliases[item] = name
        elif isinstance(item, type) and dataclasses.is_dataclass(item):
            hints = typing.get_type_hints(item)
            fields = "".join(f"  {field}: {spell(hint, aliases)};\n" for field, hint in hints.items())
            parts.append(f"{comment(item.__doc__ or '')}export interface {name} {{\n{fields}}}\n")
    return "\n".join(parts)


def main() -> int:
    """Write or check; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail when wire.ts is stale")
    arguments = parser.parse_args()
    text = generate()
    if not arguments.check:
        TARGET.write_text(text, encoding="utf-8")
        return 0
    if TARGET.exists() and TARGET.read_text(encoding="utf-8") == text:
        return 0
    print("js/src/wire.ts is stale: run `make build`", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
