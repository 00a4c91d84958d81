import numpy as np
import pytest
from PIL import Image

from fedkd.data.file_sources import load_image_folder, load_npz
from fedkd.errors import DataError

RNG = np.random.default_rng(0)


def write_image(path, size=6, colour=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = RNG.integers(0, 256, (size, size, 3) if colour else (size, size), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def test_train_and_test_folders_are_read_by_class(tmp_path):
    dog = write_image(tmp_path / "train" / "dog" / "1.png", colour=True)
    write_image(tmp_path / "train" / "cat" / "b.PNG", colour=True)
    write_image(tmp_path / "train" / "cat" / "a.jpg", colour=True)
    (tmp_path / "train" / "cat" / "notes.txt").write_text("no image")
    (tmp_path / "train" / ".hidden").mkdir()
    write_image(tmp_path / "test" / "dog" / "2.png", colour=True)
    source = load_image_folder(tmp_path, None)
    assert source.class_names == ("cat", "dog")
    assert source.train.labels_N.tolist() == [0, 0, 1]
    assert np.array_equal(source.train.images_NCHW[2], dog.transpose(2, 0, 1))
    assert source.test is not None
    assert source.test.labels_N.tolist() == [1]


@pytest.mark.parametrize("parent", ["", "train"])
def test_class_folders_without_test_leave_it_to_be_held_out(parent, tmp_path):
    for name in ("cat", "dog"):
        write_image(tmp_path / parent / name / "1.png")
    source = load_image_folder(tmp_path, None)
    assert source.test is None
    assert source.train.input_shape == (1, 6, 6)


def test_one_colour_image_makes_all_colour(tmp_path):
    grey = write_image(tmp_path / "cat" / "grey.png")
    write_image(tmp_path / "dog" / "colour.png", colour=True)
    train = load_image_folder(tmp_path, None).train
    assert train.input_shape == (3, 6, 6)
    assert np.array_equal(train.images_NCHW[0], np.stack([grey] * 3))


def test_different_sizes_need_an_image_size(tmp_path):
    write_image(tmp_path / "cat" / "1.png", size=6)
    write_image(tmp_path / "cat" / "2.png", size=9)
    with pytest.raises(DataError, match=r"2\.png' is 9×9 pixels.*data\.image_size"):
        load_image_folder(tmp_path, None)
    assert load_image_folder(tmp_path, 7).train.input_shape == (1, 7, 7)


def test_folders_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(DataError, match="holds no class folders"):
        load_image_folder(tmp_path / "absent", None)
    write_image(tmp_path / "test" / "cat" / "1.png")
    with pytest.raises(DataError, match="holds test/ but no train/"):
        load_image_folder(tmp_path, None)
    write_image(tmp_path / "train" / "cats" / "1.png")
    with pytest.raises(DataError, match=r"test class without training images \(did you mean 'cats'"):
        load_image_folder(tmp_path, None)
    (tmp_path / "train" / "empty").mkdir()
    with pytest.raises(DataError, match="empty' holds no images"):
        load_image_folder(tmp_path, None)


def test_a_file_that_is_no_image_is_named(tmp_path):
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "1.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"1\.png' cannot be read"):
        load_image_folder(tmp_path, None)


def archive(shape=(6, 5, 5), dtype=np.uint8, **changes):
    images = RNG.integers(0, 256, shape).astype(dtype)
    arrays = {"x_train": images, "y_train": np.arange(6) % 3, "x_test": images[:2], "y_test": np.array([0, 3])}
    return {key: value for key, value in {**arrays, **changes}.items() if value is not None}


@pytest.mark.parametrize(("shape", "channels"), [((6, 5, 4), 1), ((6, 5, 4, 1), 1), ((6, 5, 4, 3), 3)])
def test_npz_images_come_channels_first(shape, channels, tmp_path):
    arrays = archive(shape, y_train=np.array([0, 1, 2, 0, 1, 2], dtype=np.uint8))
    np.savez(tmp_path / "data.npz", **arrays)
    source = load_npz(tmp_path / "data.npz")
    assert source.train.input_shape == (channels, 5, 4)
    reference = arrays["x_train"].reshape(6, 5, 4, channels)
    assert all(np.array_equal(source.train.images_NCHW[:, c], reference[..., c]) for c in range(channels))
    assert source.train.labels_N.tolist() == [0, 1, 2, 0, 1, 2]
    assert source.class_names == ("0", "1", "2", "3")


@pytest.mark.parametrize(
    ("arrays", "match"),
    [
        (archive(y_test=None), r"lacks the key 'y_test'.*'x_test', 'x_train', 'y_train'"),
        (archive(dtype=np.float32), "x_train is a float32 array.*uint8"),
        (archive(shape=(6, 3, 5, 5)), "x_train is a uint8 array of shape.*C 1 or 3"),
        (archive(shape=(6, 25)), "x_train"),
        (archive(y_train=np.arange(5)), r"y_train is a int64 array of shape \(5,\).*shape \(6,\)"),
        (archive(y_train=np.linspace(0, 1, 6)), "y_train is a float64 array.*integers"),
        (archive(y_train=np.arange(6) - 1), "holds -1"),
        (archive(x_test=np.zeros((2, 9, 9), np.uint8)), "test holds images of shape"),
    ],
)
def test_npz_files_that_do_not_fit_are_refused_by_key(arrays, match, tmp_path):
    np.savez(tmp_path / "data.npz", **arrays)
    with pytest.raises(DataError, match=match):
        load_npz(tmp_path / "data.npz")


def test_npz_files_that_are_none_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"absent\.npz' cannot be read"):
        load_npz(tmp_path / "absent.npz")
    (tmp_path / "text.npz").write_text("no archive")
    np.save(tmp_path / "array.npy", np.arange(3))
    np.savez(tmp_path / "pickle.npz", x_train=np.array([{}], dtype=object))
    for name in ("text.npz", "array.npy", "pickle.npz"):
        with pytest.raises(DataError, match="cannot be read"):
            load_npz(tmp_path / name)
