"""What a run leaves behind: its folder, and the tables, plots, HTML report and TensorBoard events made from it.

Nothing here imports torch, except that writing TensorBoard events does so through tensorboardX (see `tensorboard`).
"""

from fedkd.reporting.html import render_report
from fedkd.reporting.plots import accuracy_plot, bytes_plot, partition_plot, seconds_plot, write_plots
from fedkd.reporting.run_store import RunStore, run_name
from fedkd.reporting.tables import cost_table, markdown_rounds_table, result_table, round_line
from fedkd.reporting.tensorboard import TensorBoardWriter

__all__ = [
    "RunStore",
    "TensorBoardWriter",
    "accuracy_plot",
    "bytes_plot",
    "cost_table",
    "markdown_rounds_table",
    "partition_plot",
    "render_report",
    "result_table",
    "round_line",
    "run_name",
    "seconds_plot",
    "write_plots",
]
