"""The terminal: typing for the person who sits at it."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import termios

from .attack import Blocked, Facts, any_of, attack
from .calls import high_bits, in_child

_TIOCLINUX, _TIOCSTI = 0x541C, 0x5412


def _type(handle: int) -> str:
    fcntl.ioctl(handle, _TIOCSTI, b"#")
    return "typed a character"


@attack("seccomp")
def tiocsti(_facts: Facts) -> str:
    """Type a character into a terminal of one's own, as could be done into another's."""

    def work() -> str:
        os.setsid()
        _, own = pty.openpty()
        fcntl.ioctl(own, termios.TIOCSCTTY, 0)
        return _type(own)

    return in_child(work)


@attack("seccomp")
def tiocsti_high_bits(_facts: Facts) -> str:
    """The same with high bits set in the number, which some filters compare and the kernel not."""

    def work() -> str:
        os.setsid()
        _, own = pty.openpty()
        fcntl.ioctl(own, termios.TIOCSCTTY, 0)
        return high_bits(own, _TIOCSTI, b"#")

    return in_child(work)


@attack("seccomp")
def tiocsti_ctty(_facts: Facts) -> str:
    """Type a character into the terminal of the person who started it all."""
    tty = os.open("/dev/tty", os.O_RDWR)
    return _type(tty)


@attack("seccomp")
def tiocsti_inherited(_facts: Facts) -> str:
    """Type a character into a terminal that was inherited as stdin, stdout or stderr."""
    return any_of([lambda n=number: _type(n) for number in (0, 1, 2)])


@attack("seccomp")
def tioclinux(_facts: Facts) -> str:
    """Paste into the console of the machine; the answer tells whether the call is let through."""

    def work() -> str:
        _, own = pty.openpty()
        try:
            fcntl.ioctl(own, _TIOCLINUX, struct.pack("b", 6))
        except OSError as error:
            if error.errno in {22, 25}:
                return "the kernel looked at it"
            raise
        return "pasted"

    return in_child(work)


@attack("system")
def console_open(_facts: Facts) -> str:
    """Open a terminal or a console of the host."""
    names = ("console", "tty0", "tty1", "ttyS0", "hvc0", "vcs", "vcsa1", "fb0", "input/event0")

    def one(name: str) -> str:
        os.close(os.open(f"/dev/{name}", os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK))
        return f"opened /dev/{name}"

    return any_of([lambda n=name: one(n) for name in names])


@attack("system")
def terminals_of_others(_facts: Facts) -> str:
    """Open the terminal of somebody who is logged in."""
    if not os.path.isdir("/dev/pts"):
        raise Blocked("there are no terminals")
    names = [name for name in os.listdir("/dev/pts") if name.isdigit()]

    def one(name: str) -> str:
        os.close(os.open(f"/dev/pts/{name}", os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK))
        return f"opened /dev/pts/{name}"

    return any_of([lambda n=name: one(n) for name in names])
