"""`fedkd client`: a line for each thing that is needed, and an exit code that a script can use."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from typer.testing import CliRunner

from fedkd.cli.main import app
from fedkd.data.images import public_digest
from fedkd.data.site_files import read_public
from fedkd.federation.secure.identities import make_identities
from fedkd.flower.app_bundle import bundle_hash
from fedkd.site.check import Finding, check_site
from fedkd.site.settings import SiteConfig

Sites = Callable[..., SiteConfig]


def findings(site: SiteConfig) -> dict[str, Finding]:
    return {finding.what: finding for finding in check_site(site)}


def test_a_site_that_has_all_it_needs(make_site: Sites) -> None:
    images_NCHW, _ = read_public(Path(make_site().public), None)
    with socket.create_server(("127.0.0.1", 0)) as superlink:
        address = f"127.0.0.1:{superlink.getsockname()[1]}"
        found = findings(make_site(superlink=address, policy={"public_digest": public_digest(images_NCHW)}))
    assert all(finding.ok for finding in found.values())
    assert found["private samples"].found.startswith("27 images of 1x8x8; 3: 4, 4: 5, ")
    assert "as pinned" in found["public set"].found
    assert found["bundle"].found == bundle_hash()


def test_all_that_is_missing_is_found(make_site: Sites, tmp_path: Path) -> None:
    site = make_site(private=str(tmp_path / "none"), policy={"public_digest": "0" * 64}, superlink="127.0.0.1:1")
    found = findings(site)
    assert {what for what, finding in found.items() if not finding.ok} == {
        "private samples", "public set", "SuperLink",
    }  # fmt: skip


def test_keys_must_be_readable_and_for_their_owner_alone(make_site: Sites, tmp_path: Path) -> None:
    key, authority = tmp_path / "node.key", tmp_path / "ca.crt"
    private = ec.generate_private_key(ec.SECP384R1())
    key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    authority.write_text("no certificate")
    make_identities(tmp_path, range(3))
    site = make_site(
        insecure=False,
        node_key=str(key),
        root_certificates=str(authority),
        superlink="127.0.0.1:1",
        identity=str(tmp_path / "client-0.pem"),
        roster=str(tmp_path / "roster.json"),
    )
    key.chmod(0o644)
    found = findings(site)
    assert "chmod 600" in found["node key"].found
    assert not found["root certificates"].ok
    assert found["identity and roster"].ok
    key.chmod(0o600)
    assert findings(site)["node key"].ok
    key.write_text("no key")
    assert "EC private key" in findings(site)["node key"].found
    os.truncate(tmp_path / "client-0.pem", 0)
    assert not findings(site)["identity and roster"].ok


@pytest.mark.parametrize(("command", "code"), [("check", 1), ("run", 2)])
def test_an_empty_data_folder_is_one_line(command: str, code: int, tmp_path: Path) -> None:
    for name in ("private", "public"):
        (tmp_path / name).mkdir()
    path = tmp_path / "site.toml"
    path.write_text(
        'client = 0\nnum_clients = 1\nsuperlink = "127.0.0.1:1"\ninsecure = true\n'
        'private = "private"\npublic = "public"\nstate = "state"\n'
    )
    result = CliRunner().invoke(app, ["client", command, str(path)])
    assert result.exit_code == code
    assert "holds no class folders" in result.stdout + result.stderr
    assert "Traceback" not in result.stdout + result.stderr


def test_the_bundle_is_printed() -> None:
    result = CliRunner().invoke(app, ["client", "bundle"])
    assert result.stdout == f"{bundle_hash()}\n"


def test_a_check_needs_no_torch_and_a_client_no_library_of_the_simulation() -> None:
    heavy = ("torchvision", "ray", "matplotlib", "sklearn", "flwr_datasets", "datasets", "tensorboardX")
    code = (
        "import sys; import fedkd.site.check, fedkd.site.settings; "
        "assert 'torch' not in sys.modules; import fedkd.site.serve; "
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
