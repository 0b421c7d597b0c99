"""The ResNet generator of CycleGAN (Zhu et al. 2017, appendix), for its published weights."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

# Winograd's minimal filtering F(4 x 4, 3 x 3) (Lavin and Gray 2016): 36 products for 16 outputs
# where the plain sum needs 144. Input, filter and output transforms.
_INPUT = [
    [4, 0, -5, 0, 1, 0],
    [0, -4, -4, 1, 1, 0],
    [0, 4, -4, -1, 1, 0],
    [0, -2, -1, 2, 1, 0],
    [0, 2, -1, -2, 1, 0],
    [0, 4, 0, -5, 0, 1],
]
_FILTER = [
    [1 / 4, 0, 0],
    [-1 / 6, -1 / 6, -1 / 6],
    [-1 / 6, 1 / 6, -1 / 6],
    [1 / 24, 1 / 12, 1 / 6],
    [1 / 24, -1 / 12, 1 / 6],
    [0, 0, 1],
]
_OUTPUT = [
    [1, 1, 1, 1, 1, 0],
    [0, 1, -1, 2, -2, 0],
    [0, 1, 1, 4, 4, 0],
    [0, 1, -1, 8, -8, 1],
]


class WinogradConv(nn.Module):
    """A 3 x 3 convolution without padding, by Winograd's algorithm: twice as fast on two cores.

    The same sums in another order: in float32 the outputs differ from torch's by about 1e-5 of
    their largest. Sides of the output are rounded up to multiples of four inside.
    """

    def __init__(self, plain: nn.Conv2d) -> None:
        super().__init__()
        matrix = torch.tensor(_FILTER, dtype=torch.float64)
        weight = plain.weight.detach().double()
        filters = torch.einsum("ab,oibc,dc->adoi", matrix, weight, matrix)
        self.out_channels = plain.out_channels
        self.register_buffer("filters", filters.reshape(36, *weight.shape[:2]).float().contiguous())
        self.register_buffer("bias", cast(Tensor, plain.bias).detach().view(1, -1, 1, 1).clone())
        self.register_buffer("before", torch.tensor(_INPUT, dtype=torch.float32))
        self.register_buffer("after", torch.tensor(_OUTPUT, dtype=torch.float32))

    def forward(self, x: Tensor) -> Tensor:
        """Convolve one picture: [1, channels, height, width] to sides smaller by two."""
        height, width = x.shape[2] - 2, x.shape[3] - 2
        x = nn.functional.pad(x, (0, -width % 4, 0, -height % 4))[0]
        rows, columns = (x.shape[1] - 2) // 4, (x.shape[2] - 2) // 4
        before, after = cast(Tensor, self.before), cast(Tensor, self.after)
        tiles = x.unfold(1, 6, 4).unfold(2, 6, 4).permute(3, 4, 0, 1, 2).reshape(6, -1)
        tiles = torch.matmul(before, (before @ tiles).reshape(6, 6, -1))
        products = torch.bmm(cast(Tensor, self.filters), tiles.reshape(36, x.shape[0], -1))
        sums = torch.matmul(after, (after @ products.reshape(6, -1)).reshape(4, 6, -1))
        sums = sums.reshape(4, 4, self.out_channels, rows, columns).permute(2, 3, 0, 4, 1)
        result = sums.reshape(1, self.out_channels, rows * 4, columns * 4)
        return result[:, :, :height, :width] + cast(Tensor, self.bias)


class ResnetBlock(nn.Module):
    """Two 3 x 3 convolutions with instance normalisation around a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            nn.InstanceNorm2d(channels, affine=True),
            nn.ReLU(),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            nn.InstanceNorm2d(channels, affine=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Add the block's output to its input."""
        return x + self.block(x)


class ResnetGenerator(nn.Module):
    """A picture in, a picture of the same size out; [1, 3, height, width] in [-1, 1].

    Sides must be multiples of four. The entries of `model` are in the positions where the published weights
    expect them.
    """

    def __init__(self, width: int = 64, blocks: int = 9) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(3, width, 7)]
        layers += _normalised(width)
        for inner in (2 * width, 4 * width):
            layers.append(nn.Conv2d(inner // 2, inner, 3, stride=2, padding=1))
            layers += _normalised(inner)
        layers += [ResnetBlock(4 * width) for _ in range(blocks)]
        for inner in (2 * width, width):
            layers.append(
                nn.ConvTranspose2d(2 * inner, inner, 3, stride=2, padding=1, output_padding=1)
            )
            layers += _normalised(inner)
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(width, 3, 7), nn.Tanh()]
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Translate one picture."""
        return cast(Tensor, self.model(x))

    def prepare(self) -> ResnetGenerator:
        """Put faster convolutions in the blocks; call it once the weights are loaded."""
        for layer in self.model:
            if isinstance(layer, ResnetBlock):
                for place in (1, 5):
                    layer.block[place] = WinogradConv(cast(nn.Conv2d, layer.block[place]))
        return self


def _normalised(channels: int) -> list[nn.Module]:
    return [nn.InstanceNorm2d(channels, affine=True), nn.ReLU()]
