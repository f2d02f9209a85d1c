"""The conversation in the terminal."""

from __future__ import annotations

import getpass
import secrets
import sys
from collections.abc import Iterator
from typing import Annotated

import typer

from agent.cli.measure import Planner
from agent.cli.session import Session
from agent.untrusted import printable

PROMPT = "guardian> "


def chat(
    context: typer.Context,
    question: Annotated[
        str | None, typer.Argument(metavar="[QUESTION]", help="One question; else a line each from standard input.")
    ] = None,
    thread: Annotated[
        str | None, typer.Option("--thread", metavar="NAME", help="Goes on with a conversation of this name.")
    ] = None,
    planner: Planner = None,
) -> int:
    """The same conversation as in Slack, in the terminal: questions are answered from evidence, wishes by tools."""
    from agent.conversation.thread import Chat, Person, Thread

    session: Session = context.obj
    name = thread or secrets.token_hex(4)
    conversation = Thread(session.systems, f"terminal/{name}", planner=planner, progress=session.say)
    person = Person(name=getpass.getuser(), may_act=True)
    session.say(f"planner {conversation.planner}; the conversation is called {name}")
    replies = []
    for text in [question] if question is not None else _lines():
        replies.append(conversation.ask(text, person, id=secrets.token_hex(8)))
        if not session.as_json:
            sys.stdout.write(printable(replies[-1].text) + "\n")
            sys.stdout.flush()
    if session.as_json:
        session.emit(Chat(thread=name, planner=conversation.planner, replies=replies), str)
    return 4 if replies and replies[-1].approval else 0


def _lines() -> Iterator[str]:
    """What is typed, a line a question; the end of the input, `exit` or `quit` ends it."""
    at_terminal = sys.stdin.isatty()
    while True:
        if at_terminal:
            sys.stderr.write(PROMPT)
            sys.stderr.flush()
        line = sys.stdin.readline()
        if not line or line.strip() in ("exit", "quit"):
            return
        if line.strip():
            yield line.strip()


COMMANDS = {"chat": chat}
"""Commands that talk."""
