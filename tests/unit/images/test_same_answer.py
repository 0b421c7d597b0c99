"""The scan, the doctor and `detect` give one answer on one folder, whatever lies in it."""

from __future__ import annotations

import io
import os
import re
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from clipsieve import cli, config
from clipsieve.audits.doctor import check_run
from clipsieve.detector.pictures import find_images
from clipsieve.images.facts import file_facts
from clipsieve.images.listing import plain


def picture(kind: str, seed: int = 0, **options: object) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (33, 36, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


PNG = picture("PNG")
CONTENTS = {
    "png": PNG,
    "jpeg": picture("JPEG", 1),
    "webp": picture("WEBP", 2),
    "avif": picture("AVIF", 3),
    "jpeg 2000": picture("JPEG2000", 4),
    "cut": PNG[: len(PNG) // 2],
    "empty": b"",
    "text": b"<html>not found</html>",
    "thin": picture("PNG", 5)[:0]
    + (lambda b: (Image.new("L", (900, 3)).save(b, "PNG"), b)[1])(io.BytesIO()).getvalue(),
}
#: Beside files of these contents.
ODD = ("link", "dangling link", "link to a device", "pipe", "folder")

name = st.one_of(
    st.sampled_from(
        ["a.png", "b.JPG", "render.0001", "cat_cfg7.5", "é.png", "e\u0301.png", ".hidden.png", "x.zip",
         "spaces in it.png", "-dash.png", "quote'\".png", "new\nline.png", "n" * 251 + ".png", "t.csv"]
    ),
    st.text("abAB01._- ", min_size=1, max_size=6).filter(lambda s: s.strip(". ") != ""),
)  # fmt: skip
folder_name = st.sampled_from(["", "sub", "0_real", "1_fake", ".cache", "0_REAL/deep", "x/1_fake"])
entry = st.tuples(folder_name, name, st.sampled_from([*CONTENTS, *ODD]))


def lay_out(folder: Path, entries: list[tuple[str, str, str]]) -> None:
    """Make the entries; one whose name is taken is left out."""
    folder.mkdir()
    (folder / "0_real").mkdir()
    for where, called, what in entries:
        path = folder / where / called
        path.parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(path):
            continue
        if what in CONTENTS:
            path.write_bytes(CONTENTS[what])
        elif what == "link":
            path.symlink_to(folder.parent / "elsewhere.png")
        elif what == "dangling link":
            path.symlink_to(folder.parent / "nowhere.png")
        elif what == "link to a device":
            path.symlink_to("/dev/zero")
        elif what == "pipe":
            os.mkfifo(path)
        else:
            path.mkdir()
            (path / "inside.png").write_bytes(PNG)


def by_the_scan(root: Path, layout: str) -> dict[str, str | None]:
    """Path -> problem, by the command; {} where it finds nothing to use."""
    table = root / "table.parquet"
    table.unlink(missing_ok=True)
    code = cli.main(
        ["scan", "--image-set", "photos", "--folder", str(root / "set"), "--data-root", str(root),
         "--label", "1", "--source", "photos", "--layout", layout, "--output", str(table),
         "--known", str(root / "known.parquet")]
    )  # fmt: skip
    if code != 0:
        assert not table.exists()
        return {}
    rows = pd.read_parquet(table)
    paths = [path.removeprefix("set/") for path in rows["path"]]
    problems = [None if pd.isna(problem) else problem for problem in rows["problem"]]
    return dict(zip(paths, problems, strict=True))


def by_the_doctor(root: Path, layout: str) -> tuple[str, str]:
    """Verdict and sentence on the set."""
    raw = {
        "run": "r", "data_root": str(root),
        "sources": {"photos": {"folder": "set", "layout": layout}},
        "generators": {
            name: {"family": "gan", "source": "photos", "folder": "other"} for name in ("g", "h")
        },
        "encoders": {"e": {"model": "tiny", "weights": None}},
        "use": {"generators": ["g", "h"], "encoders": ["e"], "texts": [], "feature_sets": ["all"]},
        "pairs": [],
    }  # fmt: skip
    found = check_run(config.Run.of(config.resolve(raw)), root / "results")
    (finding,) = [f for f in found if f.text.startswith("images photos: ")]
    return finding.verdict, finding.text


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(entry, max_size=8), st.sampled_from(["plain", "wang2020"]))
def test_scan_doctor_and_detect_agree(entries, layout):
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        (root / "elsewhere.png").write_bytes(CONTENTS["jpeg"])
        lay_out(root / "set", entries)
        (root / "other").mkdir()
        (root / "other/z.png").write_bytes(picture("PNG", 9))
        scanned = by_the_scan(root, layout)
        # a second scan with the record of the first says the same
        assert by_the_scan(root, layout) == scanned
        judged = {
            plain(path.relative_to(root / "set").as_posix()): file_facts(path).problem
            for path in map(Path, find_images([str(root / "set")]))
        }
        verdict, text = by_the_doctor(root, layout)
        if not scanned:
            assert verdict == "WRONG"
            if layout == "plain":
                assert all(problem is not None for problem in judged.values())
            return
        if layout == "plain":
            assert judged == scanned
        else:  # detect knows no layouts, and judges what the scan gives to a class
            placed = {
                p: why for p, why in scanned.items() if not (why or "").startswith("in no folder")
            }
            assert placed.items() <= judged.items()
            assert scanned.keys() <= judged.keys()
        bad = {path: why for path, why in scanned.items() if why is not None}
        assert verdict == ("note" if bad else "ok")
        if bad:
            found = re.search(r"; (\d+) with a problem, first (.+?) \((.+)\)", text, flags=re.S)
            assert found is not None
            assert int(found[1]) == len(bad)
            assert found[3].startswith(bad[found[2]] or "-")
        counted = re.search(r"images photos: (\d+) files in (\d+) groups", text)
        assert counted is not None
        unplaced = [why for why in bad.values() if why.startswith("in no folder")]
        assert int(counted[1]) == len(scanned) - len(unplaced)
