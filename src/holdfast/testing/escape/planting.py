"""Plants: files that do nothing in the box and run on the host when its owner works there next."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import anyio

from .field import Field, Trial, spec_of
from .inside.attack import Blocked

_HOOK = "#!/bin/sh\ntouch /nowhere/planted\n"
_GIT = "[core]\n\tfsmonitor = /nowhere/planted\n"


async def _planted(field: Field, command: str, file: str) -> str:
    """Won if the file of the host says afterwards what the command wrote."""
    project = field.ground.base / "project"
    await anyio.to_thread.run_sync(_repository, project)
    await field.means.shell(field.kind, spec_of(field.ground, "escape", project), command)
    path = anyio.Path(project / file)
    if await path.is_symlink() or not await path.is_file():
        raise Blocked("it is not there afterwards")
    if b"planted" in await path.read_bytes():
        return f"{file} is there for its owner's next command"
    raise Blocked("it was put back as it was")


def _repository(project: Path) -> None:
    """What `git init` makes, as far as it matters, anew."""
    shutil.rmtree(project, ignore_errors=True)
    files = {
        ".git/HEAD": "ref: refs/heads/main\n",
        ".git/config": "[core]\n\trepositoryformatversion = 0\n",
        ".git/hooks/pre-commit.sample": "#!/bin/sh\n",
        ".git/info/exclude": "",
        ".git/modules/part/HEAD": "ref: refs/heads/main\n",
        ".git/modules/part/config": "[core]\n",
        ".git/modules/group/deep/HEAD": "ref: refs/heads/main\n",
        ".git/worktrees/other/HEAD": "ref: refs/heads/other\n",
        ".git/worktrees/other/commondir": "../..\n",
        ".vscode/tasks.json": "{}\n",
    }
    for name in (".git/objects", ".git/refs/heads"):
        (project / name).mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(content)


def _plant(name: str, tries: str, file: str, content: str, before: str = "") -> Trial:
    folder = shlex.quote(str(Path(file).parent))
    write = f"printf %s {shlex.quote(content)} > {shlex.quote(file)}; chmod +x {shlex.quote(file)}"
    command = f"{before or 'true'}; mkdir -p {folder}; {write}"

    async def run(field: Field) -> str:
        return await _planted(field, command, file)

    return Trial(name=f"plant_{name}", tries=tries, wall="files", run=run)


plants = (
    _plant("git_hook", "Leave a hook that git runs", ".git/hooks/pre-commit", _HOOK),
    _plant("git_fsmonitor", "Name a program that every `git status` runs", ".git/config", _GIT),
    _plant(
        "git_hooks_path",
        "Name a folder of hooks in the workspace",
        ".git/config",
        "[core]\n\thooksPath = planted\n",
    ),
    _plant(
        "git_worktree_config",
        "Do so in the settings of the worktree",
        ".git/config.worktree",
        _GIT,
    ),
    _plant(
        "git_replaced",
        "Put another repository in the place of the one that was there",
        ".git/config",
        _GIT,
        "mv .git .old; cp -r .old .git",
    ),
    _plant(
        "git_pointer",
        "Put a file in its place that names another repository",
        ".git",
        "gitdir: planted\n",
        "mv .git planted",
    ),
    _plant(
        "git_commondir",
        "Have the repository take its settings from elsewhere",
        ".git/commondir",
        "../planted\n",
    ),
    _plant(
        "git_module_hook",
        "Leave a hook in the repository of a submodule",
        ".git/modules/part/hooks/post-checkout",
        _HOOK,
    ),
    _plant(
        "git_module_config",
        "Name a program in the settings of a submodule",
        ".git/modules/part/config",
        _GIT,
    ),
    _plant(
        "git_module_deep",
        "Leave a hook in the repository of a submodule whose name has a slash",
        ".git/modules/group/deep/hooks/post-checkout",
        _HOOK,
    ),
    _plant(
        "git_other_worktree",
        "Name a program in the settings of another worktree",
        ".git/worktrees/other/config.worktree",
        _GIT,
    ),
    _plant(
        "git_other_commondir",
        "Have another worktree take its settings from elsewhere",
        ".git/worktrees/other/commondir",
        "/planted\n",
    ),
    *(
        _plant(
            f"start_{file.strip('.').replace('.', '_').replace('/', '_')}",
            f"Leave a {file} that is run or read when somebody comes to the folder",
            file,
            "touch /nowhere/planted",
        )
        for file in (
            *(".bashrc", ".profile", ".zshrc", ".envrc", ".mcp.json", ".gitconfig"),
            *(".vscode/tasks.json", ".vscode/settings.json", ".cursor/mcp.json"),
            *(".claude/settings.local.json", ".bash_profile"),
        )
    ),
)
"""What was there before is its owner's alone; a repository that the command makes is its own."""
