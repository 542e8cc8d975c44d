"""Features of a pretrained VGG16, whose weights the user brings (Trident I as published).

K. Simonyan, A. Zisserman, "Very deep convolutional networks for large-scale image recognition" (2015), configuration D.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from picostem.errors import FileError, UsageError
from picostem.style.picture import Picture

if TYPE_CHECKING:
    from torch import Tensor, nn

FloatArray = NDArray[np.float64]

BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Channels of the 3 × 3 convolutions, each followed by a rectifier, and each block by 2 × 2 maxima."""
SIDE = 224
# Mean and standard deviation of the channels of ImageNet, which torchvision's weights were trained with.
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_BATCH = 8


def load_vgg16(path: Path, *, pooled: bool = False) -> Callable[[Sequence[Picture]], FloatArray]:
    """A function from pictures to the outputs of VGG16's last pooling layer.

    The centre square of each picture is resized to SIDE × SIDE, whatever its scale: pictures that are compared should
    have one pixel size and show fields of like size.

    Args:
        path: state dict as torchvision names it (features.0.weight, ...), in a safetensors file or as torch.save wrote
            it; the latter is read without running what it may hold. Weights of the classifier are not looked at.
        pooled: whether to take the mean over the 7 × 7 places of each of the 512 channels, instead of all.

    Raises:
        FileError: missing, neither kind of file, not only tensors, or not VGG16.
        UsageError: torch is not installed.
    """
    try:
        import torch
    except ImportError:
        raise UsageError('VGG16 needs torch: pip install "picostem[train]"') from None
    layers = _layers()
    _fill(layers, _state(path), path)

    def features(pictures: Sequence[Picture]) -> FloatArray:
        rows = []
        for start in range(0, len(pictures), _BATCH):
            with torch.inference_mode():
                maps = layers(torch.stack([_as_input(one) for one in pictures[start : start + _BATCH]]))
            rows.append(maps.mean(dim=(2, 3)) if pooled else maps.flatten(1))
        return np.asarray(torch.cat(rows).numpy(), dtype=np.float64)

    return features


def _layers() -> nn.Sequential:
    """The convolutional part of VGG16, numbered as torchvision does."""
    from torch import nn

    modules: list[nn.Module] = []
    before = 3
    for block in BLOCKS:
        for channels in block:
            modules += [nn.Conv2d(before, channels, 3, padding=1), nn.ReLU(inplace=True)]
            before = channels
        modules.append(nn.MaxPool2d(2))
    return nn.Sequential(*modules).eval()


def _state(path: Path) -> Mapping[str, Any]:
    """The names and tensors in a file."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise FileError(f"no file {path}: give the weights of VGG16, as torchvision saves them")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise FileError(f"{path}: not a file of weights alone; nothing in it was run; save its state_dict()") from None
    except (SafetensorError, RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FileError(f"{path}: cannot be read as safetensors or weights of torch: {reason}") from error
    if not isinstance(state, Mapping):
        raise FileError(f"{path}: expected a state dict, got a {type(state).__name__}; save the model's state_dict()")
    return state


def _fill(layers: nn.Sequential, state: Mapping[str, Any], path: Path) -> None:
    """Put the weights in place, after a look at their names and shapes."""
    import torch

    wanted = layers.state_dict()
    for name, tensor in wanted.items():
        found = state.get(f"features.{name}")
        if not isinstance(found, torch.Tensor) or found.shape != tensor.shape:
            came = list(found.shape) if isinstance(found, torch.Tensor) else "nothing"
            raise FileError(f"{path}: not VGG16: expected features.{name} of shape {list(tensor.shape)}, got {came}")
        if not torch.isfinite(found).all():
            raise FileError(f"{path}: features.{name} has NaN or infinite weights: fetch the file again")
    layers.load_state_dict({name: state[f"features.{name}"].float() for name in wanted})


def _as_input(picture: Picture) -> Tensor:
    """Centre square as SIDE × SIDE, three equal channels, normalised as ImageNet; shape (3, SIDE, SIDE)."""
    import torch
    from torch.nn import functional

    side = min(picture.data.shape)
    row, column = ((n - side) // 2 for n in picture.data.shape)
    square = torch.from_numpy(np.ascontiguousarray(picture.data[row : row + side, column : column + side]))
    resized = functional.interpolate(square[None, None], (SIDE, SIDE), mode="bicubic", antialias=True)[0]
    mean, std = (torch.tensor(values)[:, None, None] for values in (_MEAN, _STD))
    return (resized - mean) / std
