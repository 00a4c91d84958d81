import numpy as np
import pytest
from PIL import Image

from fedkd.data.image_files import image_to_array, list_image_files, read_image
from fedkd.errors import DataError


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_every_eight_bit_mode_is_grey_or_colour(mode):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).convert(mode)
    array = image_to_array(image, "it")
    assert array.shape == (1 if mode in ("1", "L", "LA") else 3, 4, 5)
    assert array.dtype == np.uint8


def test_a_palette_with_transparency_loses_only_the_transparency(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putdata([0, 1])
    image.save(tmp_path / "palette.png", transparency=b"\x80\xff")
    assert read_image(tmp_path / "palette.png").tolist() == [[[10, 40]], [[20, 50]], [[30, 60]]]


def test_more_than_eight_bits_are_refused():
    with pytest.raises(DataError, match=r"'deep' has mode 'I;16'.*8 bits"):
        image_to_array(Image.fromarray(np.zeros((2, 2), dtype=np.uint16)), "deep")


def test_files_are_listed_by_name_and_only_images(tmp_path):
    (tmp_path / "sub").mkdir()
    for name in ("b.PNG", "a.jpeg", "c.txt", "sub/d.jpg"):
        (tmp_path / name).touch()
    assert [path.name for path in list_image_files(tmp_path)] == ["a.jpeg", "b.PNG"]
    assert [path.name for path in list_image_files(tmp_path, recursive=True)] == ["a.jpeg", "b.PNG", "d.jpg"]
