"""JSON Schemas of case files, expectations files, lines of records and of timings, from the types that read them.

Editors that speak the YAML language server complete and check a case file whose first line is::

    # yaml-language-server: $schema=../conformance/schemas/case.schema.json

`python -m conformance.schema` regenerates them; a test compares the committed files with `render`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from conformance.catalogue.documents import CaseFileDocument, ExpectationDocument
from conformance.model.enums import Grade
from conformance.model.result import Record
from conformance.records.encoding import Footer, Header
from conformance.timing.model import Noise, Timing
from conformance.timing.timing_file import TimingFooter, TimingHeader

__all__ = ["FOLDER", "render", "write"]

FOLDER = Path(__file__).parent / "schemas"

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
# Keys that every record has; the rest are in the header or have a default.
_ALWAYS = ("backend", "case_id", "kind", "variant", "verdict")


def render() -> dict[str, str]:
    """Return the text of each schema by file name."""
    schemas = {
        "case.schema.json": _titled(TypeAdapter(CaseFileDocument).json_schema(), "A file of cases"),
        "expectation.schema.json": _titled(
            TypeAdapter(list[ExpectationDocument]).json_schema(), "The known failures of a backend"
        ),
        "record.schema.json": _shortened(
            _lines("One line of a record file", header=Header, record=Record, footer=Footer)
        ),
        "timing.schema.json": _lines(
            "One line of a file of timings", timings=TimingHeader, noise=Noise, timing=Timing, footer=TimingFooter
        ),
    }
    return {name: json.dumps(schema, indent=2) + "\n" for name, schema in schemas.items()}


def write(folder: Path = FOLDER) -> list[Path]:
    """Write the schemas and return the files that changed."""
    folder.mkdir(parents=True, exist_ok=True)
    changed = []
    for name, text in render().items():
        path = folder / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            changed.append(path)
    return changed


def _titled(schema: dict[str, Any], title: str) -> dict[str, Any]:
    return {"$schema": _DIALECT} | schema | {"title": title}


def _lines(title: str, **kinds: type) -> dict[str, Any]:
    """Return the schema of a line that has one of several types, distinguished by `kind`."""
    definitions: dict[str, Any] = {}
    for kind, type_ in kinds.items():
        schema = TypeAdapter(type_).json_schema()
        definitions |= schema.pop("$defs", {})
        schema["properties"]["kind"] = {"const": kind}
        schema["required"] = ["kind", *schema.get("required", [])]
        definitions[kind] = schema | {"additionalProperties": False}
    choices = [{"$ref": f"#/$defs/{kind}"} for kind in kinds]
    return _titled({"oneOf": choices, "$defs": definitions}, title)


def _shortened(schema: dict[str, Any]) -> dict[str, Any]:
    """Allow the short forms of `records.encoding`: a check that held is a string, or only listed under `held`."""
    record = schema["$defs"]["record"]
    properties = record["properties"]
    word = {"type": "string", "description": "A check that held: its name, or name=grade."}
    properties["checks"]["items"] = {"anyOf": [word, properties["checks"]["items"]]}
    properties["held"] = {
        "type": "object",
        "propertyNames": {"enum": [grade.value for grade in Grade]},
        "additionalProperties": {"type": "array", "items": {"type": "string"}},
        "description": "Every usual check held; by grade, the checks that have one.",
    }
    record["required"] = list(_ALWAYS)
    return schema


if __name__ == "__main__":
    sys.stdout.writelines(f"wrote {path.name}\n" for path in write())
