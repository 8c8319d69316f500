"""What every vault must do: one function per promise, each given an empty vault."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from holdfast.core.error import Invalid
from holdfast.ports.vault import Vault

Clause = Callable[[Vault], None]

_KEY = "provider/openai/api_key"


def what_is_put_comes_back(vault: Vault) -> None:
    for value in ("sk-1", "", "two\nlines\n", "Schlüssel", "x" * (64 << 10)):
        vault.put(_KEY, value)
        assert vault.get(_KEY) == value


def what_was_never_put_is_not_there(vault: Vault) -> None:
    assert vault.get(_KEY) is None
    assert vault.delete(_KEY) is False
    assert list(vault.names()) == []


def the_last_value_counts(vault: Vault) -> None:
    vault.put(_KEY, "a long first value")
    vault.put(_KEY, "second")
    assert vault.get(_KEY) == "second"
    assert list(vault.names()) == [_KEY]


def what_is_deleted_is_gone(vault: Vault) -> None:
    vault.put(_KEY, "a")
    assert vault.delete(_KEY) is True
    assert vault.get(_KEY) is None
    assert vault.delete(_KEY) is False


def names_are_sorted_and_do_not_disturb_each_other(vault: Vault) -> None:
    names = ["a", "a.b", "a/b", "a/b/c", "a_b", "b-2/x_y.z"]
    for name in reversed(names):
        vault.put(name, f"of {name}")
    assert list(vault.names()) == sorted(names)
    assert [vault.get(name) for name in names] == [f"of {name}" for name in names]


def a_bad_name_is_refused_everywhere(vault: Vault) -> None:
    for name in ("", "/", "a/", "/a", "a//b", "../a", "a/../b", ".a", "A", "a b", "a~b", "a" * 201):
        acts: tuple[tuple[Callable[..., object], tuple[str, ...]], ...] = (
            (vault.get, ()),
            (vault.put, ("x",)),
            (vault.delete, ()),
        )
        for act, more in acts:
            try:
                act(name, *more)
            except Invalid:
                continue
            raise AssertionError(f"{name!r} was taken")


def a_bad_value_is_refused_without_being_told(vault: Vault) -> None:
    for value in ("secret" * 20_000, "secret\ud800"):
        try:
            vault.put(_KEY, value)
        except Invalid as refusal:
            assert "secretsecret" not in f"{refusal}{refusal.hint}"
            assert refusal.__cause__ is None
            continue
        raise AssertionError("it was taken")
    assert vault.get(_KEY) is None


def many_may_write_at_once(vault: Vault) -> None:
    def write(number: int) -> None:
        vault.put(f"k/{number % 5}", f"{number} " * 50)
        value = vault.get(f"k/{number % 5}")
        assert value is not None
        assert len(set(value.split())) == 1, "a reader saw half of a value"

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(80)))
    assert list(vault.names()) == [f"k/{number}" for number in range(5)]


CLAUSES: tuple[Clause, ...] = (
    what_is_put_comes_back,
    what_was_never_put_is_not_there,
    the_last_value_counts,
    what_is_deleted_is_gone,
    names_are_sorted_and_do_not_disturb_each_other,
    a_bad_name_is_refused_everywhere,
    a_bad_value_is_refused_without_being_told,
    many_may_write_at_once,
)
