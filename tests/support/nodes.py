"""Programs that stand in for nodes where no real ones are: they start, listen, answer and end as those do.

Real nodes are tested in tests/integration. These are there at once, and can be told to fail as real ones rarely do:
by the environment variable `STAND_IN` one "dies" when it is started, is "deaf" and never listens, "refuses" every
question, "mumbles" what is no JSON, or answers "otherwise" than such a node does.
"""

import sys
from pathlib import Path

import pytest

from fbfl.nodes import processes

PROGRAMS = ("anvil", "ganache", "geth", "ipfs")

_SOURCE = """
import json, os, pathlib, sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer

kind, arguments, mood = pathlib.Path(sys.argv[0]).name, sys.argv[1:], os.environ.get("STAND_IN", "")
options = dict(zip(arguments, arguments[1:])) | dict(each.split("=", 1) for each in arguments if "=" in each)
peers = []

if "version" in arguments:
    sys.exit(print("Geth\\nVersion: 1.11.6-stable"))
if "init" in arguments:
    if mood == "dies":
        sys.exit("no room for a repository")
    folder = pathlib.Path(os.environ["IPFS_PATH"] if kind == "ipfs" else options["--datadir"])
    (folder / "geth" / "chaindata").mkdir(parents=True)
    (folder / "config").write_text(json.dumps({"Identity": {"PeerID": folder.name}}))
    sys.exit()
if mood == "dies":
    sys.exit("no such genesis")
if mood == "deaf":
    time.sleep(60)
if kind == "ipfs":
    config = json.loads((pathlib.Path(os.environ["IPFS_PATH"]) / "config").read_text())
    port = config["Addresses"]["API"].rpartition("/")[2]
else:
    port = next(options[name] for name in ("--port", "--server.port", "--http.port") if name in options)


class Answer(BaseHTTPRequestHandler):
    def do_POST(self):
        asked = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if "swarm/connect" in self.path:
            peers.append({"Peer": self.path})
        if kind == "ipfs":
            said = {"Version": "0.41.0"} if "version" in self.path else {"Peers": peers or None}
        else:
            values = {"web3_clientVersion": kind, "eth_blockNumber": "0x1", "net_peerCount": "0x1"}
            said = {"result": values[json.loads(asked)["method"]]}
        if mood == "refuses":
            said = {"error": "not today"}
        if mood == "otherwise":
            said = [1] if "version" in self.path else {"Peers": 3, "result": None}
        body = b"?" if mood == "mumbles" else json.dumps(said).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


HTTPServer(("127.0.0.1", int(port)), Answer).serve_forever()
"""


def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the programs into a folder, where fbfl finds them before any real ones."""
    (folder / "bin").mkdir(parents=True)
    for name in PROGRAMS:
        program = folder / "bin" / name
        program.write_text(f"#!{sys.executable} -IS\n{_SOURCE}")
        program.chmod(0o755)
    monkeypatch.setattr(processes, "TOOLS", folder)
