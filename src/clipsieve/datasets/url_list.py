"""Images of a list of addresses, kept as they are: polite, resumable, every dead link with its reason."""

from __future__ import annotations

import hashlib
import io
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from clipsieve.datasets.download import new_session
from clipsieve.errors import UserError
from clipsieve.io.files import replacing

if TYPE_CHECKING:
    import pandas as pd

#: What became of each address, one JSON line each, beside the images.
JOURNAL = "fetched.jsonl"
#: Columns of the table that comes back.
COLUMNS = ("url", "path", "sha256", "bytes", "problem")
#: Endings by Pillow's name of the format; the name of a file says what it is, not what its address says.
_ENDINGS = {
    **{"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png", "WEBP": ".webp", "GIF": ".gif"},
    **{"BMP": ".bmp", "TIFF": ".tif", "AVIF": ".avif", "PPM": ".ppm"},
}
#: Reasons that may pass; such an address is asked again at the next call.
_PASSING = ("no answer", "status 5", "status 429")


def fetch_images(
    table: pd.DataFrame,
    folder: Path,
    *,
    url_column: str = "url",
    workers: int = 16,
    seconds_per_host: float = 0.5,
    timeout: tuple[float, float] = (10.0, 30.0),
    max_bytes: int = 50_000_000,
    retries: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Fetch the images of a table of addresses into a folder, byte for byte.

    An image is written whole or not at all, and then one line of the journal says so; a kill at any
    moment loses the images under way. The next call asks for what is missing, and again for what
    failed for a reason that may pass.

    Parameters
    ----------
    table
        One row for each image.
    folder
        For the images (``<first two digits>/<sha256 of the address, 24 digits>.<ending>``) and the
        journal.
    url_column
        The column of the addresses.
    workers
        Images at once.
    seconds_per_host
        Least time between the starts of two requests to one host.
    timeout
        Seconds to connect, and between two parts of a body.
    max_bytes
        A longer body is given up.
    retries
        Repeats of a request that fails for a passing reason.
    progress
        Told the number of rows that are done, and of all.

    Returns
    -------
    DataFrame
        Columns `COLUMNS`, in the order and with the index of `table`; `path` is relative to the
        folder. `attrs["problems"]` counts the reasons.

    Raises
    ------
    UserError
        The table has no such column, or the folder cannot be written.
    """
    import pandas as pd

    if url_column not in table:
        raise UserError(
            f"the table of images has no column {url_column!r}; there is: {', '.join(map(str, table))}"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        journal = open(folder / JOURNAL, "a+b")  # noqa: SIM115 - closed below
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror})") from None
    urls = ["" if url is None or url != url else str(url).strip() for url in table[url_column]]
    with journal:
        known = dict(_read_journal(folder, journal))
        todo = [url for url in dict.fromkeys(urls) if url not in known]
        done = sum(url in known for url in urls)
        times = Counter(urls)
        lock = threading.Lock()
        hosts = _Hosts(seconds_per_host)
        session = new_session(retries=retries)
        # a pool for each host would hold more sockets than a process may have
        stopped = threading.Event()

        def one(url: str) -> dict[str, Any] | None:
            if stopped.is_set():
                return None
            return _fetch_one(url, folder, session, hosts, timeout, max_bytes)

        with session, ThreadPoolExecutor(max(1, workers)) as pool:
            try:
                for row in pool.map(one, todo):
                    if row is None:
                        continue
                    with lock:
                        journal.write(json.dumps(row, ensure_ascii=True).encode() + b"\n")
                        journal.flush()
                    known[row["url"]] = row
                    done += times[row["url"]]
                    if progress is not None:
                        progress(done, len(urls))
            finally:
                stopped.set()
    found = pd.DataFrame([known[url] for url in urls], columns=list(COLUMNS), index=table.index)
    found = found.astype({"bytes": "Int64"})
    found.attrs["problems"] = dict(Counter(found["problem"].dropna()).most_common())
    return found


def _read_journal(folder: Path, journal: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what is finished; a torn last line is cut off, and so is what may be tried again."""
    journal.seek(0)
    whole = 0
    for line in journal:
        try:
            row = json.loads(line)
            url = row["url"]
        except (ValueError, KeyError, TypeError):
            row = None
        if row is None or not line.endswith(b"\n"):
            if not line.endswith(b"\n"):
                break
            whole += len(line)
            continue
        whole += len(line)
        if row["problem"] is None:
            path = folder / row["path"]
            if path.is_file() and path.stat().st_size == row["bytes"]:
                yield url, row
        elif not row["problem"].startswith(_PASSING):
            yield url, row
    journal.truncate(whole)
    journal.seek(0, os.SEEK_END)


class _Hosts:
    """Lets one request to a host begin at a time, with a pause between."""

    def __init__(self, pause: float) -> None:
        self.pause = pause
        self.next: dict[str, float] = {}
        self.lock = threading.Lock()

    def wait(self, host: str) -> None:
        with self.lock:
            now = time.monotonic()
            at = max(now, self.next.get(host, now))
            self.next[host] = at + self.pause
        if at > now:
            time.sleep(at - now)


def _fetch_one(
    url: str,
    folder: Path,
    session: Any,
    hosts: _Hosts,
    timeout: tuple[float, float],
    max_bytes: int,
) -> dict[str, Any]:
    """Fetch one image; whatever is wrong with it is a problem of its row."""
    row: dict[str, Any] = dict.fromkeys(COLUMNS)
    row["url"] = url
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        host = ""
    if not host or parts.scheme not in ("http", "https"):
        return {**row, "problem": "no http address"}
    hosts.wait(host)
    data, problem = _body(url, session, timeout, max_bytes)
    if problem is not None:
        return {**row, "problem": problem}
    ending = _ending(data)
    if ending is None:
        return {**row, "bytes": len(data), "problem": "no image"}
    key = hashlib.sha256(url.encode()).hexdigest()[:24]
    path = f"{key[:2]}/{key}{ending}"
    with replacing(folder / path) as temporary:
        temporary.write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    return {**row, "path": path, "sha256": digest, "bytes": len(data)}


def _body(
    url: str, session: Any, timeout: tuple[float, float], max_bytes: int
) -> tuple[bytes, str | None]:
    import requests

    try:
        headers = {"Accept-Encoding": "identity", "Accept": "image/*,*/*;q=0.5"}
        with session.get(url, headers=headers, stream=True, timeout=timeout) as answer:
            if answer.status_code != 200:
                return b"", f"status {answer.status_code}"
            blocks, size = [], 0
            for block in answer.iter_content(1 << 16):
                size += len(block)
                if size > max_bytes:
                    return b"", f"more than {max_bytes} bytes"
                blocks.append(block)
            length = answer.headers.get("Content-Length", "")
            if length.isdigit() and int(length) != size:
                return b"", "no answer: the body ends too early"
    except requests.Timeout:
        return b"", "no answer: too slow"
    except requests.exceptions.SSLError:
        return b"", "no answer: certificate"
    except requests.exceptions.ChunkedEncodingError:
        return b"", "no answer: the body ends too early"
    except requests.ConnectionError:
        return b"", "no answer: no connection"
    except (requests.RequestException, ValueError, UnicodeError):
        return b"", "no http address"  # redirected in a circle, or to what no client can ask
    return b"".join(blocks), None


def _ending(data: bytes) -> str | None:
    """Return the ending that goes with the content, None where it is no image that Pillow knows."""
    import warnings

    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=[f for f in _ENDINGS if f != "MPO"]) as image:
                return _ENDINGS.get(str(image.format))
    except Exception:  # Pillow's plugins raise all sorts on bytes that are no image
        return None
