"""How folders of images may be laid out: one record for each name that a config may use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

#: Names of class folders that layouts without names of their own know.
_REAL = ("0_real", "real", "reals", "nature")
_GENERATED = ("1_fake", "fake", "fakes", "ai", "generated")


@dataclass(frozen=True)
class Layout:
    """How a folder of images is laid out; `LAYOUTS` has one for each name that a config may use.

    Attributes
    ----------
    title
        In one phrase, for help and docs.
    real, generated
        Names of class folders, in lower case.
    classes_optional
        Whether all files are the set's own where no file stands in a class folder.
    parts
        Names of folders of which each file must stand in one.
    opens
        Endings of containers whose members are the images.
    tables
        Names of metadata tables that are read wherever they lie below the folder; the paths in them
        start from the table's own folder.
    table_needed
        Whether there must be a table.
    real_values
        Class values that mean real, where the config names none.
    companions
        Endings of files that stand beside images and are none.
    only_listed
        Whether files that the table does not name are passed over in silence.
    """

    title: str
    real: tuple[str, ...] = ()
    generated: tuple[str, ...] = ()
    classes_optional: bool = False
    parts: tuple[str, ...] = ()
    opens: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    table_needed: bool = False
    real_values: tuple[str, ...] = ()
    companions: tuple[str, ...] = ()
    only_listed: bool = False


_EITHER: dict[str, Any] = {"real": _REAL, "generated": _GENERATED, "classes_optional": True}

LAYOUTS: dict[str, Layout] = {
    "plain": Layout("every file below the folder"),
    "wang2020": Layout("[class/]0_real and [class/]1_fake", ("0_real",), ("1_fake",)),
    "real_fake": Layout("real and fake", ("real",), ("fake",)),
    "ai_nature": Layout("nature and ai (as GenImage has it)", ("nature",), ("ai",)),
    "ojha": Layout(
        "0_real or 1_fake, or neither where a folder holds one class (Ojha's shared real images)",
        ("0_real",),
        ("1_fake",),
        classes_optional=True,
    ),
    "artifact": Layout(
        "metadata.csv in each folder, target 0 is real (as ArtiFact has it)",
        tables=("metadata.csv",),
        table_needed=True,
        real_values=("0",),
    ),
    "train_val_test": Layout(
        "class folders below train, val and test",
        _REAL,
        _GENERATED,
        parts=("train", "val", "valid", "validation", "test"),
    ),
    "imagefolder": Layout(
        "image folder of the Hugging Face libraries: class folders, or metadata.csv or .jsonl",
        tables=("metadata.csv", "metadata.jsonl"),
        **_EITHER,
    ),
    "parquet": Layout(
        "parquet files of the Hugging Face libraries, read without unpacking",
        opens=(".parquet",),
        **_EITHER,
    ),
    "webdataset": Layout(
        "WebDataset tars, read without unpacking",
        opens=(".tar",),
        companions=(".cls", ".json", ".txt", ".npy", ".index"),
        **_EITHER,
    ),
    "img2dataset": Layout(
        "output of img2dataset, tars or folders",
        opens=(".tar",),
        companions=(".json", ".txt", ".parquet", ".csv", ".tfrecord"),
        **_EITHER,
    ),
    "zip": Layout("zip archives, read without unpacking", opens=(".zip",), **_EITHER),
    "path_table": Layout(
        "the files that the metadata table names, with absolute paths below the folder",
        table_needed=True,
        only_listed=True,
    ),
}
