"""For all tests: in continuous integration a skipped test is a failed one, since it showed nothing."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

REQUIRED = os.environ.get("CLIPSIEVE_REQUIRE_ALL") == "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that run Snakemake or Slurm by the name of their folder."""
    for item in items:
        if item.path.parent.name in ("workflow", "slurm"):
            item.add_marker(item.path.parent.name)


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
