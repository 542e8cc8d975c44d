"""The default features: what they do not see, and what they do; VGG16's: read from files that may be anything."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from picostem.errors import DataError, FileError, UsageError
from picostem.image import Image
from picostem.physics import DEGREE
from picostem.simulate import Microscope, simulate_periodic
from picostem.structure import Stack, load_monolayer
from picostem.style.features import extractor_named, lattice_features
from picostem.style.picture import Picture, prepare

PIXEL, SIDE = 0.12, 280
RES2 = load_monolayer("ReS2")
SLIPS = [(0.0, 0.0), (1.2, 0.5), (1.4, -2.0), (2.6, 0.3), (0.3, 2.5)]
SCOPE = Microscope.from_lab_units(voltage_kV=300, semiangle_mrad=21.3, detector_mrad=(39, 200), source_fwhm_A=0.6)
Change = Callable[[NDArray[np.float32]], NDArray[Any]]


def imaged(slip: tuple[float, float], change: Change = lambda data: data, **frame: Any) -> Picture:
    data = simulate_periodic(Stack.bilayer(RES2, slip), SCOPE, (SIDE, SIDE), PIXEL, **frame)
    return prepare(Image(np.asarray(change(data), np.float32)).with_pixel_size(PIXEL, "user"))


def counted(dose: float) -> Change:
    return lambda data: np.random.default_rng(8).poisson(data * dose * PIXEL**2)


@pytest.fixture(scope="module")
def clean() -> NDArray[np.float64]:
    """Features of each of SLIPS, (slips, features)."""
    return lattice_features([imaged(slip) for slip in SLIPS])


def confusion(clean: NDArray[np.float64], changed: Sequence[Picture]) -> float:
    """Largest distance of a changed picture from its own clean one, over that from the nearest other slip's."""
    spread = clean.std(axis=0)
    seen = lattice_features(changed)
    varies = spread > 1e-9
    gaps = np.linalg.norm(((seen[:, None] - clean[None]) / np.where(varies, spread, 1))[..., varies], axis=-1)
    own, others = np.diag(gaps), np.where(np.eye(len(gaps)), np.inf, gaps).min(axis=1)
    return float((own / others).max())


@pytest.mark.parametrize(
    "frame",
    [{"rotation": 37 * DEGREE}, {"rotation": 171 * DEGREE}, {"origin": (1.3, -2.2)}, {"mirrored": True}],
    ids=["37°", "171°", "moved", "mirrored"],
)
def test_place_orientation_and_hand_do_not_show(clean: NDArray[np.float64], frame: Any) -> None:
    # 0.5: how reflections overlap in a field of 34 Å differs with their places; 1 would be a confusion.
    assert confusion(clean, [imaged(slip, **frame) for slip in SLIPS]) < 0.5


@pytest.mark.parametrize("gain", [0.01, 3e4])
def test_scale_and_offset_of_the_grey_values_do_not_show(clean: NDArray[np.float64], gain: float) -> None:
    changed = lattice_features([imaged(slip, lambda data: gain * (data + 0.2)) for slip in SLIPS])
    # 1e-3: float32 of the grey values, of which the weakest rings hold 1e-4 of the power.
    assert np.abs(changed - clean).max() < 1e-3


@pytest.mark.parametrize(
    "change",
    [
        counted(2.6e4),
        counted(5e3),
        lambda data: ndimage.gaussian_filter(data, 0.35 / PIXEL),
        lambda data: counted(1e4)(ndimage.gaussian_filter(data, 0.2 / PIXEL)),
    ],
    ids=["usual dose", "low dose", "source 0.8 Å wider", "both"],
)
def test_slips_are_known_again_under_noise_and_blur(clean: NDArray[np.float64], change: Change) -> None:
    # Below 1 the nearest clean picture is the right one.
    assert confusion(clean, [imaged(slip, change, rotation=0.8) for slip in SLIPS]) < 1


def test_slips_are_known_again_at_another_pixel_size(clean: NDArray[np.float64]) -> None:
    finer = [prepare(Image(one.data).with_pixel_size(PIXEL, "user"), 0.08) for one in map(imaged, SLIPS)]
    assert confusion(clean, finer) < 0.5  # as for another place
    wrong = [replace(imaged(slip, rotation=0.8), pixel_size=PIXEL * 1.01) for slip in SLIPS]
    assert confusion(clean, wrong) < 1  # as under noise


def test_nearer_slips_have_nearer_features() -> None:
    steps = np.array([0.0, 0.1, 0.2, 0.4, 0.8])
    rows = lattice_features([imaged((0.8 + step, 0.4)) for step in steps])
    gaps = np.linalg.norm(rows - rows[0], axis=1)
    assert (np.diff(gaps) > 0).all()


def test_noise_alone_has_finite_features() -> None:
    noise = np.random.default_rng(0).random((200, 200)).astype(np.float32)
    assert np.isfinite(lattice_features([Picture(noise, 0.1, 0, 1, "noise")])).all()


@pytest.mark.parametrize(
    ("pixel_size", "said"), [(0.5, "too coarse to compare by: at most 0.4"), (0.1, "at least 12 Å")]
)
def test_pictures_without_enough_lattice_are_refused(pixel_size: float, said: str) -> None:
    data = np.random.default_rng(0).random((64, 64)).astype(np.float32)
    with pytest.raises(DataError, match=said):
        lattice_features([Picture(data, pixel_size, 0, 1, "one")])


@pytest.mark.parametrize("name", ["vgg19", "vgg16", "vgg16:", ""])
def test_unknown_extractors_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="builtin, or vgg16:FILE"):
        extractor_named(name)


def test_builtin_is_the_default() -> None:
    assert extractor_named("builtin") is lattice_features


@pytest.fixture(scope="module")
def torch() -> Any:
    return pytest.importorskip("torch")


@pytest.fixture(scope="module")
def state(torch: Any) -> dict[str, Any]:
    """Random weights under torchvision's names, and one of the classifier's."""
    rng = torch.Generator().manual_seed(0)
    numbers = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
    channels = (3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
    state: dict[str, Any] = {"classifier.0.weight": torch.zeros(2, 2)}
    for number, before, after in zip(numbers, channels, channels[1:], strict=False):
        weights = torch.randn(after, before, 3, 3, generator=rng) * (2 / (9 * before)) ** 0.5
        state[f"features.{number}.weight"] = weights
        state[f"features.{number}.bias"] = torch.zeros(after)
    return state


@pytest.fixture(scope="module")
def files(torch: Any, state: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vgg16")
    torch.save(state, folder / "vgg16.pth")
    importlib.import_module("safetensors.torch").save_file(state, folder / "vgg16.safetensors")
    return folder


class TestVGG16:
    def test_both_kinds_of_file_give_the_outputs_of_the_layers(
        self, torch: Any, state: dict[str, Any], files: Path
    ) -> None:
        """Against the same network written out with torch's functions."""
        functional = torch.nn.functional
        data = np.random.default_rng(1).random((224, 224)).astype(np.float32)
        mean, std = (torch.tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
        maps = ((torch.from_numpy(data)[None] - mean) / std)[None]
        for number in range(31):
            if f"features.{number}.weight" in state:
                weights, bias = state[f"features.{number}.weight"], state[f"features.{number}.bias"]
                maps = functional.relu(functional.conv2d(maps, weights, bias, padding=1))
            elif number in (4, 9, 16, 23, 30):
                maps = functional.max_pool2d(maps, 2)
        expected = maps.flatten().numpy()
        assert expected.shape == (512 * 7 * 7,)
        for name in ("vgg16.pth", "vgg16.safetensors"):
            found = extractor_named(f"vgg16:{files / name}")([Picture(data, 0.1, 0, 1, "one")])
            assert found.shape == (1, 25088)
            assert np.abs(found[0] - expected).max() < 1e-4 * np.abs(expected).max()  # float32 in another order

    def test_pooled_features_and_pictures_of_any_shape(self, files: Path) -> None:
        load = importlib.import_module("picostem.style.vgg16").load_vgg16
        pictures = [imaged(SLIPS[0]), replace(imaged(SLIPS[1]), data=imaged(SLIPS[1]).data[:100])]
        whole, pooled = (load(files / "vgg16.pth", pooled=pooled)(pictures) for pooled in (False, True))
        assert pooled.shape == (2, 512)
        # 1e-4: float32 sums.
        assert np.abs(whole.reshape(2, 512, 49).mean(axis=2) - pooled).max() < 1e-4 * np.abs(pooled).max()

    def test_files_that_are_not_vgg16_are_refused(
        self, torch: Any, state: dict[str, Any], files: Path, tmp_path: Path
    ) -> None:
        first = {"features.0.weight": state["features.0.weight"]}
        cases = {
            "missing.pth": (first, "expected features.0.bias of shape .64., got nothing"),
            "shape.pth": ({"features.0.weight": torch.zeros(64, 1, 3, 3)}, "got .64, 1, 3, 3."),
            "nan.pth": (first | {"features.0.bias": torch.full((64,), float("nan"))}, "NaN"),
            "list.pth": ([1, 2], "expected a state dict, got a list"),
        }
        for name, (content, said) in cases.items():
            torch.save(content, tmp_path / name)
            with pytest.raises(FileError, match=said):
                extractor_named(f"vgg16:{tmp_path / name}")
        (tmp_path / "short.safetensors").write_bytes((files / "vgg16.safetensors").read_bytes()[:1000])
        (tmp_path / "short.pth").write_bytes((files / "vgg16.pth").read_bytes()[:1000])
        (tmp_path / "text.pth").write_text("weights")
        for name in ("short.safetensors", "short.pth", "text.pth", "none.pth"):
            with pytest.raises(FileError, match=name):
                extractor_named(f"vgg16:{tmp_path / name}")

    def test_a_file_that_would_run_something_is_refused_and_not_run(self, torch: Any, tmp_path: Path) -> None:
        mark = tmp_path / "ran"

        class Malicious:
            def __reduce__(self) -> Any:
                return Path.touch, (mark,)

        torch.save({"features.0.weight": Malicious()}, tmp_path / "bad.pth")
        with pytest.raises(FileError, match="nothing in it was run"):
            extractor_named(f"vgg16:{tmp_path / 'bad.pth'}")
        assert not mark.exists()
