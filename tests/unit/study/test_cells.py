from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fedkd.errors import StudyError
from fedkd.study import Study, load_study

MakeStudy = Callable[[str], Study]


def test_a_grid_is_every_combination_with_every_seed(study: MakeStudy) -> None:
    loaded = study('seeds = [3, 1]\n[grid]\n"method.name" = ["fkd", "fedavg"]\n"training.epochs" = [1, 2]\n')
    points = [
        (cell.config.method.name, cell.config.training.epochs, cell.config.run.seed, cell.seed) for cell in loaded.cells
    ]
    expected = [(m, e, s, s) for m in ("fkd", "fedavg") for e in (1, 2) for s in (3, 1)]
    assert points == expected
    assert loaded.axes == ["method.name", "training.epochs"]
    assert loaded.cells[2].point == {"method.name": "fkd", "training.epochs": 2}
    assert loaded.cells[0].name == "method.name=fkd,training.epochs=1,seed=3"


def test_variants_set_several_keys_together(study: MakeStudy) -> None:
    loaded = study(
        "[grid.budget]\n"
        'short = {"training.epochs" = 1, student = {epochs = 2}}\n'
        'long = {"training.epochs" = 5, student = {epochs = 9}}\n'
    )
    found = {
        cell.point["budget"]: (cell.config.training.epochs, cell.config.student.epochs, cell.config.student.model)
        for cell in loaded.cells
    }
    assert found == {"short": (1, 2, "mlp"), "long": (5, 9, "mlp")}
    assert [cell.name for cell in loaded.cells] == ["budget=short,seed=0", "budget=long,seed=0"]


def test_a_table_as_a_value_is_merged_into_its_section(study: MakeStudy) -> None:
    loaded = study('[grid]\nmethod = [{name = "fkd", aggregator = "median_logits"}, {name = "fedavg"}]\n')
    assert [cell.config.method.name for cell in loaded.cells] == ["fkd", "fedavg"]
    assert loaded.cells[0].point["method"] == '{"name": "fkd", "aggregator": "median_logits"}'
    assert len({cell.name for cell in loaded.cells}) == 2
    assert all(Path(cell.name).name == cell.name and '"' not in cell.name for cell in loaded.cells)


def test_cells_one_by_one_show_what_they_resolve_to(study: MakeStudy) -> None:
    loaded = study(
        '[[cells]]\n"method.name" = "fkd"\n"method.aggregator" = "mean_logits"\n'
        '[[cells]]\n"method.name" = "fedavg"\n"training.epochs" = 4\n'
    )
    assert [cell.point for cell in loaded.cells] == [
        {"method.name": "fkd", "method.aggregator": "mean_logits", "training.epochs": 2},
        {"method.name": "fedavg", "method.aggregator": None, "training.epochs": 4},
    ]


def test_fixed_settings_and_the_study_itself_win_over_the_base(study: MakeStudy) -> None:
    (cell,) = study('[fixed]\n"run.rounds" = 7\ntraining.epochs = 3\n').cells
    assert (cell.config.run.rounds, cell.config.training.epochs, cell.name) == (7, 3, "seed=0")
    assert (cell.config.run.output, cell.config.run.engine) == ("cells", "local")
    assert cell.config.data.train_size == 200


def test_without_a_grid_there_is_one_point(study: MakeStudy) -> None:
    loaded = study("seeds = [0, 1]\n")
    assert [cell.name for cell in loaded.cells] == ["seed=0", "seed=1"]
    assert loaded.axes == []


def test_names_that_would_be_the_same_or_too_long_are_told_apart(study: MakeStudy, tmp_path: Path) -> None:
    folders = ["a b", "a/b", "x" * 300, "x" * 299 + "y"]
    loaded = study(f'[grid]\n"data.root" = {folders}\n'.replace("'", '"'))
    names = [cell.name for cell in loaded.cells]
    assert len(set(names)) == 4
    for name in names:
        (tmp_path / name).mkdir()  # the file system takes it


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("sedes = [1]\n", ["sedes", "did you mean 'seeds'?"]),
        ('[grid]\n"method.nam" = ["fkd"]\n', ["cell method.nam=fkd,seed=0", "method.nam = 'fkd'", "'name'"]),
        ('[grid]\n"method.name" = ["fkd", "fedm"]\n', ["cell method.name=fedm,seed=0", "'fedm'", "'fedmd'"]),
        ('[grid]\n"training.epochs" = [1, -1]\n', ["cell training.epochs=-1,seed=0", "training.epochs = -1"]),
        ('[grid]\n"training.epochs" = 2\n', ["training.epochs: a list of values"]),
        ('[grid]\n"training.epochs" = []\n', ["training.epochs: at least one value"]),
        ('[grid]\n"training.epochs" = [1, 1]\n', ["training.epochs: each value once"]),
        ("[grid]\ntraining.epochs = [1, 2]\n", ['put dotted keys in quotes, as in "training.epochs"']),
        ('[grid]\n"run.seed" = [1, 2]\n', ["run.seed cannot be set here", "`seeds`"]),
        ('[fixed]\nrun = {output = "x"}\n', ["run.output cannot be set here"]),
        ('[fixed]\n"ray.workers" = 2\n', ["ray.workers cannot be set here"]),
        ('[fixed]\n"run.sead" = 2\n', ["cell seed=0", "run.sead = 2", "did you mean 'seed'?"]),
        ('[grid.error]\na = {"training.epochs" = 1}\n', ["error: another word"]),
        ("seeds = []\n", ["seeds", "at least 1 item"]),
        ("seeds = [1, 1]\n", ["seeds", "each seed once"]),
        ('seeds = ["1"]\n', ["seeds.0", "valid integer"]),
        ('output = ""\nseeds = [-1]\n', ["cell seed=-1", "run.seed = -1"]),
        ('[[cells]]\n"training.epochs" = 2\n[[cells]]\n"data.root" = "data"\n', ["are the same experiment"]),
        ('[grid]\n"run.rounds" = [1]\n[[cells]]\n"run.rounds" = 2\n', ["either [grid] or [[cells]]"]),
        ('[grid]\n"data.source.deep" = [1]\n', ["data.source.deep = 1", "source is a value"]),
    ],
)
def test_what_is_wrong_is_named_with_file_cell_and_key(
    study_path: Callable[[str], Path], text: str, parts: list[str]
) -> None:
    path = study_path(text)
    if "source.deep" in text:
        base = path.parent / "base.toml"
        base.write_text(base.read_text().replace("[data]\n", '[data]\nsource = "digits"\n'))
    with pytest.raises(StudyError) as caught:
        load_study(path)
    assert [part for part in [str(path), *parts] if part not in str(caught.value)] == []


def test_a_base_that_is_missing_is_named(study_path: Callable[[str], Path]) -> None:
    path = study_path("")
    (path.parent / "base.toml").unlink()
    with pytest.raises(StudyError, match=r"base = .*base\.toml.*No such file"):
        load_study(path)
