"""Tools that look at the web: one request, one page, one search. All go out by one door."""

from .kit import web_tools
from .search import EngineSettings, WebSettings

__all__ = ["EngineSettings", "WebSettings", "web_tools"]
