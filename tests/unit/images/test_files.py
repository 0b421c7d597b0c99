"""File facts, JPEG quality, perceptual hashes, layouts."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from clipsieve.errors import UserError
from clipsieve.images import facts, hashes, jpeg, listing, members
from clipsieve.images.metadata import class_key, read_metadata


def picture(seed: int = 0, size: tuple[int, int] = (96, 64)) -> Image.Image:
    """A smooth random picture, as photographs are."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("subsampling", [0, 2])
def test_jpeg_quality_is_read_back_exactly(subsampling: int) -> None:
    for quality in range(1, 101):
        data = encoded(picture(size=(16, 16)), "JPEG", quality=quality, subsampling=subsampling)
        tables = Image.open(io.BytesIO(data)).quantization
        found = jpeg.estimate_quality(tables)
        standard = jpeg.standard_tables()[0]
        # Qualities with the same tables can't be told apart.
        assert found is not None
        assert (standard[found - 1] == standard[quality - 1]).all(), quality


def test_jpeg_quality_of_a_grey_file_and_of_foreign_tables() -> None:
    grey = encoded(picture().convert("L"), "JPEG", quality=63)
    assert jpeg.estimate_quality(Image.open(io.BytesIO(grey)).quantization) == 63
    rng = np.random.default_rng(0)
    near = jpeg.standard_tables()[0][79] + rng.integers(-1, 2, 64)
    assert abs(jpeg.estimate_quality({0: list(near)}) - 80) <= 2  # type: ignore[operator]
    assert jpeg.estimate_quality({}) is None


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF"])
def test_facts_of_a_good_file(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "name.with.dots.XYZ"
    path.write_bytes(encoded(picture(), kind))
    found = facts.file_facts(path)
    assert found.problem is None
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert found.bytes == path.stat().st_size
    assert (found.format, found.width, found.height) == (kind, 96, 64)
    assert found.mode == ("P" if kind == "GIF" else "RGB")
    assert found.jpeg_quality == (75 if kind == "JPEG" else None)
    assert found.is_constant is False
    assert found.perceptual_hash is not None


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"not a picture, however it is named", "not an image"),
        (encoded(picture(), "PNG")[:300], "damaged"),
        (encoded(picture(), "JPEG")[:700], "damaged"),
    ],
)
def test_facts_of_a_bad_file(data: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(data)
    found = facts.file_facts(path)
    assert found.problem is not None
    assert reason in found.problem
    assert found.bytes == len(data)
    assert found.perceptual_hash is None


def test_facts_of_missing_and_oversized_files(tmp_path: Path) -> None:
    assert facts.file_facts(tmp_path / "none.png").problem == "no such file"
    path = tmp_path / "x.png"
    path.write_bytes(encoded(picture(), "PNG"))
    assert "more than 100" in str(facts.file_facts(path, max_bytes=100).problem)
    # A header that claims 40,000 x 40,000 pixels.
    huge = bytearray(encoded(Image.new("1", (8, 8)), "PNG"))
    import zlib

    huge[16:24] = (40000).to_bytes(4, "big") * 2
    huge[29:33] = zlib.crc32(bytes(huge[12:29])).to_bytes(4, "big")
    path.write_bytes(huge)
    found = facts.file_facts(path)
    assert "pixels" in str(found.problem)


def test_blank_pictures_are_flagged() -> None:
    assert facts.is_constant(Image.new("RGB", (9, 9), (4, 5, 6)))
    black = facts.facts_of_bytes(encoded(Image.new("RGB", (64, 64)), "JPEG"))
    assert black.is_constant is True
    assert black.perceptual_hash == "0" * 16
    assert not facts.is_constant(picture())


def test_perceptual_hash_against_scipy() -> None:
    from scipy.fft import dctn

    for seed in range(5):
        image = picture(seed, (200, 120))
        small = np.asarray(image.convert("L").resize((32, 32), Image.Resampling.LANCZOS), float)
        low = dctn(small, type=2)[1:9, 1:9]
        bits = "".join("01"[int(b)] for b in (low > np.median(low)).ravel())
        assert hashes.perceptual_hash(image) == int(bits, 2)


def test_perceptual_hash_keeps_through_edits_and_tells_pictures_apart() -> None:
    originals = [picture(seed, (256, 256)) for seed in range(12)]
    values = np.array([hashes.perceptual_hash(image) for image in originals], dtype=np.uint64)
    for image, value in zip(originals, values, strict=True):
        for edited in (
            Image.open(io.BytesIO(encoded(image, "JPEG", quality=40))),
            image.resize((128, 128)),
            image.filter(ImageFilter.GaussianBlur(1.5)),
        ):
            other = np.uint64(hashes.perceptual_hash(edited))
            assert hashes.hamming(value, other)[0] <= 4
    for i in range(12):
        for j in range(i):
            assert hashes.hamming(values[i], values[j])[0] > 12


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=12),
    st.integers(0, 12),
    st.integers(0, 2**32 - 1),
)
def test_near_duplicates_are_all_pairs_of_a_plain_loop(
    values: list[int], threshold: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    # Copies with some bits flipped, so that close pairs exist.
    flipped = [v ^ sum(1 << int(b) for b in rng.choice(64, 6, replace=False)) for v in values]
    array = np.array(values + flipped + values[:2], dtype=np.uint64)
    first, second, distance = hashes.near_duplicates(array, threshold)
    expected = [
        (i, j, (int(array[i]) ^ int(array[j])).bit_count())
        for i in range(len(array))
        for j in range(i + 1, len(array))
        if (int(array[i]) ^ int(array[j])).bit_count() <= threshold
    ]
    assert list(zip(first, second, distance, strict=True)) == expected


def test_hex_round_trip() -> None:
    values = [0, 1, 2**64 - 1, 12345678901234567890]
    assert list(hashes.from_hex([hashes.to_hex(v) for v in values])) == values


def test_list_files_sees_every_name_but_hidden_ones(tmp_path: Path) -> None:
    for name in (
        "a.b.c.PNG",
        "sub/x.webp",
        "sub/deep/y.JpEg",
        ".hidden.png",
        ".cache/z.png",
        "r.txt",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "sub/loop").symlink_to(tmp_path)
    assert listing.list_files(tmp_path) == ["a.b.c.PNG", "r.txt", "sub/deep/y.JpEg", "sub/x.webp"]


def by_path(found: list[members.Member]) -> dict[str, tuple[str | None, str | None]]:
    return {m.path: (m.group, m.problem) for m in found}


def test_wang2020_with_and_without_class_folders() -> None:
    paths = ["cat/0_real/1.png", "cat/1_fake/1.png", "0_real/2.png", "1_fake/3.png", "note.png"]
    real = by_path(members.members(paths, label=1, layout="wang2020"))
    fake = by_path(members.members(paths, label=0, layout="wang2020"))
    lost = (None, "in no folder named 0_real or 1_fake")
    assert real == {
        "cat/0_real/1.png": ("cat/1", None),
        "0_real/2.png": ("2", None),
        "note.png": lost,
    }
    assert fake == {
        "cat/1_fake/1.png": ("cat/1", None),
        "1_fake/3.png": ("3", None),
        "note.png": lost,
    }


def test_other_layouts() -> None:
    paths = ["train/ai/a.png", "train/nature/b.JPEG", "val/AI/c.png"]
    assert [m.path for m in members.members(paths, label=0, layout="ai_nature")] == [
        "train/ai/a.png",
        "val/AI/c.png",
    ]
    assert [m.group for m in members.members(["x/real/p.png"], label=1, layout="real_fake")] == [
        "x/p"
    ]
    with pytest.raises(UserError, match="layout 'nope' is unknown; allowed: plain"):
        members.members([], label=0, layout="nope")


def test_group_pattern() -> None:
    found = members.members(
        ["s/cat_1.png", "s/cat_12.png", "odd.png"], label=0, group_pattern=r"^(?P<group>.+)_\d+$"
    )
    assert [m.group for m in found] == ["cat", "cat", None]
    assert found[2].problem is not None
    for pattern, said in (("(", "not a regular expression"), (".*", r"\(\?P<group>")):
        with pytest.raises(UserError, match=said):
            members.members([], label=0, group_pattern=pattern)


def test_metadata(tmp_path: Path) -> None:
    table = tmp_path / "metadata.csv"
    table.write_text("image_path,target,group\na.png,0,g1\nb.png,6,g1\nc.png,0,\ngone.png,0,g2\n")
    metadata = read_metadata(table)
    found = by_path(
        members.members(
            ["a.png", "b.png", "c.png", "extra.png"], label=1, metadata=metadata, real_values=["0"]
        )
    )
    assert found == {
        "a.png": ("g1", None),
        "c.png": ("c", None),
        "gone.png": ("g2", None),
        "extra.png": (None, "not in the metadata table"),
    }
    with pytest.raises(UserError, match=r"a\.png has the class '0'; say which classes are real"):
        members.members(["a.png"], label=1, metadata=metadata)


def test_a_file_without_a_class_is_in_neither_set() -> None:
    metadata = {"a.png": {"target": "0"}, "b.png": {"target": "1"}, "c.png": {"target": ""}}
    for label, own in ((1, "a.png"), (0, "b.png")):
        found = by_path(members.members([], label=label, metadata=metadata, real_values=["0"]))
        assert found == {
            own: (own[0], None),
            "c.png": (None, "no class in the metadata table"),
        }
    for table in (None, {"a.png": {"Target": "0"}}):
        with pytest.raises(UserError, match="no metadata table with a column target or label"):
            members.members(["a.png"], label=1, metadata=table, real_values=["0"])


def test_a_name_that_is_not_utf8_has_a_row_and_a_problem(tmp_path: Path) -> None:
    (tmp_path / "good.png").write_bytes(b"x")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png")).write_bytes(b"x")
    found = by_path(members.read_members(tmp_path, label=0))
    assert found["good.png"] == ("good", None)
    assert found["caf\\udce9.png"] == (None, "name is not UTF-8")


def test_a_folder_that_cannot_be_listed_stops_the_scan(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "part2").mkdir()
    scandir = os.scandir

    def refuse(path):
        if Path(path).name == "part2":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(UserError, match=r"part2: cannot be listed \(Permission denied\)"):
        listing.list_files(tmp_path)
    assert listing.list_files(tmp_path / "none") == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name,group\na,b\n", "one of path"),
        ("path\n../up.png\n", "stay inside"),
        ("path\n/etc/passwd\n", "stay inside"),
        ("path\na.png\n./a.png\n", "twice"),
        ("", "has columns none"),
    ],
)
def test_metadata_that_is_wrong(text: str, said: str, tmp_path: Path) -> None:
    table = tmp_path / "metadata.csv"
    table.write_text(text)
    with pytest.raises(UserError, match=said):
        read_metadata(table)


@pytest.mark.parametrize(
    ("real", "written"),
    [
        ("0", ("0.0", "1.0")),
        ("Real", ("real", "FAKE")),
        ("FALSE", ("0", "1")),
        ("1", ("TRUE", "no")),
    ],
)
def test_classes_are_compared_as_a_person_would(real: str, written: tuple[str, str]) -> None:
    metadata = {f"{k}.png": {"target": written[k % 2]} for k in range(6)}
    for label, own in ((1, [0, 2, 4]), (0, [1, 3, 5])):
        found = members.members([], label=label, metadata=metadata, real_values=[real])
        assert [m.path for m in found] == [f"{k}.png" for k in own]


@settings(max_examples=50, deadline=None)
@given(st.integers(-50, 50), st.sampled_from(["{}", "{}.0", " {} ", "{}.00", "{}e0"]))
def test_one_number_written_in_two_ways_is_one_class(value: int, form: str) -> None:
    assert class_key(form.format(value)) == class_key(str(value))
    assert class_key(str(value)) != class_key(str(value + 1))


def test_a_real_value_that_no_row_has_lists_those_found() -> None:
    metadata = {"a.png": {"label": "nature"}, "b.png": {"label": "ai"}, "c.png": {"label": "ai"}}
    with pytest.raises(UserError, match=r"'real' is the class of no row; .* 'ai' \(2 rows\)"):
        members.members([], label=1, metadata=metadata, real_values=["real"])
    with pytest.raises(UserError, match="'photo' is the class of no row"):
        members.members([], label=1, metadata=metadata, real_values=["nature", "photo"])


@pytest.mark.parametrize("header", ["path,group", "path, group", "Path,GROUP ", "Image-Path;Group"])
def test_headers_are_read_without_case_and_blanks(header: str, tmp_path: Path) -> None:
    mark = ";" if ";" in header else ","
    rows = [header, *(mark.join((f"{k}.png", f" g{k % 3}")) for k in range(6))]
    (tmp_path / "m.csv").write_text("\n".join(rows))
    for k in range(6):
        (tmp_path / f"{k}.png").touch()
    found = members.read_members(tmp_path, label=0, metadata="m.csv")
    assert [m.group for m in found] == ["g0", "g1", "g2"] * 2


def test_columns_that_are_not_used_are_named_and_look_alikes_warned_of(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    (tmp_path / "m.csv").write_text("path,seed,prompt_id,Class\na.png,3,p1,real\n")
    found = members.read_set(tmp_path, label=0, metadata="m.csv")
    assert found.notes == ["metadata: columns used: path; not used: seed, prompt_id, class"]
    assert [line.split("'")[1] for line in found.warnings] == ["prompt_id", "class"]
    # where our own column is there, another with such a name is no cause for a warning
    (tmp_path / "m.csv").write_text("path,group,prompt_id\na.png,g,p1\n")
    assert members.read_set(tmp_path, label=0, metadata="m.csv").warnings == []
    (tmp_path / "m.csv").write_text("path,Group,group\na.png,g,p1\n")
    with pytest.raises(UserError, match="the column 'group' occurs twice"):
        members.read_set(tmp_path, label=0, metadata="m.csv")


def test_both_classes_are_counted(tmp_path: Path) -> None:
    rows = "".join(f"{k}.png,{int(k > 1)}.0\n" for k in range(5))
    (tmp_path / "m.csv").write_text("path,target\n" + rows)
    for label in (0, 1):
        found = members.read_set(tmp_path, label=label, metadata="m.csv", real_values=["1"])
        assert found.notes[0] == "classes: 3 files are real, 2 generated"


def test_only_endings_of_image_formats_are_endings() -> None:
    names = ["render.0001", "render.0002", "cat_cfg7.5", "a.b.PNG", "dog.jpeg"]
    groups = [m.group for m in members.members(names, label=0)]
    assert groups == ["render.0001", "render.0002", "cat_cfg7.5", "a.b", "dog"]
    pattern = r"^(?P<group>.+)$"
    assert [m.group for m in members.members(names, label=0, group_pattern=pattern)] == groups


def test_clusters_are_those_of_a_plain_loop() -> None:
    rng = np.random.default_rng(4)
    base = [int(v) for v in rng.integers(0, 2**63, 6)]
    values = [base[k % 6] ^ (1 << int(rng.integers(64))) for k in range(40)] + [7, 7, 1 << 60]
    array = np.array(values, dtype=np.uint64)
    cluster = list(range(len(values)))
    for i in range(len(values)):
        for j in range(i):
            if (values[i] ^ values[j]).bit_count() <= 3:
                old, new = cluster[i], cluster[j]
                cluster = [new if c == old else c for c in cluster]
    expected = [[i for i, c in enumerate(cluster) if c == name] for name in dict.fromkeys(cluster)]
    found = [part.tolist() for part in hashes.clusters(array, 3)]
    assert found == [part for part in expected if len(part) > 1]
    assert hashes.clusters(np.zeros(0, dtype=np.uint64), 3) == []


def test_thousands_of_equal_hashes_are_one_cluster_at_once() -> None:
    from time import process_time

    array = np.full(100_000, 12345, dtype=np.uint64)
    start = process_time()
    (part,) = hashes.clusters(array, 4)
    assert process_time() - start < 2
    assert len(part) == 100_000


def test_detect_and_the_scan_see_the_same_files_of_a_folder(tmp_path: Path) -> None:
    from clipsieve.detector.pictures import find_images

    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/linked.png").touch()
    for name in ("a.png", ".hidden.png", ".ipynb_checkpoints/a-checkpoint.png", "sub/b.png"):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).touch()
    (tmp_path / "set/link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set/gone.png").symlink_to(tmp_path / "nowhere.png")
    scanned = [member.path for member in members.read_members(tmp_path / "set", label=0)]
    judged = [
        str(path.relative_to(tmp_path / "set"))
        for path in map(Path, find_images([str(tmp_path / "set")]))
    ]
    assert judged == scanned == ["a.png", "gone.png", "link/linked.png", "sub/b.png"]
    assert facts.file_facts(tmp_path / "set/gone.png").problem == "no such file"
