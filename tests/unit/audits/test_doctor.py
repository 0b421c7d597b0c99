"""What the doctor says of image sets and encoders before a run."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest
from PIL import Image

from clipsieve import config
from clipsieve.audits.doctor import check_run
from tests.helpers.icc import P3, profile


def findings(
    root: Path, generator: dict | None = None, encoder: dict | None = None, **sections: dict
) -> list[str]:
    """Lines of the doctor on two photographs and two generators, of each two images."""
    for folder in ("photos", "gan"):
        (root / "data" / folder).mkdir(parents=True, exist_ok=True)
        for i in range(2):
            colour = (90 * i, 9, 9 if folder == "gan" else 200)
            Image.new("RGB", (64, 64), colour).save(root / f"data/{folder}/p{i}_0.png")
    raw = {
        "run": "r",
        "data_root": str(root / "data"),
        "sources": {"photos": {"folder": "photos"}},
        "generators": {
            "gan": {"family": "gan", "source": "photos", "folder": "gan", **(generator or {})},
            "other": {"family": "gan", "source": "photos", "folder": "gan"},
        },
        "encoders": {"e": {"model": "tiny", "weights": None, **(encoder or {})}},
        "use": {
            "generators": ["gan", "other"],
            "encoders": ["e"],
            "texts": [],
            "feature_sets": ["all"],
        },
        "pairs": [],
        **sections,
    }
    run = config.Run.of(config.resolve(raw))
    return [f"{f.verdict} {f.text}" for f in check_run(run, root / "results")]


def test_a_good_run_has_nothing_wrong(tmp_path):
    found = findings(tmp_path, {"group_pattern": r"^(?P<group>p)\d"})
    assert not [line for line in found if line.startswith("WRONG")]
    assert any(line.startswith("ok images gan: 2 files in 1 groups") for line in found)
    assert any(line.startswith("ok images photos: 2 files in 2 groups") for line in found)


@pytest.mark.parametrize(
    ("generator", "said"),
    [
        ({"folder": "gone"}, "WRONG images gan: no folder"),
        ({"group_pattern": "^x(?P<group>.+)"}, "name gives no group by the group pattern"),
        ({"group_pattern": "(?P<group>"}, "is not a regular expression"),
        ({"layout": "wang2020"}, "in no folder named 0_real or 1_fake"),
        ({"metadata": "m.csv"}, "metadata"),
        ({"real_values": ["0"]}, "no metadata table with a column target or label"),
    ],
)
def test_images_that_a_scan_would_refuse_are_wrong_now(tmp_path, generator, said):
    (wrong,) = [line for line in findings(tmp_path, generator) if line.startswith("WRONG")]
    assert wrong.startswith("WRONG images gan: ")
    assert said in wrong


def test_a_file_that_does_not_decode_is_a_note(tmp_path):
    findings(tmp_path)
    (tmp_path / "data/gan/p9_0.png").write_bytes(b"no picture")
    (note,) = [line for line in findings(tmp_path) if line.startswith("note images gan:")]
    assert "1 with a problem, first p9_0.png" in note


def test_colour_profiles_are_said_unless_they_are_used(tmp_path):
    findings(tmp_path)
    picture = Image.new("RGB", (64, 64), (200, 9, 9))
    picture.save(tmp_path / "data/gan/p7_0.png", icc_profile=profile("Display P3", P3, 1.8))
    said = "of the first 3, 1 images have a colour profile other than sRGB: 1 Display P3"
    assert any(f"note images gan: {said}" in line for line in findings(tmp_path))
    used = findings(tmp_path, embed={"colour_profiles": "srgb"})
    assert not any("colour profile" in line for line in used)


def test_files_in_both_classes_are_wrong_and_named(tmp_path):
    findings(tmp_path)
    data = (tmp_path / "data/photos/p1_0.png").read_bytes()
    (tmp_path / "data/gan/copy.png").write_bytes(data)
    # of the same size, and equal at its begin and end
    other = bytearray(data)
    other[len(data) // 3] ^= 1
    (tmp_path / "data/gan/near.png").write_bytes(other)
    (wrong,) = [line for line in findings(tmp_path) if line.startswith("WRONG images: ")]
    assert "images: 2 files are in both classes" in wrong  # two generators share the folder
    assert "photos/p1_0.png (real)" in wrong
    assert "gan/copy.png (generated)" in wrong
    assert "audit.on_leak: warn" in wrong


def test_a_set_of_unreadable_files_alone_is_wrong(tmp_path):
    (tmp_path / "data/odd").mkdir(parents=True)
    (tmp_path / "data/odd/a.png").write_bytes(b"no picture")
    found = findings(tmp_path, {"folder": "odd"})
    assert any(line.startswith("WRONG images gan: 1 files") for line in found)


def test_classes_and_columns_of_a_table_are_said(tmp_path):
    findings(tmp_path)
    (tmp_path / "data/gan/m.csv").write_text("path,target,seed\np0_0.png,0.0,1\np1_0.png,1.0,2\n")
    found = findings(tmp_path, {"metadata": "m.csv", "real_values": ["0"]})
    (line,) = [line for line in found if "images gan: 1 files" in line]
    assert "classes: 1 files are real, 1 generated" in line
    assert "not used: seed" in line
    found = findings(tmp_path, {"metadata": "m.csv", "real_values": ["real"]})
    assert any("WRONG images gan: " in line and "is the class of no row" in line for line in found)


def test_the_lock_that_is_used_is_tried_where_it_is_used(tmp_path, monkeypatch):
    (tmp_path / "results/r").mkdir(parents=True)
    (line,) = [line for line in findings(tmp_path) if " locks: " in line]
    assert line.startswith(f"ok locks: flock works in {tmp_path / 'results/r'}")
    refused = []

    def refuse(handle: int, operation: int) -> None:
        refused.append(os.readlink(f"/proc/self/fd/{handle}"))
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    (line,) = [line for line in findings(tmp_path) if " locks: " in line]
    assert line.startswith("note locks: the file system of")
    assert "has no flock" in line
    assert all(path.startswith(f"{tmp_path}/results/r/") for path in refused)

    def break_down(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(fcntl, "flock", break_down)
    (line,) = [line for line in findings(tmp_path) if " locks: " in line]
    assert line.startswith(f"WRONG locks: {tmp_path}/results/r: embed and search cannot lock")
    assert not list((tmp_path / "results/r").iterdir())


@pytest.mark.parametrize(
    ("encoder", "said"),
    [
        ({"model": "ViT-L-14", "weights": "openai"}, "use ViT-L-14-quickgelu"),
        ({"model": "ViT-L-14", "weights": "opena"}, "no tag of ViT-L-14"),
        ({"weights": "none/x.safetensors"}, "no such file"),
    ],
)
def test_weights_that_embed_would_refuse_are_wrong_now(tmp_path, encoder, said):
    pytest.importorskip("open_clip")
    (wrong,) = [line for line in findings(tmp_path, encoder=encoder) if line.startswith("WRONG")]
    assert wrong.startswith("WRONG encoder e: ")
    assert said in wrong


def test_embeddings_of_the_users_must_lie_where_the_config_says(tmp_path):
    arrays = tmp_path / "arrays"
    arrays.mkdir()
    entry = {"model": None, "embeddings": str(arrays), "has_heads": False}
    wrong = [line for line in findings(tmp_path, encoder=entry) if line.startswith("WRONG")]
    assert len(wrong) == 3
    assert "no file of the image set 'photos'" in wrong[0]
    for name in ("photos", "gan", "other"):
        (arrays / f"{name}.npz").write_bytes(b"")
    found = findings(tmp_path, encoder=entry)
    assert "ok encoder e: embeddings of your own for 3 image sets" in found
    assert not [line for line in found if line.startswith("WRONG")]


def test_the_licence_of_weights_is_shown(tmp_path):
    pytest.importorskip("open_clip")
    timm = {"model": "timm/vit_base_patch16_dinov3", "weights": "lvd1689m"}
    found = findings(tmp_path, encoder=timm)
    assert "ok encoder e: licence of the weights: not said (encoders.e.licence)" in found
    assert any("weights lvd1689m are fetched from a model hub" in line for line in found)
    found = findings(tmp_path, encoder=timm | {"licence": "DINOv3 License"})
    assert "ok encoder e: licence of the weights: DINOv3 License" in found
    assert not any("licence of" in line for line in findings(tmp_path))


def test_the_room_of_layers_is_said_where_they_are_cached(tmp_path):
    said = [
        line for line in findings(tmp_path, encoder={"has_layers": True}) if "layers of" in line
    ]
    # six images of 36,864 to 98,304 bytes are 0.0 GB; the sentence must count them as such
    assert len(said) == 1
    assert said[0].startswith("note disk: layers of e take 0.0 GB (12 blocks of width 768")
    assert not [line for line in findings(tmp_path) if "layers of" in line]


@pytest.mark.parametrize(
    ("dtype", "room"), [("float32", ("36.9", "98.3")), ("float16", ("18.4", "49.2"))]
)
def test_the_room_of_layers_follows_their_number_and_type(tmp_path, dtype, room):
    from clipsieve.audits import doctor

    run = config.Run.of(
        config.resolve(
            {
                "run": "r",
                "sources": {"photos": {"folder": "photos"}},
                "generators": {
                    g: {"family": "gan", "source": "photos", "folder": g} for g in ("a", "b")
                },
                "encoders": {"e": {"model": "tiny", "has_layers": True}},
                "use": {"generators": ["a", "b"], "encoders": ["e"], "texts": []},
                "embed": {"heads_dtype": dtype},
            }
        )
    )
    lines = [f.text for f in doctor._cost(run, {"photos": 1_000_000}, tmp_path)]
    said = next(line for line in lines if "layers of" in line)
    assert f"{room[0]} GB (12 blocks" in said
    assert f"to {room[1]} GB (24 of" in said
