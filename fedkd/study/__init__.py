"""Studies: one experiment over a grid of settings and several seeds.

    study file -> cells -> run folders -> tables -> summary, plots, page

A study is done as independent cells, each a run folder of its own; what is made of them is made from those folders.
"""

from fedkd.study.cells import Cell, Study, load_study
from fedkd.study.runner import StudyObserver, run_study

__all__ = ["Cell", "Study", "StudyObserver", "load_study", "run_study"]
