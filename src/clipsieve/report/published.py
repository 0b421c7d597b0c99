"""The paper's published values, shipped as data: facts that our values are set beside."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

# Half of the last printed digit of the paper's tables.
ROUNDING = 0.0005


@cache
def published(name: str) -> pd.DataFrame:
    """Return one published table as it is shipped.

    Parameters
    ----------
    name
        `table4_left`, `table4_right`, `figure_means`, `costs` or `words`.
    """
    import pandas as pd

    path = resources.files("clipsieve").joinpath("data", "published", f"{name}.csv")
    with path.open(encoding="utf-8") as handle:
        return pd.read_csv(handle, keep_default_na=True, comment="#")
