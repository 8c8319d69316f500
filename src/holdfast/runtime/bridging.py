"""What bridges bring: a chat's words, each spoken by somebody for whom the bridge vouches.

Who the bridge is was authenticated; who speaks is only its word. So the principal is the bridge's,
a sender gets a conversation and a place of their own, and what they say is a stranger's word unless
the configuration knows them as a person.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress

import anyio
import anyio.to_thread
from msgspec import Struct
from msgspec.structs import replace

from holdfast.core.agent import Agent
from holdfast.core.error import Broken, Invalid, NotAllowed, NotFound, Refused, Saturated
from holdfast.core.ids import Instant, SessionId, TaskId
from holdfast.core.task import Request
from holdfast.core.view import Summary
from holdfast.ports.journal import Query

from . import tasks
from .chatting import KIND, AnswerTo, Speaker, Talk
from .conversing import Party, agent_of, begun, command, is_command
from .house import House
from .owners import within_own
from .relaying import relay

_log = logging.getLogger("holdfast.chat")
_LONGEST_NAME, _LONGEST_KEY, _NOTED = 100, 200, 50


class TooOften(Saturated):
    """One sender, or all together, spoke too often."""

    code = "chat_rate_limited"


class Word(Struct, frozen=True, kw_only=True):
    """One message. The same `key` again, from the same speaker, is the same message; empty: each
    is one of its own. `may_use` says which agents are for this bridge."""

    speaker: Speaker
    text: str
    may_use: Callable[[str], bool]
    agent: str = ""
    key: str = ""

    @property
    def once(self) -> str:
        """What its key stands for in the whole house."""
        return f"{self.speaker.name}:{self.key}" if self.key else ""


class Taken(Struct, frozen=True, kw_only=True):
    """The message is a task's now; durable."""

    row: Summary


class Answered(Struct, frozen=True, kw_only=True):
    """The house itself has answered; no model heard of it."""

    text: str
    session: str


async def hear(house: House, word: Word) -> Taken | Answered:
    """Take a message, or answer a command.

    Raises `NotFound` where nobody is heard, `NotAllowed` for who may not speak, `Saturated` for
    who spoke too often, and what `tasks.submit` raises.
    """
    _check(house, word)
    _count(house, word.speaker)
    party = Party(prefix=f"{word.speaker.name}/", may_use=word.may_use)
    async with house.chats.turn:
        talk = await _talk(house, word)
        after, said = talk if talk.session else begun(house, party, talk), ""
        if to_us := is_command(word.text):
            said, after = await command(house, party, talk, word.text)
        if after != talk:
            await _stands(house, word, after)
        if to_us:
            return Answered(text=said, session=after.session)
        agent = _agent(house, word, after)
        answered = await _as_an_answer(house, word, after)
    return Taken(row=answered or await _submit(house, word, SessionId(after.session), agent))


async def _talk(house: House, word: Word) -> Talk:
    return await anyio.to_thread.run_sync(house.chats.talks.of(word.speaker.mark).read)


async def _stands(house: House, word: Word, talk: Talk) -> None:
    """Where the speaker stands from now on; durable."""
    shelf = house.chats.talks.of(word.speaker.mark)
    await anyio.to_thread.run_sync(shelf.write, replace(talk, at=house.clock.now()))


async def heard(house: House, by: str, task: str) -> Summary:
    """What has become of a message that this bridge brought; others are not there."""
    row = await house.journal.summary(TaskId(task))
    if row is None or row.by != by or not row.session.startswith(f"{KIND}{by}/"):
        raise NotFound(f"no message of yours is the task {task[:100]}", code="task_not_found")
    return row


async def forget(house: House, before: Instant) -> None:
    """Where those stood of whom nothing is kept any more, if they have not been here since."""
    for mark in await anyio.to_thread.run_sync(house.chats.talks.marks):
        async with house.chats.turn:
            try:
                await _forget(house, mark, before)
            except Broken as damaged:
                _log.error("not forgotten: %s", damaged, extra={"code": damaged.code})


async def _forget(house: House, mark: str, before: Instant) -> None:
    talks = house.chats.talks
    talk = await anyio.to_thread.run_sync(talks.of(mark).read)
    if talk.at >= before or await _is_kept(house, talk):
        return
    await anyio.to_thread.run_sync(talks.forget, mark)
    with suppress(OSError):  # there is something in it, which is not for us to throw away
        await _folder(house, mark).rmdir()


async def _is_kept(house: House, talk: Talk) -> bool:
    queries = [Query(session=SessionId(one), limit=1) for one in talk.sessions]
    return any([await house.journal.query(one) for one in queries])


def _folder(house: House, mark: str) -> anyio.Path:
    return anyio.Path(house.home, "workspace", "chats", mark)


def check_enabled(house: House) -> None:
    """Raises `NotFound` where nobody is heard."""
    if not house.in_force.chat.enabled:
        hint = "set chat.enabled and chat.users in config.toml"
        raise NotFound("nobody is heard here: there is no chat", code="chat_disabled", hint=hint)


def _check(house: House, word: Word) -> None:
    check_enabled(house)
    terms, speaker = house.in_force.chat, word.speaker
    for what, name in (("sender", speaker.sender), ("room", speaker.room)):
        if not (0 < len(name) <= _LONGEST_NAME and name.isprintable() and name.strip()):
            text = f"{what}: expected 1 to {_LONGEST_NAME} printable characters"
            raise Invalid(text, code="bad_speaker")
    if len(word.key) > _LONGEST_KEY:
        raise Invalid(f"the key has more than {_LONGEST_KEY} characters", code="bad_key")
    if not word.text.strip():
        raise Invalid("text: the message is empty", code="empty_message")
    if not terms.admits(speaker.sender):
        what, hint = f"{speaker.sender} may not speak here", "chat.users says who may"
        raise NotAllowed(what, code="chat_rejected", hint=hint)
    if not terms.is_open(speaker.room):
        what, hint = f"nobody is heard in {speaker.room}", "chat.rooms says where"
        raise NotAllowed(what, code="chat_rejected", hint=hint)


def _count(house: House, speaker: Speaker) -> None:
    terms, window = house.in_force.chat, house.chats.window
    name = f"{speaker.by}/{speaker.sender}"
    each, together = terms.per_minute, terms.all_per_minute
    if wait := window.take(name, anyio.current_time(), each=each, together=together):
        what = f"{each} messages a minute from one sender, {together} from all"
        raise TooOften(f"too often: {what}", retry_after=wait, hint=f"again in {wait} s")


def _agent(house: House, word: Word, talk: Talk) -> Agent:
    """Who is spoken to: as the message says, else as the sender has chosen. One that has been
    chosen and is gone is the house's own. Raises `NotFound`."""
    found = agent_of(house, word.agent) if word.agent else agent_of(house, talk.agent)
    if found is None and not word.agent:
        found = house.agent
    if found is None or not word.may_use(found.name):
        name = word.agent or house.agent.name
        what = f"there is no agent {name} for {word.speaker.by}"
        raise NotFound(what, code="agent_not_found", hint="say /agents")
    return found


async def _as_an_answer(house: House, word: Word, talk: Talk) -> Summary | None:
    """The task whose question the message answers, or has answered before; None: it begins one.

    What it is about to answer is written down first, so it answers that, and nothing else, however
    often it comes and whatever dies in between.
    """
    if not word.key:
        asked = await _asking(house, talk)
        return await _told(house, word, asked) if asked else None
    if await house.journal.query(Query(by=word.speaker.by, key=word.once, limit=1)):
        return None  # the task that it has begun asks; that it comes again is no answer
    if noted := next((one for one in talk.answers if one.key == word.key), None):
        row = await house.journal.summary(noted.task)
        still = row is not None and noted.call in {one.call for one in row.questions}
        return await _told(house, word, noted) if still else row
    if asked := await _asking(house, talk):
        noted = replace(asked, key=word.key)
        await _stands(house, word, replace(talk, answers=(noted, *talk.answers)[:_NOTED]))
        return await _told(house, word, noted)
    return None


async def _asking(house: House, talk: Talk) -> AnswerTo | None:
    """The question of the conversation that waits for words."""
    wanted = Query(session=SessionId(talk.session), asked=True, limit=1)
    for row in await house.journal.query(wanted):
        for one in row.questions:
            if one.free_text:
                return AnswerTo(task=row.id, call=one.call)
    return None


async def _told(house: House, word: Word, question: AnswerTo) -> Summary | None:
    try:
        return await _answer(house, word, question.task)
    except Refused as late:
        _log.debug("it was answered meanwhile: %s", late, extra={"task": question.task})
    return None


async def _answer(house: House, word: Word, task: TaskId) -> Summary:
    speaker = word.speaker
    if sources := _sources(house, speaker):
        return await relay(house, task, word.text, sources, by=speaker.by)
    return await tasks.say(house, task, word.text, by=speaker.by)


async def _submit(house: House, word: Word, session: SessionId, agent: Agent) -> Summary:
    speaker = word.speaker
    folder = anyio.Path(house.home, "workspace")
    if house.in_force.chat.own_folders:
        folder = _folder(house, speaker.mark)
        await folder.mkdir(parents=True, exist_ok=True)
    request = Request(
        prompt=word.text,
        agent=agent,
        by=speaker.by,
        session=session,
        workspace=str(folder),
        key=word.once,
        sources=_sources(house, speaker),
    )
    return await tasks.submit(house, within_own(request))


def _sources(house: House, speaker: Speaker) -> tuple[str, ...]:
    """Where the words come from; nothing for a person's own."""
    person = house.in_force.chat.is_person(speaker.by, speaker.sender)
    return () if person else (speaker.name,)
