"""The configuration, parsed once into frozen values; the only place that reads the environment."""

from .parts import (
    to_a2a,
    to_agent,
    to_box_limits,
    to_budgets,
    to_chat,
    to_limits,
    to_servers,
)
from .policy import checked_policy, policy_in, to_answerers, to_domains, to_rules
from .reach import to_ways
from .read import Config, Setting, home_folder, load
from .reference import reference
from .sections import Provider, Settings

__all__ = [
    "Config",
    "Provider",
    "Setting",
    "Settings",
    "checked_policy",
    "home_folder",
    "load",
    "policy_in",
    "reference",
    "to_a2a",
    "to_agent",
    "to_answerers",
    "to_box_limits",
    "to_budgets",
    "to_chat",
    "to_domains",
    "to_limits",
    "to_rules",
    "to_servers",
    "to_ways",
]
