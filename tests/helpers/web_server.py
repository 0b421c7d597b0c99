"""A server on the loopback address whose faults are chosen by the path: for tests of downloads."""

from __future__ import annotations

import http.server
import re
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Site:
    """What a server has and what it was asked.

    Attributes
    ----------
    files
        Path -> content. The first part of a path may name a fault: ``cut`` breaks the body off at
        half on each first request of a range, ``busy`` answers 503 twice, ``norange`` ignores
        ranges, ``nomark`` has no ETag, ``weak`` a weak one, ``swaps`` has another content after the
        first request, ``dead`` is always cut before the first byte, ``loop`` redirects to itself.
    asked
        (path, Range, If-Range) of each request, in order.
    times
        When each began, seconds.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple[str, str | None, str | None]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    url: str = ""


class running:
    """Serve a site while the block runs; at most `most` requests are answered."""

    def __init__(self, files: dict[str, bytes], most: int = 2000) -> None:
        self.site = Site(dict(files))
        seen: Counter[str] = Counter()
        site = self.site

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 10

            def log_message(self, *args: Any) -> None:
                pass

            def empty(self, status: int, **headers: str) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_GET(self) -> None:
                asked = self.headers.get("Range")
                site.asked.append((self.path, asked, self.headers.get("If-Range")))
                site.times.append(time.monotonic())
                seen[self.path] += 1
                if len(site.asked) > most:
                    return self.empty(500)
                fault = self.path.split("/")[1]
                data = site.files.get(self.path)
                if fault == "busy" and seen[self.path] <= 2:
                    return self.empty(503)
                if fault == "loop":
                    return self.empty(302, Location=self.path)
                if data is None:
                    return self.empty(404)
                if fault == "swaps" and seen[self.path] > 1:
                    data = bytes(reversed(data))
                tag = f'"{hash(data) & 0xFFFFFFFF:x}"'
                if fault == "weak":
                    tag = f"W/{tag}"
                start, status = 0, 200
                found = re.fullmatch(r"bytes=(\d+)-", asked or "")
                current = self.headers.get("If-Range") in (None, tag)
                if found and fault != "norange" and current:
                    start, status = int(found[1]), 206
                    if start >= len(data):
                        return self.empty(416, Content_Range=f"bytes */{len(data)}")
                body = data[start:]
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                if fault != "nomark":
                    self.send_header("ETag", tag)
                if status == 206:
                    self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
                self.end_headers()
                if fault == "dead":
                    body, self.close_connection = b"", True
                elif (
                    fault in ("cut", "swaps", "nomark", "weak", "norange") and seen[self.path] == 1
                ):
                    body, self.close_connection = body[: len(body) // 2], True
                self.wfile.write(body)
                return None

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.site.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self) -> Site:
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()
        return self.site

    def __exit__(self, *exception: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
