"""The card of an image set against counts by hand."""

from __future__ import annotations

import pandas as pd

from clipsieve.report.tables.cards import card, card_lines


def test_a_card_counts_what_is_there():
    rows = [
        ("a", "JPEG", 100, 50, 1000, 90, "p", False, None),
        ("b", "JPEG", 100, 50, 3000, 95, "p", False, None),
        ("b", "JPEG", 100, 50, 3000, 95, "q", False, None),
        ("c", "PNG", 10, 10, 500, None, "r", True, None),
        (None, None, None, None, None, None, None, None, "empty file"),
    ]
    columns = ["sha256", "format", "width", "height", "bytes", "jpeg_quality", "group"]
    table = pd.DataFrame(rows, columns=[*columns, "is_constant", "problem"])
    table = table.astype(dict.fromkeys(["width", "height", "bytes", "jpeg_quality"], "Int64"))
    found = card(table)
    assert found == {
        "images": 5,
        "usable": 4,
        "groups": 3,
        "sizes": {"100 x 50": 3, "10 x 10": 1},
        "formats": {"JPEG": 3, "PNG": 1},
        "bytes": (500.0, 2000.0, 3000.0),
        "quality": (90.0, 95.0, 95.0),
        "identical": 1,
        "blank": 1,
        "problems": {"empty file": 1},
    }
    assert dict(card_lines(found))["JPEG quality"] == "90 to 95, median 95"
    nothing = card(table.iloc[4:])
    assert (nothing["usable"], nothing["bytes"], nothing["quality"]) == (0, None, None)


def test_rare_values_are_put_together():
    table = pd.DataFrame(
        {
            "width": range(9), "height": 1, "format": "PNG", "bytes": 1, "jpeg_quality": None,
            "group": "g", "sha256": "x", "is_constant": False, "problem": None,
        }
    )  # fmt: skip
    assert card(table)["sizes"]["4 others"] == 4
