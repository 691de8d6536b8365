"""How long the first answer of the site's search takes, in Chromium, over made-up records.

Run it as `python -m conformance.tests.jobs.site_scale 100000 1000000`: for each number of records it prints the size of
the data, the seconds until the page shows an answer, and the milliseconds that filtering took.
"""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
import time
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import sync_playwright

from conformance.model.enums import Verdict
from conformance.site import content
from conformance.site.build import script
from conformance.site.columns import Table

if TYPE_CHECKING:
    from collections.abc import Iterator

_QUERY = "backend:b3 verdict:fail check:gradients mat"
_INDEX = """<!doctype html><html lang="en"><title>scale</title><select id="release"></select>
<input type="file" id="file"><main id="main"></main>
<script src="app.js"></script><script src="search.js"></script><script src="data/meta.js"></script></html>"""


def _rows(count: int) -> Iterator[dict[str, str]]:
    """Records of fifty thousand cases on twenty backends, a fifth of which fail in one of four hundred ways."""
    draw = random.Random(0)  # noqa: S311 - the same each time
    for number in range(count):
        fails = draw.random() < 0.2
        cause = f"{draw.randrange(400)}" if fails else ""
        said = f"gradients: values differ in grad(a) of a matrix product {draw.randrange(9999)}"
        yield {
            "backend": f"b{number % 20}",
            "case": f"area{number % 13}.topic.name{number // 20 % 50_000}",
            "variant": ("grad=enabled", "grad=disabled", "grad=enabled,moves=usual")[number % 3],
            "area": f"area{number % 13}",
            "verdict": Verdict.FAIL.value if fails else Verdict.PASS.value,
            "check": draw.choice(("values", "gradients", "aliasing")) if fails else "",
            "cause": cause,
            "first": "",
            "advisory": "",
            "clauses": f"GM-{number % 19}",
            "message": said if fails else "",
        }


def _made(folder: Path, count: int) -> int:
    """Write a site of so many records; return the bytes of its data."""
    table = Table(content.COLUMNS)
    for row in _rows(count):
        table.put(**row)
    release = {"backends": {}, "causes": {}, "file": "data/r0.js", "details": {}}
    meta = {"releases": {"made up": release}, "areas": [], "legend": content.legend(), "clauses": {}}
    (folder / "data").mkdir(parents=True)
    rows = script("rows", "made up", {"columns": table.columns()})
    (folder / "data" / "r0.js").write_bytes(rows)
    (folder / "data" / "meta.js").write_bytes(script("meta", "", meta))
    for name in ("app.js", "search.js"):
        (folder / name).write_bytes((files("conformance.site") / "static" / name).read_bytes())
    (folder / "index.html").write_text(_INDEX, encoding="utf-8")
    return len(rows)


def main(counts: list[int]) -> None:
    """Print one line for each number of records."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with sync_playwright() as started, tempfile.TemporaryDirectory() as root:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for count in counts:
            folder = Path(root) / str(count)
            size = _made(folder, count)
            page = browser.new_page()
            began = time.perf_counter()
            page.goto(f"file://{folder}/index.html#/search?q={_QUERY}")
            page.wait_for_selector("#found")
            shown = time.perf_counter() - began
            found, took = (page.get_attribute("#found", f"data-{name}") for name in ("count", "ms"))
            print(f"{count:,} records, {size / 1e6:.1f} MB: page {shown:.2f} s, filter {took} ms, {found} found")  # noqa: T201
            page.close()
        browser.close()


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or [100_000])
