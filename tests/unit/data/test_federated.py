import sys
import threading
import types
from pathlib import Path

import numpy as np
import pytest

from fedkd.data import federated
from fedkd.data.config import DataConfig, HeterogeneityConfig, PartitionConfig, PublicConfig
from fedkd.data.federated import cached_federated_data, load_federated_data
from fedkd.data.images import LabelledImages, public_digest
from fedkd.data.source import Source
from fedkd.data.sources import load_source
from fedkd.errors import DataError, PartitionError


def rows(images_NCHW):
    return [image.tobytes() for image in images_NCHW]


@pytest.fixture
def numbered(monkeypatch):
    """A source with a test split whose images spell their own number, so that each can be told from all others."""

    def images(start, num, channels=1):
        numbers = np.arange(start, start + num)
        pixels = np.stack([numbers // 256, numbers % 256], axis=1).astype(np.uint8)
        planes = np.repeat(pixels.reshape(num, 1, 1, 2), channels, axis=1)
        return LabelledImages(planes, (numbers % 4).astype(np.int64))

    def source(root):
        return Source(images(0, 300), images(1000, 50), 4, tuple("abcd"), np.arange(300) % 6)

    def colour(root):
        wide = images(2000, 80, channels=3)
        return Source(LabelledImages(np.repeat(wide.images_NCHW, 4, axis=3), wide.labels_N), None, 4, tuple("wxyz"))

    module = types.ModuleType("numbered_source")
    module.source, module.colour = source, colour
    monkeypatch.setitem(sys.modules, "numbered_source", module)
    return "numbered_source:source"


def test_defaults_divide_the_digits_as_promised():
    data = load_federated_data(DataConfig(), 10, 0)
    assert (len(data.test), len(data.public_inputs), len(data.train)) == (360, 400, 1037)
    assert sum(len(part) for part in data.partitions) == 1037
    assert len(data.partitions) == 10
    assert data.public_labels_N is None
    assert data.public_digest == public_digest(data.public_inputs)
    assert data.input_shape == (1, 8, 8)
    assert data.num_classes == len(data.class_names) == 10
    assert np.sum(data.partition_record.counts) == 1037
    every_digit = load_source("digits", Path("data")).train.images_NCHW
    parts = [data.train.images_NCHW, data.public_inputs, data.test.images_NCHW]
    assert sorted(rows(np.concatenate(parts))) == sorted(rows(every_digit))


@pytest.mark.parametrize("seed", [0, 1])
def test_private_public_and_test_samples_are_disjoint(numbered, seed):
    data = load_federated_data(DataConfig(source=numbered, public=PublicConfig(size=100)), 5, seed)
    splits = data.train.images_NCHW, data.public_inputs, data.test.images_NCHW
    private, public, test = (set(rows(images_NCHW)) for images_NCHW in splits)
    assert (len(private), len(public), len(test)) == (200, 100, 50)
    assert len(private | public | test) == 350


def test_everything_is_a_function_of_the_seed():
    one, same, other = (load_federated_data(DataConfig(), 5, seed) for seed in (3, 3, 4))
    assert one.public_digest == same.public_digest != other.public_digest
    assert one.train.digest() == same.train.digest() != other.train.digest()
    assert one.test.digest() == same.test.digest() != other.test.digest()
    assert one.partition_record == same.partition_record != other.partition_record


def test_clients_partition_the_private_pool(numbered):
    data = load_federated_data(DataConfig(source=numbered, public=PublicConfig(size=50)), 4, 0)
    held = [row for client in range(4) for row in rows(data.client(client).images_NCHW)]
    assert sorted(held) == sorted(rows(data.train.images_NCHW))
    for client in (-1, 4):
        with pytest.raises(DataError, match=f"client = {client} is not allowed: 0 to 3"):
            data.client(client)


def test_sizes_cap_private_and_test_samples(numbered):
    config = DataConfig(source=numbered, train_size=120, test_size=20, public=PublicConfig(size=100))
    data = load_federated_data(config, 4, 0)
    assert (len(data.train), len(data.test)) == (120, 20)
    assert len(load_federated_data(DataConfig(test_size=100), 4, 0).test) == 100


@pytest.mark.parametrize(
    ("config", "match"),
    [
        ({"public": {"size": 1434}}, r"data\.public\.size = 1434 is not allowed: at most 1433 of the 1437"),
        ({"test_size": 1797}, r"data\.test_size = 1797 is not allowed: at most 1796"),
        ({"train_size": 1038}, r"data\.train_size = 1038 is not allowed: at most 1037"),
    ],
)
def test_sizes_beyond_the_source_name_key_value_and_maximum(config, match):
    with pytest.raises(DataError, match=match):
        load_federated_data(DataConfig.model_validate(config), 4, 0)


def test_sizes_beyond_other_sources_name_key_value_and_maximum(numbered):
    with pytest.raises(DataError, match=r"data\.test_size = 51 .* at most 50"):
        load_federated_data(DataConfig(source=numbered, test_size=51, public=PublicConfig(size=9)), 4, 0)
    public = PublicConfig(source="numbered_source:colour", size=81)
    with pytest.raises(DataError, match=r"data\.public\.size = 81 .* at most 80"):
        load_federated_data(DataConfig(source=numbered, public=public), 4, 0)


def test_more_clients_than_samples_is_a_partition_error():
    with pytest.raises(PartitionError, match="num_clients = 1001"):
        load_federated_data(DataConfig(train_size=1000), 1001, 0)


def test_public_labels_come_only_when_asked_for(numbered):
    public = PublicConfig(size=40, labelled=True)
    data = load_federated_data(DataConfig(source=numbered, public=public), 4, 0)
    assert data.public_labels_N is not None
    numbers = data.public_inputs[:, 0, 0, :].astype(int) @ [256, 1]
    assert np.array_equal(data.public_labels_N, numbers % 4)


def test_a_public_set_from_elsewhere_is_fitted_and_leaves_the_private_pool_whole(numbered):
    public = PublicConfig(source="numbered_source:colour", size=30)
    data = load_federated_data(DataConfig(source=numbered, public=public), 4, 0)
    assert data.public_inputs.shape == (30, *data.input_shape) == (30, 1, 1, 2)
    assert len(data.train) == 300
    labelled = PublicConfig(source="numbered_source:colour", size=30, labelled=True)
    with pytest.raises(DataError, match=r"data\.public\.labelled = true .* w, x, y, z, .* a, b, c, d"):
        load_federated_data(DataConfig(source=numbered, public=labelled), 4, 0)


def test_real_sources_pair_up(data_root):
    public = PublicConfig(source="fashion_mnist", root=str(data_root), size=64)
    data = load_federated_data(DataConfig(public=public), 4, 0)
    assert data.public_inputs.shape == (64, 1, 8, 8)
    assert len(data.train) == 1437


def test_natural_ids_follow_their_samples(numbered):
    config = DataConfig(source=numbered, public=PublicConfig(size=50), partition=PartitionConfig(kind="natural_id"))
    data = load_federated_data(config, 6, 0)
    for client in range(6):
        numbers = data.client(client).images_NCHW[:, 0, 0, :].astype(int) @ [256, 1]
        assert set(numbers % 6) == {client}


def test_heterogeneity_reaches_private_samples_only():
    shifted = HeterogeneityConfig(feature_shift="brightness", feature_shift_strength=1.0, label_noise=0.5)
    plain, data = (load_federated_data(DataConfig(heterogeneity=h), 4, 0) for h in (HeterogeneityConfig(), shifted))
    assert data.public_digest == plain.public_digest
    assert data.test.digest() == plain.test.digest()
    assert data.partition_record == plain.partition_record
    assert not np.array_equal(data.client(1).images_NCHW, plain.client(1).images_NCHW)
    assert 0.3 < (data.client(1).labels_N != plain.client(1).labels_N).mean() < 0.7
    assert data.client(1).digest() == data.client(1).digest()


def test_image_size_reaches_every_part():
    data = load_federated_data(DataConfig(image_size=12), 4, 0)
    assert data.input_shape == data.test.input_shape == data.public_inputs.shape[1:] == (1, 12, 12)


def test_clients_of_one_process_share_one_load(monkeypatch):
    loads = []

    def counting(name, root, image_size):
        loads.append(name)
        return load_source(name, root, image_size)

    monkeypatch.setattr(federated, "load_source", counting)
    config = {"partition": {"dirichlet_alpha": 0.77}}
    seen = []

    def client():
        seen.append(cached_federated_data(DataConfig.model_validate(config), 4, 9))

    threads = [threading.Thread(target=client) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert loads == ["digits"]
    assert all(data is seen[0] for data in seen)
    assert cached_federated_data(DataConfig(), 4, 9) is not seen[0]
