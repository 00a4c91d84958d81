"""An experiment's data as a deployed federation would hold them, so that the two can be compared."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from fedkd.config.experiment import ExperimentConfig, parse_config
from fedkd.data.config import SITES
from fedkd.data.site_files import write_archive
from fedkd.errors import DataError, RunFolderError
from fedkd.federation.workspace import open_workspace
from fedkd.storage.files import to_toml, write_atomically
from fedkd.types import ByteArray

ARCHIVE = "images.npz"


def export(config: ExperimentConfig, folder: Path) -> Path:
    """Write every client's samples, the public set and the test split, and the experiment over them.

        FOLDER/client-<k>/private/   FOLDER/client-<k>/public/   FOLDER/server/public/   FOLDER/server/test/

    Returns:
        `FOLDER/experiment.toml`: the same experiment with `data.source = "sites"`. Deployed on these folders it ends
        with the bits of the student that a simulation of `config` ends with.

    Raises:
        DataError: the data cannot be read or are texts, or the disk refuses.
        RunFolderError: the folder is there and not empty.
    """
    if config.data.source == SITES:
        raise DataError(f"data.source = {SITES!r} is not allowed: these samples lie with the clients already")
    if folder.exists() and any(folder.iterdir()):
        raise RunFolderError(f"{folder} is not empty; allowed: a folder that is, or is not there yet")
    data = open_workspace(config).data
    if data.vocabulary is not None:
        raise DataError(f"data.source = {config.data.source!r} is not allowed: it holds texts, sites hold images")
    public_NCHW = cast(ByteArray, data.public_inputs)
    for client in range(config.clients.number):
        own, place = data.client(client), folder / f"client-{client}"
        write_archive(place / "private" / ARCHIVE, cast(ByteArray, own.inputs), own.labels_N)
        write_archive(place / "public" / ARCHIVE, public_NCHW, data.public_labels_N)
    write_archive(folder / "server" / "public" / ARCHIVE, public_NCHW, data.public_labels_N)
    write_archive(folder / "server" / "test" / ARCHIVE, cast(ByteArray, data.test.inputs), data.test.labels_N)
    deployed = deployed_config(config, data.class_names, folder / "server")
    path = folder / "experiment.toml"
    write_atomically(path, to_toml(deployed.model_dump(mode="json")).encode())
    return path


def deployed_config(config: ExperimentConfig, classes: tuple[str, ...], root: Path) -> ExperimentConfig:
    """The same experiment over sites; nobody can measure clients there, nor train baselines."""
    values = config.model_dump(mode="json")
    values["run"] |= {"baselines": False, "evaluate_clients_every": 0, "engine": "local"}
    public = {"size": config.data.public.size, "labelled": config.data.public.labelled}
    values["data"] = {"source": SITES, "root": str(root.absolute()), "classes": list(classes), "public": public}
    return parse_config(values)
