"""Folders and archives of a site, read back as they were written; and all that can be wrong with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from fedkd.config.experiment import parse_config
from fedkd.data.config import DataConfig
from fedkd.data.deployed import load_server_data, site_data
from fedkd.data.site_files import read_labelled, read_public, write_archive
from fedkd.errors import ConfigError, DataError

IMAGES = np.arange(4 * 3 * 5 * 6, dtype=np.uint8).reshape(4, 3, 5, 6)
LABELS = np.array([2, 0, 2, 1])


def save_image(path: Path, grey: int, size: int = 4) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((size, size), grey, np.uint8)).save(path)


def test_an_archive_comes_back(tmp_path: Path) -> None:
    write_archive(tmp_path / "a" / "images.npz", IMAGES, LABELS)
    found = read_labelled(tmp_path / "a", None)
    assert np.array_equal(found.images.images_NCHW, IMAGES)
    assert found.images.labels_N.tolist() == [2, 0, 2, 1]
    assert found.counts() == {"0": 1, "1": 1, "2": 2}
    images_NCHW, labels_N = read_public(tmp_path / "a" / "images.npz", None)
    assert np.array_equal(images_NCHW, IMAGES)
    assert labels_N is not None


def test_class_folders_take_the_order_of_the_federations_classes(tmp_path: Path) -> None:
    save_image(tmp_path / "cat" / "1.png", 10)
    save_image(tmp_path / "dog" / "1.png", 20)
    found = read_labelled(tmp_path, None)
    assert found.counts() == {"cat": 1, "dog": 1}
    assert found.under(("dog", "bird", "cat")).labels_N.tolist() == [2, 0]
    with pytest.raises(DataError, match=r"dog is none of data\.classes"):
        found.under(("cat", "cow"))


def test_a_public_folder_is_in_the_order_of_its_paths(tmp_path: Path) -> None:
    save_image(tmp_path / "b" / "1.png", 3)
    save_image(tmp_path / "a.png", 2)
    save_image(tmp_path / "b" / "0.png", 1)
    images_NCHW, labels_N = read_public(tmp_path, 2)
    assert images_NCHW[:, 0, 0, 0].tolist() == [2, 1, 3]
    assert images_NCHW.shape == (3, 1, 2, 2)
    assert labels_N is None


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match="does not exist"):
        read_labelled(tmp_path / "none", None)
    with pytest.raises(DataError, match="holds no class folders"):
        read_labelled(empty, None)
    with pytest.raises(DataError, match="holds no images"):
        read_public(empty, None)
    write_archive(tmp_path / "bare.npz", IMAGES)
    with pytest.raises(DataError, match="lacks the key 'labels'"):
        read_labelled(tmp_path / "bare.npz", None)
    write_archive(tmp_path / "two.npz", IMAGES, LABELS)
    with pytest.raises(DataError, match=r"holds 2 \.npz files"):
        read_labelled(tmp_path, None)
    with pytest.raises(DataError, match="holds label 2; allowed: 0 to 1"):
        read_labelled(tmp_path / "two.npz", None).under(("a", "b"))
    np.savez(tmp_path / "two.npz", x=IMAGES)
    with pytest.raises(DataError, match="lacks the key 'images'"):
        read_public(tmp_path / "two.npz", None)


def test_each_side_sees_its_own(tmp_path: Path) -> None:
    write_archive(tmp_path / "public" / "p.npz", IMAGES)
    write_archive(tmp_path / "test" / "t.npz", IMAGES, LABELS)
    values = {"source": "sites", "classes": ["a", "b", "c"], "root": str(tmp_path), "public": {"size": 4}}
    config = DataConfig.model_validate(values)
    server = load_server_data(config, 2, 0)
    assert (len(server.train), len(server.test), server.partition_record) == (0, 4, None)
    public = read_public(tmp_path / "public", None)
    site = site_data(config, 2, 0, 1, read_labelled(tmp_path / "test", None), public)
    assert (len(site.client(1)), len(site.client(0)), len(site.test)) == (4, 0, 0)
    assert site.public_digest == server.public_digest
    with pytest.raises(DataError, match=r"data\.public\.size = 5 is not allowed: .*public holds 4"):
        load_server_data(DataConfig.model_validate(values | {"public": {"size": 5}}), 2, 0)
    labelled = DataConfig.model_validate(values | {"public": {"size": 4, "labelled": True}})
    with pytest.raises(DataError, match="has no labels"):
        load_server_data(labelled, 2, 0)


@pytest.mark.parametrize(
    "values",
    [
        {"source": "sites"},
        {"source": "sites", "classes": ["a", "a"]},
        {"source": "sites", "classes": ["a"], "heterogeneity": {"label_noise": 0.1}},
        {"source": "sites", "classes": ["a"], "public": {"source": "digits"}},
        {"classes": ["a"]},
    ],
)
def test_what_sites_do_not_have_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=r"sites"):
        DataConfig.model_validate(values)


@pytest.mark.parametrize(("key", "run"), [("baselines", {}), ("evaluate_clients_every", {"baselines": False})])
def test_what_nobody_can_measure_is_refused(key: str, run: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=rf"run\.{key} = "):
        parse_config({"data": {"source": "sites", "classes": ["a", "b"]}, "run": run})
