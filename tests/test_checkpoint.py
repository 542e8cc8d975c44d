"""Weights in files: what goes in comes out, and what is no such file is refused with advice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from picostem import checkpoint
from picostem.errors import DataError, FileError, OutputError, UsageError

pytest.importorskip("torch")
pytest.importorskip("safetensors")

import torch

FORM = "picostem.test/1"


@pytest.fixture
def net() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Conv2d(4, 2, 3))


def trained(net: torch.nn.Module, steps: int) -> torch.optim.Optimizer:
    optimiser = torch.optim.Adam(net.parameters(), lr=0.01)
    step(net, optimiser, steps)
    return optimiser


def step(net: torch.nn.Module, optimiser: torch.optim.Optimizer, steps: int) -> None:
    for number in range(steps):
        optimiser.zero_grad()
        torch.autograd.backward(net(torch.ones(1, 1, 8, 8) * (number + 1)).square().mean())
        optimiser.step()


def test_round_trip(tmp_path: Path, net: torch.nn.Module) -> None:
    path = tmp_path / "deep" / "net.safetensors"
    document = {"network": {"base": 4}, "step": 7, "state": 2**127 + 1, "words": "Å"}
    checkpoint.save(path, net.state_dict(), document, FORM)
    tensors, found = checkpoint.load(path, FORM)
    assert found == document
    assert tensors.keys() == net.state_dict().keys()
    assert all(torch.equal(tensors[name], value) for name, value in net.state_dict().items())
    assert list(path.parent.iterdir()) == [path]  # nothing is left beside it


def test_channels_last_tensors_and_views_keep_their_values(tmp_path: Path) -> None:
    whole = torch.arange(24.0).reshape(1, 2, 3, 4)
    tensors = {"last": whole.to(memory_format=torch.channels_last), "part": whole[:, 1:]}
    checkpoint.save(tmp_path / "a", tensors, {}, FORM)
    loaded, _ = checkpoint.load(tmp_path / "a", FORM)
    assert torch.equal(loaded["last"], whole)
    assert torch.equal(loaded["part"], whole[:, 1:])


def test_shared_layers_can_be_saved(tmp_path: Path) -> None:
    layer = torch.nn.Linear(2, 2)
    both = torch.nn.ModuleDict({"a": layer, "b": layer})
    checkpoint.save(tmp_path / "a", both.state_dict(), {}, FORM)
    tensors, _ = checkpoint.load(tmp_path / "a", FORM)
    assert torch.equal(tensors["a.weight"], layer.weight)
    assert torch.equal(tensors["b.weight"], layer.weight)


def test_restored_optimiser_goes_on_as_if_never_stopped(tmp_path: Path, net: torch.nn.Module) -> None:
    optimiser = trained(net, 3)
    tensors = checkpoint.prefixed("net", net.state_dict())
    tensors |= checkpoint.prefixed("optimiser", checkpoint.optimiser_tensors(optimiser))
    checkpoint.save(tmp_path / "a", tensors, {}, FORM)
    step(net, optimiser, 2)

    torch.manual_seed(1)
    other = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Conv2d(4, 2, 3))
    fresh = torch.optim.Adam(other.parameters(), lr=0.01)
    loaded, _ = checkpoint.load(tmp_path / "a", FORM)
    checkpoint.restore(other, checkpoint.under("net", loaded), "a")
    checkpoint.restore_optimiser(fresh, checkpoint.under("optimiser", loaded), "a")
    step(other, fresh, 2)
    for mine, theirs in zip(net.parameters(), other.parameters(), strict=True):
        assert torch.equal(mine, theirs)  # the same arithmetic on the same numbers


def test_an_optimiser_without_its_state_goes_elsewhere(net: torch.nn.Module) -> None:
    """The test above would not notice a state that is not used; this shows that it matters."""
    optimiser = trained(net, 3)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    step(net, optimiser, 1)
    with_state = next(net.parameters()).clone()
    net.load_state_dict(before)
    trained(net, 1)
    assert not torch.allclose(next(net.parameters()), with_state)


def test_a_pickle_is_never_read(tmp_path: Path, net: torch.nn.Module) -> None:
    path = tmp_path / "weights.pt"
    torch.save(net.state_dict(), path)
    with pytest.raises(FileError, match="pickle.*convert it to safetensors"):
        checkpoint.load(path, FORM)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a file of picostem's weights"),
        (b"no weights at all, but some text", "not a file of picostem's weights"),
        (b"\xff" * 64, "not a file of picostem's weights"),
        ((2).to_bytes(8, "little") + b"{}", "not a file of picostem's weights"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(FileError, match=message):
        checkpoint.load(tmp_path / "a", FORM)


def test_a_file_of_another_kind_names_both(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "a", {}, {}, "picostem.other/3")
    with pytest.raises(FileError, match=r"picostem\.other/3; expected picostem\.test/1"):
        checkpoint.load(tmp_path / "a", FORM)


def test_a_cut_file_is_damaged(tmp_path: Path, net: torch.nn.Module) -> None:
    path = tmp_path / "a"
    checkpoint.save(path, net.state_dict(), {}, FORM)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(FileError, match="damaged"):
        checkpoint.load(path, FORM)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="cannot read"):
        checkpoint.load(tmp_path / "none", FORM)


def test_a_file_where_a_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        checkpoint.save(tmp_path / "a" / "b", {}, {}, FORM)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    checkpoint.save(path, {"w": torch.ones(2)}, {}, FORM)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OutputError, match="No space left"):
        checkpoint.save(path, {"w": torch.zeros(2)}, {}, FORM)
    assert checkpoint.load(path, FORM)[0]["w"].tolist() == [1, 1]
    assert list(tmp_path.iterdir()) == [path]


def test_weights_of_another_network_are_refused(net: torch.nn.Module) -> None:
    state = dict(net.state_dict())
    with pytest.raises(DataError, match=r"1 missing \(0.bias\), 0 unknown"):
        checkpoint.restore(net, {name: value for name, value in state.items() if name != "0.bias"}, "w")
    with pytest.raises(DataError, match=r"0 missing, 1 unknown \(extra\)"):
        checkpoint.restore(net, state | {"extra": torch.ones(1)}, "w")
    with pytest.raises(DataError, match=r"0.bias has shape \(5,\), expected \(4,\)"):
        checkpoint.restore(net, state | {"0.bias": torch.ones(5)}, "w")


def test_optimiser_state_of_another_network_is_refused(net: torch.nn.Module) -> None:
    optimiser = trained(net, 1)
    for name, value in (("9.exp_avg", torch.ones(4)), ("0.exp_avg", torch.ones(4)), ("x.step", torch.ones(()))):
        with pytest.raises(DataError, match="does not belong to this network"):
            checkpoint.restore_optimiser(optimiser, {name: value}, "a")


def test_the_document_can_be_read_without_torch(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "a", {"w": torch.ones(2)}, {"step": 3}, FORM)
    content = (tmp_path / "a").read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert json.loads(header["__metadata__"]["picostem"]) == {"format": FORM, "step": 3}


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r'training needs torch, safetensors: pip install "picostem\[train\]"'):
        checkpoint.load(tmp_path / "a", FORM)
