r"""Cut real photographs into crops of 224 x 224 pixels, saved as PNG, for the demo.

The photographs are colour photographs that Python packages carry: astronaut, chelsea, coffee,
motorcycle (two views of one scene) and rocket of scikit-image, china and flower of scikit-learn,
grace_hopper of matplotlib, read from the installed packages; 19 of the foolbox wheel and the quokka
of the imgaug wheel, each fetched once with its hash pinned and read as data (nothing in a wheel is
run). A wheel that can't be fetched is left out with a warning.

Crops are named SCENE_KK.png; the scene is the group: --group-pattern '^(?P<group>.+)_\d+$'.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from clipsieve.errors import UserError

log = logging.getLogger("clipsieve")

HELP = "cut the demo's real photographs into crops"

_EPILOG = """example:
  clipsieve photographs --output-dir data/demo/photographs --limit 150
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    from clipsieve.demo.photographs import CARRIERS

    parser.epilog = _EPILOG
    add = parser.add_argument
    add("--output-dir", required=True, type=Path, help="folder for the crops; made if missing")
    add(
        "--limit",
        type=int,
        default=0,
        help="crops in all, spread over the photographs (default 0: all, about 150)",
    )
    add(
        "--packages",
        nargs="+",
        choices=tuple(CARRIERS),
        default=list(CARRIERS),
        metavar="PACKAGE",
        help="packages to take photographs from, of %(choices)s (default: all)",
    )
    add(
        "--wheel-cache",
        type=Path,
        default=Path("data/wheels"),
        help="folder for what is read out of wheels (default %(default)s)",
    )


def run(args: argparse.Namespace) -> None:
    """Cut and write the crops; remove crops of an earlier call that are not wanted any more."""
    from clipsieve.demo.photographs import CARRIERS, PHOTOGRAPHS, crops, find_photographs, spread
    from clipsieve.images.decode import decode
    from clipsieve.images.encode import png_bytes
    from clipsieve.io.files import replacing

    scenes: dict[str, list] = {}
    for package in args.packages:
        try:
            found = find_photographs(package, args.wheel_cache)
        except UserError as error:
            if CARRIERS[package].requirement is None:
                raise
            log.warning("going on without the photographs of %s: %s", package, error)
            continue
        for photo, file in found:
            scenes.setdefault(photo.scene, []).extend(crops(decode(file)))
    if not scenes:
        raise UserError(f"photographs: none of {', '.join(args.packages)} could be fetched")
    takes = spread([len(cut) for cut in scenes.values()], args.limit)
    wanted = {
        f"{scene}_{k:02d}.png": cut[k]
        for (scene, cut), take in zip(scenes.items(), takes, strict=True)
        for k in range(take)
    }
    known = {photo.scene for photo in PHOTOGRAPHS}
    args.output_dir.mkdir(parents=True, exist_ok=True)
    for path in args.output_dir.glob("*_??.png"):
        # Only crops of known scenes: whatever else the folder holds is not ours to remove.
        if path.name not in wanted and path.name.rsplit("_", 1)[0] in known:
            path.unlink()
    for name, crop in wanted.items():
        data = png_bytes(crop)
        path = args.output_dir / name
        if not path.exists() or path.read_bytes() != data:
            with replacing(path) as temporary:
                temporary.write_bytes(data)
    log.info("%d crops of %d scenes in %s", len(wanted), len(scenes), args.output_dir)
