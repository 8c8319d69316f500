"""Who issues logins: the addresses, the ways to log in, and what each wants on a request.

Nobody else's client id is built in: a login that needs one takes it from the configuration, from
the tokens that the vendor's own program left, or gets one of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

Flow = Literal["github-device", "openai-device", "browser", ""]
PLAN_SCOPE = "chatgpt.tokens.use.direct"
UNDOCUMENTED = "its vendor does not document this use and may end it or forbid it at any time"


@dataclass(frozen=True, slots=True, kw_only=True)
class Vendor:
    """One login. Empty addresses are such as it does not have; `json` is how tokens are asked for.

    With a `resource` a client is registered for whoever logs in. `borrowed`: the login that the
    vendor's own program left may be used, if that is switched on.
    """

    name: str
    title: str
    kind: str
    flow: Flow
    base_url: str
    token_url: str
    exchange_url: str = ""
    device_url: str = ""
    authorize_url: str = ""
    redirect_url: str = ""
    revoke_url: str = ""
    scope: str = ""
    resource: str = ""
    client_id: str = ""
    models: tuple[str, ...] = ()
    json: bool = False
    borrowed: bool = False
    program: str = ""

    @property
    def note(self) -> str:
        return f"{self.title}: {UNDOCUMENTED}" if self.borrowed else ""


_OPENAI = "https://auth.openai.com"
_SCOPE = "openid profile email offline_access"

VENDORS: Mapping[str, Vendor] = {
    vendor.name: vendor
    for vendor in (
        Vendor(
            name="copilot",
            title="GitHub Copilot",
            kind="copilot",
            flow="github-device",
            base_url="https://api.githubcopilot.com",
            device_url="https://github.com/login/device/code",
            token_url="https://github.com/login/oauth/access_token",
            exchange_url="https://api.github.com/copilot_internal/v2/token",
            scope="read:user",
        ),
        Vendor(
            name="chatgpt",
            title="ChatGPT",
            kind="codex",
            flow="openai-device",
            base_url="https://chatgpt.com/backend-api/codex",
            device_url=f"{_OPENAI}/api/accounts/deviceauth",
            authorize_url=f"{_OPENAI}/codex/device",
            redirect_url=f"{_OPENAI}/deviceauth/callback",
            token_url=f"{_OPENAI}/oauth/token",
            revoke_url=f"{_OPENAI}/oauth/revoke",
            models=("gpt-5.6-luna",),
        ),
        Vendor(
            name="claude",
            title="a Claude subscription",
            kind="anthropic",
            flow="browser",
            base_url="https://api.anthropic.com",
            authorize_url="https://claude.ai/oauth/authorize",
            redirect_url="https://console.anthropic.com/oauth/code/callback",
            token_url="https://console.anthropic.com/v1/oauth/token",
            scope="org:create_api_key user:profile user:inference",
            models=("claude-sonnet-5-5",),
            json=True,
            borrowed=True,
            program="claude",
        ),
        Vendor(
            name="codex",
            title="a Codex subscription",
            kind="codex",
            flow="browser",
            base_url="https://chatgpt.com/backend-api/codex",
            authorize_url=f"{_OPENAI}/oauth/authorize",
            redirect_url="http://localhost:1455/auth/callback",
            token_url=f"{_OPENAI}/oauth/token",
            revoke_url=f"{_OPENAI}/oauth/revoke",
            scope=_SCOPE,
            models=("gpt-5.6-luna",),
            borrowed=True,
            program="codex login",
        ),
        Vendor(
            name="qwen-code",
            title="the login of Qwen Code",
            kind="openai-compatible",
            flow="",
            base_url="https://portal.qwen.ai/v1",
            token_url="https://chat.qwen.ai/api/v1/oauth2/token",
            models=("coder-model",),
            borrowed=True,
            program="qwen",
        ),
    )
}

PLAN = Vendor(
    name="chatgpt",
    title="ChatGPT",
    kind="chatgpt",
    flow="browser",
    base_url="https://api.openai.com/v1",
    authorize_url=f"{_OPENAI}/api/accounts/authorize",
    redirect_url="http://127.0.0.1:1455/auth/callback",
    token_url=f"{_OPENAI}/api/accounts/oauth/token",
    revoke_url=f"{_OPENAI}/api/accounts/oauth/revoke",
    scope=f"{_SCOPE} resource.invoke {PLAN_SCOPE}",
    resource="https://api.openai.com/v1",
    models=("gpt-6.1-sol",),
)
"""Sign in with ChatGPT, as OpenAI documents it for open-source programs: it registers a client for
the person who logs in (https://developers.openai.com/siwc/token-sharing-open-source). It counts
where no client id is configured for a login by device code.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """What the configuration says otherwise of one login; empty is as the vendor has it."""

    client_id: str = ""
    base_url: str = ""
    device_url: str = ""
    authorize_url: str = ""
    redirect_url: str = ""
    token_url: str = ""
    exchange_url: str = ""
    revoke_url: str = ""


def configured(vendor: Vendor, told: Addresses | None) -> Vendor:
    """The vendor, with what the configuration says."""
    if told is None:
        return vendor
    said = {name: getattr(told, name) for name in Addresses.__slots__}
    return replace(vendor, **{name: value for name, value in said.items() if value})
