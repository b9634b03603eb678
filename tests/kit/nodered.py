"""A Node-RED project as its editor keeps it: one JSON text of flows, an npm package with the nodes it needs, settings that are a program.

Nothing of it can carry a signature, so it is signed as a folder. A node of kind `function` and `settings.js` are code: whoever
changes one of them changes what the plant does.
"""

from __future__ import annotations

import json
from pathlib import Path

FLOWS = [
    {"id": "f6f2187d.f17ca8", "type": "tab", "label": "Oven 1", "disabled": False, "info": "proofing"},
    {
        "id": "3c9a1f52.8e0f1",
        "type": "mqtt-broker",
        "name": "line 3",
        "broker": "mqtt.line3.plant",
        "port": "8883",
        "tls": "7d1e5a20.c9",
        "usetls": True,
        "protocolVersion": "5",
    },
    {
        "id": "a0b1c2d3.e4f5",
        "type": "mqtt in",
        "z": "f6f2187d.f17ca8",
        "topic": "proofing/temperature",
        "qos": "2",
        "datatype": "auto-detect",
        "broker": "3c9a1f52.8e0f1",
        "x": 150,
        "y": 120,
        "wires": [["b1c2d3e4.f5a6"]],
    },
    {
        "id": "b1c2d3e4.f5a6",
        "type": "function",
        "z": "f6f2187d.f17ca8",
        "name": "limit",
        "func": "msg.payload = Math.min(Number(msg.payload), 38);\nreturn msg;",
        "outputs": 1,
        "libs": [],
        "wires": [[]],
    },
]
PACKAGE = {
    "name": "oven-1",
    "description": "Oven 1 of line 3",
    "version": "1.4.0",
    "private": True,
    "dependencies": {"node-red-contrib-modbus": "5.43.0"},
    "node-red": {"settings": {"flowFile": "flows.json", "credentialsFile": "flows_cred.json"}},
}
SETTINGS = """module.exports = {
    flowFile: "flows.json",
    flowFilePretty: true,
    uiPort: process.env.PORT || 1880,
    credentialSecret: process.env.NODE_RED_CREDENTIAL_SECRET,
    functionExternalModules: false,
    editorTheme: { projects: { enabled: true } },
}
"""
FILES = ("README.md", "flows.json", "flows_cred.json", "lib/functions/limit.js", "package.json", "settings.js")


def node_red_project(folder: Path, name: str = "oven-1") -> Path:
    """A project below `folder`."""
    root = folder / name
    (root / "lib" / "functions").mkdir(parents=True)
    (root / "flows.json").write_text(json.dumps(FLOWS, indent=4))
    (root / "flows_cred.json").write_text(json.dumps({"$": "0a1b2c3d4e5f60718293a4b5c6d7e8f9bm90IGEgc2VjcmV0"}))
    (root / "package.json").write_text(json.dumps(PACKAGE, indent=4))
    (root / "settings.js").write_text(SETTINGS)
    (root / "lib" / "functions" / "limit.js").write_text("// name: limit\nreturn msg;\n")
    (root / "README.md").write_text("# Oven 1\n")
    return root
