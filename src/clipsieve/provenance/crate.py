"""The record of a run as RO-Crate metadata, so that other tools can read what made the files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clipsieve.provenance.record import RECORD_NAME

#: The profile of RO-Crate for "these files come from this run of this program".
PROCESS_PROFILE = "https://w3id.org/ro/wfrun/process/0.5"


def make_crate(
    run_dir: str | os.PathLike[str],
    record: Mapping[str, Any],
    *,
    license_text: str = "The maker of this run states no licence for its results.",
) -> dict[str, Any]:
    """Return the record as RO-Crate metadata (JSON-LD), profile Process Run Crate.

    Parameters
    ----------
    run_dir
        The run; the metadata file belongs there under `CRATE_NAME`.
    record
        What `make_record` gave; its JSON must lie in the run under `RECORD_NAME`.
    license_text
        Licence of the results: its URL, or a sentence.
    """
    from rocrate.model import ContextEntity, SoftwareApplication
    from rocrate.rocrate import ROCrate

    # the version that the profile is written for
    crate = ROCrate(version="1.1")
    crate.name = f"clipsieve run {record['run']}"
    crate.description = (
        "Transfer of detectors of generated images between generators: embeddings, selected "
        "features, probes, scores, statistics, tables and figures of one run."
    )
    is_link = license_text.startswith(("http://", "https://"))
    crate.license = crate.add(
        ContextEntity(
            crate,
            license_text if is_link else "#license",
            properties={"@type": "CreativeWork", "name": license_text},
        )
    )
    crate.datePublished = record["times"]["recorded"]
    profile = ContextEntity(
        crate,
        PROCESS_PROFILE,
        properties={"@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"},
    )
    crate.add(profile)
    crate.root_dataset["conformsTo"] = profile
    program = crate.add(
        SoftwareApplication(
            crate,
            "#clipsieve",
            properties={
                "name": "clipsieve",
                "softwareVersion": record["versions"]["clipsieve"],
                "identifier": (record["code"] or {}).get("commit") or "unknown commit",
            },
        )
    )
    crate.add_file(
        Path(run_dir) / RECORD_NAME,
        RECORD_NAME,
        properties={
            "name": "Record of the run",
            "description": "Config, versions, commit, weights, host, times, hash of each file",
            "encodingFormat": "application/json",
        },
    )
    parts = [
        crate.add_file(
            Path(run_dir) / name,
            name,
            properties={
                "name": name,
                "sha256": facts["sha256"],
                "contentSize": str(facts["bytes"]),
                "encodingFormat": _media_type(name),
            },
        )
        for name, facts in record["files"].items()
    ]
    action = crate.add_action(
        program,
        "#run",
        result=parts,
        properties={
            "name": f"Run {record['run']} of clipsieve",
            "description": "One run of the workflow, from images to tables and figures",
            "startTime": record["times"]["first_result"],
            "endTime": record["times"]["last_result"],
            "actionStatus": "http://schema.org/CompletedActionStatus",
        },
    )
    crate.root_dataset["mentions"] = action
    document: dict[str, Any] = crate.metadata.generate()
    return document


def _media_type(name: str) -> str:
    known = {
        ".csv": "text/csv",
        ".h5": "application/x-hdf5",
        ".html": "text/html",
        ".jpg": "image/jpeg",
        ".json": "application/json",
        ".npz": "application/zip",
        ".parquet": "application/vnd.apache.parquet",
        ".png": "image/png",
        ".svg": "image/svg+xml",
        ".yaml": "application/yaml",
    }
    return known.get(Path(name).suffix.lower(), "application/octet-stream")
