"""`fedkd client …`: parses arguments, calls the library, prints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedkd.cli.errors import errors_as_lines, out

client_app = typer.Typer(
    name="client",
    help="A client at its own site: make its keys, check its configuration, run it. See docs/sites.md.",
    no_args_is_help=True,
)

SitePath = Annotated[Path, typer.Argument(metavar="SITE", help="A site, as a TOML file.")]


@client_app.command(epilog="Example:  fedkd client run site.toml")
def run(site_path: SitePath) -> None:
    """Take part in the federations of one SuperLink until stopped."""
    with errors_as_lines():
        from fedkd.site.settings import load_site

        site = load_site(site_path)
        from fedkd.site.serve import log_to_stderr, run_site  # brings torch

        log_to_stderr()
        try:
            run_site(site)
        except KeyboardInterrupt:
            raise typer.Exit(130) from None


@client_app.command(epilog="Example:  fedkd client check site.toml")
def check(site_path: SitePath) -> None:
    """Check the data, keys, connection and policy of a site; exit code 1 if anything is wrong."""
    with errors_as_lines():
        from fedkd.site.check import check_site
        from fedkd.site.settings import load_site

        failed = False
        for finding in check_site(load_site(site_path)):
            failed = failed or not finding.ok
            verdict = "ok    " if finding.ok else "failed"
            out.print(f"{verdict} {finding.what}: {finding.found}", highlight=False, markup=False, soft_wrap=True)
        if failed:
            raise typer.Exit(1)


@client_app.command()
def bundle() -> None:
    """Print the SHA-256 of the app bundle of this installation."""
    with errors_as_lines():
        from fedkd.flower.app_bundle import bundle_hash

        typer.echo(bundle_hash())


@client_app.command(epilog="Example:  fedkd client keys keys/")
def keys(folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder for the keys.")]) -> None:
    """Make the keys of a site, on its machine; existing keys are kept. The operator needs the *.pub files."""
    with errors_as_lines():
        from fedkd.deploy import make_site_keys

        make_site_keys(folder)
        typer.echo(f"send the operator {folder / 'node.pub'} and {folder / 'identity.pub'}, and nothing else")
