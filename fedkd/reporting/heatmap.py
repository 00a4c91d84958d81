"""The partition as a heat map: a row for each client, a column for each class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fedkd.records import PartitionRecord
from fedkd.reporting.svg import INK, PAPER, printable, render

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

    from fedkd.types import IntArray

_FEW, _MANY = "#2f6fd624", "#2f6fd6ff"
"""One blue, from faint to full: it reads the same way on light paper and on dark."""
_ON_FULL = "#ffffff"
_MOST_NUMBERED_CLIENTS, _MOST_NUMBERED_CLASSES = 30, 14
_MOST_VECTOR_CELLS = 3000
_LONGEST_NAME = 16


def partition_plot(partition: PartitionRecord) -> str:
    """Return how many samples of each class each client holds.

    A class that a client lacks stays blank. Small maps carry their numbers; maps of more than 3000 cells are drawn
    as an image inside the SVG, so that the file stays small.
    """
    counts_KC = np.array(partition.counts, dtype=np.int64).reshape(len(partition.counts), len(partition.class_names))
    num_clients, num_classes = counts_KC.shape

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        _draw_cells(figure, axes, counts_KC)
        if num_clients <= _MOST_NUMBERED_CLIENTS and num_classes <= _MOST_NUMBERED_CLASSES:
            _write_numbers(axes, counts_KC)
        _label(axes, num_clients, [_short(name) for name in partition.class_names])

    spoken = (
        f"Samples per class on each of {num_clients} clients, {num_classes} classes, {counts_KC.sum()} samples. "
        f"{partition.description}"
    )
    height = min(max(0.27 * num_clients, 1.2), 6.5) + 1.2
    return render("plot-partition", "Partition of the private samples", spoken, (6.8, height), paint)


def _colours() -> Colormap:
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("few to many", [_FEW, _MANY])


def _draw_cells(figure: Figure, axes: Axes, counts_KC: IntArray) -> None:
    many = counts_KC.size > _MOST_VECTOR_CELLS
    mesh = axes.pcolormesh(
        np.ma.masked_equal(counts_KC, 0),
        cmap=_colours(),
        vmin=0,
        vmax=max(int(counts_KC.max(initial=0)), 1),
        edgecolors="none" if many else PAPER,
        linewidth=0 if many else 1.0,
        rasterized=many,
    )
    axes.invert_yaxis()
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(mesh, ax=axes, pad=0.015, fraction=0.04, aspect=24, label="samples (blank: none)")
    bar.outline.set_visible(False)


def _write_numbers(axes: Axes, counts_KC: IntArray) -> None:
    most = counts_KC.max(initial=1)
    for (client, class_index), count in np.ndenumerate(counts_KC):
        if count:
            colour = _ON_FULL if count > 0.6 * most else INK
            axes.text(
                class_index + 0.5,
                client + 0.5,
                str(count),
                ha="center",
                va="center",
                color=colour,
                fontsize=8,
                in_layout=False,
            )


def _label(axes: Axes, num_clients: int, class_names: list[str]) -> None:
    client_step, class_step = -(-num_clients // 30), -(-len(class_names) // 40)
    clients, classes = range(0, num_clients, client_step), range(0, len(class_names), class_step)
    slanted = len(class_names) > 14 or max(map(len, class_names), default=0) > 5
    slant: dict[str, Any] = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"} if slanted else {}
    axes.set_xticks([index + 0.5 for index in classes], [class_names[index] for index in classes], **slant)
    axes.set_yticks([index + 0.5 for index in clients], [str(index) for index in clients])
    axes.tick_params(length=0)
    axes.set_xlabel("class")
    axes.set_ylabel("client")


def _short(name: str) -> str:
    name = printable(" ".join(name.split()))
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"
