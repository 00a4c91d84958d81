"""The `data` section of an experiment: where samples come from, what is public, and how clients differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from fedkd.data.sources import TEXT_SOURCES, check_source_name
from fedkd.data.vocabulary import SMALLEST
from fedkd.errors import ConfigError
from fedkd.parts import PartConfig, bind_part, checked_by_binding, find_part
from fedkd.types import IntArray, Section, checked_by

_checked_source_name = checked_by(check_source_name)

PARTITION_KINDS = ("iid", "dirichlet", "pathological", "shard", "linear", "square", "exponential", "natural_id")
"""The registered kinds of partition; their arguments are the other keys of the section."""


OwnPartition = Callable[[IntArray, int, np.random.Generator], Sequence[IntArray]]
"""(labels [N], number of clients, generator) -> indices into the labels for each client, each at most once."""


def bind_partition(part: PartConfig, key: str) -> OwnPartition | None:
    """Return the function behind an import path; `None` for a registered kind, which `fedkd.data.partition` makes.

    Raises:
        ConfigError: no such kind, a function that cannot be imported or does not take an argument, or arguments beside
            a registered kind.
    """
    if ":" in part.name:
        return bind_part(part, {}, key, positional=3)
    find_part(part.name, dict.fromkeys(PARTITION_KINDS), key)
    if part.arguments:
        raise ConfigError(key, part.arguments, f"{part.name} has no arguments: its parameters are keys of its section")
    return None


PartitionPart = Annotated[PartConfig, checked_by_binding(bind_partition)]
"""The type of a key that names a kind of partition."""

SITES = "sites"
"""The source of a deployed federation: private samples lie with the clients, public and test ones with the server."""

SAME_SOURCE = "same"
"""The public source that is no source: samples held out of the private one's training split."""


class PublicConfig(Section):
    """The public set: samples that every client and the server hold, and on which logits are compared."""

    source: str = Field(SAME_SOURCE, description="same: held out of data.source's training split; or any source name")
    size: int = Field(400, ge=1, description="number of public samples")
    root: str | None = Field(None, description="folder (or file) of the public source; data.root where left out")
    labelled: bool = Field(False, description="server and clients may use the public labels; the classes must agree")

    @field_validator("source")
    @classmethod
    def _known_source(cls, name: str) -> str:
        return name if name == SAME_SOURCE else _checked_source_name(name)


class PartitionConfig(Section):
    """How the private samples are divided over the clients. Keys that `kind` does not use have no effect."""

    kind: PartitionPart = Field(
        PartConfig(name="dirichlet"),
        description="iid: even; dirichlet: label skew; pathological: classes_per_client classes each; shard: shards of "
        "samples sorted by label; linear, square, exponential: size grows with the client; natural_id: by their owner; "
        "or package.module:function",
    )
    min_size: int = Field(10, ge=1, description="fewest samples a client may hold; a partition below it is refused")
    dirichlet_alpha: float = Field(0.3, gt=0, description="dirichlet: small is skewed, large approaches iid")
    self_balancing: bool = Field(True, description="dirichlet: give no more to a client that holds the average already")
    classes_per_client: int = Field(2, ge=1, description="pathological: number of classes each client holds")
    shards_per_client: int = Field(2, ge=1, description="shard: number of shards each client holds")


class HeterogeneityConfig(Section):
    """How clients differ beyond the partition. Each draws its own shift; public and test samples are left alone."""

    feature_shift: Literal["none", "rotation", "brightness", "contrast", "noise"] = Field(
        "none", description="what a client's camera does to its private images"
    )
    feature_shift_strength: float = Field(
        0.25,
        ge=0,
        le=1,
        description="largest shift a client may draw: the share of 180 degrees, of 255 grey levels (brightness, "
        "noise deviation), or of the contrast",
    )
    label_noise: float = Field(0.0, ge=0, lt=1, description="probability that a private label is another class's")


class TextConfig(Section):
    """How texts become tokens. The vocabulary is learned from the public samples alone."""

    length: int = Field(128, ge=1, le=4096, description="tokens kept of each text; shorter ones are filled up")
    vocabulary: int = Field(2000, ge=SMALLEST, le=65_535, description="most tokens that the vocabulary may have")


class DataConfig(Section):
    """Everything that decides which samples there are and who holds them."""

    source: str = Field(
        "digits",
        description="source of private and test samples: a name, huggingface:<id>, a path, or sites: each client's own",
    )
    root: str = Field(
        "data", description="folder that holds the source's files (npz, jsonl: the file; sites: the server's folder)"
    )
    classes: tuple[str, ...] = Field((), strict=False, description="sites: names of the classes, in their order")
    train_size: int | None = Field(
        None, ge=1, description="private samples to keep, drawn blind to class; all if unset"
    )
    test_size: int | None = Field(
        None, ge=1, description="test samples to keep; unset: all, or 20 % of a source without a test split"
    )
    image_size: int | None = Field(None, ge=1, description="height and width to resize all images to")
    text: TextConfig = Field(TextConfig(), description="how texts become tokens; for sources of texts")
    public: PublicConfig = Field(PublicConfig(), description="the public set")
    partition: PartitionConfig = Field(PartitionConfig(), description="the partition over clients")
    heterogeneity: HeterogeneityConfig = Field(HeterogeneityConfig(), description="differences between clients")

    @field_validator("source")
    @classmethod
    def _known_source(cls, name: str) -> str:
        return name if name == SITES else _checked_source_name(name)

    @model_validator(mode="after")
    def _sites(self) -> Self:
        if self.source != SITES:
            if self.classes:
                raise ValueError(
                    f"classes = {list(self.classes)} is for source = {SITES!r} only; a source names its own"
                )
            return self
        if not self.classes or len(set(self.classes)) != len(self.classes):
            raise ValueError(f"classes = {list(self.classes)}; source = {SITES!r} needs the name of each class, once")
        if self.public.source != SAME_SOURCE or self.heterogeneity != HeterogeneityConfig():
            raise ValueError(
                f"source = {SITES!r} takes samples as they lie at each site: leave out public.source and heterogeneity"
            )
        return self

    @model_validator(mode="after")
    def _images_or_texts(self) -> Self:
        if ":" not in self.source or self.source.startswith("huggingface:"):
            self.check_kind(texts=self.source in TEXT_SOURCES)
        return self

    def check_kind(self, *, texts: bool) -> None:
        """Refuse what is for images where the source holds texts, and the other way round.

        Raises:
            ConfigError: names the key, its value and why.
        """
        public, shift = self.public.source, self.heterogeneity.feature_shift
        kinds = ("texts", "images") if texts else ("images", "texts")
        beside = f"with data.source = {self.source!r}, which holds {kinds[0]}: it is for {kinds[1]}"
        if texts and self.image_size is not None:
            raise ConfigError("data.image_size", self.image_size, f"left out {beside}")
        if texts and shift != "none":
            raise ConfigError("data.heterogeneity.feature_shift", shift, f"'none' {beside}")
        if not texts and self.text != TextConfig():
            raise ConfigError("data.text", self.text.model_dump(), f"left out {beside}")
        if public != SAME_SOURCE and ":" not in public and (public in TEXT_SOURCES) != texts:
            raise ConfigError("data.public.source", public, f"a source of {kinds[0]}, as data.source = {self.source!r}")

    @model_validator(mode="after")
    def _public_is_not_private(self) -> Self:
        if self.public.source == self.source and self.public.root in (None, self.root):
            raise ValueError(
                f"public.source = {self.public.source!r} is the private source itself, so a sample could be both; "
                f"allowed: {SAME_SOURCE!r}, which holds them apart, or another source"
            )
        return self
