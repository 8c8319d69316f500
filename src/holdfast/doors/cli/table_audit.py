"""The commands about the audit."""

from __future__ import annotations

from .command import CHECKING, Command, Option

AUDIT = (
    Command(
        "audit list",
        "List what must be provable later, newest first: decisions, approvals, secrets, changes.",
        "audit:listed",
        options=(
            Option("--since", "DAY", "today, week, month or a date"),
            Option("--kind", "KIND", "like call.judged, or only call"),
            Option("--task", "TASK", "only those of one task"),
            Option("--agent", "NAME", "only those of one agent"),
            Option("--secret", "NAME", "only those about one secret"),
            Option("--rule", "RULE", "only what this rule decided, as it is written there"),
            Option("--before", "N", "only those with smaller numbers", kind="count"),
            Option("-n --limit", "N", "how many to show", kind="count"),
        ),
        examples=(
            ("holdfast audit list --kind call.approved --since week", "who said yes to what"),
            ("holdfast audit list --secret github", "who used a secret, or wanted to"),
        ),
        more="It holds names, codes and hashes, and nothing that was said.",
    ),
    Command(
        "audit show",
        "Show one record with its hashes.",
        "audit:show",
        arguments=(("N", "its number"),),
        takes=(1, 1),
        examples=(("holdfast audit show 17", "as it was written"),),
    ),
    Command(
        "audit export",
        "Write the whole audit into a new file that proves itself.",
        "audit:export",
        arguments=(("FILE", "a name that is free; - writes to stdout"),),
        takes=(1, 1),
        examples=(("holdfast audit export audit.jsonl", "records, checkpoints, public key"),),
    ),
    Command(
        "audit verify",
        "Prove that nothing was changed, removed, reordered or put in.",
        "audit:verify",
        arguments=(("[FILE]", "an export; without one, this installation's own audit"),),
        takes=(0, 1),
        options=(
            Option("--key", "FINGERPRINT", "who must have signed the export"),
            Option("--checkpoint", "FILE", "a checkpoint from earlier that it must contain"),
            Option("--mirror", "", "the file is a mirror: nothing in it is signed"),
        ),
        exits=CHECKING,
        examples=(
            ("holdfast audit verify", "also against the journal"),
            ("holdfast audit verify audit.jsonl", "needs neither a daemon nor a home"),
            ("holdfast audit verify audit.jsonl --checkpoint old.json", "nor one cut back"),
        ),
        more="Exit 1 says that something is wrong, and the output which record it is. An export"
        " brings its key along: compare the fingerprint with one that you have from elsewhere.",
    ),
    Command(
        "audit checkpoint",
        "Sign the audit as it is now, and show the key's fingerprint.",
        "audit:checkpoint",
        examples=(
            ("holdfast audit checkpoint", "size, root and fingerprint"),
            ("holdfast audit checkpoint --json > today.json", "to keep elsewhere"),
        ),
    ),
)
