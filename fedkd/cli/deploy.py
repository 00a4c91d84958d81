"""`fedkd deploy …`: parses arguments, calls the library, prints."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedkd.cli.errors import Overrides, err, errors_as_lines, out, print_error

if TYPE_CHECKING:
    from fedkd.deploy import Deployment

deploy_app = typer.Typer(
    name="deploy",
    help="A federation in containers: certificates, keys, clients and runs. See docker/README.md.",
    no_args_is_help=True,
)

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The folder of the deployment.")]
RunName = Annotated[str, typer.Argument(metavar="NAME", help="The name of the run; its folder is DIR/runs/NAME.")]
Client = Annotated[int, typer.Argument(metavar="CLIENT", min=0, help="The number of a client.")]


@deploy_app.command(epilog="Example:  fedkd deploy init federation --clients 3 --host server.example.org")
def init(
    folder: Folder,
    clients: Annotated[
        int, typer.Option("--clients", metavar="N", min=1, help="The number of clients; they are 0 to N - 1.")
    ],
    host: Annotated[
        str, typer.Option("--host", metavar="NAME", help="Name or address by which clients reach this machine.")
    ],
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", metavar="FOLDER", help="Data as `fedkd data --export` writes them; by default DIR/data."
        ),
    ] = None,
    image: Annotated[str, typer.Option("--image", metavar="NAME", help="The image of all services.")] = "fedkd",
    compose: Annotated[Path, typer.Option("--compose", metavar="FILE", help="The compose file of the server.")] = Path(
        "docker/compose.yaml"
    ),
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="The port for clients.")] = 9092,
    control_port: Annotated[
        int, typer.Option("--control-port", min=1, max=65535, help="The port for the operator, on loopback.")
    ] = 9093,
) -> None:
    """Make the folder of a deployment, or complete it; existing keys are kept."""
    with errors_as_lines():
        from fedkd.deploy import initialise

        made = initialise(
            folder, clients, host, data=data, image=image, compose=compose, port=port, control_port=control_port
        )
        typer.echo(f"{made.folder}: {_count(made)}; next: fedkd deploy start {folder}")


@deploy_app.command(epilog="Example:  fedkd deploy start federation")
def start(
    folder: Folder,
    restart: Annotated[
        bool, typer.Option("--restart", help="Also restart running services, so that they read keys and rosters again.")
    ] = False,
) -> None:
    """Start the server, register the keys of new clients, and start the clients of this host. It can be repeated."""
    with errors_as_lines():
        from fedkd.deploy import open_deployment
        from fedkd.deploy import start as start_deployment

        new = start_deployment(open_deployment(folder), restart=restart)
        registered = f"; registered client {', '.join(map(str, new))}" if new else ""
        typer.echo(f"started{registered}; next: fedkd deploy status {folder}")


@deploy_app.command(epilog="Example:  fedkd deploy run federation experiment.toml --set run.rounds=5")
def run(
    folder: Folder,
    config_path: Annotated[
        Path, typer.Argument(metavar="CONFIG", help='An experiment with data.source = "sites", as a TOML file.')
    ],
    overrides: Overrides = None,
) -> None:
    """Run an experiment with the clients of a deployment, and show its log."""
    with errors_as_lines():
        from fedkd.deploy import open_deployment, run_deployed

        try:
            path = run_deployed(open_deployment(folder), config_path, overrides or (), typer.echo)
        except KeyboardInterrupt:
            err.print("the run continues without this command", highlight=False, markup=False)
            raise typer.Exit(130) from None
        typer.echo(f"run folder: {path}; next: fedkd report {path}")


@deploy_app.command(epilog="Example:  fedkd deploy resume federation first")
def resume(folder: Folder, name: RunName) -> None:
    """Continue a run that ended too early, after its last whole round, and show its log."""
    with errors_as_lines():
        from fedkd.deploy import open_deployment, resume_deployed

        path = resume_deployed(open_deployment(folder), name, typer.echo)
        typer.echo(f"run folder: {path}; next: fedkd report {path}")


@deploy_app.command(epilog="Example:  fedkd deploy stop federation first")
def stop(folder: Folder, name: RunName) -> None:
    """Stop a run. Its files stay, and `resume` continues it."""
    with errors_as_lines():
        from fedkd.deploy import open_deployment, stop_deployed

        stop_deployed(open_deployment(folder), name)
        typer.echo(f"stopped {name}; to continue: fedkd deploy resume {folder} {name}")


@deploy_app.command(epilog="Example:  fedkd deploy status federation")
def status(folder: Folder) -> None:
    """Show which clients are registered, are online, or cannot take part and why; exit code 1 if one cannot."""
    with errors_as_lines():
        from fedkd.deploy import open_deployment, read_status
        from fedkd.deploy.terminal import problems, status_table

        found = read_status(open_deployment(folder))
        out.print(status_table(found))
        lines = problems(found)
        for line in lines:
            print_error(line)
        if lines:
            raise typer.Exit(1)


@deploy_app.command(name="add-client", epilog="Example:  fedkd deploy add-client federation")
def add(folder: Folder) -> None:
    """Make keys and files for one more client; it gets the lowest free number."""
    with errors_as_lines():
        from fedkd.deploy import add_client, open_deployment

        deployment, client = add_client(open_deployment(folder))
        typer.echo(f"client {client}: {deployment.site(client)}; {_advice(deployment, folder)}")


@deploy_app.command(epilog="Example:  fedkd deploy revoke federation 2")
def revoke(folder: Folder, client: Client) -> None:
    """Refuse a client from now on, and move its keys away."""
    with errors_as_lines():
        from fedkd.deploy import open_deployment, revoke_client

        deployment = revoke_client(open_deployment(folder), client)
        typer.echo(f"revoked client {client}; {_advice(deployment, folder)}")


@deploy_app.command(epilog="Examples:  fedkd deploy renew federation 2  ·  fedkd deploy renew federation")
def renew(
    folder: Folder,
    client: Annotated[
        int | None, typer.Argument(metavar="[CLIENT]", min=0, help="The number of a client; without it, the server.")
    ] = None,
) -> None:
    """Make new keys for a client or for the server; the old keys are refused from now on."""
    with errors_as_lines():
        from fedkd.deploy import open_deployment, renew_client, renew_server

        deployment = open_deployment(folder)
        if client is None:
            renew_server(deployment)
            typer.echo(f"new keys for the server; next: fedkd deploy start {folder} --restart")
        else:
            deployment = renew_client(deployment, client)
            typer.echo(f"new keys for client {client}: {deployment.site(client)}; {_advice(deployment, folder)}")


@deploy_app.command(name="hand-over", epilog="Example:  fedkd deploy hand-over federation 2 --keys from-site-2")
def hand_over(
    folder: Folder,
    client: Client,
    keys: Annotated[
        Path | None,
        typer.Option("--keys", metavar="FOLDER", help="Public keys of the site, from `fedkd client keys`."),
    ] = None,
) -> None:
    """Let a client run on another host: it is not started here, and its folder has all that the site needs."""
    with errors_as_lines():
        from fedkd.deploy import hand_over as note_host
        from fedkd.deploy import open_deployment

        deployment = note_host(open_deployment(folder), client, keys)
        typer.echo(f"hand {deployment.site(client)} to the site; next: fedkd deploy start {folder} --restart")


def _count(deployment: Deployment) -> str:
    clients = deployment.settings.clients
    return f"{len(clients)} {'client' if len(clients) == 1 else 'clients'}"


def _advice(deployment: Deployment, folder: Path) -> str:
    return f"{_count(deployment)} now, and the roster has changed; next: fedkd deploy start {folder} --restart"
