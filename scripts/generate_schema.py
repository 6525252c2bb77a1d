"""Write ``docs/summary.schema.json`` from ``summary.py``; with ``--check``, fail when the two differ."""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import json
import re
import sys
import types
import typing
from collections.abc import Mapping
from pathlib import Path

from quantwidget import quant, summary, wire
from quantwidget.lint.finding import Finding

TARGET = Path(__file__).parent.parent / "docs" / "summary.schema.json"
DIALECT = "https://json-schema.org/draft/2020-12/schema"
SCALARS = {int: "integer", float: "number", str: "string", bool: "boolean", type(None): "null"}
NAMES = {**vars(quant), **vars(wire), "Finding": Finding, "Mapping": Mapping}
"""What annotations name that is imported for the type checker alone."""


def spell(kind: object, known: dict[str, object]) -> dict[str, object]:  # noqa: PLR0911 - one for each kind of type
    """Spell a Python type as JSON Schema; dataclasses go to ``known``.

    Raises
    ------
    TypeError
        JSON has no such type.
    """
    if isinstance(kind, type) and kind in SCALARS:
        return {"type": SCALARS[kind]}
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        if kind.__name__ not in known:
            known[kind.__name__] = {}
            known[kind.__name__] = described(kind, known)
        return {"$ref": f"#/$defs/{kind.__name__}"}
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return {"const": arguments[0]} if len(arguments) == 1 else {"enum": list(arguments)}
    if origin is list:
        return {"type": "array", "items": spell(arguments[0], known)}
    if origin in {dict, Mapping}:
        return {"type": "object", "additionalProperties": spell(arguments[1], known)}
    if origin in {types.UnionType, typing.Union}:
        choices = [spell(argument, known) for argument in arguments]
        if all(list(choice) == ["type"] for choice in choices):
            return {"type": [choice["type"] for choice in choices]}
        return {"anyOf": choices}
    message = f"JSON has no {kind!r}"
    raise TypeError(message)


def described(kind: type, known: dict[str, object]) -> dict[str, object]:
    """Describe a dataclass: every field is there, and no other."""
    words, fields = documented(kind)
    hints = typing.get_type_hints(kind, localns=NAMES)
    properties = {
        field.name: spell(hints[field.name], known)
        | ({"description": fields[field.name]} if field.name in fields else {})
        for field in dataclasses.fields(kind)
    }
    return {
        "description": words,
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def documented(kind: type) -> tuple[str, dict[str, str]]:
    """Read the first line of a docstring, and what it says about each attribute, or several together."""
    first, _, rest = inspect.cleandoc(kind.__doc__ or "").replace("``", "`").partition("\n")
    _, _, attributes = rest.partition("Attributes\n----------\n")
    fields: dict[str, str] = {}
    for names, words in re.findall(r"^(\w[\w, ]*)\n((?:    .*\n?)+)", attributes, re.MULTILINE):
        fields |= dict.fromkeys(names.split(", "), " ".join(words.split()))
    return first, fields


def generate() -> str:
    """Return the whole schema."""
    known: dict[str, object] = {}
    whole = described(summary.Summary, known)
    schema = {"$schema": DIALECT, "$id": summary.SCHEMA, "title": "quantwidget --json", **whole, "$defs": known}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def main() -> int:
    """Write or check; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail when the schema is stale")
    arguments = parser.parse_args()
    text = generate()
    if not arguments.check:
        TARGET.write_text(text, encoding="utf-8")
        return 0
    if TARGET.exists() and TARGET.read_text(encoding="utf-8") == text:
        return 0
    print("docs/summary.schema.json is stale: run `python scripts/generate_schema.py`", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
