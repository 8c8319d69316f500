"""What the models are told of the configuration."""

from __future__ import annotations

from collections.abc import Mapping

from holdfast.adapters.models.failover import Patience
from holdfast.adapters.models.known import kind_of
from holdfast.adapters.models.logins.vendors import Addresses
from holdfast.adapters.models.settings import ModelsConfig, Price, Provider, Role, Timeouts
from holdfast.adapters.vaults.keychain import Keychain
from holdfast.config import Config
from holdfast.ports.vault import Vault

from .home import LISTS

_KEYCHAIN = Keychain()


def models_config(config: Config, environment: Mapping[str, str], vault: Vault) -> ModelsConfig:
    """What the catalogue is told; keys are looked up in `environment` here and nowhere else."""
    models = config.models
    timeouts = Timeouts(
        connect=models.connect_seconds,
        first=models.first_token_seconds,
        idle=models.idle_seconds,
        total=models.total_seconds,
    )
    return ModelsConfig(
        env=environment,
        providers=_providers(config, timeouts),
        vault=vault,
        keychain=_KEYCHAIN if models.logins.keychain else None,
        borrowed=frozenset(
            name
            for name in ("claude", "codex", "qwen-code")
            if getattr(models.logins, name.replace("-", "_"))
        ),
        addresses={
            name: Addresses(**client.model_dump()) for name, client in models.logins.clients.items()
        },
        locks=config.home / "run",
        default=models.default,
        prices={name: Price(**dict(one)) for name, one in models.price.items()},
        probe=models.detect_local,
        per_provider=config.engine.provider_calls,
        timeouts=timeouts,
        roles={
            name: Role(model=one.model, fallback=one.fallback) for name, one in models.roles.items()
        },
        fallback=models.fallback,
        windows=models.window,
        lists=config.home / LISTS,
        patience=Patience(
            retries=models.retries,
            failures_to_open=models.failures_to_open,
            cooldown=models.cooldown_seconds,
        ),
    )


def _providers(config: Config, timeouts: Timeouts) -> dict[str, Provider]:
    """What is configured of each provider; where it says no deadline, the common one counts."""
    return {
        name: Provider(
            kind=kind_of(name, one.kind, one.base_url),
            base_url=one.base_url,
            api_key=one.api_key.get_secret_value(),
            key_env=one.api_key_env,
            models=one.models,
            free=one.free,
            timeouts=Timeouts(
                connect=one.connect_seconds or timeouts.connect,
                first=one.first_token_seconds or timeouts.first,
                idle=one.idle_seconds or timeouts.idle,
                total=one.total_seconds or timeouts.total,
            ),
            tools=one.tools,
            max_output=one.max_output,
            window=one.window,
            headers=one.headers,
            api_version=one.api_version,
            region=one.region,
        )
        for name, one in config.models.providers.items()
    }
