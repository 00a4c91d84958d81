"""Deployments: the folder of keys and settings that a federation over containers needs, and what is done to it.

    initialise   folder, certificates, keys, SITE.toml of every client, the engine's files
    start        server, registration of the clients' keys, clients
    run          the same experiment file as everywhere, over the clients that have joined
    status       who is registered, who is there, who cannot take part and why
    add, revoke, renew, hand over
    resume       go on with a run that was stopped, or whose SuperLink was away for too long

It writes files and calls the programs `docker` and `flwr`; it imports neither Flower nor an engine's library.
"""

from fedkd.deploy.clients import add_client, hand_over, renew_client, revoke_client
from fedkd.deploy.folder import Deployment, open_deployment
from fedkd.deploy.initialise import initialise, renew_server
from fedkd.deploy.running import resume_deployed, run_deployed, start, stop_deployed
from fedkd.deploy.site_keys import make_site_keys
from fedkd.deploy.status import ClientStatus, read_status

__all__ = [
    "ClientStatus",
    "Deployment",
    "add_client",
    "hand_over",
    "initialise",
    "make_site_keys",
    "open_deployment",
    "read_status",
    "renew_client",
    "renew_server",
    "resume_deployed",
    "revoke_client",
    "run_deployed",
    "start",
    "stop_deployed",
]
