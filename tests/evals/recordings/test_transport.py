"""Recordings through the real client: from a server on loopback, and again without it."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import httpx2
import pytest
from openai import DefaultHttpxClient, OpenAI, RateLimitError

from evals.recordings.recording import Header, Recording
from evals.recordings.transport import Recorder, Replay
from policies.errors import InputError
from tests.fakes.openai_server import Failure, Say, in_turn, serve

KEY = "sk-secret-of-the-house-123456"
HEADER = Header(
    how="scripted", model="gpt-4o", endpoint="loopback script", flavour="chat", prompt="1", made_on=date(2026, 1, 1)
)


def client(transport: httpx2.BaseTransport, url: str = "http://elsewhere.invalid/v1", key: str = KEY) -> OpenAI:
    return OpenAI(api_key=key, base_url=url, max_retries=0, http_client=DefaultHttpxClient(transport=transport))


def ask(client: OpenAI, text: str) -> str | None:
    messages = [{"role": "user", "content": text}]
    return client.chat.completions.create(model="gpt-4o", messages=messages).choices[0].message.content  # type: ignore[call-overload,no-any-return]


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """A refused request and two answered ones."""
    recorder = Recorder()
    with serve(in_turn(Failure(429, retry_after=3), Say("one"), Say("two"))) as server:
        live = client(recorder, server.url)
        with pytest.raises(RateLimitError):
            ask(live, f"my key is {KEY}")
        assert [ask(live, f"my key is {KEY}"), ask(live, "second")] == ["one", "two"]
        live.close()
    path = tmp_path / "recording.jsonl"
    Recording(header=HEADER, exchanges=recorder.exchanges).write(path)
    return path


def test_a_replay_answers_as_the_server_did(recorded: Path) -> None:
    replay = Replay(Recording.read(recorded).exchanges)
    again = client(replay)
    with pytest.raises(RateLimitError) as refused:
        ask(again, f"my key is {KEY}")
    assert refused.value.response.headers["retry-after"] == "3"
    assert replay.faults == ["2 of 3 recorded answers were not asked for"]
    assert [ask(again, f"my key is {KEY}"), ask(again, "second")] == ["one", "two"]
    assert replay.faults == []


def test_no_key_is_written(recorded: Path) -> None:
    text = recorded.read_text()
    assert KEY not in text
    assert "authorization" not in text.lower()
    assert "my key is [secret]" in text


def test_a_request_that_differs_fails_with_a_diff_and_so_does_all_after_it(recorded: Path) -> None:
    replay = Replay(Recording.read(recorded).exchanges)
    again = client(replay)
    with pytest.raises(InputError, match="recording: request"):
        ask(again, "another question")
    (fault,) = replay.faults
    assert "request 1 differs from the recorded one" in fault
    assert '-   "content": "my key is [secret]"' in fault
    assert '+   "content": "another question"' in fault
    with pytest.raises(InputError, match="recording: request"):
        ask(again, f"my key is {KEY}")
    assert replay.faults == [fault]


def test_a_request_beyond_the_recording_fails(recorded: Path) -> None:
    replay = Replay(Recording.read(recorded).exchanges[1:2])
    again = client(replay)
    ask(again, f"my key is {KEY}")
    with pytest.raises(InputError, match="recording: request"):
        ask(again, "second")
    assert replay.faults == ["request 2 was never recorded: the recording ends after 1"]


def test_what_is_no_recording_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="make one with guardian eval --record"):
        Recording.read(tmp_path / "none.jsonl")
    (tmp_path / "bad.jsonl").write_text('{"how": "dreamt"}\n')
    with pytest.raises(InputError, match="is no recording"):
        Recording.read(tmp_path / "bad.jsonl")
