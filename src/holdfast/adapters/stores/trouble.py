"""SQLite's errors in our words."""

from __future__ import annotations

from pathlib import Path

import apsw

from holdfast.core.error import Broken, HoldfastError, Unavailable

_RESTORE = "restore a backup with `holdfast restore`"


def trouble(error: apsw.Error | ValueError | ArithmeticError, path: Path) -> HoldfastError:
    """The error of our tree that `error` means. A new one at each call: tracebacks stay apart."""
    match error:
        case ValueError() | ArithmeticError():
            return Broken(f"{path} cannot keep that: {error}", code="store_error")
        case apsw.FullError():
            return Unavailable(
                f"the disk that holds {path} is full; nothing was stored",
                code="store_full",
                hint="free some space; work goes on by itself",
            )
        case apsw.CorruptError():
            return Broken(f"{path} is damaged: {error}", code="store_damaged", hint=_RESTORE)
        case apsw.NotADBError():
            return Broken(
                f"{path} is not a database: {error}", code="store_not_database", hint=_RESTORE
            )
        case apsw.ReadOnlyError():
            return Unavailable(f"{path} cannot be written: {error}", code="store_read_only")
        case apsw.IOError() | apsw.CantOpenError() | apsw.BusyError() | apsw.NoMemError():
            return Unavailable(f"{path} cannot be used: {error}", code="store_io")
        case apsw.InterruptError() | apsw.ExecTraceAbort():
            return Unavailable(f"{path} was closed meanwhile", code="store_closed")
        case _:
            return Broken(f"{path}: {error}", code="store_error")
