"""The routes for bridges: a chat's words come in, and what became of them goes back."""

from __future__ import annotations

from typing import Annotated

from msgspec import Struct
from pydantic import Field
from starlette.responses import Response

from holdfast.core.ids import SessionId, TaskId
from holdfast.core.task import ENDED, Status
from holdfast.core.view import Summary
from holdfast.runtime import bridging, conversing
from holdfast.runtime.chatting import Speaker

from .bodies import Body, Name, NoQuery, Nothing, Question
from .route import Ask, Entry, json_answer
from .waiting import wait_for

_PATH = "/api/v1/chat"
_OWN = "chat-"
"""How the names of conversations begin that `holdfast chat` makes."""


class ChatWords(Body):
    """What somebody said in a room of a chat. Who may bring it is said by the key, not here."""

    sender: Name = Field(min_length=1, description="Who said it: an id that stays theirs.")
    room: Name = Field(min_length=1, description="Where: an id that stays the room's.")
    text: Annotated[str, Field(max_length=100_000)] = Field(
        description="What was said; `/help` lists what the house answers itself."
    )
    agent: Name = Field(default="", description="Who is spoken to; empty: whom they have chosen.")


class ChatWait(Question):
    """How patiently."""

    wait: float = Field(
        default=0, ge=0, le=60, description="Seconds to wait for an answer or a question."
    )


class ChatTask(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a message has become: a task in its conversation.

    `answer` once it has succeeded; `question` if it waits for words, which the next message in the
    conversation is; `waits_for_approval` if somebody here has to say yes; `problem` if it failed.
    """

    task: TaskId
    session: SessionId
    status: Status
    ended: bool
    answer: str | None = None
    question: str = ""
    waits_for_approval: bool = False
    problem: str = ""


class ChatReply(Struct, frozen=True, kw_only=True):
    """What the house itself says to a command; `session` is where the next message goes."""

    reply: str
    session: str


class ToCommand(Body):
    """A command of somebody who keeps the place in the conversation themselves."""

    text: Annotated[str, Field(max_length=2_000)] = Field(description="Like `/chats`.")
    session: Name = Field(default="", description="The conversation that they are in.")
    agent: Name = Field(default="", description="The agent that they speak to.")


class Commanded(Struct, frozen=True, kw_only=True):
    """What the house says, and where whoever asked is from now on."""

    reply: str
    session: str
    agent: str


async def chat_say(ask: Ask[NoQuery, ChatWords]) -> Response:
    said = ask.body
    word = bridging.Word(
        speaker=Speaker(by=ask.by, room=said.room, sender=said.sender),
        text=said.text,
        agent=said.agent,
        key=ask.request.headers.get("idempotency-key", ""),
        may_use=ask.grant.may_use,
    )
    match await bridging.hear(ask.house, word):
        case bridging.Taken(row=row):
            return json_answer(_told(row), 202, {"Location": f"{_PATH}/{row.id}"})
        case bridging.Answered() as found:
            return json_answer(ChatReply(reply=found.text, session=found.session), 200)


async def chat_answer(ask: Ask[ChatWait, Nothing]) -> ChatTask:
    house, task = ask.house, ask.path("task")
    row = await bridging.heard(house, ask.by, task)
    if row.status not in ENDED:
        await wait_for(ask, row.id, ask.query.wait)
    return _told(await bridging.heard(house, ask.by, task))


async def chat_command(ask: Ask[NoQuery, ToCommand]) -> Commanded:
    said, house = ask.body, ask.house
    talk = await conversing.talk_of(house, ask.by, said.session, said.agent)
    party = conversing.Party(prefix=_OWN, may_use=ask.grant.may_use)
    reply = await conversing.command(house, party, talk, said.text)
    return Commanded(reply=reply.text, session=reply.talk.session, agent=reply.talk.agent)


def _told(row: Summary) -> ChatTask:
    words = next((one.question for one in row.questions if one.free_text), "")
    return ChatTask(
        task=row.id,
        session=row.session,
        status=row.status,
        ended=row.status in ENDED,
        answer=row.answer if row.status is Status.SUCCEEDED else None,
        question=words,
        waits_for_approval=bool(row.questions) and not words,
        problem=row.fault.message if row.fault else "",
    )


CHAT_ROUTES: tuple[Entry, ...] = (
    Entry(
        "POST",
        _PATH,
        chat_say,
        "Bring what somebody said in a room. A command is answered at once, with 200. The same "
        "Idempotency-Key from the same sender in the same room again is the same message.",
        ChatTask,
        body=ChatWords,
        status=202,
        also=((200, ChatReply),),
        again=False,
        errors=(409, 429, 503),
    ),
    Entry(
        "GET",
        f"{_PATH}/{{task}}",
        chat_answer,
        "What became of a message that was brought with this key.",
        ChatTask,
        query=ChatWait,
        errors=(503,),
    ),
    Entry(
        "POST",
        "/api/v1/chat-command",
        chat_command,
        "Answer a command like `/chats` in a conversation of one's own.",
        Commanded,
        body=ToCommand,
    ),
)
