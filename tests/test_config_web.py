"""What `[web]` says, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from holdfast.adapters.tools.web import EngineSettings, WebSettings
from holdfast.adapters.tools.web.engines import ENGINES
from holdfast.config import Config, load, sections_web
from holdfast.core.error import Invalid


def configured(folder: Path, text: str) -> Config:
    (folder / "config.toml").write_text(text)
    (folder / "config.toml").chmod(0o600)
    return load(environment={"HOLDFAST_HOME": str(folder)})


def test_engines_their_order_keys_and_places_are_said(tmp_path: Path):
    """Part of rows GC-90a, KV-28."""
    config = configured(
        tmp_path,
        """
[web]
engines = ["brave", "searxng"]
preferred = "searxng"
seconds = 5
[web.search.brave]
key = "$SECRET{search/brave}"
[web.search.searxng]
base_url = "http://127.0.0.1:8888"
""",
    )
    settings = msgspec.convert(config.web.model_dump(), WebSettings)
    assert settings == WebSettings(
        engines=("brave", "searxng"),
        preferred="searxng",
        seconds=5.0,
        search={
            "brave": EngineSettings(key="$SECRET{search/brave}"),
            "searxng": EngineSettings(base_url="http://127.0.0.1:8888"),
        },
    )
    plain = msgspec.convert(configured(tmp_path, "").web.model_dump(), WebSettings)
    assert plain == WebSettings()


def test_the_configuration_knows_every_engine():
    assert tuple(ENGINES) == sections_web.ENGINES


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('[web]\npreferred = "google"', "web.preferred: expected only the engines brave,"),
        ('[web]\nengines = ["google"]', "web.engines: expected only the engines brave,"),
        ("[web.search.google]", "web.search: expected only the engines brave,"),
        ('[web.search.brave]\nkey = "BSA-123"', "web.search.brave.key: expected $SECRET{name}"),
        (
            '[web.search.searxng]\nbase_url = "http://me:pw@x/"',
            "web.search.searxng.base_url: expected an address",
        ),
    ],
)
def test_what_is_wrong_is_said_without_saying_a_key(text: str, why: str, tmp_path: Path):
    with pytest.raises(Invalid) as said:
        configured(tmp_path, text)
    assert why in str(said.value)
    assert "BSA-123" not in str(said.value)
    assert ":pw@" not in str(said.value)


@pytest.mark.parametrize(
    "place",
    [
        "http://slack.com/api",
        "https://slack.com/api/",
        "https://slack.com",
        "https://me:pw@slack.com/api",
        "http://127.0.0.1.evil.example:80/api",
        "https://slack.com/api?x=/api",
    ],
)
def test_slack_is_at_a_place_that_can_be_trusted_with_a_token(tmp_path: Path, place: str):
    with pytest.raises(Invalid, match=r"slack\.api: expected an https address that ends in /api"):
        configured(tmp_path, f'[slack]\napi = "{place}"\n')
