import numpy as np
import pytest
from PIL import Image

from fedkd.data.prediction_images import load_images
from fedkd.errors import DataError


@pytest.fixture
def grey():
    return np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)


def test_one_file(grey, tmp_path):
    Image.fromarray(grey).save(tmp_path / "one.png")
    names, images = load_images(tmp_path / "one.png", (1, 8, 8))
    assert names == ["one.png"]
    assert np.array_equal(images, grey[None, None])


def test_a_folder_is_read_with_its_subfolders_and_fitted(grey, tmp_path):
    (tmp_path / "sub").mkdir()
    Image.fromarray(grey).save(tmp_path / "sub" / "grey.png")
    Image.fromarray(np.stack([grey[:5]] * 3, axis=-1)).save(tmp_path / "colour.jpg")
    names, images = load_images(tmp_path, (3, 8, 8))
    assert names == ["colour.jpg", "sub/grey.png"]
    assert images.shape == (2, 3, 8, 8)
    assert np.array_equal(images[1], np.stack([grey] * 3))


@pytest.mark.parametrize("key", ["images", "x_test"])
def test_an_archive_names_its_rows(key, grey, tmp_path):
    np.savez(tmp_path / "some.npz", **{key: np.stack([grey, grey.T]), "y_test": np.arange(2)})
    names, images = load_images(tmp_path / "some.npz", (1, 8, 8))
    assert names == [f"{key}[0]", f"{key}[1]"]
    assert np.array_equal(images[1, 0], grey.T)


def test_what_holds_no_images_is_refused_by_path(grey, tmp_path):
    (tmp_path / "empty").mkdir()
    np.savez(tmp_path / "other.npz", x_train=grey[None])
    np.savez(tmp_path / "none.npz", images=grey[None][:0])
    (tmp_path / "text.txt").write_text("no image")
    for name, match in [
        ("absent", "does not exist"),
        ("empty", "holds no images"),
        ("other.npz", r"\['x_train'\]; allowed: images or x_test"),
        ("none.npz", "images holds no images"),
        ("text.txt", "cannot be read"),
    ]:
        with pytest.raises(DataError, match=match) as error:
            load_images(tmp_path / name, (1, 8, 8))
        assert name in str(error.value)
