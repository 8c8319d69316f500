"""The card that says what is here: little to everybody, more to who may ask."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import msgspec

from holdfast.runtime.house import House

from .words import EXTENSION_ONCE

VERSIONS = ("1.0", "0.3")
EXTENSION_SIGNED = "urn:holdfast:a2a:webhook-signature"
_INPUT = ("text/plain", "application/json", "text/*", "image/*", "audio/*", "application/pdf")
_OUTPUT = ("text/plain", "application/json", "application/octet-stream")


def card(house: House, base: str) -> dict[str, Any]:
    """For everybody: how to ask, and how to be let in. `base` is where this door is."""
    told = house.in_force.a2a
    endpoint = f"{base}/a2a"
    return {
        "name": told.name,
        "description": told.description,
        "supportedInterfaces": [
            {"url": endpoint, "protocolBinding": binding, "protocolVersion": version}
            for binding, version in (("JSONRPC", "1.0"), ("HTTP+JSON", "1.0"), ("JSONRPC", "0.3"))
        ],
        "version": house.version,
        "capabilities": {
            "streaming": True,
            "pushNotifications": True,
            "extendedAgentCard": True,
            "extensions": _extensions(house),
        },
        "securitySchemes": {"token": {"httpAuthSecurityScheme": {"scheme": "Bearer"}}},
        "securityRequirements": [{"schemes": {"token": {"list": []}}}],
        "defaultInputModes": list(_INPUT),
        "defaultOutputModes": list(_OUTPUT),
        "skills": [_SKILL],
    }


_SKILL = {
    "id": "task",
    "name": "Work on a task",
    "description": "Give a task in words, with files if there are any; ask for what became of it.",
    "tags": ["agent", "files", "tools"],
}


def public(house: House, base: str) -> dict[str, Any]:
    """The card with what readers of version 0.3 look for."""
    return card(house, base) | {
        "protocolVersion": "0.3.0",
        "url": f"{base}/a2a",
        "preferredTransport": "JSONRPC",
        "supportsAuthenticatedExtendedCard": True,
        "security": [{"token": []}],
        "securitySchemes": {
            "token": {
                "httpAuthSecurityScheme": {"scheme": "Bearer"},
                "type": "http",
                "scheme": "bearer",
            }
        },
    }


def extended(house: House, base: str) -> dict[str, Any]:
    """For who may ask: besides, which tools the agent has."""
    agent = house.agent
    names = sorted(tool.spec.name for tool in house.tools.all())
    skill = _SKILL | {
        "id": agent.name,
        "name": agent.name,
        "description": f"The agent {agent.name}. Its tools: {', '.join(names)}.",
    }
    return card(house, base) | {"skills": [_SKILL, skill]}


def etag(told: dict[str, Any]) -> str:
    return f'"{hashlib.sha256(msgspec.json.encode(told)).hexdigest()[:32]}"'


def _extensions(house: House) -> list[dict[str, Any]]:
    key = base64.b64encode(house.signer.key).decode()
    return [
        {
            "uri": EXTENSION_ONCE,
            "description": "A message whose messageId came before begins no second task.",
        },
        {
            "uri": EXTENSION_SIGNED,
            "description": "Push notifications are signed as Standard Webhooks has it (v1a).",
            "params": {"publicKey": f"whpk_{key}"},
        },
    ]
