"""The explorer's page: its data, its script and its looks in one file that asks nobody for anything."""

from __future__ import annotations

import base64
import hashlib
import html
from pathlib import Path
from typing import Any

from clipsieve import __version__
from clipsieve.errors import UserError
from clipsieve.report.explorer import contents
from clipsieve.report.explorer.packing import Packing
from clipsieve.report.explorer.thumbnails import add_details
from clipsieve.report.facts import Facts
from clipsieve.report.html.gallery import Thumbnails
from clipsieve.report.reading import read_tables

#: The page's script, in the order in which its parts need each other.
SCRIPTS = (
    *("data.js", "draw.js", "grid.js", "transfer.js", "cell.js", "removal.js", "heads.js"),
    *("words.js", "methods.js", "find.js", "main.js"),
)
#: What the browser may do: run this script, use this style, and show images that are in the page.
POLICY = (
    "default-src 'none'; script-src '{script}'; style-src '{style}'; img-src data:;"
    " base-uri 'none'; form-action 'none'"
)


def explorer_page(
    paths: contents.Paths,
    facts: Facts,
    root: Path,
    *,
    side: int = 72,
    most: int = 600,
    megabytes: float = 4.8,
) -> str:
    """Build the page.

    Parameters
    ----------
    paths
        Files by input (`registry.EXPLORED`); cells, means and the manifest are needed.
    facts
        Titles, families and kinds of the run's generators and encoders.
    root
        The folder that the manifest's paths are relative to.
    side, most
        The longer side of a thumbnail in pixels, and how many there may be.
    megabytes
        How large the page may become, in units of 1,000,000 bytes: thumbnails take what is left.

    Returns
    -------
    str
        The page: the same text for the same files.

    Raises
    ------
    UserError
        A needed input has no file, or a file cannot be read.
    """
    for name in ("cells", "means", "manifest"):
        if not paths.get(name):
            raise UserError(f"explorer needs --{name} FILE [FILE ..]")
    cells, means = (read_tables(name, paths[name]) for name in ("cells", "means"))
    confidence = float(means["confidence"].iloc[0]) if "confidence" in means.columns else 0.95
    axes = contents.Axes(cells, facts, confidence)
    packing = Packing()
    header = {**axes.header(facts), "version": __version__}
    header |= contents.add_cells(packing, cells, axes)
    header |= contents.add_counts(cells, axes)
    header |= contents.add_means(packing, means, axes)
    if paths.get("controls"):
        header |= contents.add_controls(read_tables("controls", paths["controls"]), axes)
    if paths.get("searches"):
        header |= contents.add_searches(packing, paths["searches"], axes)
    if paths.get("removal"):
        header |= contents.add_removals(packing, read_tables("removal", paths["removal"]), axes)
    if paths.get("head_rankings"):
        rankings = read_tables("head_rankings", paths["head_rankings"])
        header |= contents.add_heads(packing, rankings, axes)
    if paths.get("interpretation"):
        header |= contents.add_words(packing, paths["interpretation"], axes)
    if paths.get("concepts"):
        header |= contents.add_concepts(packing, read_tables("concepts", paths["concepts"]), axes)
    if paths.get("scores"):
        header |= add_details(
            packing,
            paths["scores"],
            paths["manifest"][0],
            Thumbnails(root, side),
            axes,
            facts,
            room=lambda: _room(packing, header, megabytes),
            most=most,
        )
    return fill(f"Explorer: run {axes.run}", packing.text(header))


def _room(packing: Packing, header: dict[str, Any], megabytes: float) -> int:
    """Return how many bytes of thumbnails fit: base64 makes four of three, and their names need some."""
    left = megabytes * 1e6 - len(packing.text(header)) - 250_000
    return max(0, int(left * 0.74))


def fill(title: str, data: str) -> str:
    """Return the page around a block of data; script and style are allowed by their hashes."""
    assets = Path(__file__).parent / "assets"
    parts = "\n".join((assets / name).read_text(encoding="utf-8") for name in SCRIPTS)
    script = f'"use strict";\n(() => {{\n{parts}\n}})();\n'
    style = (assets / "explorer.css").read_text(encoding="utf-8")
    policy = POLICY.format(script=_hash(script), style=_hash(style))
    page = (assets / "explorer.html").read_text(encoding="utf-8")
    for name, text in (
        *(("@TITLE@", html.escape(title)), ("@POLICY@", html.escape(policy))),
        *(("@STYLE@", style), ("@SCRIPT@", script), ("@DATA@", data)),
    ):
        page = page.replace(name, text)
    return page


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
