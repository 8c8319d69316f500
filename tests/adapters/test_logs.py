"""The log: private from its first moment, and without a secret in any line of it."""

from __future__ import annotations

import json
import logging
import os
import stat
from collections.abc import Generator
from pathlib import Path

import pytest

from holdfast.adapters.telemetry.logs import start_logging
from holdfast.core.redact import Redactor

SECRET = 'canary "quoted" 0123456789'


@pytest.fixture
def root() -> Generator[logging.Logger]:
    """The root logger as it was before, afterwards."""
    one, ours = logging.getLogger(), logging.getLogger("holdfast")
    handlers, level, our_level = one.handlers[:], one.level, ours.level
    yield one
    for handler in one.handlers:
        if handler not in handlers:
            handler.close()
    one.handlers[:] = handlers
    one.setLevel(level)
    ours.setLevel(our_level)


@pytest.mark.parametrize("as_json", [True, False])
def test_no_line_has_a_secret_and_nobody_else_can_read_it(
    tmp_path: Path, root: logging.Logger, as_json: bool
):
    """Row OL-10. Part of rows OC-95, OK-96."""
    known = Redactor([("github", SECRET)])
    previous = os.umask(0)
    try:
        start_logging(
            tmp_path, level="debug", as_json=as_json, also_stderr=False, redact=known.text
        )
    finally:
        os.umask(previous)
    log = logging.getLogger("holdfast.test")
    log.info("it is %s", SECRET)
    try:
        int(SECRET)
    except ValueError:
        log.exception("it failed", extra={"task": SECRET, "code": "x"})
    (file,) = tmp_path.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    text = file.read_text()
    assert "canary" not in text
    assert "it is <<SECRET_github>>" in text
    if as_json:
        told = [json.loads(line) for line in text.splitlines()]
        assert told[1]["error"].endswith("'<<SECRET_github>>'")
        assert told[1]["task"] == "<<SECRET_github>>"


@pytest.mark.parametrize("as_json", [True, False])
def test_a_key_that_nobody_told_us_of_is_in_no_line_by_its_shape(
    tmp_path: Path, root: logging.Logger, as_json: bool
):
    shapes = (
        "sk-proj-0aB1cD2eF3gH4iJ5kL6mN7oP",
        "ghp_" + "a1B2" * 9,
        "AKIAABCDEFGHIJKLMNOP",
        "xoxb-1234567890-abcdef",
    )
    start_logging(tmp_path, level="debug", as_json=as_json, also_stderr=False, redact=str)
    log = logging.getLogger("holdfast.test")
    for one in shapes:
        log.info('the server said "no: %s"', one)
    text = (tmp_path / "holdfast.log").read_text()
    assert not any(one in text for one in shapes)
    assert text.count("[***]") == len(shapes)
    if as_json:
        told = [json.loads(line)["message"] for line in text.splitlines()]
        assert told == ['the server said "no: [***]"'] * len(shapes)
