"""Every layout with its awkward names, and images read in their archives by every stage."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from clipsieve.cli import main
from clipsieve.detector.pictures import find_images
from clipsieve.errors import UserError
from clipsieve.images import containers
from clipsieve.images.decode import ImageProblem, decode, read_image_bytes
from clipsieve.images.layouts import LAYOUTS
from clipsieve.images.listing import list_files
from clipsieve.images.members import read_set


def picture(i: int, kind: str = "PNG", size: int = 40) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(i).integers(0, 255, (size, size, 3), np.uint8)
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


NAMES = ("a.b.c.PNG", "sub/deep/ü.JpEg", "hey!.png", "x y.webp", "cat_cfg7.5")
FILES = {name: picture(i) for i, name in enumerate(NAMES)}


def write(folder: Path, files=FILES) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def as_zip(path: Path, files=FILES) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("empty")
        for name, data in files.items():
            archive.writestr(name, data)
        archive.writestr("__MACOSX/._a", b"x")
        archive.writestr(".hidden", b"x")
    return path


def as_tar(path: Path, files=FILES, mode: str = "w", prefix: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(prefix + name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def as_parquet(path: Path, files=FILES, *, classes=None, nested: bool = True) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())]) if nested else pa.binary()
    rows = [{"bytes": d, "path": n} if nested else d for n, d in files.items()]
    columns = {"image": pa.array(rows, kind)}
    if classes:
        columns["label"] = pa.array(classes, pa.int64())
    table = pa.table(columns)
    if classes:
        features = {"label": {"names": ["fake", "real"], "_type": "ClassLabel"}}
        note = json.dumps({"info": {"features": features}})
        table = table.replace_schema_metadata({"huggingface": note})
    pq.write_table(table, path, row_group_size=2)
    return path


def chosen(folder: Path, label: int = 0, layout: str = "plain", **options):
    return {
        m.path: (m.group, m.problem)
        for m in read_set(folder, label=label, layout=layout, **options).members
    }


@pytest.mark.parametrize("make", [as_zip, as_tar, lambda p: as_tar(p, prefix="./")])
def test_members_have_the_bytes_of_the_files(tmp_path, make):
    path = make(tmp_path / ("x.zip" if make is as_zip else "X.TAR"))
    assert containers.list_members(path) == sorted(FILES)
    for name, data in FILES.items():
        assert read_image_bytes(f"{path}!{name}") == data
        assert decode(Path(f"{path}!{name}")).size == (40, 40)
    assert list_files(path) == sorted(FILES)
    assert list_files(Path(f"{path}!sub")) == ["deep/ü.JpEg"]
    for wrong in ("no.png", "../a.png"):
        with pytest.raises(ImageProblem, match="no such file"):
            read_image_bytes(f"{path}!{wrong}")
    with pytest.raises(ImageProblem, match="more than 5"):
        read_image_bytes(f"{path}!hey!.png", max_bytes=5)


@pytest.mark.parametrize("nested", [True, False])
def test_rows_of_a_parquet_file(tmp_path, nested):
    path = as_parquet(tmp_path / "a-00000-of-00001.parquet", nested=nested)
    members = containers.list_members(path)
    assert len(members) == len(FILES)
    for member, (name, data) in zip(members, FILES.items(), strict=True):
        assert member.endswith(Path(name).name if nested else "/image")
        assert read_image_bytes(f"{path}!{member}") == data
    with pytest.raises(ImageProblem, match="more than 5"):
        read_image_bytes(f"{path}!{members[0]}", max_bytes=5)
    empty = pa.table({"text": ["a"]})
    pq.write_table(empty, tmp_path / "b.parquet")
    with pytest.raises(UserError, match="no column of images"):
        list_files(tmp_path / "b.parquet")


def test_a_file_that_is_there_comes_before_a_member(tmp_path):
    as_zip(tmp_path / "x.zip")
    write(tmp_path, {"x.zip!hey!.png": picture(77), "a!b.png": picture(78)})
    assert read_image_bytes(tmp_path / "x.zip!hey!.png") == picture(77)
    assert read_image_bytes(tmp_path / "a!b.png") == picture(78)


def test_a_changed_archive_is_read_anew(tmp_path):
    path = as_zip(tmp_path / "x.zip", {"a.png": picture(1)})
    assert read_image_bytes(f"{path}!a.png") == picture(1)
    as_zip(path, {"a.png": picture(2), "b.png": picture(3)})
    assert read_image_bytes(f"{path}!a.png") == picture(2)


def test_damaged_and_compressed_archives_are_one_line(tmp_path):
    as_tar(tmp_path / "gz.tar", mode="w:gz")
    (tmp_path / "no.zip").write_bytes(b"nothing")
    (tmp_path / "no.parquet").write_bytes(b"PAR1nothingPAR1")
    for name in ("gz.tar", "no.zip", "no.parquet"):
        with pytest.raises(UserError) as error:
            list_files(tmp_path / name)
        assert "\n" not in str(error.value)
        assert name in str(error.value)
    whole = as_zip(tmp_path / "x.zip", {"a.png": picture(1)}).read_bytes()
    (tmp_path / "x.zip").write_bytes(whole[:60] + bytes(40) + whole[100:])
    with pytest.raises(ImageProblem, match="damaged in its archive"):
        read_image_bytes(tmp_path / "x.zip!a.png")


@pytest.mark.parametrize("name", ["../../out.png", "/etc/out.png", "a\\..\\b.png"])
def test_a_member_that_leads_out_is_a_problem_and_never_written(tmp_path, name):
    as_tar(tmp_path / "s/x.tar", {name: picture(1), "ok.png": picture(2)})
    found = chosen(tmp_path / "s", layout="webdataset")
    bad = {path: problem for path, (_, problem) in found.items() if problem}
    assert len(found) == 2
    assert list(bad.values()) == ["its name leads out of its archive"]


def test_ojha_with_and_without_class_folders(tmp_path):
    write(tmp_path / "laion", {"1.PNG": b"", "2.b.png": b""})
    write(tmp_path / "ldm_200/1_fake", {"1.PNG": b""})
    write(tmp_path / "ldm_200/0_real", {"9.png": b""})
    assert chosen(tmp_path / "laion", 1, "ojha") == {"1.PNG": ("1", None), "2.b.png": ("2.b", None)}
    assert chosen(tmp_path / "ldm_200", 0, "ojha") == {"1_fake/1.PNG": ("1", None)}
    assert list(chosen(tmp_path / "ldm_200", 1, "ojha")) == ["0_real/9.png"]


def test_artifact(tmp_path):
    write(tmp_path / "gan", {"img/a b.JPG": b"", "img/c.jpg": b"", "img/d.jpg": b""})
    table = (
        "filename,image_path,target,category\na b.JPG,img/a b.JPG,0,cat\nc.jpg,img/c.jpg,6,cat\n"
    )
    (tmp_path / "gan/metadata.csv").write_text(table)
    write(tmp_path / "coco/x", {"metadata.csv": b"filename,image_path,target\ne.jpg,e.jpg,0\n"})
    assert list(chosen(tmp_path / "gan", 1, "artifact")) == ["img/a b.JPG", "img/d.jpg"]
    assert chosen(tmp_path / "gan", 0, "artifact")["img/c.jpg"] == ("img/c", None)
    whole = chosen(tmp_path, 1, "artifact")
    assert {p for p, (_, problem) in whole.items() if problem is None} == {
        "gan/img/a b.JPG",
        "coco/x/e.jpg",  # its scan says that there is no such file
    }
    assert whole["gan/img/d.jpg"][1] == "not in the metadata table"
    with pytest.raises(UserError, match=r"layout artifact needs metadata\.csv"):
        chosen(tmp_path / "gan/img", 1, "artifact")


def test_train_val_test(tmp_path):
    files = ["train/real/1.png", "Val/dog/1_fake/2.PNG", "test/ai/3.png", "other/real/4.png"]
    write(tmp_path, dict.fromkeys([*files, "train/5.png"], b""))
    assert chosen(tmp_path, 1, "train_val_test") == {
        "train/real/1.png": ("train/1", None),
        "other/real/4.png": (
            None,
            "in no folder named train or val or valid or validation or test",
        ),
        "train/5.png": (
            None,
            "in no folder named 0_real or real or reals or nature or 1_fake or fake or fakes or ai or"
            " generated",
        ),
    }
    assert set(chosen(tmp_path, 0, "train_val_test")) == {*files[1:], "train/5.png"}


def test_image_folders_with_tables_of_either_kind(tmp_path):
    write(tmp_path / "train", {"ü.png": b"", "b.png": b"", "c.PNG": b""})
    lines = [
        {"file_name": "ü.png", "label": "real", "group": "p1"},
        {"file_name": "b.png", "label": "fake", "group": "p1"},
        {"file_name": "c.PNG", "label": "fake", "group": None},
    ]
    (tmp_path / "train/metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    found = chosen(tmp_path, 0, "imagefolder", real_values=["real"])
    assert found == {"train/b.png": ("p1", None), "train/c.PNG": ("train/c", None)}
    (tmp_path / "train/metadata.jsonl").unlink()
    write(tmp_path, {"val/real/1.png": b"", "val/fake/2.png": b""})
    for name in ("ü.png", "b.png", "c.PNG"):
        (tmp_path / "train" / name).unlink()
    assert list(chosen(tmp_path, 1, "imagefolder")) == ["val/real/1.png"]
    (tmp_path / "metadata.jsonl").write_text("[1]\n")
    with pytest.raises(UserError, match="no JSON object"):
        chosen(tmp_path, 1, "imagefolder")


def test_webdataset_tars_with_classes_and_companions(tmp_path):
    files = {
        "000.jpg": picture(0, "JPEG"), "000.cls": b"1", "000.txt": b"text",
        "d/001.v2.JPG": picture(1, "JPEG"), "d/001.cls": b"0", "d/001.json": b'{"group": "p7"}',
        "002.png": picture(2), "002.json": b"no json",
    }  # fmt: skip
    as_tar(tmp_path / "s-000000.tar", files)
    as_tar(tmp_path / "s-000001.TAR", {"000.png": picture(9), "000.cls": b"1"})
    write(tmp_path, {"list.json": b"{}"})
    every = chosen(tmp_path, 0, "webdataset")
    assert set(every) == {
        "s-000000.tar!000.jpg", "s-000000.tar!d/001.v2.JPG", "s-000000.tar!002.png",
        "s-000001.TAR!000.png",
    }  # fmt: skip
    assert every["s-000000.tar!000.jpg"] == ("s-000000.tar/000", None)
    real = chosen(tmp_path, 1, "webdataset", real_values=["0"])
    assert real["s-000000.tar!d/001.v2.JPG"] == ("p7", None)
    assert real["s-000000.tar!002.png"] == (None, "no class in the metadata table")
    grouped = chosen(tmp_path, 0, "webdataset", group_pattern=r"^(?P<group>\d+)")
    assert grouped["s-000001.TAR!000.png"] == ("000", None)


def test_img2dataset_as_tars_and_as_files(tmp_path):
    meta = {"00000.parquet": b"x", "00000_stats.json": b"{}"}
    one = {"000000000.jpg": picture(0), "000000000.json": b'{"sha256": "x"}', "000000000.txt": b"t"}
    as_tar(tmp_path / "tars/00000.tar", one)
    write(tmp_path / "tars", meta)
    write(tmp_path / "files", {**meta, **{f"00000/{name}": data for name, data in one.items()}})
    assert list(chosen(tmp_path / "tars", 1, "img2dataset")) == ["00000.tar!000000000.jpg"]
    assert list(chosen(tmp_path / "files", 1, "img2dataset")) == ["00000/000000000.jpg"]


def test_zip_archives_with_class_folders(tmp_path):
    files = {"gan/0_real/1.png": b"r", "gan/1_fake/1.png": b"f"}
    as_zip(tmp_path / "x.zip", files)
    assert chosen(tmp_path, 1, "zip") == {"x.zip!gan/0_real/1.png": ("x.zip/gan/1", None)}
    # the folder may be the archive, or a folder in it, with any layout
    assert chosen(tmp_path / "x.zip", 0, "wang2020") == {"gan/1_fake/1.png": ("gan/1", None)}
    assert list(chosen(Path(f"{tmp_path}/x.zip!gan"), 0, "wang2020")) == ["1_fake/1.png"]


def test_parquet_with_names_of_classes(tmp_path):
    as_parquet(tmp_path / "data/t.parquet", classes=[0, 1, 1, 0, 1])
    real = chosen(tmp_path, 1, "parquet", real_values=["real"])
    assert [path.rpartition("/")[2] for path in real] == ["ü.JpEg", "hey!.png", "cat_cfg7.5"]
    listing = read_set(tmp_path, label=1, layout="parquet")
    assert len(listing.members) == 5
    assert listing.notes == [
        "classes beside the images are not used; real_values would say which are real"
    ]


def test_a_table_of_absolute_paths(tmp_path):
    root = write(tmp_path / "root", {"a/1.png": b"", "b/2.PNG": b"", "c/3.png": b""})
    table = f"path,target,group\n{root}/a/1.png,0,p\n{root}/./b/2.PNG,1,p\n"
    (tmp_path / "t.csv").write_text(table)
    options = {"metadata": str(tmp_path / "t.csv"), "real_values": ["1"]}
    assert chosen(root, 0, "path_table", **options) == {"a/1.png": ("p", None)}
    assert chosen(root, 1, "path_table", **options) == {"b/2.PNG": ("p", None)}
    (tmp_path / "t.csv").write_text(f"path,target\n{tmp_path}/else/1.png,0\n")
    with pytest.raises(UserError, match="is not below"):
        chosen(root, 0, "path_table", **options)
    with pytest.raises(UserError, match="layout path_table needs a table"):
        chosen(root, 0, "path_table")


def test_every_layout_says_what_it_is():
    assert all(layout.title for layout in LAYOUTS.values())


@pytest.mark.parametrize("kind", ["zip", "tar", "parquet", "folder"])
def test_scan_and_align_read_members_as_files(tmp_path, kind):
    files = {f"0_real/{i}.png": picture(i, size=64) for i in range(4)}
    write(tmp_path / "plain", files)
    folder, layout = tmp_path / f"x.{kind}", "wang2020"
    if kind == "folder":
        as_tar(folder / "s.tar", files)
        layout = "webdataset"
    elif kind == "parquet":
        as_parquet(folder, files)
        layout = "plain"
    else:
        (as_zip if kind == "zip" else as_tar)(folder, files)

    def scanned(folder: Path, layout: str, out: str) -> pd.DataFrame:
        command = [
            "scan",
            "--image-set",
            "s",
            "--folder",
            str(folder),
            "--data-root",
            str(tmp_path),
        ]
        command += ["--label", "1", "--source", "s", "--layout", layout]
        assert main([*command, "--output", str(tmp_path / out)]) == 0
        return pd.read_parquet(tmp_path / out)

    ours, theirs = (
        scanned(folder, layout, "a.parq"),
        scanned(tmp_path / "plain", "wang2020", "b.parq"),
    )
    same = [c for c in ours if c not in ("image_id", "path", "group")]
    pd.testing.assert_frame_equal(ours[same], theirs[same])
    assert all(read_image_bytes(tmp_path / p) in files.values() for p in ours["path"])
    command = ["align", "--images", str(tmp_path / "a.parq"), "--data-root", str(tmp_path)]
    command += ["--size", "32", "--method", "crop", "--format", "png", "--quality", "95"]
    command += ["--output-dir", str(tmp_path / "out"), "--output", str(tmp_path / "c.parq")]
    assert main(command) == 0
    made = pd.read_parquet(tmp_path / "c.parq")
    assert made["problem"].isna().all()
    assert all("!" not in p and (tmp_path / "out" / p).is_file() for p in made["path"])


def test_detect_takes_archives_and_members(tmp_path):
    path = as_zip(tmp_path / "x.zip", {"a.png": picture(0), "b/c.png": picture(1)})
    assert [p.as_posix() for p in map(Path, find_images([str(path), f"{path}!a.png"]))] == [
        f"{path}!a.png",
        f"{path}!b/c.png",
        f"{path}!a.png",
    ]
