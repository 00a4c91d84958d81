"""Write the tables of results in `simulations/README.md` from the studies' committed figures.

    python simulations/tabulate.py                             # write the tables anew
    python simulations/tabulate.py --check                     # exit 1 where one is not what its study says
    python simulations/tabulate.py --take runs/digits-methods  # commit the figures of a study that has run

A table stands between `<!-- study: NAME -->` and `<!-- end -->`; its figures are `simulations/studies/NAME.csv`, the
`rounds.csv` of the study that `simulations/studies/NAME.toml` describes.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from fedkd.errors import FedkdError, RunFolderError
from fedkd.storage.files import read_bytes, write_atomically
from fedkd.study.rounds_table import study_block
from fedkd.study.rows import read_csv

HERE = Path(__file__).parent
README = HERE / "README.md"
STUDIES = HERE / "studies"
BLOCK = re.compile(r"(<!-- study: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def rewritten(document: str, studies: Path = STUDIES) -> str:
    """Return the document with every study's tables made anew."""
    return BLOCK.sub(
        lambda block: f"{block[1]}\n{study_block(read_csv(studies / f'{block[2]}.csv'))}\n{block[3]}", document
    )


def take(folder: Path) -> None:
    """Copy the figures of a study that has run; its folder is named after it."""
    if not (STUDIES / f"{folder.name}.toml").is_file():
        raise RunFolderError(f"{folder}: there is no study file {STUDIES / folder.name}.toml")
    write_atomically(STUDIES / f"{folder.name}.csv", read_bytes(folder / "rounds.csv"))


def main(arguments: list[str]) -> int:
    """Do what the command line says; returns the exit code."""
    try:
        if arguments[:1] == ["--take"] and len(arguments) == 2:
            take(Path(arguments[1]))
        elif arguments not in ([], ["--check"]):
            print(__doc__)
            return 2
        before = README.read_text(encoding="utf-8")
        after = rewritten(before)
    except FedkdError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    if arguments == ["--check"]:
        if before != after:
            print(f"{README}: a table is not what its study says; run python simulations/tabulate.py", file=sys.stderr)
        return int(before != after)
    write_atomically(README, after.encode())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
