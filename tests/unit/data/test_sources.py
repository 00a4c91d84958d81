import sys
import types

import numpy as np
import pytest
from sklearn.datasets import load_digits

from fedkd.data.source import Source
from fedkd.data.sources import available_sources, check_source_name, load_source
from fedkd.errors import DataError


def test_digits_are_scikit_learns_on_256_levels(tmp_path):
    source = load_source("digits", tmp_path)
    reference = load_digits()
    assert source.test is None
    assert source.train.images_NCHW.shape == (1797, 1, 8, 8)
    assert source.train.images_NCHW.max() == 255
    np.testing.assert_allclose(source.train.images_NCHW[:, 0] / 255 * 16, reference.images, atol=8 / 255)
    assert np.array_equal(source.train.labels_N, reference.target)
    assert source.class_names == tuple("0123456789")


def test_image_size_resizes_every_source(tmp_path):
    assert load_source("digits", tmp_path, image_size=16).train.input_shape == (1, 16, 16)


def test_available_names_are_sorted_valid_and_complete():
    names = available_sources()
    assert list(names) == sorted(names)
    assert {"digits", "mnist", "fashion_mnist", "kmnist", "emnist", "usps", "svhn", "cifar10", "cifar100"} < set(names)
    assert {"image_folder", "npz"} < set(names)
    for name in names:
        check_source_name(name)


@pytest.mark.parametrize("name", ["huggingface:ylecun/mnist", "package.module:factory"])
def test_names_with_something_after_them_are_valid_unread(name):
    check_source_name(name)


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("cifar-10", "did you mean 'cifar10'"),
        ("", "allowed: cifar10"),
        ("huggingface:", "lacks the dataset id"),
        ("not a module:factory", "no import path"),
        ("module:", "no import path"),
    ],
)
def test_unknown_names_are_refused(name, match, tmp_path):
    with pytest.raises(DataError, match=match):
        check_source_name(name)
    with pytest.raises(DataError, match=match):
        load_source(name, tmp_path)


def test_a_users_own_source_is_imported_and_given_the_root(tmp_path, make_images, monkeypatch):
    roots = []

    def factory(root):
        roots.append(root)
        return Source(make_images(), None, 3, ("a", "b", "c"))

    module = types.ModuleType("a_users_module")
    module.factory, module.number, module.wrong = factory, 3, str
    monkeypatch.setitem(sys.modules, "a_users_module", module)
    assert load_source("a_users_module:factory", tmp_path).class_names == ("a", "b", "c")
    assert roots == [tmp_path]
    for attribute, match in [("number", "is a int"), ("wrong", "returned a str"), ("absent", "no attribute 'absent'")]:
        with pytest.raises(DataError, match=match):
            load_source(f"a_users_module:{attribute}", tmp_path)
    with pytest.raises(DataError, match="does not import"):
        load_source("a_module_that_is_not_there:factory", tmp_path)
