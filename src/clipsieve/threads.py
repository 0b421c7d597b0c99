"""Threads of the matrix libraries, as a rule or an option gives them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import scipy.linalg  # noqa: F401  a library that is loaded later would not be limited
from threadpoolctl import ThreadpoolController, threadpool_limits


@contextmanager
def limited(threads: int | None, *, products_of_scipy: bool = False) -> Iterator[None]:
    """Limit the threads of linear algebra within a `with` block; None leaves the environment's number.

    Parameters
    ----------
    threads : int or None
    products_of_scipy : bool, default False
        The large products are scipy's (`scipy.linalg.blas`): numpy's library gets one thread. Their
        wheels bring a BLAS each, and idle threads of the one would keep cores of the other busy.
    """
    with threadpool_limits(threads):
        libraries = ThreadpoolController().select(user_api="blas")
        of_numpy = [p["filepath"] for p in libraries.info() if "numpy.libs" in p["filepath"]]
        libraries = libraries.select(filepath=of_numpy if products_of_scipy else [])
        with libraries.limit(limits=1):
            yield
