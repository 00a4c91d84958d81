"""A client at its own site: what runs there, what it refuses, what it keeps, and what it writes down.

    fedkd client run SITE.toml ── starts ── courier (Flower's SuperNode) ── TLS ── SuperLink
            └── polls the courier on loopback: task → bundle → policy → client app → state, audit → reply

Nothing of an app's bundle is imported: the client app is the one that is installed here.
"""
