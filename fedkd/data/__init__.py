"""Where samples come from and who holds which: sources, the partition over clients, the public set, heterogeneity.

    source → held-out test, public set, private pool → partition → one client's images

Heavy libraries (torchvision, flwr-datasets, datasets, scikit-learn, tokenizers) are imported where they are used.
"""

from fedkd.data.config import DataConfig, HeterogeneityConfig, PartitionConfig, PublicConfig
from fedkd.data.federated import FederatedData, cached_federated_data, load_federated_data
from fedkd.data.images import LabelledImages, public_digest, to_float
from fedkd.data.partition import describe_partition, partition
from fedkd.data.prediction_images import load_images
from fedkd.data.sources import Source, available_sources, check_source_name, load_source
from fedkd.data.texts import LabelledTexts, LabelledTokens
from fedkd.data.vocabulary import Vocabulary

__all__ = [
    "DataConfig",
    "FederatedData",
    "HeterogeneityConfig",
    "LabelledImages",
    "LabelledTexts",
    "LabelledTokens",
    "PartitionConfig",
    "PublicConfig",
    "Source",
    "Vocabulary",
    "available_sources",
    "cached_federated_data",
    "check_source_name",
    "describe_partition",
    "load_federated_data",
    "load_images",
    "load_source",
    "partition",
    "public_digest",
    "to_float",
]
