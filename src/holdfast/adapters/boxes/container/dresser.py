"""Put the system call filters on and become the command: run by Python inside a gVisor sandbox.

gVisor gives them to a container's first process only. The first argument has them, the others are
the command.
"""

import base64
import ctypes
import os
import signal
import struct
import sys

NO_NEW_PRIVS, SET_SECCOMP, FILTER = 38, 22, 2
NOT_FOUND, NOT_RUNNABLE = 127, 126


def main():
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(NO_NEW_PRIVS, 1, 0, 0, 0)
    for text in sys.argv[1].split(","):
        program = base64.b64decode(text)
        kept = ctypes.create_string_buffer(program, len(program))
        head = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(kept))
        if libc.prctl(SET_SECCOMP, FILTER, head, 0, 0):
            sys.exit(f"the system calls cannot be filtered: {os.strerror(ctypes.get_errno())}")
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    command = sys.argv[2:]
    try:
        os.execvp(command[0], command)  # noqa: S606 - running commands is what a box is for
    except OSError as error:
        missing = isinstance(error, (FileNotFoundError, NotADirectoryError))
        words = "not found" if missing else error.strerror
        os.write(2, f"{command[0]}: {words}\n".encode(errors="replace"))
        os._exit(NOT_FOUND if missing else NOT_RUNNABLE)


main()
