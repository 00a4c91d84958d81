"""What a run leaves behind: its folder, and the tables, plots, HTML report and TensorBoard events made from it.

Nothing here imports torch, except that writing TensorBoard events does so through tensorboardX (see `tensorboard`).
"""

from fedkd.reporting.comparison import render_comparison
from fedkd.reporting.heatmap import partition_plot
from fedkd.reporting.html import render_report
from fedkd.reporting.plots import run_plots, write_plots
from fedkd.reporting.reported import ReportedRun
from fedkd.reporting.tables import cost_table, result_table, round_line
from fedkd.reporting.tensorboard import TensorBoardWriter
from fedkd.storage.run_store import RunStore, run_name

__all__ = [
    "ReportedRun",
    "RunStore",
    "TensorBoardWriter",
    "cost_table",
    "partition_plot",
    "render_comparison",
    "render_report",
    "result_table",
    "round_line",
    "run_name",
    "run_plots",
    "write_plots",
]
