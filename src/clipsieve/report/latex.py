"""The tables of a page as LaTeX, in the style of booktabs; long ones run over several pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clipsieve.report.html.page import Cell, Page, Table

_ESCAPED = {
    "\\": r"\textbackslash{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    **{"~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"},
    "\N{RIGHTWARDS ARROW}": r"$\rightarrow$",
    "\N{MINUS SIGN}": "$-$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{GREEK CAPITAL LETTER DELTA}": r"$\Delta$",
    "\N{GREEK SMALL LETTER ALPHA}": r"$\alpha$",
    "\N{GREEK SMALL LETTER RHO}": r"$\rho$",
    "\N{PLUS-MINUS SIGN}": r"$\pm$",
    "\N{GREATER-THAN OR EQUAL TO}": r"$\geq$",
    "\N{LESS-THAN OR EQUAL TO}": r"$\leq$",
    "\N{NO-BREAK SPACE}": "~",
    "\N{EN DASH}": "--",
}


def escaped(text: str) -> str:
    r"""Return text with every sign that LaTeX reads as its own written out.

    Examples
    --------
    >>> escaped("5 % of a_b")
    '5 \\% of a\\_b'
    """
    return "".join(_ESCAPED.get(sign, sign) for sign in text)


def latex_of(page: Page) -> str:
    r"""Return every table of a page, one below the other, to be read by ``\input``.

    The document needs the packages booktabs and longtable, and LuaLaTeX or XeLaTeX where texts are
    not in Latin letters.
    """
    parts = [f"% {page.title}, run {page.run}", "% needs \\usepackage{booktabs,longtable}"]
    for section in page.sections:
        for table in (*section.tables, *section.cards):
            caption = ": ".join(filter(None, [section.title, table.caption]))
            parts.append(_table(table, caption))
    return "\n".join(parts) + "\n"


def _table(table: Table, caption: str) -> str:
    kinds = "".join("r" if "num" in css.split() else "l" for _, css, _ in table.columns)
    heads = [escaped(str(label)) for label, _, _ in table.columns]
    lines = [
        f"\\begin{{longtable}}{{{kinds}}}",
        f"\\caption{{{escaped(caption)}}}\\\\",
        "\\toprule",
    ]
    if table.spans:
        spans = [f"\\multicolumn{{{span}}}{{c}}{{{escaped(label)}}}" for label, span in table.spans]
        lines.append(" & ".join(spans) + " \\\\")
    lines += [" & ".join(heads) + " \\\\", "\\midrule", "\\endhead"]
    lines += [" & ".join(map(_cell, row)) + " \\\\" for row in table.rows]
    lines += ["\\bottomrule", "\\end{longtable}", ""]
    if table.note:
        lines.insert(-1, f"% {table.note}".replace("\n", " "))
    return "\n".join(lines)


def _cell(cell: Cell) -> str:
    text = escaped(cell.text)
    if "strong" in cell.css.split():
        text = f"\\textbf{{{text}}}"
    small = [part for part in (cell.badge, cell.sub) if part]
    return text + "".join(f" {{\\small ({escaped(part)})}}" for part in small)
