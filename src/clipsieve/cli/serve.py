"""Serve a detector as a local page and JSON interface.

One drops an image on the page and sees score, verdict, explanation and warnings. The interface
beside it takes the bytes of an image file as the body of POST /api/score or /api/explain; its
description (OpenAPI) is at /api/openapi.json. Only this machine is served unless --host says
otherwise. An image is never written to a disk, too large ones are refused, and so are requests that
another site's page sends.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Any

from clipsieve.cli.options import add_encoder_place, count
from clipsieve.errors import UserError

HELP = "serve a detector as a local page and JSON interface"

log = logging.getLogger("clipsieve")

_HERE = ("127.0.0.1", "localhost", "::1")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = (
        "example:\n  clipsieve serve detector\n"
        "  curl --data-binary @photo.jpg http://127.0.0.1:8000/api/score"
    )
    parser.add_argument("detector", type=Path, help="folder of clipsieve export")
    parser.add_argument(
        "--port", type=int, default=8000, help="port (default %(default)s; 0: a free one)"
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on; any but a loopback address lets other machines in, and needs"
        " --allow-host (default %(default)s)",
    )
    parser.add_argument(
        "--allow-host",
        nargs="+",
        default=[],
        metavar="NAME",
        help="further names by which clients call this server (default: those of this machine alone)",
    )
    parser.add_argument(
        "--max-bytes",
        type=count,
        default=16 << 20,
        help="largest image that is accepted, in bytes (default %(default)s)",
    )
    add_encoder_place(parser)
    parser.add_argument(
        "--batch-size", type=count, default=16, help="images per forward pass (default %(default)s)"
    )
    parser.add_argument(
        "--threads", type=count, default=None,
        help="threads that decode, and that compute (default: the cores this process may use)",
    )  # fmt: skip


def run(args: argparse.Namespace) -> None:
    """Load the detector and serve it until stopped."""
    import warnings

    from clipsieve.detector.folder import read_detector
    from clipsieve.detector.judging import Judge, load_same_encoder
    from clipsieve.detector.model import cautions
    from clipsieve.encoders.parallel import set_threads

    if args.host not in _HERE and not args.allow_host:
        raise UserError(
            f"--host {args.host}: lets other machines in; name with --allow-host how they call this one"
        )
    if not 0 <= args.port < 65536:
        raise UserError(f"--port {args.port}: 0 to 65535")
    try:
        import uvicorn

        from clipsieve.detector.serving import LOOPBACK, make_app
    except ImportError as error:
        raise UserError(
            f"{error.name} is not installed; install clipsieve with the extra [serve]"
        ) from None
    warnings.filterwarnings("ignore", module="PIL")
    model = read_detector(args.detector)
    threads = set_threads(args.threads)
    encoder = load_same_encoder(model, str(args.detector), weights=args.weights, device=args.device)
    lines = cautions(model)
    for line in lines:
        log.warning("%s", line)
    app = make_app(
        Judge(model, encoder),
        cautions=lines,
        max_bytes=args.max_bytes,
        batch_size=args.batch_size,
        workers=threads,
        hosts=[*LOOPBACK, *args.allow_host],
    )
    config = uvicorn.Config(
        app,
        host=args.host,
        port=args.port,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=15,
        limit_concurrency=512,
    )

    class Server(uvicorn.Server):
        """Says where it listens, once it does."""

        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            for server in self.servers:
                for socket in server.sockets:
                    host, port = socket.getsockname()[:2]
                    name = f"[{host}]" if ":" in host else host
                    print(f"http://{name}:{port}/", flush=True)

    try:
        Server(config).run()
    except SystemExit as stop:  # uvicorn's way to say that it can't listen
        raise UserError(f"--host {args.host} --port {args.port}: can't listen there") from stop
