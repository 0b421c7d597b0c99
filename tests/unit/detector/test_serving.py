"""The local page and its JSON interface: what it answers, what it refuses, under load, in a browser."""

from __future__ import annotations

import http.client
import io
import json
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from PIL import Image

from clipsieve.cli import main
from clipsieve.detector import Detector
from tests.helpers.detector_runs import Run

pytest.importorskip("starlette")
uvicorn = pytest.importorskip("uvicorn")
from starlette.testclient import TestClient  # noqa: E402

from clipsieve.detector.serving import make_app  # noqa: E402

LIMIT = 100_000


@pytest.fixture(scope="module")
def app(detector: Detector):
    return make_app(detector.judge_, cautions=["Be careful."], max_bytes=LIMIT)


@pytest.fixture(scope="module")
def client(app) -> Iterator[TestClient]:
    with TestClient(app, base_url="http://127.0.0.1:8000") as client:
        yield client


@pytest.fixture(scope="module")
def address(app) -> Iterator[tuple[str, int]]:
    """The same application on a socket of this machine."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="on"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield listening.getsockname()
        server.should_exit = True
        thread.join(10)


def image_of(run: Run, name: str = "two", i: int = 33) -> bytes:
    return (run.root / f"images/{name}/{i}.png").read_bytes()


def bomb() -> bytes:
    kept = io.BytesIO()
    Image.new("L", (8, 8)).save(kept, "PNG")
    data = bytearray(kept.getvalue())
    data[16:24] = (60_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


def test_it_answers_what_the_detector_says(run: Run, client: TestClient, detector: Detector):
    data = image_of(run)
    (expected,) = detector.judge([data])
    found = client.post("/api/score", content=data)
    assert found.status_code == 200
    assert found.json() == expected
    at_point = client.post("/api/score?max_false_alarms=0.1", content=data).json()
    assert at_point == detector.judge([data], max_false_alarms=0.1)[0]
    why = client.post("/api/explain", content=data, headers={"content-type": "image/png"}).json()
    own = json.loads(json.dumps(detector.explain(data).as_dict()))
    assert {name: why[name] for name in own} == own
    assert len(why["cells"]) == 49
    assert why["view"].startswith("data:image/png;base64,")
    about = client.get("/api/detector").json()
    assert about["train"] == ["one", "three", "two"]
    assert about["cautions"] == ["Be careful."]
    assert about["max_false_alarms"] == [0.05, 0.1]


def test_answers_are_as_the_description_says(run: Run, client: TestClient):
    import jsonschema

    described = client.get("/api/openapi.json").json()
    assert described["openapi"].startswith("3.1")
    assert set(described["paths"]) == {"/api/score", "/api/explain", "/api/detector"}
    for path, content in (
        ("/api/score", image_of(run)), ("/api/explain", image_of(run)), ("/api/score", b"x"),
        ("/api/score", b""), ("/api/explain", bytes(LIMIT + 1)),
    ):  # fmt: skip
        answer = client.post(path, content=content)
        said = described["paths"][path]["post"]["responses"][str(answer.status_code)]
        schema = said["content"]["application/json"]["schema"]
        whole = {**schema, "components": described["components"]}
        jsonschema.Draft202012Validator(whole).validate(answer.json())


def test_what_it_refuses(run: Run, client: TestClient):
    data = image_of(run)

    def status(content=data, path="/api/score", **headers: str) -> tuple[int, str]:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = client.post(path, content=content, headers=names)
        return answer.status_code, answer.text

    assert status()[0] == 200
    assert status(origin="http://127.0.0.1:8000")[0] == 200
    assert status(content_type="application/x-www-form-urlencoded")[0] == 200  # curl --data-binary
    for host in ("evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8000", ""):
        assert status(host=host)[0] == 400, host
    for origin in ("http://evil.example", "null", "http://127.0.0.1:9000", "http://localhost:8000"):
        assert status(origin=origin)[0] == 403, origin
    assert status(sec_fetch_site="cross-site")[0] == 403
    assert status(sec_fetch_site="same-site")[0] == 403
    assert status(bytes(LIMIT + 1))[0] == 413
    assert status(iter([bytes(LIMIT // 2)] * 3))[0] == 413  # chunked: no length is announced
    assert status(b"")[0] == 422
    assert status(b"<html></html>")[0] == 415
    assert status(data[: len(data) // 2])[0] == 415
    code, text = status(bomb())
    assert code == 415
    assert "pixels" in text
    assert status(content_type="multipart/form-data; boundary=x")[0] == 415
    assert status(content_type="text/plain")[0] == 415
    for rate in ("0.03", "x", "nan", "0.01"):
        code, text = status(path=f"/api/score?max_false_alarms={rate}")
        assert code == 422, rate
        assert "max_false_alarms" in text
    assert client.get("/api/score").status_code == 405
    assert client.get("/../../etc/passwd").status_code == 404


def test_every_answer_has_strict_headers(run: Run, client: TestClient):
    answers = [
        client.get("/"), client.get("/page.js"), client.get("/nothing"), client.get("/api/detector"),
        client.post("/api/score", content=image_of(run)), client.post("/api/score", content=b""),
        client.post("/api/score", headers={"host": "evil.example"}),
        client.post("/api/score", headers={"origin": "http://evil.example"}),
    ]  # fmt: skip
    assert {answer.status_code for answer in answers} == {200, 400, 403, 404, 422}
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in answer.headers
    page = client.get("/").text
    for forbidden in (" style=", " onclick=", "<style", "http://", "https://"):
        assert forbidden not in page


def test_two_hundred_requests_of_sixteen_clients(
    run: Run, app, address: tuple[str, int], detector: Detector, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    """None is lost or mixed up, they are judged in batches, memory stays flat, and no file is written."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    names = [(name, i) for name in ("one", "two", "real") for i in (31, 32, 33, 34)]
    bodies = {key: image_of(run, *key) for key in names}
    expected = {key: detector.judge([data])[0]["logit"] for key, data in bodies.items()}

    def ask(k: int) -> tuple[int, float]:
        key = names[k % len(names)]
        connection = http.client.HTTPConnection(*address, timeout=60)
        try:
            connection.request("POST", "/api/score", bodies[key])
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())["logit"] - expected[key]
        finally:
            connection.close()

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(ask, range(32))) == [(200, 0.0)] * 32
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        batches = app.state.queue.batches
        found = list(pool.map(ask, range(200)))
    assert found == [(200, 0.0)] * 200
    assert app.state.queue.batches - batches < 200
    assert app.state.queue.inside == 0
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10  # kilobytes
    assert not list(tmp_path.iterdir())


def test_a_client_that_leaves_early_leaves_no_trace(run: Run, app, address: tuple[str, int]):
    with socket.create_connection(address) as connection:
        connection.sendall(
            b"POST /api/score HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9000\r\n\r\nabc"
        )
    connection = http.client.HTTPConnection(*address, timeout=60)
    connection.request("POST", "/api/score", image_of(run))
    assert connection.getresponse().status == 200
    connection.close()
    end = time.monotonic() + 10
    while app.state.queue.inside and time.monotonic() < end:
        time.sleep(0.01)
    assert app.state.queue.inside == 0


@pytest.mark.skipif(
    not (shutil.which("chromium") and shutil.which("chromedriver")),
    reason="chromium is not installed",
)
def test_the_page_in_a_browser(
    run: Run, detector: Detector, address: tuple[str, int], tmp_path: Path
):
    from selenium import webdriver
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import WebDriverWait

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                 f"--user-data-dir={tmp_path / 'profile'}"):  # fmt: skip
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    good = run.root / "images/two/33.png"
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    browser = webdriver.Chrome(options=options, service=service)
    try:
        wait = WebDriverWait(browser, 30)
        host, port = address
        browser.get(f"http://{host}:{port}/")

        def text(name: str) -> str:
            return browser.find_element(By.ID, name).text

        wait.until(lambda _: "Detector all of tiny" in text("detector"))
        assert "Be careful." in text("cautions")
        # by keyboard alone: the first stop is the file, the next one the rate
        stops = []
        for _ in range(2):
            ActionChains(browser).send_keys(Keys.TAB).perform()
            stops.append(browser.switch_to.active_element.get_attribute("id"))
        assert stops == ["image", "rate"]
        browser.find_element(By.ID, "image").send_keys(str(good))
        wait.until(lambda _: "33.png was judged." in text("status"))
        (expected,) = detector.judge([good])
        assert f"P(generated) {expected['probability_generated']:.3f}" in text("verdict")
        assert text("verdict").startswith(expected["verdict"])
        assert len(browser.find_elements(By.CSS_SELECTOR, "#pictures rect")) == 49
        assert "The logit by components" in text("parts")
        browser.find_element(By.ID, "rate").send_keys(Keys.ARROW_DOWN)
        wait.until(lambda _: "was judged." in text("status") and text("verdict"))
        browser.find_element(By.ID, "image").send_keys(str(bad))
        wait.until(lambda _: "bad.png" in text("status") and "not an image" in text("status"))
        assert browser.find_element(By.ID, "status").get_attribute("class") == "error"
        assert not browser.find_element(By.ID, "result").is_displayed()
        complaints = [entry["message"] for entry in browser.get_log("browser")]
        # the refused file's status is the only thing that the browser has to say
        assert all("415" in line for line in complaints), complaints
    finally:
        browser.quit()


def test_the_command_says_where_it_listens_and_stops_when_told(run: Run, exported: Path):
    command = [sys.executable, "-m", "clipsieve", "serve", str(exported), "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        try:
            address = urlsplit(server.stdout.readline().strip())
            assert address.hostname == "127.0.0.1"
            connection = http.client.HTTPConnection(address.hostname, address.port, timeout=60)
            connection.request("POST", "/api/score", image_of(run))
            assert json.loads(connection.getresponse().read())["problem"] is None
            connection.close()
        finally:
            server.send_signal(signal.SIGINT)
        _, said = server.communicate(timeout=60)
    assert "Traceback" not in said
    assert server.returncode in (0, 130)


def test_other_machines_are_let_in_only_on_purpose(
    exported: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["serve", str(exported), "--host", "0.0.0.0"]) == 2
    assert "name with --allow-host" in capsys.readouterr().err
    assert main(["serve", str(exported), "--port", "99999"]) == 2
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", str(exported), "--port", str(port)]) == 2
    assert "can't listen there" in capsys.readouterr().err
