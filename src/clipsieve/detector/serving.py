"""A local page and JSON interface over one detector (Starlette): nothing that it is sent touches a disk.

Requests wait in a queue and are judged together, one forward pass at a time in a thread of its own.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from clipsieve import __version__
from clipsieve.detector.explanation import explain
from clipsieve.detector.explanation_page import PAGES, encoder_view, heat_cells
from clipsieve.detector.judging import Judge
from clipsieve.errors import UserError
from clipsieve.images.decode import ImageProblem

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

#: Names of this machine, which a request's Host may have.
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
#: Requests that may wait at once; more are told to come again.
QUEUE = 64
_HEADERS = {
    "content-security-policy": "default-src 'none'; img-src 'self' blob: data:; style-src 'self';"
    " script-src 'self'; connect-src 'self'; form-action 'none'; frame-ancestors 'none';"
    " base-uri 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "cache-control": "no-store",
}
# of a body that is an image file, beside image/*; the last is what curl says of --data-binary
_KINDS = ("", "application/octet-stream", "application/x-www-form-urlencoded")
_FILES = {"/": ("index.html", "text/html"), "/page.css": ("page.css", "text/css"),
          "/page.js": ("page.js", "text/javascript")}  # fmt: skip


class Headers:
    """Adds the same strict headers to every answer."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                own = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
                message["headers"] = [*message["headers"], *own]
            await send(message)

        await self.app(scope, receive, with_headers)


class SameOrigin:
    """Refuses requests that a page of another origin makes a browser send."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "http":
            headers = {name.decode("latin-1"): value for name, value in scope["headers"]}
            origin = headers.get("origin", b"").decode("latin-1")
            site = headers.get("sec-fetch-site", b"none").decode("latin-1")
            host = headers.get("host", b"").decode("latin-1")
            foreign = origin and urlsplit(origin).netloc != host
            if foreign or (site not in ("none", "same-origin") and scope["method"] != "GET"):
                refused = _error(403, "a request from another origin")
                await refused(scope, receive, send)
                return
        await self.app(scope, receive, send)


class Queue:
    """Images that wait to be judged; those that are there together are judged together.

    Parameters
    ----------
    judge : Judge
    batch_size : int
        Images a forward pass.
    workers : int
        Threads that decode.
    """

    def __init__(self, judge: Judge, batch_size: int, workers: int) -> None:
        self.judge = judge
        self.batch_size = batch_size
        self._decoders = ThreadPoolExecutor(workers, "decode")
        self._forward = ThreadPoolExecutor(1, "forward")
        self._waiting: asyncio.Queue[tuple[Any, float | None, asyncio.Future[Any]]]
        self.inside = 0
        self.batches = 0

    async def run(self) -> None:
        """Judge what waits, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            taken = [await self._waiting.get()]
            while len(taken) < self.batch_size and not self._waiting.empty():
                taken.append(self._waiting.get_nowait())
            for rate in {rate for _, rate, _ in taken}:
                mine = [(one, answer) for one, own, answer in taken if own == rate]
                try:
                    found = await loop.run_in_executor(
                        self._forward, self.judge.results, [one for one, _ in mine], rate
                    )
                    self.batches += 1
                except Exception as error:
                    for _, answer in mine:
                        if not answer.done():
                            answer.set_exception(error)
                    continue
                for (_, answer), result in zip(mine, found, strict=True):
                    if not answer.done():
                        answer.set_result(result)

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Take requests while the server runs."""
        self._waiting = asyncio.Queue()
        task = asyncio.get_running_loop().create_task(self.run())
        try:
            yield
        finally:
            task.cancel()
            self._decoders.shutdown(wait=False, cancel_futures=True)
            self._forward.shutdown(wait=False, cancel_futures=True)

    async def score(self, data: bytes, rate: float | None) -> dict[str, Any]:
        """Judge one image's bytes."""
        loop = asyncio.get_running_loop()
        prepared = await loop.run_in_executor(self._decoders, self.judge.prepare, data)
        answer: asyncio.Future[dict[str, Any]] = loop.create_future()
        self._waiting.put_nowait((prepared, rate, answer))
        return await answer

    async def explain(self, data: bytes, rate: float | None) -> dict[str, Any]:
        """Explain one image's verdict; between forward passes of the others."""
        loop = asyncio.get_running_loop()
        work = partial(_explained, self.judge, data, rate)
        return await loop.run_in_executor(self._forward, work)


def _explained(judge: Judge, data: bytes, rate: float | None) -> dict[str, Any]:
    found = explain(judge, data, rate)
    return {
        **found.as_dict(),
        "view": encoder_view(judge, data),
        "cells": heat_cells(found.heat) if found.heat else [],
    }


def make_app(
    judge: Judge,
    *,
    cautions: Sequence[str] = (),
    max_bytes: int = 16 << 20,
    batch_size: int = 16,
    workers: int = 2,
    hosts: Sequence[str] = LOOPBACK,
) -> Starlette:
    """Make the application.

    Parameters
    ----------
    judge
        The detector with its encoder.
    cautions
        What a reader must know of the detector.
    max_bytes
        Largest image, however it is sent.
    batch_size, workers
        Images a forward pass; threads that decode.
    hosts
        Names that requests may call this server by.

    Returns
    -------
    Starlette
        ``GET /`` the page; ``POST /api/score`` and ``POST /api/explain``, whose body is an image
        file; ``GET /api/detector`` and ``GET /api/openapi.json``.
    """
    queue = Queue(judge, batch_size, workers)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with queue.at_work():
            yield

    def answer_with(work: Callable[[bytes, float | None], Awaitable[dict[str, Any]]]) -> Any:
        async def endpoint(request: Request) -> Response:
            rate = _rate(request, judge)
            if queue.inside >= QUEUE:
                return _error(503, "too many requests wait", {"retry-after": "1"})
            queue.inside += 1
            try:
                found = await work(await _body(request, max_bytes), rate)
            except ImageProblem as problem:
                return _error(415, problem.reason)
            finally:
                queue.inside -= 1
            if found.get("problem") is not None:
                return _error(415, found["problem"])
            return JSONResponse(found)

        return endpoint

    async def about(_: Request) -> Response:
        facts = judge.model.facts
        names = (
            "feature_set",
            "train",
            "members",
            "run",
            "expected",
            "points",
            "clipsieve_version",
        )
        points = [rate for rate, limit in judge.model.points.items() if limit is not None]
        return JSONResponse(
            {
                **{name: facts[name] for name in names},
                "encoder": facts["encoder"]["encoder"],
                "cautions": list(cautions),
                "max_false_alarms": points,
                "max_bytes": max_bytes,
            }
        )

    async def openapi(_: Request) -> Response:
        return JSONResponse(description(max_bytes))

    async def refused(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return _error(error.status_code, str(error.detail), dict(error.headers or {}))

    app = Starlette(
        routes=[
            *(Route(path, _file(*file), methods=["GET"]) for path, file in _FILES.items()),
            Route("/api/score", answer_with(queue.score), methods=["POST"]),
            Route("/api/explain", answer_with(queue.explain), methods=["POST"]),
            Route("/api/detector", about, methods=["GET"]),
            Route("/api/openapi.json", openapi, methods=["GET"]),
        ],
        middleware=[
            Middleware(Headers),
            Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False),
            Middleware(SameOrigin),
        ],
        exception_handlers={HTTPException: refused},
        lifespan=lifespan,
    )
    app.state.queue = queue
    return app


def _file(name: str, kind: str) -> Callable[[Request], Awaitable[Response]]:
    content = (Path(PAGES) / name).read_bytes()

    async def endpoint(_: Request) -> Response:
        return Response(content, media_type=kind)

    return endpoint


async def _body(request: Request, max_bytes: int) -> bytes:
    """Read a body of at most `max_bytes`; a length that is announced is believed only to refuse."""
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > max_bytes:
        raise HTTPException(413, f"more than {max_bytes} bytes")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in _KINDS and not kind.startswith("image/"):
        raise HTTPException(415, "send the image file itself as the body")
    kept = bytearray()
    try:
        async for block in request.stream():
            kept += block
            if len(kept) > max_bytes:
                raise HTTPException(413, f"more than {max_bytes} bytes")
    except ClientDisconnect:
        raise HTTPException(400, "the request was cut") from None
    if not kept:
        raise HTTPException(422, "no image: send an image file as the body")
    return bytes(kept)


def _rate(request: Request, judge: Judge) -> float | None:
    text = request.query_params.get("max_false_alarms")
    if not text:
        return None
    try:
        rate = float(text)
        judge.model.band_at(rate)
    except (ValueError, UserError) as error:
        raise HTTPException(
            422, f"max_false_alarms: {str(error).partition(': ')[2] or text}"
        ) from None
    return rate


def _error(status: int, text: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": text}, status, headers=headers or {})


def description(max_bytes: int) -> dict[str, Any]:
    """Return the OpenAPI 3.1 description of the interface."""
    text = (PAGES / "openapi.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    found["info"]["version"] = __version__
    found["info"]["description"] += f" An image has at most {max_bytes} bytes."
    return found
