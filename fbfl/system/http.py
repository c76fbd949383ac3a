"""Requests to other programs over HTTP."""

import requests


def session() -> requests.Session:
    """Return a session that takes nothing from the environment.

    Proxies and the passwords of a netrc file are for other machines and services than those of a federation.
    """
    made = requests.Session()
    made.trust_env = False
    return made
