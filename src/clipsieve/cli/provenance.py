"""Record what a finished run was made from: config, versions, commit, weights, machine and hashes.

Every result file is listed with its sha256; logs, benchmarks and hidden files are not results.
`clipsieve verify` checks a run against the record.
"""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path

from clipsieve.cli.options import add_threads
from clipsieve.errors import UserError

HELP = "record what a run was made from, with the hash of every result file"

_EPILOG = """example:
  clipsieve provenance --run-dir results/demo --config config.resolved.json \\
    --output results/demo/provenance.json --crate results/demo/ro-crate-metadata.json
"""

log = logging.getLogger("clipsieve")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = _EPILOG
    add = parser.add_argument
    add("--run-dir", required=True, type=Path, help="the finished run, as results/demo")
    add(
        "--config",
        required=True,
        metavar="JSON",
        help="the resolved config: JSON text (starts with {), or a YAML or JSON file of it",
    )
    add("--output", required=True, type=Path, metavar="JSON", help="the record")
    add(
        "--crate",
        type=Path,
        metavar="JSON",
        help="the same as RO-Crate metadata, in the run (default: not written)",
    )
    add(
        "--license",
        metavar="TEXT",
        help="licence of the results for the RO-Crate: a URL or a sentence (default: none stated)",
    )
    add(
        "--code-dir",
        type=Path,
        help="folder whose git commit is recorded (default: where clipsieve is installed)",
    )
    add_threads(parser, "files hashed at once")


def run(args: argparse.Namespace) -> None:
    """Hash the run and write the record."""
    from clipsieve.io.files import replacing
    from clipsieve.provenance import record as provenance

    _check_place(args, provenance)
    config = _config(args.config)
    record = provenance.make_record(
        args.run_dir, config, code_dir=args.code_dir, threads=args.threads
    )
    with replacing(args.output) as temporary:
        temporary.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    if args.crate is not None:
        from clipsieve.provenance.crate import make_crate

        options = {} if args.license is None else {"license_text": args.license}
        metadata = make_crate(args.run_dir, record, **options)
        with replacing(args.crate) as temporary:
            temporary.write_text(json.dumps(metadata, indent=1) + "\n", encoding="utf-8")
    size = sum(facts["bytes"] for facts in record["files"].values())
    log.info("%s: %d files, %.1f MB", args.output, len(record["files"]), size / 1e6)
    if record["code"] is None:
        log.info("the code is in no git repository: no commit recorded")
    elif record["code"]["modified"]:
        log.info("the code differs from its commit %s", record["code"]["commit"][:12])


def _check_place(args: argparse.Namespace, provenance: object) -> None:
    wanted = {"--output": (args.output, "RECORD_NAME"), "--crate": (args.crate, "CRATE_NAME")}
    for option, (path, constant) in wanted.items():
        place = args.run_dir / getattr(provenance, constant)
        if path is not None and path.resolve() != place.resolve():
            raise UserError(f"{option} {path}: must be {place}")


def _config(text: str) -> dict[str, object]:
    from clipsieve.cli.options import json_object
    from clipsieve.config import read_yaml

    if text.lstrip().startswith("{"):
        return json_object(text, "--config")
    config = read_yaml(text)
    if not isinstance(config, dict):
        raise UserError("--config: holds no mapping")
    return config
