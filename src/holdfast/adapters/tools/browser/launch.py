"""How a browser is started: which program, with which words, in what box."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from msgspec import Struct

from holdfast.core.error import Unavailable
from holdfast.ports.box import BoxLimits, BoxSpec
from holdfast.ports.egress import Pass

from .options import BrowserOptions

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome")
_SYSTEM = Path("/usr")
_LONG = 86_400.0
_PIPE = """
home=${TMPDIR:-/tmp}/browser
mkdir -p "$home" && printf %s '{"ssl":{"ech_enabled":false}}' >"$home/Local State"
exec "$0" "$@" --user-data-dir="$home" 3<&0 4>&1 </dev/null >/dev/null
"""
"""The browser reads commands from its descriptor 3 and answers on 4: no port is open.

Whom it talks with is not hidden from the egress, which lets nothing pass that it cannot name.
"""

_FLAGS = (
    "--headless=new",
    "--remote-debugging-pipe",
    # The box is the sandbox, and one inside needs what the box forbids.
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--no-first-run",
    "--no-default-browser-check",
    "--no-pings",
    "--mute-audio",
    "--hide-scrollbars",
    "--disable-background-networking",
    "--disable-breakpad",
    "--disable-client-side-phishing-detection",
    "--disable-component-extensions-with-background-pages",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-domain-reliability",
    "--disable-extensions",
    "--disable-field-trial-config",
    "--disable-hang-monitor",
    "--disable-search-engine-choice-screen",
    "--disable-sync",
    # One process for all frames of a page: a browser belongs to one task, and has little room.
    "--disable-site-isolation-trials",
    "--disable-back-forward-cache",
    "--disable-features=IsolateOrigins,site-per-process,Translate,MediaRouter,OptimizationHints,"
    "AutofillServerCommunication,InterestFeedContentSuggestions,HttpsUpgrades,DialMediaRouteProvider",
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--metrics-recording-only",
    "--password-store=basic",
    "--use-mock-keychain",
    "--lang=en-US",
)
_HIDING = ("--disable-blink-features=AutomationControlled",)
_TIER = "browser_tier_missing"


class Proxy(Struct, frozen=True, kw_only=True):
    """The way out: where it is, and what it wants to hear."""

    server: str
    user: str
    password: str


def program(options: BrowserOptions) -> Path:
    """The browser to start. Raises `Unavailable`."""
    if options.tier == "stealth" and not options.executable:
        raise Unavailable(
            "the stealth browser is not installed",
            code=_TIER,
            hint="install a browser build made for it and set [browser] executable",
        )
    if options.executable:
        if found := shutil.which(options.executable):
            return Path(found)
        text = f"there is no browser at {options.executable}"
        raise Unavailable(text, code=_TIER, hint="correct [browser] executable")
    for name in _PROGRAMS:
        if found := shutil.which(name):
            return Path(found)
    raise Unavailable(
        "no browser is installed", code=_TIER, hint="apt-get install chromium fonts-dejavu-core"
    )


def box_spec(
    options: BrowserOptions, scratch: Path, agent: str, requires: tuple[str, ...] = ()
) -> BoxSpec:
    """The box of a browser: nothing in it but itself."""
    place = program(options).resolve().parent
    return BoxSpec(
        workspace=scratch,
        agent=agent,
        read_only=() if place.is_relative_to(_SYSTEM) else (place,),
        limits=BoxLimits(
            seconds=_LONG,
            memory=options.memory_mb << 20,
            processes=400,
            files=4096,
            cpus=2.0,
        ),
        requires=requires,
        browser=True,
    )


def command(options: BrowserOptions, way_out: Pass | None) -> Sequence[str]:
    """What is run in the box; it then talks on its stdin and stdout."""
    words = ["sh", "-c", _PIPE, str(program(options)), *_FLAGS]
    words += _HIDING if options.tier == "stealth" else ()
    words.append(f"--window-size={options.width},{options.height}")
    if (proxy := proxy_of(way_out)) is not None:
        words += [f"--proxy-server={proxy.server}", "--proxy-bypass-list=<-loopback>"]
    if way_out is not None and way_out.authority:
        words.append(f"--ignore-certificate-errors-spki-list={_keys(way_out.authority)}")
    return words


def proxy_of(way_out: Pass | None) -> Proxy | None:
    """The proxy that the way out names for everything."""
    if way_out is None:
        return None
    known = way_out.environment
    if not (address := known.get("HTTPS_PROXY") or known.get("HTTP_PROXY")):
        return None
    parts = urlsplit(address)
    return Proxy(
        server=f"http://{parts.hostname}:{parts.port}",
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
    )


def _keys(authority: bytes) -> str:
    # Imported late: certificates are a heavy library, and few boxes have an authority.
    found: str = importlib.import_module(f"{__package__}.trust").key_names(authority)
    return found
