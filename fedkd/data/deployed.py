"""The data of a deployed federation, as seen from one place: a client sees its own samples, the server none.

`data.source = "sites"`: private samples lie with the clients, the test split with the server, the public set with all.
Images are fitted to the shape of the public ones, which is the same everywhere.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fedkd.data.adapt import adapt_images
from fedkd.data.config import DataConfig
from fedkd.data.federated import FederatedData
from fedkd.data.images import LabelledImages, public_digest
from fedkd.data.site_files import FoundImages, read_labelled, read_public
from fedkd.errors import DataError
from fedkd.types import ByteArray, IntArray

PublicSet = tuple[ByteArray, IntArray | None]
"""uint8 images, [N, C, H, W], and their labels, [N], where they are known."""


def load_server_data(config: DataConfig, num_clients: int, seed: int) -> FederatedData:
    """Read what the server holds: `data.root`/public and `data.root`/test.

    Raises:
        DataError: a folder that cannot be read or is empty, or a public set of another size than `data.public.size`.
    """
    public = read_public(Path(config.root) / "public", config.image_size)
    if len(public[0]) != config.public.size:
        raise DataError(
            f"data.public.size = {config.public.size} is not allowed: {config.root}/public holds {len(public[0])}"
        )
    test = _fitted(read_labelled(Path(config.root) / "test", config.image_size), config, public)
    return _assemble(config, num_clients, seed, public, {}, _empty(test), test)


def site_data(
    config: DataConfig, num_clients: int, seed: int, client: int, private: FoundImages, public: PublicSet
) -> FederatedData:
    """Put together what one client holds; its test split is empty.

    Raises:
        DataError: a class that is none of `data.classes`, or no public labels where the experiment needs them.
    """
    own = _fitted(private, config, public)
    return _assemble(config, num_clients, seed, public, {client: np.arange(len(own))}, own, _empty(own))


def _fitted(found: FoundImages, config: DataConfig, public: PublicSet) -> LabelledImages:
    labelled = found.under(config.classes)
    _, channels, height, width = public[0].shape
    return LabelledImages(adapt_images(labelled.images_NCHW, (channels, height, width)), labelled.labels_N)


def _empty(images: LabelledImages) -> LabelledImages:
    return images.take(np.empty(0, np.int64))


def _assemble(
    config: DataConfig,
    num_clients: int,
    seed: int,
    public: PublicSet,
    holders: dict[int, IntArray],
    private: LabelledImages,
    test: LabelledImages,
) -> FederatedData:
    images_NCHW, labels_N = public
    if config.public.labelled and labels_N is None:
        raise DataError("data.public.labelled = true is not allowed: the public set here has no labels")
    return FederatedData(
        train=private,
        partitions=tuple(holders.get(client, np.empty(0, np.int64)) for client in range(num_clients)),
        public_inputs=images_NCHW,
        public_labels_N=labels_N if config.public.labelled else None,
        public_digest=public_digest(images_NCHW),
        test=test,
        num_classes=len(config.classes),
        class_names=config.classes,
        input_shape=private.input_shape,
        partition_record=None,
        heterogeneity=config.heterogeneity,
        seed=seed,
    )
