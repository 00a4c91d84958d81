"""The files that the engine reads: `.env`, and `compose.clients.yaml` with a service and a network for every client.

A network of its own lets a client reach the gateway and no other client; it is internal, so nothing else either.
"""

from __future__ import annotations

from fedkd.deploy.folder import Deployment
from fedkd.storage.files import naming_failures, write_atomically

CLIENTS = "compose.clients.yaml"
ENVIRONMENT = ".env"

_HEAD = """\
# Written by `fedkd deploy`; changed by it whenever clients come or go. See docker/README.md.

x-client: &client
  image: ${FEDKD_IMAGE:?}
  user: "${FEDKD_UID:?}:${FEDKD_GID:?}"
  command: [fedkd, client, run, /site/SITE.toml]
  init: true
  read_only: true
  tmpfs: ["/tmp:size=512m,mode=1777"]
  cap_drop: [ALL]
  security_opt: ["no-new-privileges:true"]
  restart: unless-stopped
  stop_grace_period: 20s
  pids_limit: 256
  mem_limit: 2g
  cpus: 1.0
  healthcheck:
    test: [CMD, python3, /etc/fedkd/healthy.py, "process:fedkd.flower.supernode_patches"]
    interval: 10s
    timeout: 5s
    retries: 3
    start_period: 60s
  logging: {driver: json-file, options: {max-size: 10m, max-file: "3"}}
"""

_SERVICE = """\
  client-{client}:
    <<: *client
    networks: [client-{client}]
    volumes:
      - "${{FEDKD_DEPLOYMENT:?}}/client-{client}:/site:ro"
      - "${{FEDKD_DEPLOYMENT:?}}/client-{client}/state:/state"
      - "${{FEDKD_DATA:?}}/client-{client}:/data:ro"
"""


def write_engine_files(deployment: Deployment) -> None:
    """Write both files for the clients that run on this host now.

    Raises:
        RunFolderError: one cannot be written.
    """
    clients = deployment.clients_here
    services = "".join(_SERVICE.format(client=client) for client in clients)
    aliases = "".join(
        f"      client-{client}: {{aliases: [{_quoted(deployment.settings.host)}]}}\n" for client in clients
    )
    networks = "".join(f"  client-{client}: {{internal: true}}\n" for client in clients)
    gateway = f"  gateway:\n    networks:\n{aliases}" if clients else ""
    text = f"{_HEAD}\nservices:\n{gateway}{services}\nnetworks:\n{networks}" if clients else _HEAD
    write_atomically(deployment.folder / CLIENTS, text.encode())
    write_atomically(deployment.folder / ENVIRONMENT, _environment(deployment).encode())
    with naming_failures("write", deployment.folder / ENVIRONMENT):
        (deployment.folder / ENVIRONMENT).chmod(0o600)


def _environment(deployment: Deployment) -> str:
    settings = deployment.settings
    files = [settings.compose]
    if deployment.clients_here:  # docker-compose 1.29 takes a file without services for one of the first format
        files.append(str(deployment.folder / CLIENTS))
    values = {
        "COMPOSE_PROJECT_NAME": settings.project,
        "COMPOSE_FILE": ":".join(files),
        "FEDKD_IMAGE": settings.image,
        "FEDKD_UID": settings.uid,
        "FEDKD_GID": settings.gid,
        "FEDKD_DEPLOYMENT": deployment.folder,
        "FEDKD_DATA": settings.data,
        "FEDKD_PORT": settings.port,
        "FEDKD_CONTROL_PORT": settings.control_port,
    }
    return "".join(f"{name}={value}\n" for name, value in values.items())


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
