"""Images of lists of addresses: kept as they are, resumed, with reasons."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from clipsieve.datasets.url_list import COLUMNS, JOURNAL, fetch_images
from clipsieve.errors import UserError
from tests.helpers.web_server import running


def picture(i: int, kind: str = "JPEG") -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(i).integers(0, 255, (24, 24, 3), np.uint8)
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


FILES = {f"/plain/{i}.jpg": picture(i) for i in range(12)}
FILES |= {
    "/plain/really-png.jpg": picture(50, "PNG"),
    "/plain/page.jpg": b"<html>gone</html>",
    "/busy/b.webp": picture(51, "WEBP"),
    "/dead/d.jpg": picture(52),
    "/cut/c.jpg": picture(53),
    "/plain/large.jpg": picture(54) + bytes(200_000),
}
OPTIONS = {"seconds_per_host": 0.0, "retries": 0, "timeout": (5, 5), "max_bytes": 100_000}


@pytest.fixture
def site():
    with running(FILES) as found:
        yield found


def test_bytes_are_kept_and_reasons_counted(site, tmp_path):
    urls = [site.url + path for path in FILES]
    urls += [site.url + "/plain/404.jpg", "ftp://a/b", "", None, urls[0], site.url + "/loop/x"]
    table = pd.DataFrame({"URL": urls}, index=range(100, 100 + len(urls)))
    found = fetch_images(table, tmp_path, url_column="URL", **OPTIONS)
    assert list(found.columns) == list(COLUMNS)
    assert list(found.index) == list(table.index)
    good = found[found["problem"].isna()]
    for row in good.itertuples():
        data = (tmp_path / row.path).read_bytes()
        assert data == FILES[row.url.removeprefix(site.url)]
        assert row.sha256 == hashlib.sha256(data).hexdigest()
        assert row.bytes == len(data)
    assert len(good) == 14  # twelve, the PNG, and the address that stands twice
    by_url = dict(zip(urls, found["problem"], strict=True))
    assert by_url[site.url + "/plain/page.jpg"] == "no image"
    assert by_url[site.url + "/plain/404.jpg"] == "status 404"
    assert by_url[site.url + "/busy/b.webp"] == "status 503"
    assert by_url[site.url + "/dead/d.jpg"].startswith("no answer")
    assert by_url[site.url + "/cut/c.jpg"].startswith("no answer")
    assert by_url[site.url + "/plain/large.jpg"] == "more than 100000 bytes"
    assert by_url["ftp://a/b"] == "no http address"
    assert by_url[site.url + "/loop/x"] == "no http address"
    assert found.attrs["problems"]["no http address"] == 4
    png = found.set_index("url").loc[site.url + "/plain/really-png.jpg", "path"]
    assert png.endswith(".png")


def test_the_next_call_asks_only_for_what_is_missing_or_may_pass(site, tmp_path):
    urls = [site.url + path for path in FILES] + [site.url + "/plain/404.jpg"]
    table = pd.DataFrame({"url": urls})
    first = fetch_images(table, tmp_path, **OPTIONS)
    site.asked.clear()
    second = fetch_images(table, tmp_path, **OPTIONS)
    assert {path for path, _, _ in site.asked} == {"/busy/b.webp", "/dead/d.jpg", "/cut/c.jpg"}
    good = first["problem"].isna()
    pd.testing.assert_frame_equal(first[good], second[good])
    assert second["problem"].notna().sum() < first["problem"].notna().sum()


def test_a_kill_at_any_byte_of_the_journal_is_mended(site, tmp_path):
    table = pd.DataFrame({"url": [f"{site.url}/plain/{i}.jpg" for i in range(4)]})
    whole = fetch_images(table, tmp_path, **OPTIONS)
    journal = (tmp_path / JOURNAL).read_bytes()
    for cut in range(0, len(journal), 37):
        (tmp_path / JOURNAL).write_bytes(journal[:cut])
        pd.testing.assert_frame_equal(fetch_images(table, tmp_path, **OPTIONS), whole)
        lines = (tmp_path / JOURNAL).read_bytes().splitlines()
        assert len(lines) == 4
    # a file that is gone, or cut, comes again
    (tmp_path / whole["path"][1]).unlink()
    (tmp_path / whole["path"][2]).write_bytes(b"x")
    site.asked.clear()
    fetch_images(table, tmp_path, **OPTIONS)
    assert sorted(path for path, _, _ in site.asked) == ["/plain/1.jpg", "/plain/2.jpg"]


def test_requests_to_one_host_keep_their_distance(site, tmp_path):
    table = pd.DataFrame({"url": [f"{site.url}/plain/{i}.jpg" for i in range(6)]})
    fetch_images(table, tmp_path, **{**OPTIONS, "seconds_per_host": 0.1})
    assert max(site.times) - min(site.times) > 0.4


def test_bad_input(tmp_path: Path):
    with pytest.raises(UserError, match="no column 'url'; there is: URL"):
        fetch_images(pd.DataFrame({"URL": []}), tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        fetch_images(pd.DataFrame({"url": []}), tmp_path / "file")
