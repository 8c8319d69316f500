"""The house for the compatibility kit plays its scenarios, and shows nothing of how."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest

from holdfast.testing.a2a_tck import marked

pytestmark = pytest.mark.timeout(120)


@pytest.mark.parametrize(
    ("scenario", "state", "shows"),
    [
        ("complete-task", "COMPLETED", '"text":"Hello from TCK"'),
        ("artifact-file", "COMPLETED", '"filename":"output.txt","mediaType":"text/plain"'),
        ("artifact-data", "COMPLETED", '"data":{"key":"value","count":42}'),
        ("input-required", "INPUT_REQUIRED", "Which one?"),
        ("auth-required", "AUTH_REQUIRED", "digest"),
        ("reject-task", "FAILED", "rejected"),
    ],
)
def test_each_scenario_is_what_the_kit_waits_for(
    sut: str, scenario: str, state: str, shows: str
) -> None:
    message = {
        "role": "ROLE_USER",
        "messageId": f"tck-{scenario}-1",
        "parts": [{"text": "as told"}],
    }
    answer = httpx2.post(
        f"{sut}/a2a/message:send",
        json={"message": message},
        headers={"A2A-Version": "1.0"},
        timeout=30,
    )
    task = answer.json()["task"]
    assert task["status"]["state"] == f"TASK_STATE_{state}"
    assert shows in answer.text
    assert "[tck:" not in answer.text
    assert task["history"][0]["parts"] == [{"text": "as told"}]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"message":7}', b'{"params":{"id":"x"}}'])
def test_what_is_no_message_goes_through_as_it_was(body: bytes) -> None:
    assert marked(body) == body


def test_a_message_is_marked_in_both_forms() -> None:
    message: Any = {"messageId": "tck-x-1", "parts": [{"data": 1}, {"text": "hi"}]}
    for told in ({"message": message}, {"params": {"message": message}}):
        assert b"hi [tck:tck-x-1]" in marked(json.dumps(told).encode())
