"""One small run for all tests of detectors."""

from __future__ import annotations

from pathlib import Path

import pytest

from clipsieve.detector import Detector
from tests.helpers.detector_runs import Run


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="session")
def exported(run: Run) -> Path:
    """A detector of every generator."""
    return run.export("all")


@pytest.fixture(scope="session")
def detector(exported: Path) -> Detector:
    return Detector.load(exported)
