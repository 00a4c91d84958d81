import datasets
import numpy as np
import pytest
from PIL import Image

from fedkd.data.sources import load_source
from fedkd.errors import DataError

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 6, 6), dtype=np.uint8)


@pytest.fixture(autouse=True)
def _offline_and_in_a_cache_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    was_shown = datasets.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    yield
    if was_shown:
        datasets.enable_progress_bars()


def write_parquet(folder, split, rows, label_feature=None, **columns):
    folder.mkdir(exist_ok=True)
    features = {"image": datasets.Image(), "label": label_feature or datasets.ClassLabel(names=["cat", "dog"])}
    features |= {name: datasets.Value("string") for name in columns}
    values = {
        "image": [Image.fromarray(IMAGES[row]) for row in rows],
        "label": [row % 2 for row in rows],
        **{name: [value[row] for row in rows] for name, value in columns.items()},
    }
    table = datasets.Dataset.from_dict(values, features=datasets.Features(features))
    table.to_parquet(folder / f"{split}-00000.parquet")


@pytest.mark.parametrize("by_path", [True, False])
def test_parquet_on_disk_is_read_with_names_and_writers(by_path, tmp_path):
    folder = tmp_path / "set"
    write_parquet(folder, "train", [0, 1, 2], writer_id=["ann", "bob", "ann", "bob"])
    write_parquet(folder, "test", [3], writer_id=["ann", "bob", "ann", "bob"])
    name, root = (f"huggingface:{folder}", tmp_path / "cache") if by_path else ("huggingface:parquet", folder)
    source = load_source(name, root)
    assert np.array_equal(source.train.images_NCHW[:, 0], IMAGES[:3])
    assert source.train.labels_N.tolist() == [0, 1, 0]
    assert source.class_names == ("cat", "dog")
    assert source.natural_ids_N is not None
    assert source.natural_ids_N.tolist() == ["ann", "bob", "ann"]
    assert source.test is not None
    assert np.array_equal(source.test.images_NCHW[:, 0], IMAGES[3:])


def test_an_image_folder_on_disk_is_read_and_resized(tmp_path):
    for row, name in enumerate(["cat", "dog"]):
        (tmp_path / "set" / name).mkdir(parents=True)
        Image.fromarray(IMAGES[row]).save(tmp_path / "set" / name / "1.png")
    source = load_source("huggingface:imagefolder", tmp_path / "set", image_size=12)
    assert source.test is None
    assert source.class_names == ("cat", "dog")
    assert source.train.input_shape == (1, 12, 12)


def test_plain_integer_labels_are_named_by_number(tmp_path):
    write_parquet(tmp_path / "set", "train", [0, 1], label_feature=datasets.Value("int32"))
    source = load_source("huggingface:parquet", tmp_path / "set")
    assert source.class_names == ("0", "1")
    assert source.natural_ids_N is None


@pytest.mark.parametrize(
    ("split", "feature", "match"),
    [("test", None, "allowed: 'train'"), ("train", datasets.Value("string"), "'label' holds")],
)
def test_sets_that_do_not_fit_are_refused(split, feature, match, tmp_path):
    write_parquet(tmp_path / "set", split, [0, 1], label_feature=feature)
    with pytest.raises(DataError, match=match):
        load_source("huggingface:parquet", tmp_path / "set")


def test_a_set_without_images_is_refused_by_its_columns(tmp_path):
    (tmp_path / "set").mkdir()
    datasets.Dataset.from_dict({"text": ["a"], "label": [0]}).to_parquet(tmp_path / "set" / "train.parquet")
    with pytest.raises(DataError, match=r"has the columns.*text"):
        load_source("huggingface:parquet", tmp_path / "set")


def test_what_cannot_be_loaded_is_an_error_naming_it_and_the_root(tmp_path):
    with pytest.raises(DataError, match=f"huggingface:parquet cannot be loaded with root '{tmp_path / 'absent'}'"):
        load_source("huggingface:parquet", tmp_path / "absent")
    with pytest.raises(DataError, match="huggingface:no/such-set cannot be loaded"):
        load_source("huggingface:no/such-set", tmp_path)
