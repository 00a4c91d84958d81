"""The command line: parses, calls the library, prints. Exit codes: 0 done, 1 failed, 2 bad input, 130 interrupted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from fedkd._version import __version__
from fedkd.cli.client import client_app
from fedkd.cli.deploy import deploy_app
from fedkd.cli.errors import AsJson, Overrides, Quiet, err, errors_as_lines, out, print_error
from fedkd.errors import ConfigError

app = typer.Typer(
    name="fedkd",
    help="Federated knowledge distillation: clients send logits on a shared public set, the server distils a student.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(deploy_app)
app.add_typer(client_app)

ConfigPath = Annotated[Path, typer.Argument(metavar="CONFIG", help="An experiment, as a TOML file.")]


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        out.print(__version__, highlight=False)
        raise typer.Exit


@app.command(
    epilog="Examples:  fedkd simulate simulations/digits.toml  ·  "
    "fedkd simulate simulations/digits.toml --set method.name=fedmd --engine ray  ·  "
    "fedkd simulate --resume runs/fkd-digits-s0-20260131-142530-1a2b3c"
)
def simulate(
    config_path: Annotated[
        Path | None, typer.Argument(metavar="[CONFIG]", help="An experiment, as a TOML file; not with --resume.")
    ] = None,
    overrides: Overrides = None,
    resume_from: Annotated[
        Path | None, typer.Option("--resume", metavar="RUN", help="Continue a run that was stopped; RUN is its folder.")
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option("--engine", metavar="NAME", help="Where clients run: local, ray or flower; sets run.engine."),
    ] = None,
    ray_address: Annotated[
        str | None,
        typer.Option("--ray-address", metavar="ADDRESS", help="The address of a Ray cluster; implies --engine ray."),
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Run one experiment: a whole federation, on this machine or on a Ray cluster."""
    if (config_path is None) == (resume_from is None):
        raise typer.BadParameter("give an experiment to run, or --resume with a run to continue", param_hint="CONFIG")
    with errors_as_lines():
        from fedkd.cli.console import ProgressBar, print_results
        from fedkd.config.experiment import load_config
        from fedkd.experiment import resume, run

        where = [f"run.engine={engine or 'ray'}"] if engine or ray_address else []
        where += [f"ray.address={ray_address}"] if ray_address else []
        progress = ProgressBar(Console(stderr=True, quiet=quiet))
        try:
            with progress:
                if resume_from is not None:
                    record = resume(resume_from, progress, overrides=[*(overrides or ()), *where])
                elif config_path is not None:
                    record = run(load_config(config_path, [*(overrides or ()), *where]), progress)
        except KeyboardInterrupt:
            err.print(progress.interrupted, highlight=False, markup=False, soft_wrap=True)
            raise typer.Exit(130) from None
        if as_json:
            typer.echo(record.model_dump_json())
        elif not quiet:
            print_results([record], Path(record.run_dir) / "report.html", out)


@app.command(
    epilog="Examples:  fedkd distill simulations/distill.toml  ·  "
    "fedkd distill simulations/distill.toml --set student.objective.temperature=4.0"
)
def distill(
    config_path: Annotated[Path, typer.Argument(metavar="CONFIG", help="An offline distillation, as a TOML file.")],
    overrides: Overrides = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Distil one teacher into one student, without a federation."""
    with errors_as_lines():
        from fedkd.cli.console import print_results
        from fedkd.experiment import distill as run_distillation
        from fedkd.offline import load_offline_config

        record = run_distillation(load_offline_config(config_path, overrides or ()))
        if as_json:
            typer.echo(record.model_dump_json())
        elif not quiet:
            print_results([record], Path(record.run_dir) / "report.html", out)


@app.command(
    epilog="Examples:  fedkd config simulations/digits.toml --set run.seed=1  ·  "
    "fedkd config simulations/digits.toml --flower > run.toml"
)
def config(
    config_path: ConfigPath,
    overrides: Overrides = None,
    flower: Annotated[
        bool, typer.Option("--flower", help="Print a run config for Flower: one key with the experiment as JSON.")
    ] = False,
) -> None:
    """Print all keys of an experiment with their values, as TOML."""
    with errors_as_lines():
        from fedkd.config.experiment import load_config, with_absolute_paths
        from fedkd.storage.files import to_toml

        resolved = load_config(config_path, overrides or ())
        if flower:
            content = {"experiment": with_absolute_paths(resolved).model_dump_json()}
        else:
            content = resolved.model_dump(mode="json")
        typer.echo(to_toml(content), nl=False)


@app.command(
    epilog="Examples:  fedkd temperature simulations/digits.toml --grid 1,2,4,8  ·  "
    "fedkd temperature simulations/digits.toml --set data.public.labelled=true --set run.rounds=2"
)
def temperature(
    config_path: Annotated[
        Path, typer.Argument(metavar="CONFIG", help="An experiment, or an offline distillation, as a TOML file.")
    ],
    overrides: Overrides = None,
    grid: Annotated[
        str | None,
        typer.Option(
            "--grid", metavar="T,T,…", help="Temperatures to try; by default those of the file, or 0.5,1,2,4,8."
        ),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="Folder for temperature.json and temperature.svg.")
    ] = Path("temperature"),
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Find the temperature at which a student learns best, from the teacher of a federation or from one model."""
    with errors_as_lines():
        from fedkd.cli.console import ProgressBar, print_choice
        from fedkd.offline.temperature import find_temperature
        from fedkd.reporting.temperature import write_choice

        with ProgressBar(Console(stderr=True, quiet=quiet)) as progress:
            choice = find_temperature(config_path, overrides or (), grid, progress)
        written = write_choice(choice, output)
        if as_json:
            typer.echo(choice.model_dump_json())
        elif not quiet:
            print_choice(choice, written, out)


@app.command(
    epilog="Examples:  fedkd study simulations/studies/digits-methods.toml --workers 2  ·  "
    "fedkd study simulations/studies/digits-methods.toml --dry-run"
)
def study(
    study_path: Annotated[Path, typer.Argument(metavar="STUDY", help="A study, as a TOML file.")],
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FOLDER", help="Folder in which the folder of the study is made.")
    ] = None,
    workers: Annotated[
        int,
        typer.Option(
            "--workers", metavar="N", min=0, help="Number of cells that run in parallel; 0: as many as the CPUs allow."
        ),
    ] = 0,
    ray_address: Annotated[
        str,
        typer.Option(
            "--ray-address",
            metavar="ADDRESS",
            help="The address of a Ray cluster whose machines share the output folder.",
        ),
    ] = "",
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Run only the cells that failed.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check all cells and print what would run.")] = False,
    quiet: Quiet = False,
) -> None:
    """Run an experiment over a grid and several seeds. After an interruption, the same command continues."""
    with errors_as_lines():
        from fedkd.config.experiment import RayConfig
        from fedkd.study import load_study
        from fedkd.study.terminal import dry_run_lines, run_and_report

        loaded = load_study(study_path, output)
        ray = RayConfig(address=ray_address, workers=workers)
        if dry_run:
            for line in dry_run_lines(loaded, workers, retry_failed=retry_failed):
                typer.echo(line)
            return
        try:
            failed = run_and_report(loaded, ray, out, Console(stderr=True, quiet=quiet), retry_failed=retry_failed)
        except KeyboardInterrupt:
            err.print(f"interrupted; continue with the same command ({loaded.folder})", highlight=False, markup=False)
            raise typer.Exit(130) from None
        for line in failed:
            print_error(line)
        if failed:
            raise typer.Exit(1)


@app.command(
    epilog="Examples:  fedkd report runs/fkd-digits-s0-20260131-142530-1a2b3c  ·  "
    "fedkd report runs/fkd runs/fedmd runs/fedavg --output methods.html"
)
def report(
    run_dirs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders, finished or not.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE.html",
            help="The file to write; by default RUN/report.html, or comparison.html.",
        ),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Write the report of a run again, or compare several runs on one page; print the result tables."""
    with errors_as_lines():
        from fedkd.cli.console import print_results
        from fedkd.run_reports import read_run, write_comparison, write_report

        if len(run_dirs) == 1:
            path, records = write_report(run_dirs[0], output), [read_run(run_dirs[0])]
        else:
            path = output or Path("comparison.html")
            records = write_comparison(run_dirs, path)
        if not quiet:
            print_results(records, path, out)


@app.command(epilog="Example:  fedkd watch runs/fkd-digits-s0-20260131-142530-1a2b3c")
def watch(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    interval: Annotated[
        float, typer.Option("--interval", metavar="SECONDS", min=0.1, help="Time between two updates.")
    ] = 1.0,
) -> None:
    """Show rounds, accuracies and times of a run while it is going, until it ends; exit code 1 if it was stopped."""
    with errors_as_lines():
        from fedkd.reporting import RunStore
        from fedkd.reporting.watch import watch as watch_run

        try:
            progress = watch_run(RunStore.open(run_dir), out, interval)
        except KeyboardInterrupt:
            raise typer.Exit(130) from None
        if progress.state == "stopped":
            advice = f"the run was stopped; continue it with: fedkd simulate --resume {run_dir}"
            err.print(advice, highlight=False, markup=False, soft_wrap=True)
            raise typer.Exit(1)


@app.command(epilog="Example:  fedkd predict runs/fkd-digits-s0-20260131-142530-1a2b3c photos/")
def predict(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN", help="A finished run folder.")],
    samples: Annotated[
        Path,
        typer.Argument(
            metavar="SAMPLES",
            help="An image, a folder of images or an .npz file; texts: a .txt file, a folder of them or a .jsonl file.",
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Classify images or texts with the student of a run."""
    with errors_as_lines():
        from fedkd.prediction import predict as classify

        predictions = classify(run_dir, samples)
        if as_json:
            typer.echo(json.dumps([prediction._asdict() for prediction in predictions]))
            return
        for prediction in predictions:
            typer.echo(f"{prediction.name}\t{prediction.class_name}\t{prediction.probability:.3f}")


@app.command(epilog="Examples:  fedkd data  ·  fedkd data simulations/digits.toml --plot partition.svg")
def data(
    config_path: Annotated[
        Path | None, typer.Argument(metavar="[CONFIG]", help="An experiment; without it, list what is available.")
    ] = None,
    overrides: Overrides = None,
    plot: Annotated[Path | None, typer.Option("--plot", metavar="FILE.svg", help="Draw the partition.")] = None,
    export_to: Annotated[
        Path | None,
        typer.Option(
            "--export",
            metavar="FOLDER",
            help="Write the data of each client and of the server, for a trial over sites.",
        ),
    ] = None,
) -> None:
    """Show the data of an experiment and its partition; without CONFIG, list sources, models and methods."""
    with errors_as_lines():
        from fedkd.cli.console import available_lines, data_lines

        if config_path is None and (overrides or plot or export_to):
            raise ConfigError("CONFIG", None, "an experiment, if --set, --plot or --export is given")
        if config_path is None:
            lines = available_lines()
        else:
            from fedkd.config.experiment import load_config

            loaded = load_config(config_path, overrides or ())
            lines = data_lines(loaded, plot)
            if export_to is not None:
                from fedkd.site.export import export

                lines.append(f"experiment over sites: {export(loaded, export_to)}")
        for line in lines:
            typer.echo(line)


@app.command(epilog="Example:  fedkd identities keys/ --clients 10")
def identities(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder for the keys and the roster.")],
    clients: Annotated[
        int, typer.Option("--clients", metavar="N", min=1, help="Number of clients; they are 0 to N - 1.")
    ],
) -> None:
    """Make the identities for secure aggregation against a server that may deviate from the protocol, and their roster.

    Files that exist are not overwritten.
    """
    with errors_as_lines():
        from fedkd.federation.secure.identities import ROSTER, make_identities

        roster = make_identities(folder, range(clients))
        typer.echo(f"{folder / ROSTER}: {len(roster)} identities")


def main() -> None:
    """Entry point of the `fedkd` command."""
    app()
