"""The data of a site, read once at the start, so that an error in them is reported before the first message."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fedkd.data.deployed import PublicSet, site_data
from fedkd.data.federated import FederatedData
from fedkd.data.images import public_digest
from fedkd.data.site_files import FoundImages, read_labelled, read_public
from fedkd.errors import DataError
from fedkd.site.settings import SiteConfig

if TYPE_CHECKING:
    from fedkd.config.experiment import ExperimentConfig


@dataclass(frozen=True, eq=False)
class LocalData:
    """The private samples and the public set of one site."""

    site: SiteConfig
    private: FoundImages
    public: PublicSet

    @property
    def public_digest(self) -> str:
        """SHA-256 of the public set."""
        return public_digest(self.public[0])

    def data(self, config: ExperimentConfig) -> FederatedData:
        """Return the data with the class numbers of an experiment.

        Raises:
            DataError: they do not fit `data.classes` or `data.public.labelled`.
        """
        number, seed = config.clients.number, config.run.seed
        return site_data(config.data, number, seed, self.site.client, self.private, self.public)


def read_local_data(site: SiteConfig) -> LocalData:
    """Read the private samples and the public set of a site.

    Raises:
        DataError: a folder is missing, empty or cannot be read, or the public set is not the pinned one.
    """
    found = LocalData(
        site, read_labelled(Path(site.private), site.image_size), read_public(Path(site.public), site.image_size)
    )
    pinned = site.policy.public_digest
    if pinned is not None and pinned != found.public_digest:
        raise DataError(
            f"the public set at {site.public} has digest {found.public_digest}; policy.public_digest says {pinned}"
        )
    return found
