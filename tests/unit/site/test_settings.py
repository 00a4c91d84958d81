"""SITE.toml: paths, what goes together, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedkd.errors import ConfigError
from fedkd.site.settings import load_site

BASE = 'client = 0\nnum_clients = 3\nprivate = "private"\npublic = "/data/public"\nstate = "state"\n'
REMOTE = 'superlink = "superlink:9092"\nroot_certificates = "keys/ca.crt"\nnode_key = "keys/node.key"\n'
LOOPBACK = 'superlink = "127.0.0.1:9092"\ninsecure = true\n'


def written(folder: Path, text: str) -> Path:
    path = folder / "site.toml"
    path.write_text(text)
    return path


def test_paths_start_from_the_files_folder(tmp_path: Path) -> None:
    site = load_site(written(tmp_path, BASE + REMOTE + '[policy]\npublic_digest = ""\n'))
    assert (site.private, site.node_key) == (str(tmp_path / "private"), str(tmp_path / "keys" / "node.key"))
    assert site.public == "/data/public"
    assert site.policy.public_digest is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (BASE + 'superlink = "superlink:9092"\n', "root_certificates and node_key are both needed"),
        (BASE + 'superlink = "superlink:9092"\ninsecure = true\n', "on loopback"),
        (BASE + LOOPBACK + 'node_key = "k"\n', "without root_certificates and node_key"),
        (BASE.replace("client = 0", "client = 3", 1) + LOOPBACK, "at most num_clients - 1, which is 2"),
        (BASE + LOOPBACK + 'identity = "i.pem"\n', "identity and roster go together"),
        (BASE + LOOPBACK + '[policy]\ntrust = "active"\n', "needs identity and roster"),
        (BASE + LOOPBACK + "[policy]\nmaximum_round = 3\n", "did you mean 'maximum_rounds'"),
        (BASE + LOOPBACK + '[policy]\nallowed_bundles = ["ab"]\n', "policy.allowed_bundles.0"),
        (BASE + 'superlink = "superlink"\ninsecure = true\n', "superlink"),
    ],
)
def test_what_does_not_go_together_is_named(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_site(written(tmp_path, text))
    assert words in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"SITE = .*no\.toml"):
        load_site(tmp_path / "no.toml")
