import numpy as np
import pytest
import torch
import torchvision.datasets

from fedkd.data.sources import load_source
from fedkd.data.torchvision_sources import TORCHVISION_SETS
from fedkd.errors import DataError


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_real_files_are_read_as_they_are(name, data_root):
    source = load_source(name, data_root)
    folder = data_root / TORCHVISION_SETS[name].factory / "raw"
    pixels = np.fromfile(folder / "t10k-images-idx3-ubyte", dtype=np.uint8)[16:]
    assert source.test is not None
    assert np.array_equal(source.test.images_NCHW.ravel(), pixels)
    assert np.array_equal(source.test.labels_N, np.fromfile(folder / "t10k-labels-idx1-ubyte", dtype=np.uint8)[8:])
    assert source.train.images_NCHW.shape == (60_000, 1, 28, 28)
    assert source.num_classes == len(source.class_names) == 10


class FakeSet:
    """Stands in for a class of torchvision: remembers how it was called, and holds two images."""

    classes = ("first", "second")

    def __init__(self, root, download=False, **which):
        self.root = root
        self.calls.append((download, which))
        if self.missing and not download:
            raise RuntimeError("Dataset not found.")
        if self.broken:
            raise OSError("tried a mirror:\n  no network")
        self.data, self.targets = self.images, [0, 1]


@pytest.fixture
def fake(monkeypatch):
    def install(name, images=None, missing=False, broken=False):
        values = {"images": images, "missing": missing, "broken": broken, "calls": []}
        fake_set = type("Fake", (FakeSet,), values)
        monkeypatch.setattr(torchvision.datasets, TORCHVISION_SETS[name].factory, fake_set)
        return fake_set.calls

    return install


def test_files_that_are_there_are_never_downloaded(fake, tmp_path):
    calls = fake("kmnist", torch.zeros((2, 28, 28), dtype=torch.uint8))
    source = load_source("kmnist", tmp_path)
    assert calls == [(False, {"train": True}), (False, {"train": False})]
    assert source.class_names == ("first", "second")
    assert source.train.input_shape == (1, 28, 28)


def test_missing_files_are_downloaded(fake, tmp_path):
    calls = fake("kmnist", torch.zeros((2, 28, 28), dtype=torch.uint8), missing=True)
    load_source("kmnist", tmp_path)
    assert [download for download, _ in calls] == [False, True, False, True]


@pytest.mark.parametrize("name", sorted(TORCHVISION_SETS))
def test_what_cannot_be_had_is_an_error_naming_source_root_and_file(name, fake, tmp_path):
    fake(name, missing=True, broken=True)
    with pytest.raises(DataError) as error:
        load_source(name, tmp_path)
    for part in (
        repr(name),
        str(tmp_path),
        "(tried a mirror: no network)",
        str(tmp_path / TORCHVISION_SETS[name].expected),
    ):
        assert part in str(error.value)


def test_emnist_comes_upright_and_balanced(fake, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (2, 28, 28), dtype=np.uint8)
    calls = fake("emnist", torch.from_numpy(images))
    source = load_source("emnist", tmp_path)
    assert calls[0] == (False, {"train": True, "split": "balanced"})
    assert np.array_equal(source.train.images_NCHW[:, 0], images.swapaxes(1, 2))


@pytest.mark.parametrize("channels_first", [True, False])
def test_colour_images_come_channels_first(channels_first, fake, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 32, 32), dtype=np.uint8)
    fake("cifar10", images if channels_first else images.transpose(0, 2, 3, 1))
    assert np.array_equal(load_source("cifar10", tmp_path).train.images_NCHW, images)


def test_svhn_is_asked_for_its_split_by_name(fake, tmp_path):
    calls = fake("svhn", np.zeros((2, 3, 32, 32), dtype=np.uint8))
    assert load_source("svhn", tmp_path).class_names == tuple("0123456789")
    assert [which for _, which in calls] == [{"split": "train"}, {"split": "test"}]


@pytest.mark.parametrize("name", sorted(TORCHVISION_SETS))
def test_torchvision_has_the_class_and_takes_the_arguments(name):
    import inspect

    image_set = TORCHVISION_SETS[name]
    parameters = inspect.signature(getattr(torchvision.datasets, image_set.factory).__init__).parameters
    keywords = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    assert "download" in parameters or keywords
    assert keywords or set(image_set.arguments(train=True)) <= set(parameters)
