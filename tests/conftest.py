"""For all tests: a skip is a failure where all are required, and a folder's costly session is made once."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

REQUIRED = os.environ.get("CLIPSIEVE_REQUIRE_ALL") == "1"
ONE_SESSION = ("workflow", "slurm")  # folders whose tests share a finished run or a cluster


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark those folders' tests by the folder's name, and keep each folder on one worker."""
    for item in items:
        folder = item.path.parent.name
        if folder in ONE_SESSION:
            item.add_marker(folder)
            item.add_marker(pytest.mark.xdist_group(folder))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if REQUIRED and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = (
            f"{item.nodeid} was skipped where every test is required: {report.longrepr}"
        )
    return report
