"""Cosines that the paper prints in its Tables 1 to 3, 6 and 7 beside ours, or why there are none."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from clipsieve import families
from clipsieve.report.facts import PAPER_ENCODERS, Facts
from clipsieve.report.frames import leading, rows_of, with_kinds
from clipsieve.report.html.page import Cell, Content, Section, Table, integer, is_known, number
from clipsieve.report.published import published
from clipsieve.report.reading import Inputs

if TYPE_CHECKING:
    import pandas as pd

#: Texts a direction in the paper's tables.
SHOWN = 5
#: List of texts that each table is of, by its id in the config, and the encoder where one is named.
_LISTS = {1: "gandelsman", 2: "gandelsman", 3: "vocabulary", 6: "gandelsman", 7: "vocabulary"}
_HEADS_OF = ("clip_b16", families.feature_set_id("heads", "stylegan--glide_clip"))
_COLUMNS = (
    *("run", "where", "kind", "direction", "side", "encoder", "text", "published", "our_text"),
    *("ours", "difference", "shared", "seeds", "reason"),
)


def cosines_page(inputs: Inputs, facts: Facts) -> tuple[Content, pd.DataFrame]:
    """Build the page; its table has one row a printed direction, side and encoder of ours."""
    import pandas as pd

    ours = inputs["interpretation"]
    if "centred" in ours.columns:
        ours = ours[~ours["centred"].astype(bool)]
    rows = [row for one in _printed() for row in _beside(one, ours, facts)]
    table = pd.DataFrame(rows).assign(run=", ".join(map(str, inputs.values("run"))))
    compared = table[table["ours"].notna()]
    rest = table[table["ours"].isna()]
    sections = [
        Section(title, tables=[_rows(part, facts)], folded=part is rest)
        for title, part in (("Side by side", compared), ("Without a counterpart", rest))
        if len(part)
    ]
    lead = [
        f"Of {table.groupby(['where', 'kind', 'direction', 'side']).ngroups} printed directions,"
        f" {compared.groupby(['where', 'kind', 'direction', 'side']).ngroups} can be set beside ours."
        " Compared is the cosine of the nearest (or farthest) text, and how many of the paper's five"
        " texts are among our first five."
    ]
    notes = [
        "Tables 1, 3, 6 and 7 name no encoder, so each of the paper's encoders in this run has a row."
        " Table 2 numbers heads up to layer 6 of the encoder of figure 2's pair; they are held against CLIP"
        " ViT-B/16.",
        "The paper says neither on which images nor with which C its probes were fitted, and the largest"
        " cosine of one and the same probe falls as C grows: a difference here is no failed replication."
        " There is no tolerance for that reason.",
    ]
    return Content(lead, sections, notes=notes), leading(with_kinds(table, facts), _COLUMNS)


def _printed() -> list[dict[str, Any]]:
    """Return every printed direction and side: its first text and cosine, and all its texts."""
    found = []
    keys = ["table", "kind", "direction", "side"]
    for key, part in published("words").groupby(keys, sort=False):
        number_of, kind, direction, side = map(str, key)
        first = part.sort_values("rank").iloc[0]
        found.append(
            {
                **{"number": int(number_of), "where": f"Table {number_of}", "kind": kind},
                **{"direction": direction, "side": side, "text": first["text"]},
                **{"published": float(first["cosine"]), "texts": set(part["text"].str.lower())},
            }
        )
    return found


def _beside(one: dict[str, Any], ours: pd.DataFrame, facts: Facts) -> Iterable[dict[str, Any]]:
    """Return a printed direction with ours under each encoder, or with the reason why there is none."""
    nothing = float("nan")
    base = {key: one[key] for key in ("where", "kind", "direction", "side", "text", "published")}
    base |= {"encoder": "", "our_text": "", "ours": nothing, "difference": nothing}
    base |= {"shared": nothing, "seeds": nothing, "reason": ""}
    head = one["kind"] == "head"
    wanted = _LISTS[one["number"]]
    encoders = [
        e for e in ((_HEADS_OF[0],) if head else PAPER_ENCODERS) if e in set(ours["encoder"])
    ]
    if not facts.is_paper_run():
        reason = "this run has other generators than the paper's fourteen"
    elif not head and one["direction"] not in facts.generators:
        reason = "this generator is not in this run, and the paper does not define it"
    elif wanted not in set(ours["texts"]):
        reason = f"list absent: the texts of the table are the list {wanted}, which this run lacks"
    elif not encoders:
        reason = "no encoder of the paper is in this run"
    else:
        return [_under(base, one, ours[ours["texts"] == wanted], encoder) for encoder in encoders]
    return [{**base, "reason": reason}]


def _under(
    base: dict[str, Any], one: dict[str, Any], ours: pd.DataFrame, encoder: str
) -> dict[str, Any]:
    """Return a printed direction with ours under one encoder."""
    name = {"probe": "all", "residual": "residual", "head": _HEADS_OF[1]}[one["kind"]]
    mine = ours[
        (ours["encoder"] == encoder)
        & (ours["kind"] == one["kind"])
        & (ours["direction"] == one["direction"])
        & (ours["feature_set"] == name)
        & (ours["side"] == one["side"])
    ]
    if mine.empty:
        what = "head is not among those selected here" if one["kind"] == "head" else "is not there"
        return {**base, "encoder": encoder, "reason": f"this {what}"}
    first = mine[mine["rank"] == 1]
    value = float(first["cosine"].mean())
    texts = mine[(mine["seed"] == mine["seed"].min()) & (mine["rank"] <= SHOWN)]["text"].astype(str)
    return base | {
        **{"encoder": encoder, "our_text": str(first.sort_values("seed")["text"].iloc[0])},
        **{"ours": value, "difference": value - one["published"]},
        **{"shared": len(one["texts"] & {text.lower() for text in texts})},
        **{
            "seeds": mine["seed"].nunique(),
            "reason": "" if one["kind"] == "head" else "no encoder named",
        },
    }


def _rows(part: pd.DataFrame, facts: Facts) -> Table:
    rows = []
    for row in rows_of(part):
        shared = f"{integer(row['shared'])} of {SHOWN}" if is_known(row["shared"]) else ""
        rows.append(
            [
                Cell(row["where"], sub=row["kind"]),
                Cell(
                    facts.title(row["direction"]),
                    sub="" if row["side"] == "nearest" else "farthest",
                ),
                Cell(facts.encoder_title(row["encoder"]) if row["encoder"] else ""),
                Cell(row["text"], css="wide"),
                Cell(number(row["published"]), css="num"),
                Cell(row["our_text"], css="wide"),
                Cell(number(row["ours"]), css="num strong"),
                Cell(number(row["difference"], sign=True), css="num"),
                Cell(shared, sub=row["reason"], css="quiet"),
            ]
        )
    columns = [
        *(("Where", "", ""), ("Direction", "", ""), ("Encoder", "", "")),
        *(("the paper's text", "", ""), ("cosine", "num", ""), ("our text", "", "")),
        *(("cosine", "num", "mean over seeds"), ("ours \N{MINUS SIGN} paper", "num", "")),
        ("texts in common", "", "of the paper's five among our first five"),
    ]
    return Table(columns, rows, compact=True)
