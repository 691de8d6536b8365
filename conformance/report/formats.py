"""A report in other formats than markdown: one HTML file that needs no other, or text for a terminal."""

from __future__ import annotations

import base64
import html
import io
import re
from itertools import pairwise
from typing import TYPE_CHECKING

from markdown_it import MarkdownIt
from rich.console import Console
from rich.markdown import Markdown

from conformance.report.markdown import anchor_of

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["as_html", "as_text"]

_STYLE = """\
:root { color-scheme: light dark; --line: #8884; --back: #8881; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; display: block; overflow-x: auto; margin: 1rem 0; }
th, td { border: 1px solid var(--line); padding: .25rem .6rem; vertical-align: top; }
pre, code { font-family: ui-monospace, monospace; font-size: .9em; background: var(--back); }
pre { padding: .6rem; overflow-x: auto; }
summary { cursor: pointer; }
img { max-width: 100%; }
"""


def as_html(markdown: str, images: Mapping[str, str]) -> str:
    """Return one page of HTML that loads no other file.

    Args:
        markdown: the report.
        images: SVG texts by the name that the report has for them; those that are not here are left out.
    """
    parser = MarkdownIt("commonmark", {"html": True}).enable("table")
    tokens = parser.parse(markdown)
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open":
            opening.attrSet("id", anchor_of(inline.content))
    body = str(parser.renderer.render(tokens, parser.options, {}))
    body = re.sub(r'<img src="([^"]*)"([^>]*)>', lambda found: _image(found[1], found[2], images), body)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>torch.compile conformance</title>
<style>
{_STYLE}</style>
</head>
<body>
{body}</body>
</html>
"""


def as_text(markdown: str, width: int) -> str:
    """Return text for a terminal of `width` columns, without colours."""
    out = io.StringIO()
    # Summaries of folded parts are HTML, which this renderer leaves out.
    plain = re.sub(r"\[((?:[^\[\]\\]|\\.)*)\]\(#[^()\s]*\)", r"\1", markdown)
    shown = re.sub(r"<details><summary>(.*?)</summary>", lambda found: html.unescape(found[1]), plain)
    Console(file=out, width=width, color_system=None, force_terminal=False, force_jupyter=False).print(
        Markdown(shown, hyperlinks=False)
    )
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _image(name: str, rest: str, images: Mapping[str, str]) -> str:
    if name not in images:
        return ""
    data = base64.b64encode(images[name].encode()).decode()
    return f'<img src="data:image/svg+xml;base64,{data}"{rest}>'
