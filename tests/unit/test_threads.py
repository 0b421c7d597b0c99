"""What each library may use, in a process of its own: what this one has loaded would hide a late one."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

SHOW = """
import json, sys
from clipsieve.threads import limited
with limited(json.loads(sys.argv[1]), products_of_scipy=json.loads(sys.argv[2])):
    import sklearn.linear_model
    from threadpoolctl import threadpool_info
    print(json.dumps([[p["filepath"], p["num_threads"]] for p in threadpool_info() if p["user_api"] == "blas"]))
"""


@pytest.mark.parametrize("threads", [1, 2, None])
@pytest.mark.parametrize("products_of_scipy", [False, True])
def test_every_library_obeys_and_numpys_yields_to_scipys(threads, products_of_scipy):
    found = subprocess.run(
        [sys.executable, "-c", SHOW, json.dumps(threads), json.dumps(products_of_scipy)],
        env={**os.environ, "OPENBLAS_NUM_THREADS": "2", "OMP_NUM_THREADS": "2"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    libraries = json.loads(found.stdout)
    assert len(libraries) >= 1
    for path, number in libraries:
        yields = products_of_scipy and "numpy.libs" in path
        assert number == (1 if yields else threads or 2), path
