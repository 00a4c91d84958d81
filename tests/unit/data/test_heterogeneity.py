import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import rotate

from fedkd.data.config import HeterogeneityConfig
from fedkd.data.heterogeneity import apply_heterogeneity, client_shift, flip_labels, shift_features
from fedkd.data.images import LabelledImages

SHIFTS = ["rotation", "brightness", "contrast", "noise"]
CLIENT = next(client for client in range(10) if client_shift(HeterogeneityConfig(), 0, client) > 0.1)


def config(shift, strength=0.25):
    return HeterogeneityConfig(feature_shift=shift, feature_shift_strength=strength)


@pytest.mark.parametrize("shift", SHIFTS)
def test_every_client_shifts_its_own_way_and_always_the_same(shift, make_images):
    images = make_images(channels=3).images_NCHW
    before = images.copy()
    shifted = [shift_features(images, config(shift), 0, client) for client in range(4)]
    assert len({one.tobytes() for one in shifted}) == 4
    assert all(one.shape == images.shape and one.dtype == np.uint8 for one in shifted)
    assert np.array_equal(shift_features(images, config(shift), 0, 2), shifted[2])
    assert not np.array_equal(shift_features(images, config(shift), 1, 2), shifted[2])
    assert np.array_equal(images, before)


@pytest.mark.parametrize("shift", SHIFTS)
def test_no_strength_is_no_shift(shift, make_images):
    images = make_images().images_NCHW
    assert np.array_equal(shift_features(images, config(shift, 0.0), 0, 1), images)


def test_what_is_switched_off_changes_nothing(make_images):
    data = make_images()
    same = apply_heterogeneity(data, HeterogeneityConfig(), 3, 0, 1)
    assert same.digest() == data.digest()


@given(st.floats(0, 1), st.integers(0, 2**32), st.integers(0, 100))
def test_shifts_stay_within_the_strength(strength, seed, client):
    assert abs(client_shift(config("rotation", strength), seed, client)) <= strength


def test_shifts_are_spread_over_the_whole_range():
    shifts = [client_shift(config("rotation", 1.0), 0, client) for client in range(400)]
    assert abs(np.mean(shifts)) < 0.1
    assert np.std(shifts) == pytest.approx(1 / np.sqrt(3), rel=0.1)


def test_rotation_agrees_with_torchvision():
    ramp = np.add.outer(np.arange(15), np.arange(15)).astype(np.uint8)[None, None] * 8
    degrees = 180 * client_shift(config("rotation"), 0, CLIENT)
    reference = rotate(torch.from_numpy(ramp), degrees, InterpolationMode.BILINEAR).numpy()
    rotated = shift_features(ramp, config("rotation"), 0, CLIENT)
    inner = np.s_[..., 4:11, 4:11]
    np.testing.assert_allclose(rotated[inner].astype(float), reference[inner].astype(float), atol=3)
    assert np.abs(rotated[inner].astype(float) - ramp[inner]).max() > 10


def test_brightness_and_contrast_follow_their_formulas():
    levels = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    shift = client_shift(config("brightness"), 0, CLIENT)
    exact = levels.astype(float)
    brighter = shift_features(levels, config("brightness"), 0, CLIENT)
    np.testing.assert_allclose(brighter, np.clip(exact + 255 * shift, 0, 255), atol=0.51)
    stronger = shift_features(levels, config("contrast"), 0, CLIENT)
    np.testing.assert_allclose(stronger, np.clip(127.5 + (1 + shift) * (exact - 127.5), 0, 255), atol=0.51)


def test_noise_has_the_deviation_that_the_client_drew():
    grey = np.full((100, 1, 10, 10), 128, dtype=np.uint8)
    noise = shift_features(grey, config("noise"), 0, CLIENT).astype(float) - 128
    assert noise.std() == pytest.approx(255 * client_shift(config("noise"), 0, CLIENT), rel=0.1)
    assert abs(noise.mean()) < 3
    assert len({image.tobytes() for image in noise}) == 100


@pytest.mark.parametrize("label_noise", [0.1, 0.4])
def test_labels_flip_at_the_rate_to_every_other_class_alike(label_noise):
    labels = np.zeros(20_000, dtype=np.int64) + 1
    noisy = flip_labels(labels, label_noise, 5, seed=0, client=3)
    shares = np.bincount(noisy, minlength=5) / len(labels)
    np.testing.assert_allclose(shares, [label_noise / 4, 1 - label_noise, *[label_noise / 4] * 3], atol=0.015)
    assert np.array_equal(noisy, flip_labels(labels, label_noise, 5, seed=0, client=3))
    assert not np.array_equal(noisy, flip_labels(labels, label_noise, 5, seed=0, client=4))
    assert labels.max() == labels.min() == 1


def test_a_single_class_has_nothing_to_flip_to():
    labels = np.zeros(50, dtype=np.int64)
    assert np.array_equal(flip_labels(labels, 0.9, 1, seed=0, client=0), labels)


def test_both_apply_together(make_images):
    data = make_images(num=300)
    section = HeterogeneityConfig(feature_shift="brightness", label_noise=0.3)
    seen = apply_heterogeneity(data, section, 3, 0, CLIENT)
    assert isinstance(seen, LabelledImages)
    assert not np.array_equal(seen.images_NCHW, data.images_NCHW)
    assert 0.2 < (seen.labels_N != data.labels_N).mean() < 0.4
