import numpy as np
import pytest

from fedkd.data.source import Source
from fedkd.errors import DataError


def test_parts_that_do_not_fit_together_are_refused(make_images):
    train, names = make_images(), ("a", "b", "c")
    with pytest.raises(DataError, match="2 names for num_classes = 3"):
        Source(train, None, 3, names[:2])
    with pytest.raises(DataError, match="train holds no samples"):
        Source(train.take(np.arange(0)), None, 3, names)
    with pytest.raises(DataError, match="train holds label 2; allowed: 0 to 1"):
        Source(train, None, 2, names[:2])
    with pytest.raises(DataError, match="test holds label 3"):
        Source(train, make_images(num_classes=4), 3, names)
    with pytest.raises(DataError, match=r"test holds images of shape \(1, 9, 9\), train images of shape \(1, 8, 8\)"):
        Source(train, make_images(size=9), 3, names)
    with pytest.raises(DataError, match=r"natural_ids_N has shape \(3,\)"):
        Source(train, None, 3, names, np.arange(3))


def test_resizing_keeps_all_but_the_size(make_images):
    ids = np.arange(12)
    resized = Source(make_images(), make_images(6), 3, ("a", "b", "c"), ids).resized(16)
    assert resized.train.input_shape == (1, 16, 16)
    assert resized.test is not None
    assert resized.test.input_shape == (1, 16, 16)
    assert resized.natural_ids_N is ids
    assert np.array_equal(resized.train.labels_N, make_images().labels_N)
