"""What a generator of the demo does, as a small mapping that is checked before anything is made.

A recipe names its method and the method's parameters:

``{"method": "cyclegan"}``
    the real network photo-to-vintage;
``{"method": "style", "style": 14, "strength": 0.35}``
    a real style network, mixed with the photograph;
``{"method": "upsample", "decoder": "transposed", "factor": 2, "sharpen": 0.5, "unevenness": 0.02}``
    simulated: the marks of a decoder's up-sampling;
``{"method": "denoise", "denoiser": "tv", "noise": 0.08, "steps": 10}``
    simulated: noise, then denoising in steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipsieve.demo.simulated import DECODERS, DENOISERS, denoise_in_steps, upsample
from clipsieve.errors import UserError

Picture = NDArray[np.float32]
#: A picture and the seed of its chance numbers to a picture of the same shape.
Maker = Callable[[Picture, int], Picture]

#: Raised when what a recipe makes of a picture changes.
GENERATION_VERSION = 1

_Check = tuple[Any, Callable[[Any], bool], str]

#: Method -> parameter -> (default, what is allowed, in words); no default means it is needed.
_PARAMETERS: dict[str, dict[str, _Check]] = {
    "cyclegan": {},
    "style": {
        "style": (None, lambda v: type(v) is int and 0 <= v <= 25, "a whole number from 0 to 25"),
        "strength": (0.35, lambda v: _number(v) and 0 < v <= 1, "above 0 and at most 1"),
    },
    "upsample": {
        "decoder": (None, lambda v: v in DECODERS, "one of " + ", ".join(DECODERS)),
        "factor": (2, lambda v: type(v) is int and 2 <= v <= 8, "a whole number from 2 to 8"),
        "sharpen": (0.5, lambda v: _number(v) and 0 <= v <= 5, "from 0 to 5"),
        "unevenness": (0.02, lambda v: _number(v) and 0 <= v < 1, "from 0 to below 1"),
    },
    "denoise": {
        "denoiser": (None, lambda v: v in DENOISERS, "one of " + ", ".join(DENOISERS)),
        "noise": (0.08, lambda v: _number(v) and 0 < v <= 1, "above 0 and at most 1"),
        "steps": (10, lambda v: type(v) is int and 1 <= v <= 1000, "a whole number from 1 to 1000"),
    },
}

#: Methods that run a trained network; the others are simulated.
NETWORKS = ("cyclegan", "style")


def checked(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe with every parameter filled in.

    Raises
    ------
    UserError
        For an unknown method or parameter, a missing one, or a value out of range.
    """
    method = recipe.get("method")
    if method not in _PARAMETERS:
        raise UserError(f"recipe: method is {method!r}; allowed: {', '.join(_PARAMETERS)}")
    known = _PARAMETERS[method]
    unknown = sorted(set(recipe) - set(known) - {"method"})
    if unknown:
        allowed = ", ".join(known) or "none"
        raise UserError(f"recipe {method}: unknown key {unknown[0]!r}; allowed: {allowed}")
    full: dict[str, Any] = {"method": method}
    for name, (default, is_allowed, words) in known.items():
        value = recipe.get(name, default)
        if not is_allowed(value):
            raise UserError(f"recipe {method}: {name} is {value!r}; it must be {words}")
        full[name] = value
    return full


def kind_of(recipe: Mapping[str, Any]) -> str:
    """Say what makes a recipe's pictures: ``network`` or ``simulated``."""
    return "network" if checked(recipe)["method"] in NETWORKS else "simulated"


def maker(recipe: Mapping[str, Any], cache: Path) -> Maker:
    """Return the function that makes a generator's picture of a real one.

    Parameters
    ----------
    recipe
        The recipe.
    cache
        Folder for networks' weights.

    Returns
    -------
    callable
        (picture [height, width, 3] float32 in [0, 1], seed) -> picture of the same shape; safe to
        call from several threads.

    Raises
    ------
    UserError
        For a wrong recipe, or when a network's weights can't be fetched.
    """
    parameters = checked(recipe)
    method = parameters.pop("method")
    if method in NETWORKS:
        # Here, since only networks need weights and the libraries that run them.
        from clipsieve.demo.networks import StyleNetwork, VintageCycleGAN

        network: Callable[[Picture], Picture]
        network = (
            VintageCycleGAN(cache) if method == "cyclegan" else StyleNetwork(cache, **parameters)
        )
        return lambda picture, seed: network(picture)
    import cv2

    # One thread a picture: pictures run side by side.
    cv2.setNumThreads(1)
    if method == "upsample":
        return lambda picture, seed: upsample(picture, **parameters)
    return lambda picture, seed: denoise_in_steps(picture, seed=seed, **parameters)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
