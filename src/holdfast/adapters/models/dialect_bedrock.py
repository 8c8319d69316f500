"""AWS Bedrock's Converse, signed and framed by AWS's own library: the extra `bedrock`."""
# pyright: reportMissingTypeStubs=false

from __future__ import annotations

from typing import Any

import boto3
import httpx2
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from pydantic_ai.models import Model
from pydantic_ai.models.bedrock import BedrockConverseModel
from pydantic_ai.providers.bedrock import BedrockProvider
from urllib3.exceptions import HTTPError

from .remote import Address
from .translate import Voice

FAULTS: tuple[type[Exception], ...] = (BotoCoreError, ClientError, HTTPError)
_CONNECTIONS = 32


def open_model(address: Address, http: httpx2.AsyncClient) -> Model:
    return BedrockConverseModel(
        address.model, provider=BedrockProvider(bedrock_client=open_client(address))
    )


def voice(address: Address, model: Model) -> Voice:
    return Voice(
        name=address.provider_name,
        system=model.system,
        thinking="signed",
        redacted="redacted_content",
        flags_errors=True,
        needs_tools=True,
    )


def open_client(address: Address) -> Any:
    """Told everything; what else AWS's files and variables say is not looked at."""
    at, waits = address.provider, address.timeouts
    bearer = not at.secret_key
    settings = Config(
        connect_timeout=waits.connect,
        read_timeout=max(waits.first, waits.idle),
        retries={"total_max_attempts": 1},
        max_pool_connections=_CONNECTIONS,
        signature_version=UNSIGNED if bearer else None,
        proxies={} if at.local else None,
    )
    session: Any = boto3.Session(
        aws_access_key_id=None if bearer else at.api_key,
        aws_secret_access_key=at.secret_key or None,
        aws_session_token=at.session_token or None,
        region_name=at.region or "us-east-1",
    )
    client: Any = session.client("bedrock-runtime", endpoint_url=at.base_url, config=settings)
    if bearer and at.api_key:
        value = f"Bearer {at.api_key}"

        def authorize(request: Any, **_: Any) -> None:
            request.headers["Authorization"] = value

        client.meta.events.register("before-send.bedrock-runtime.*", authorize)
    return client
