"""Command lines taken apart: what is plain, and every command that a line can be seen to hold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.gate.commands import fits, is_chained, parsed, pieces
from holdfast.core.gate.matter import Matter
from holdfast.core.gate.policy import Rule, Say
from holdfast.core.ids import CallId
from holdfast.core.message import ToolCall

ANYTHING = st.text(alphabet="git sh-c\"'\\;|&$`<>()\n*?{}#=~! rm/x", max_size=40)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("git status", [("git", "status")]),
        ("git commit -m 'a b'", [("git", "commit", "-m", "a b")]),
        ('echo "a \\"b\\" c"', [("echo", 'a "b" c')]),
        ("echo a\\ b", [("echo", "a b")]),
        ("echo ''", [("echo", "")]),
        ("a && b || c; d | e & f\ng", [("a",), ("b",), ("c",), ("d",), ("e",), ("f",), ("g",)]),
        ("git show HEAD~1 # why", [("git", "show", "HEAD~1")]),
        ("git \\\n status", [("git", "status")]),
        ("ls # why\nrm x", [("ls",), ("rm", "x")]),
        ("git sta\\\ntus", [("git", "status")]),
        ('echo "a\\\nb"', [("echo", "ab")]),
        ("make a=b#c", [("make", "a=b#c")]),
        ("curl http://a/b#c", [("curl", "http://a/b#c")]),
        ("git status ''#; rm x", [("git", "status", "#"), ("rm", "x")]),
        ('git status ""# x\nrm x', [("git", "status", "#", "x"), ("rm", "x")]),
    ],
)
def test_a_plain_line_is_its_words(line: str, words: list[tuple[str, ...]]):
    assert parsed(line) == (tuple(words), True)


@pytest.mark.parametrize(
    "line",
    [
        "git status $(rm x)",
        "git status `rm x`",
        'git "$(rm x)"',
        'git "$x"',
        "git $x",
        "git > x",
        "git 2>&1",
        "git <(rm x)",
        "(git status)",
        "X=1 git status",
        "if git status; then rm x; fi",
        "{ git status; }",
        "! git status",
        "git *",
        "git ?",
        "git [ab]",
        "git {a,b}",
        "git ~/x",
        "git 'a",
        'git "a',
        "git <<EOF\nrm x\nEOF",
        "f() { rm x; }; f",
        "git a\\",
        "make prefix=~/x",
        "make prefix=a:~/x",
        "git $'a'",
        'git $"a"',
        "time rm x",
        "while true",
    ],
)
def test_what_is_more_than_words_is_not_plain(line: str):
    assert not parsed(line).plain


@pytest.mark.parametrize(
    "line",
    [
        "rm x",
        "ls; rm x",
        "ls | rm x",
        "ls $(rm x)",
        "ls `rm x`",
        'ls "a $(rm x)"',
        'ls "a `rm x`"',
        "X=1 rm x",
        "> log rm x",
        "rm 2>/dev/null x",
        "(rm x)",
        "if true; then rm x; fi",
        "sudo -n rm x",
        "env A=1 nice rm x",
        "sh -c 'ls; rm x'",
        "sh -c \"bash -c 'rm x'\"",
        "timeout 5 rm x",
        "ls\nrm x",
        "r\\m x",
        "r'm' x",
        "find . -exec rm x",
        "true; " * 300 + "rm x",
        "cat > a <<EOF\nit's\nEOF\nrm x\necho 'done'",
        "cat > a <<'EOF'\nit's\nEOF\nrm x\necho 'done'",
        "cat > a <<-EOF\n\tit's\n\tEOF\nrm x\necho 'done'",
        "cat <<A <<B\nit's\nA\nit's\nB\nrm x\necho 'done'",
        "cat > a <<EOF\n\tEOF\nit's\nEOF\nrm x\necho 'done'",
        "cat <<EOF\nit's $(rm x) it's\nEOF",
        "bash <<EOF\nrm x\nEOF",
        "bash <<EOF\nrm x",
        "echo $((1<<2)) \nrm x\n",
        "function f { rm x; }; f",
        "function f() { rm x; }; f",
        "coproc f { rm x; }",
        "time -p rm x",
        "eval rm x",
        "eval 'rm x'",
        "ssh host rm x",
        "ssh -o ProxyCommand='rm x' host",
        "env -S 'rm x'",
        "env --split-string='rm x'",
        "trap 'rm x' EXIT",
        "flock lock -c 'rm x'",
        "$'rm' x",
        "$'\\x72m' x",
        "$'\\u0072m' x",
        "$'r\\m' x",
        "rm>log x",
        "$'r\\155' x",
        '$"rm" x',
        "sudo -u root rm x " + "x " * 50_000,
    ],
    ids=lambda line: line[:30],
)
def test_a_command_is_found_wherever_it_stands(line: str):
    found = pieces(parsed(line))
    assert any(fits(argv, ("rm", "x", "*"), anywhere=True) for argv in found), found


@pytest.mark.parametrize(
    "line", ["env " * 29_000, "env " + "a " * 59_000, "env a b c d e f\n" * 7_000]
)
def test_a_line_made_to_be_hard_to_read_is_not_read_for_ever(line: str):
    assert sum(map(len, pieces(parsed(line)))) < 500_000


@pytest.mark.parametrize(
    "line", ["cat <<EOF\nit's\nEOF\necho '\nrm x\n'", "echo 'rm x'", "echo rm x", "# rm x"]
)
def test_words_that_only_look_like_a_command_are_none(line: str):
    assert not any(fits(argv, ("rm", "*"), anywhere=True) for argv in pieces(parsed(line)))


def test_a_sign_within_a_command_does_not_end_it_and_an_option_begins_none():
    assert parsed("git $x y").commands == (("git", "$x", "y"),)
    assert ("-n", "rm", "x") not in pieces(parsed("sudo -n rm x"))


def test_lines_within_lines_are_not_followed_for_ever():
    nested = "\n".join(f"cat <<A{number}" for number in range(3_000))
    assert pieces(parsed(nested))[0] == ("cat",)


def test_a_program_is_found_under_its_path():
    assert fits(("/bin/rm", "x"), ("rm", "x"), anywhere=True)
    assert not fits(("/bin/rm", "x"), ("rm", "x"))


@pytest.mark.parametrize(
    ("words", "pattern", "does"),
    [
        ("git push", "git push *", True),
        ("git push a b", "git push *", True),
        ("git pull", "git push *", False),
        ("git push", "git push ?*", False),
        ("git -C a push b --force c", "git ** push ** --force **", True),
        ("git push --forced", "git ** push ** --force **", False),
        ("git a b", "git * b", True),
        ("git a c b", "git * b", False),
        ("git", "**", True),
        ("a b a c", "** a c", True),
    ],
)
def test_one_pattern_stands_for_one_word(words: str, pattern: str, does: bool):
    assert fits(tuple(words.split()), pattern.split()) is does


@given(ANYTHING)
def test_no_line_is_too_odd_to_be_read(line: str):
    read = parsed(line)
    assert all(argv for argv in read.commands)
    assert set(read.commands) <= set(pieces(read))


OPENING = "if then elif else fi for while until do done case esac select function time coproc"
SHELLS = frozenset([*OPENING.split(), "!", "{", "}", "[[", "-p", "--"])
"""Words of the shell's own. Quoted they are none, and a line that begins with one is not plain."""


@given(st.lists(st.text(min_size=1, max_size=6).filter(lambda w: "\0" not in w), min_size=1))
def test_quoted_words_are_the_words(words: list[str]):
    line = " ".join("'" + word.replace("'", "'\\''") + "'" for word in words)
    read = parsed(line)
    if words[0] not in SHELLS and "=" not in words[0]:
        assert read.commands[0] == tuple(words)


def test_after_a_document_has_ended_the_line_goes_on():
    """Its end is not looked for a second time: what stands below would be taken for its text."""
    deepest = 4  # texts in texts: below this one none is looked into
    line = parsed("cat <<A\nof a\nA\nls\ncat <<B\nof b\nB\nrm -rf x\n", deepest)
    assert [argv for argv in line.commands if argv[0] in {"ls", "rm"}] == [
        ("ls",),
        ("rm", "-rf", "x"),
    ]


def test_a_line_with_a_sign_of_chaining_may_be_more_than_one_command():
    assert not is_chained("git push origin main")
    for sign in ";|&$`<>()\n\\":
        assert is_chained(f"git push {sign} rm x"), sign


def test_a_rule_that_denies_by_text_meets_what_is_chained_inside_of_quotes():
    rule = Rule(say=Say.DENY, tool="exec", target="git push*")
    for text in ("echo 'a; git push'", 'x "b && git push origin"', "y 'c\n  git push'"):
        call = ToolCall(id=CallId("c"), tool="exec", arguments={"command": text}, target=text)
        assert rule.matches(Matter(call)), text
