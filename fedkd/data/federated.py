"""All data of a federation: the private pool and who holds what of it, the public set, and the test split.

    training split ─┬─ test (only where the source has no test split)
                    ├─ public set (only where data.public.source is "same")
                    └─ private pool ── partition ── clients

Guarantees:
    - Test, public and private samples are disjoint.
    - Everything is a function of the section, the number of clients, the seed, and the source's files.
    - The public labels are absent unless `data.public.labelled` asks for them.
    - Public and test samples are as the source has them: heterogeneity reaches private samples only.
    - The vocabulary of texts is a function of the public samples.

Shape legend: N samples.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fedkd.data.adapt import adapt_images
from fedkd.data.arrays import sha256_of
from fedkd.data.config import SAME_SOURCE, DataConfig, HeterogeneityConfig
from fedkd.data.heterogeneity import apply_heterogeneity
from fedkd.data.images import LabelledImages
from fedkd.data.partition import describe_partition, partition
from fedkd.data.source import Source
from fedkd.data.sources import load_source
from fedkd.data.splits import default_test_size, draw
from fedkd.data.texts import LabelledTexts, LabelledTokens
from fedkd.data.vocabulary import Vocabulary
from fedkd.errors import DataError, PartitionError
from fedkd.records import PartitionRecord
from fedkd.types import ByteArray, IntArray, SampleShape, TokenArray

Samples = LabelledImages | LabelledTokens
"""Labelled samples as models see them, but for the scale of images."""

_Split = LabelledImages | LabelledTexts
"""Some of a source's samples, whose texts are not tokens yet."""


@dataclass(frozen=True, eq=False)
class FederatedData:
    """What a federation works on. The arrays are shared: read them, never write to them.

    Args:
        train: the private pool, before heterogeneity.
        partitions: for each client, its indices into `train`.
        public_inputs: the public set in the private input shape, images [N, C, H, W] or tokens [N, L]; its order is
            everyone's.
        public_labels_N: the public labels, or `None` where nobody may use them.
        public_digest: fingerprint of `public_inputs`.
        test: the global test split.
        num_classes: number of classes.
        class_names: names of the classes, in the order of the labels.
        input_shape: channels, height, width of every image; or of a text its tokens and the vocabulary's size.
        partition_record: how the private samples lie over the clients; `None` where nobody knows.
        heterogeneity: how clients differ beyond the partition.
        seed: root seed of all of it.
        vocabulary: how texts became tokens; `None` with images.
    """

    train: Samples
    partitions: tuple[IntArray, ...]
    public_inputs: ByteArray | TokenArray
    public_labels_N: IntArray | None
    public_digest: str
    test: Samples
    num_classes: int
    class_names: tuple[str, ...]
    input_shape: SampleShape
    partition_record: PartitionRecord | None
    heterogeneity: HeterogeneityConfig
    seed: int
    vocabulary: Vocabulary | None = None

    def client(self, client: int) -> Samples:
        """Return the samples of one client as it sees them, heterogeneity applied.

        Raises:
            DataError: there is no such client.
        """
        if not 0 <= client < len(self.partitions):
            raise DataError(f"client = {client} is not allowed: 0 to {len(self.partitions) - 1}")
        private = self.train.take(self.partitions[client])
        return apply_heterogeneity(private, self.heterogeneity, self.num_classes, self.seed, client)


def load_federated_data(config: DataConfig, num_clients: int, seed: int) -> FederatedData:
    """Read the source and divide it.

    Args:
        config: the `data` section.
        num_clients: number of clients.
        seed: root seed.

    Raises:
        ConfigError: keys that are for images, and a source of texts; or the other way round.
        DataError: a source that cannot be read, or a size that it cannot give (the message names key and maximum).
        PartitionError: the private samples cannot be divided as asked.
    """
    source = load_source(config.source, Path(config.root), config.image_size)
    config.check_kind(texts=source.holds_texts)
    test, pool = _hold_out_test(source, config, seed)
    if num_clients > len(pool):
        raise PartitionError(f"clients.number = {num_clients} is not allowed: {len(pool)} samples are left to divide")
    public, pool = _public_set(source, pool, config, num_clients, seed)
    if config.train_size is not None:
        kept, _ = draw(pool, config.train_size, "data.train_size", len(pool), seed)
        pool = np.sort(kept)
    vocabulary = Vocabulary.learn(public.texts, config.text.vocabulary) if isinstance(public, LabelledTexts) else None
    return _assemble(source, pool, test, public, vocabulary, config, num_clients, seed)


def _assemble(
    source: Source,
    pool: IntArray,
    test_split: _Split,
    public_split: _Split,
    vocabulary: Vocabulary | None,
    config: DataConfig,
    num_clients: int,
    seed: int,
) -> FederatedData:
    private, public, test = (
        _as_samples(split, vocabulary, config.text.length)
        for split in (source.train.take(pool), public_split, test_split)
    )
    parts = partition(private.labels_N, num_clients, config.partition, seed, _rows(source.natural_ids_N, pool))
    return FederatedData(
        train=private,
        partitions=tuple(parts),
        public_inputs=public.inputs,
        public_labels_N=public.labels_N if config.public.labelled else None,
        public_digest=sha256_of(public.inputs),
        test=test,
        num_classes=source.num_classes,
        class_names=source.class_names,
        input_shape=private.input_shape,
        partition_record=describe_partition(private.labels_N, parts, source.class_names, config.partition),
        heterogeneity=config.heterogeneity,
        seed=seed,
        vocabulary=vocabulary,
    )


def cached_federated_data(config: DataConfig, num_clients: int, seed: int) -> FederatedData:
    """Return the same as `load_federated_data`, loaded once a process: clients that run in it share one copy.

    The last four results are kept; files that change in the meantime go unnoticed.
    """
    with _LOADING:
        return _load_once(config, num_clients, seed)


_LOADING = threading.Lock()
_load_once = lru_cache(maxsize=4)(load_federated_data)


def _hold_out_test(source: Source, config: DataConfig, seed: int) -> tuple[_Split, IntArray]:
    """Return the test split, and the indices of the training samples that are left."""
    everything = np.arange(len(source.train))
    if source.test is None:
        size = config.test_size or default_test_size(len(everything))
        held_out, left = draw(everything, size, "data.test_size", len(everything) - 1, seed)
        return source.train.take(np.sort(held_out)), left
    if config.test_size is None:
        return source.test, everything
    all_test = np.arange(len(source.test))
    kept, _ = draw(all_test, config.test_size, "data.test_size", len(all_test), seed)
    return source.test.take(np.sort(kept)), everything


def _public_set(
    source: Source, pool: IntArray, config: DataConfig, num_clients: int, seed: int
) -> tuple[_Split, IntArray]:
    """Return the public set in the private input shape, and the indices of the training samples that are left."""
    public = config.public
    if public.source == SAME_SOURCE:
        drawn, left = draw(pool, public.size, "data.public.size", len(pool) - num_clients, seed)
        return source.train.take(drawn), left
    other = load_source(public.source, Path(public.root or config.root), config.image_size)
    if public.labelled and other.class_names != source.class_names:
        raise DataError(
            f"data.public.labelled = true is not allowed: data.public.source = {public.source!r} has the classes "
            f"{_shorten(other.class_names)}, data.source = {config.source!r} has {_shorten(source.class_names)}"
        )
    drawn, _ = draw(np.arange(len(other.train)), public.size, "data.public.size", len(other.train), seed)
    chosen, private = other.train.take(drawn), source.train
    if isinstance(chosen, LabelledImages) and isinstance(private, LabelledImages):
        return LabelledImages(adapt_images(chosen.images_NCHW, private.input_shape), chosen.labels_N), pool
    if other.holds_texts != source.holds_texts:
        raise DataError(
            f"data.public.source = {public.source!r} is not allowed: it and data.source = {config.source!r} must both "
            "hold images, or both texts"
        )
    return chosen, pool


def _as_samples(split: _Split, vocabulary: Vocabulary | None, length: int) -> Samples:
    if isinstance(split, LabelledImages):
        return split
    if vocabulary is None:
        raise DataError("texts cannot become tokens without a vocabulary")
    return LabelledTokens(vocabulary.encode(split.texts, length), split.labels_N, vocabulary.size)


def _rows(natural_ids_N: npt.NDArray[Any] | None, rows: IntArray) -> npt.NDArray[Any] | None:
    return None if natural_ids_N is None else np.asarray(natural_ids_N)[rows]


def _shorten(class_names: tuple[str, ...]) -> str:
    return ", ".join(class_names[:5]) + (f", … ({len(class_names)} in all)" if len(class_names) > 5 else "")
