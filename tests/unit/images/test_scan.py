"""The image table and the verbs `manifest` and `split`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from clipsieve.cli import main
from clipsieve.images import scan as manifest
from clipsieve.images.facts import FileFacts
from clipsieve.images.members import Member


def write_images(folder: Path, names: list[str], seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((40, 30)).save(path, "PNG")


def scan(root: Path, folder: str, label: int, *more: str, image_set: str = "demo") -> int:
    generator = ["--generator", image_set, "--family", "gan"] if label == 0 else []
    return main(
        [
            "scan",
            "--image-set",
            image_set,
            "--folder",
            str(root / folder),
            "--data-root",
            str(root),
            "--label",
            str(label),
            "--source",
            "photos",
            "--output",
            str(root / f"{image_set}.parquet"),
            *generator,
            *list(more),
        ]
    )


def test_every_file_has_a_row(tmp_path: Path) -> None:
    good = ["b_1.png", "b.2_2.PNG", "sub/c_3.WebP"]
    write_images(tmp_path / "set", good)
    (tmp_path / "set/broken_1.png").write_bytes((tmp_path / "set/b_1.png").read_bytes()[:200])
    (tmp_path / "set/readme.txt").write_text("no picture")
    (tmp_path / "set/empty_1.jpg").touch()
    assert (
        scan(tmp_path, "set", 0, "--group-pattern", r"^(?P<group>.+)_\d+$", "--threads", "2") == 0
    )
    table = pd.read_parquet(tmp_path / "demo.parquet")
    assert list(table.columns) == list(manifest.COLUMNS)
    assert len(table) == 6
    assert list(table["path"]) == sorted(table["path"])
    usable = manifest.usable(table)
    assert sorted(usable["path"]) == sorted(f"set/{name}" for name in good)
    assert set(usable["image_id"]) == {f"demo/{name}" for name in good}
    assert list(usable.sort_values("path")["group"]) == ["b.2", "b", "c"]
    assert (table["label"] == 0).all()
    assert (table["generator"] == "demo").all()
    for row in usable.itertuples():
        assert Path(tmp_path / row.path).stat().st_size == row.bytes
        assert (row.width, row.height, row.format, row.mode) == (40, 30, "PNG", "RGB")


def test_real_images_have_no_generator(tmp_path: Path) -> None:
    write_images(tmp_path / "p", ["0_real/a.png", "1_fake/b.png"])
    assert scan(tmp_path, "p", 1, "--layout", "wang2020", image_set="photos") == 0
    table = pd.read_parquet(tmp_path / "photos.parquet")
    assert list(table["image_id"]) == ["photos/0_real/a.png"]
    assert table["generator"].isna().all()
    assert table["family"].isna().all()


@pytest.mark.parametrize(
    ("label", "make", "said"),
    [
        (1, None, "does not exist"),
        (1, [], "no real images in"),
        (1, ["bad.png"], "none of its 1 files can be used"),
    ],
)
def test_sets_that_cannot_be_used(
    label: int,
    make: list[str] | None,
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if make is not None:
        (tmp_path / "set").mkdir()
        for name in make:
            (tmp_path / "set" / name).write_text("x")
    assert scan(tmp_path, "set", label) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert said in error
    assert "demo" in error
    assert not (tmp_path / "demo.parquet").exists()


def test_a_folder_outside_the_data_root_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(tmp_path / "elsewhere", ["a.png"])
    (tmp_path / "root").mkdir()
    assert scan(tmp_path / "root", "../elsewhere", 1) == 2
    assert "not inside the data root" in capsys.readouterr().err


def test_label_and_generator_must_agree(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_images(tmp_path / "set", ["a.png"])
    assert scan(tmp_path, "set", 1, "--generator", "progan") == 2
    assert "label 1 with generator 'progan'" in capsys.readouterr().err


def test_a_member_s_problem_comes_before_the_file_s() -> None:
    members = [Member("a.png", None, "not in the metadata table"), Member("b.png", "b")]
    table = manifest.image_table(
        members,
        [FileFacts(problem="empty file"), FileFacts()],
        image_set="s",
        source="p",
        label=1,
        prefix=".",
    )
    assert table["problem"].iloc[0] == "not in the metadata table"
    assert list(table["path"]) == ["a.png", "b.png"]


def test_split_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"g{i}_{k}.png" for i in range(10) for k in range(2)]
    pattern = ("--group-pattern", r"^(?P<group>.+)_\d+$")
    write_images(tmp_path / "real", names)
    write_images(tmp_path / "fake", names[4:], seed=1)
    (tmp_path / "fake/g0_0.png").write_text("broken")
    assert scan(tmp_path, "real", 1, *pattern, image_set="photos") == 0
    assert scan(tmp_path, "fake", 0, *pattern, image_set="gen") == 0

    def split(images: str) -> pd.DataFrame:
        output = tmp_path / "splits" / f"{images}.parquet"
        command = ["split", "--images", str(tmp_path / f"{images}.parquet"), "--seed", "3"]
        command += ["--source-images", str(tmp_path / "photos.parquet"), "--output", str(output)]
        assert main(command) == 0
        return pd.read_parquet(output)

    real, fake = split("photos"), split("gen")
    assert list(real.columns) == ["image_id", "group", "label", "generator", "split"]
    assert len(real) == 20
    assert (real["split"] == "test").sum() == 6
    assert len(fake) == 16  # the broken one has no split
    of_real = real.groupby("group")["split"].first()
    assert (fake["split"] == fake["group"].map(of_real)).all()

    table = tmp_path / "nothing.parquet"
    table.write_text("x")
    capsys.readouterr()
    assert (
        main(
            [
                "split",
                "--images",
                str(table),
                "--source-images",
                str(table),
                "--seed",
                "1",
                "--output",
                str(tmp_path / "o.parquet"),
            ]
        )
        == 2
    )
    assert "not a readable parquet table" in capsys.readouterr().err
