"""Recordings through the real client: from a server on loopback, and again without it."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import httpx2
import pytest
from openai import APIConnectionError, DefaultHttpxClient, OpenAI, RateLimitError

from evals.recordings.recording import Exchange, Header, Recording
from evals.recordings.transport import Recorder, Refused, Replay
from policies.errors import InputError
from tests.fakes.openai_server import Body, Failure, Say, in_turn, serve

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


def test_no_key_is_written_that_an_endpoint_repeats_or_has_in_its_address() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"x-request-id": f"for {KEY}"}, text=f'{{"said": "{KEY}"}}')

    recorder = Recorder(httpx2.MockTransport(answer))
    with httpx2.Client(transport=recorder) as asking:
        for path in (f"/{KEY}/v1/chat/completions", "/a-token-of-no-known-form/v1/responses", f"/{KEY}/else"):
            asking.post(f"http://elsewhere.invalid{path}", json={"key": KEY})
    kept = [each.model_dump_json() for each in recorder.exchanges]
    assert [each.path for each in recorder.exchanges] == ["/chat/completions", "/responses", "/[secret]/else"]
    assert not [each for each in kept if KEY in each or "a-token" in each]


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
    for name, content, told in [
        ("dreamt", b'{"how": "dreamt"}\n', r"dreamt.jsonl:1: is no recording: how: Input should be 'recorded'"),
        ("empty", b"", "it is empty"),
        ("latin", b"caf\xe9", "not UTF-8 text"),
        ("cut", HEADER.model_dump_json().encode() + b'\n{"method":', "cut.jsonl:2: is no recording: Invalid JSON"),
        ("gap", HEADER.model_dump_json().encode() + b"\n\n", "gap.jsonl:2: is no recording: Invalid JSON"),
        ("gpt", HEADER.model_dump_json().replace('"chat"', '"talk"').encode(), "flavour: Input should be 'responses'"),
    ]:
        (tmp_path / f"{name}.jsonl").write_bytes(content)
        with pytest.raises(InputError, match=told):
            Recording.read(tmp_path / f"{name}.jsonl")


def exchange(response: str, status: int | None = 200, path: str = "/v1/chat/completions") -> Exchange:
    return Exchange(method="POST", path=path, request="{}", status=status, response=response)


def test_every_character_of_an_answer_comes_back(tmp_path: Path) -> None:
    answer = "late\u2028and\x85later \x1c"
    Recording(header=HEADER, exchanges=[exchange(answer)]).write(tmp_path / "recording.jsonl")
    assert Recording.read(tmp_path / "recording.jsonl").exchanges == [exchange(answer)]
    assert [each.name for each in tmp_path.iterdir()] == ["recording.jsonl"]


def test_where_it_cannot_be_written_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere/recording.jsonl: cannot be written: No such file"):
        Recording(header=HEADER, exchanges=[]).write(tmp_path / "nowhere" / "recording.jsonl")


def test_a_broken_connection_is_recorded_and_breaks_again() -> None:
    recorder = Recorder(Refused())
    with pytest.raises(APIConnectionError):
        ask(client(recorder), "anybody there?")
    (kept,) = recorder.exchanges
    assert (kept.status, kept.response) == (None, "ConnectError: connection refused")
    replay = Replay(recorder.exchanges)
    with pytest.raises(APIConnectionError) as broken:
        ask(client(replay), "anybody there?")
    assert "connection refused" in str(broken.value.__cause__)
    assert replay.faults == []


def test_bytes_that_are_no_text_are_recorded_as_the_client_reads_them() -> None:
    recorder = Recorder()
    with serve(in_turn(Body(b'{"a": "\xff"}'))) as server, pytest.raises(TypeError):
        ask(client(recorder, server.url), "anything")
    assert [each.status for each in recorder.exchanges] == [200]


def test_a_replay_does_not_mind_where_the_endpoint_had_its_api(recorded: Path) -> None:
    exchanges = Recording.read(recorded).exchanges[1:2]
    elsewhere = [each.model_copy(update={"path": "/v1beta/openai/chat/completions"}) for each in exchanges]
    for url in ("http://elsewhere.invalid/v1", "http://elsewhere.invalid/openai", "http://elsewhere.invalid"):
        replay = Replay(elsewhere)
        assert ask(client(replay, url), f"my key is {KEY}") == "one"
        assert replay.faults == []
    other = Replay([exchanges[0].model_copy(update={"path": "/v1/responses"})])
    with pytest.raises(InputError):
        ask(client(other), f"my key is {KEY}")
    assert other.faults == ["request 1 is POST /v1/chat/completions, recorded was POST /v1/responses"]
