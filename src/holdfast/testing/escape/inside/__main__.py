"""`python3 attacks.pyz TOPIC NAME…`: run attacks, told the decoys on stdin; one line of JSON each.

Every attack runs in a child that is killed when its time is up, so that one does not spoil the
next. An attack that trips over itself says so: that is no proof that the wall held.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
import sys
import time
import traceback

from .attack import Attack, Blocked, Facts, NotHere

_PLAYERS = ("converse", "victim", "neighbour")


def main() -> None:
    topic, *names = sys.argv[1:]
    if topic in _PLAYERS:
        importlib.import_module(f"{__package__}.{topic}").main(*names)
        return
    facts = Facts(**json.load(sys.stdin))
    module = importlib.import_module(f"{__package__}.{topic}")
    known = {each.name: each for each in vars(module).values() if isinstance(each, Attack)}
    for name in names:
        verdict, detail = _held(known[name], facts)
        sys.stdout.write(json.dumps({"name": name, "verdict": verdict, "detail": detail}) + "\n")
        sys.stdout.flush()


def _held(attack: Attack, facts: Facts) -> tuple[str, str]:
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(out)
        verdict, detail = run_one(attack, facts)
        os.write(into, json.dumps((verdict, detail[:2000])).encode() + b"\n")
        os._exit(0)
    os.close(into)
    said, until = b"", time.monotonic() + attack.seconds
    while not said.endswith(b"\n"):
        ready, _, _ = select.select([out], [], [], max(0.0, until - time.monotonic()))
        piece = os.read(out, 65536) if ready else b""
        if not piece:
            break
        said += piece
    os.close(out)
    if not said:
        os.kill(child, signal.SIGKILL)
    _, ended = os.waitpid(child, 0)
    if said:
        verdict, detail = json.loads(said)
        return verdict, detail
    if time.monotonic() >= until:
        return "blocked", "nothing came of it in time"
    return "blocked", f"killed by signal {os.WTERMSIG(ended)}"


def run_one(attack: Attack, facts: Facts) -> tuple[str, str]:
    """The verdict and, in words, why."""
    try:
        return "won", attack.body(facts) or "it worked"
    except Blocked as held:
        return "blocked", str(held)
    except OSError as error:
        return "blocked", f"{error.strerror or error}"
    except (NotHere, ImportError) as odd:
        return "not applicable", str(odd)
    except MemoryError:
        return "blocked", "no memory"
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        return "not run", "the attack itself broke: " + traceback.format_exc(limit=-1)[-300:]


if __name__ == "__main__":
    main()
