"""The hashes of the audit: as RFC 6962 says, and all of them depend on all that came before."""

from __future__ import annotations

from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.audit.chain import Chain, Kept, extended, grown, leaf_of, line, link_of, root
from holdfast.core.audit.fact import Fact, decode, encode

LEAVES = st.lists(st.binary(min_size=32, max_size=32), max_size=70)


def by_the_book(leaves: list[bytes]) -> bytes:
    """RFC 6962, 2.1, word for word."""
    if not leaves:
        return sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return sha256(b"\x01" + by_the_book(leaves[:k]) + by_the_book(leaves[k:])).digest()


@given(LEAVES)
def test_the_root_that_grows_is_the_root_of_the_tree(leaves: list[bytes]):
    assert root(extended(Chain(), leaves)[0]) == by_the_book(leaves)


@given(LEAVES, st.integers(0, 70))
def test_it_grows_alike_one_by_one_and_in_parts(leaves: list[bytes], at: int):
    one = Chain()
    for leaf in leaves:
        one = grown(one, leaf)
    first, before = extended(Chain(), leaves[:at])
    both, behind = extended(first, leaves[at:])
    assert one == both
    assert [*before, *behind][-1:] == ([one.head] if leaves else [])


@given(LEAVES.filter(lambda leaves: len(set(leaves)) == len(leaves) > 1), st.data())
def test_another_order_has_another_end_and_another_root(leaves: list[bytes], data: st.DataObject):
    other = data.draw(st.permutations(leaves).filter(lambda found: found != leaves))
    mine, theirs = extended(Chain(), leaves)[0], extended(Chain(), other)[0]
    assert mine.head != theirs.head
    assert root(mine) != root(theirs)


def test_a_leaf_is_no_node_and_a_link_is_neither():
    left, right = b"l" * 32, b"r" * 32
    node = root(extended(Chain(), [left, right])[0])
    assert len({node, leaf_of(left + right), link_of(Chain(), left + right)}) == 3
    assert leaf_of(b"") == sha256(b"\x00").digest()


@given(st.builds(Fact, kind=st.just("call.judged"), at=st.integers(0, 1 << 50), rule=st.text()))
def test_a_fact_is_one_line_that_says_it(fact: Fact):
    try:
        body = encode(fact)
    except UnicodeEncodeError:
        return
    assert decode(body) == fact
    assert line(Kept(1, leaf_of(body), b"h" * 32, body)).count(b"\n") == 1
