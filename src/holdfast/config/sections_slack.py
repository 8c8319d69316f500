"""The table `[slack]`: where Slack is, and whose agents may use it."""

from __future__ import annotations

import re

from pydantic import Field, field_validator

from .section import Section, word

_API = re.compile(
    r"https://[a-z0-9.-]+(?::[0-9]{1,5})?/api|http://(?:127\.0\.0\.1|localhost):[0-9]{1,5}/api"
)


class Slack(Section):
    """Slack as a person has it. Its tools are there once somebody ran `holdfast slack login`."""

    api: str = word(
        "https://slack.com/api",
        "Where its methods are, without `/` at the end. A login is bound to it.",
        "https://slack-gov.com/api",
    )
    agents: tuple[str, ...] = Field(
        default=("*",),
        strict=False,
        description="Shell patterns of the agents that have its tools.",
        examples=[["default", "secretary"]],
    )

    @field_validator("api")
    @classmethod
    def _is_its_place(cls, value: str) -> str:
        if not _API.fullmatch(value):
            raise ValueError("expected an https address that ends in /api, and no password")
        return value
