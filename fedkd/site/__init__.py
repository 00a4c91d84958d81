"""A client at its own site: message handler, policy, state, audit log, and the SuperNode process.

    fedkd client run SITE.toml ── starts ── SuperNode process (Flower) ── TLS ── SuperLink
            └── takes tasks on loopback: task → bundle → policy → client app → state, audit log → reply

No code of an app bundle is imported: the client app is the one that is installed at the site.
"""
