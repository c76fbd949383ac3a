"""Requests to other programs over HTTP."""

import requests


def session() -> requests.Session:
    """A session that takes nothing from the environment.

    Proxies are for other machines than those of a federation, and the passwords in a netrc file for other services.
    """
    made = requests.Session()
    made.trust_env = False
    return made
