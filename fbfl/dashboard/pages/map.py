"""`/map`: cells, servers and devices in a round."""

from typing import Any

from fbfl.dashboard.pages.view import View, malicious_in, records_or_none
from fbfl.dashboard.places import places
from fbfl.settings import read_stored

WIDTH = 900.0
"""Most units of the picture, as its height may have at most 640."""
MOST_HEIGHT = 640.0


def area(view: View) -> dict[str, Any]:
    """Return the places of a round; without one in the address those of the newest."""
    source = view.source
    known = source.known()
    lines = source.metrics()
    last = max(len(lines), known.records.num_rounds if known.records else 0, 1)
    number = min(view.number("round", last), last)
    shown: dict[str, Any] = {**records_or_none(known), "number": number, "last_round": last, "cells": []}
    shown |= {"playing": "play" in view.arguments and number < last}
    if source.where.run is None:
        return shown
    settings = read_stored(source.where.run / "settings.json")
    found = places(settings, number, source.where.plugins)
    grid = found.grid
    scale = min(WIDTH / grid.width, MOST_HEIGHT / grid.height)
    addresses = known.records.addresses if known.records else ()
    leader = lines[number - 1].get("leader") if number <= len(lines) else None
    malicious = malicious_in(source.settings, known.records)
    attached = [0] * settings.servers
    for device in found.devices:
        attached[device.server] += 1
    cells = []
    for server in range(settings.servers):
        west, south, width, height = found.cell(server)
        address = addresses[server] if server < len(addresses) else ""
        cells.append(
            {
                "name": f"server-{server}",
                "x": round(west * scale, 1),
                "y": round((grid.height - south - height) * scale, 1),
                "width": round(width * scale, 1),
                "height": round(height * scale, 1),
                "leads": bool(address) and address == leader,
                "bad": address in malicious,
                "devices": attached[server],
            }
        )
    return {
        **shown,
        "cells": cells,
        "devices": [
            {
                "x": round(device.x * scale, 1),
                "y": round((grid.height - device.y) * scale, 1),
                "to": cells[device.server],
                "text": f"device {device.number}, attached to server-{device.server}",
            }
            for device in found.devices
        ],
        "width": round(grid.width * scale, 1),
        "height": round(grid.height * scale, 1),
        "moving": found.moving,
        "metres": (grid.width, grid.height),
    }
