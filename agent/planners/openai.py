"""The planner that asks a language model through the `openai` package."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from agent.budget import Ledger
from agent.planners.profiles import Profile
from agent.planners.protocol import Answer, Conversation, ProviderDown
from agent.planners.schemas import ToolSchema
from agent.planners.wire import Chat, Responses, Usage, Wire, prompt_text
from agent.prices import price
from agent.prompting import Prompt
from agent.tokens import PromptBound, counter
from agent.untrusted import clean

if TYPE_CHECKING:
    from httpx2 import BaseTransport
    from openai import OpenAI

WIRES: Mapping[str, Wire] = {"chat": Chat(), "responses": Responses()}


class OpenAIPlanner:
    """Asks the profile's model for one tool call at a time.

    Every attempt is reserved in the ledger before it is made. Refused attempts (429, 500, 503) cost nothing; one whose
    outcome is unknown (timeout, broken connection, unreadable body) stays charged at its upper bound.
    """

    name = "openai"

    def __init__(
        self,
        profile: Profile,
        tools: Sequence[ToolSchema],
        prompt: Prompt,
        ledger: Ledger,
        *,
        api_key: str,
        base_url: str | None = None,
        timeout: float = 60.0,
        pauses: Sequence[float] = (0.5, 2.0),
        patience: float = 600.0,
        transport: BaseTransport | None = None,
    ) -> None:
        """`timeout` is for one attempt, from its start to its last byte; `pauses` are the seconds before each further
        one; `patience` is for all answers of a run together, after which the provider counts as down. `transport`
        carries the client's requests instead of a connection: recordings and replays.

        Raises InputError for a model without a price.
        """
        price(profile.model, 1, 1, provider=profile.provider)
        self._profile = profile
        self._tools = tools
        self._prompt = prompt
        self._ledger = ledger
        self._connection = {"api_key": api_key, "base_url": base_url, "timeout": timeout}
        self._transport = transport
        self._pauses = pauses
        self._wire = WIRES[profile.flavour]
        self._bounds: dict[str, PromptBound] = {}
        self._timeout = timeout
        self._patience = patience
        self._thought: dict[str, float] = {}

    @property
    def about(self) -> Mapping[str, str]:
        """The model, the API and the version of the prompt."""
        return {
            "planner": self.name,
            "model": self._profile.model,
            "api": self._profile.flavour,
            "prompt": self._prompt.label,
        }

    @cached_property
    def _client(self) -> OpenAI:
        from openai import DefaultHttpxClient, OpenAI

        http = None if self._transport is None else DefaultHttpxClient(transport=self._transport)
        return OpenAI(max_retries=0, http_client=http, **self._connection)  # type: ignore[arg-type]

    @cached_property
    def _count(self) -> Any:
        return counter(self._profile.encoding)

    def next(self, conversation: Conversation) -> Answer:
        """One answer of the model. Raises BudgetExhausted before an unaffordable call, ProviderDown after retries."""
        if self._thought.get(conversation.run_id, 0.0) > self._patience:
            raise ProviderDown(f"it took more than {self._patience:g} s of this run", where=self._profile.model)
        request = self._wire.request(self._profile, self._prompt.text, self._tools, conversation)
        failure, began = _Retry(""), time.monotonic()
        try:
            for pause in (0.0, *self._pauses):
                time.sleep(max(pause, failure.after))
                try:
                    return self._attempt(request, conversation)
                except _Retry as retry:
                    failure = retry
        finally:
            spent = time.monotonic() - began
            self._thought[conversation.run_id] = self._thought.get(conversation.run_id, 0.0) + spent
        raise ProviderDown(f"no answer after {len(self._pauses) + 1} attempts: {failure}", where=self._profile.model)

    def _attempt(self, request: Mapping[str, Any], conversation: Conversation) -> Answer:
        profile = self._profile
        text = prompt_text(request)
        bound = self._bounds.setdefault(conversation.run_id, PromptBound(self._count))
        prompt = bound.bound(text)
        reservation = self._ledger.reserve(
            conversation.run_id,
            profile.model,
            price(profile.model, prompt, profile.max_output_tokens, provider=profile.provider),
            prompt + profile.max_output_tokens,
        )
        try:
            answer, usage = self._wire.read(json.loads(self._in_time(request)))
        except _Refused as refused:
            self._ledger.settle(reservation, 0.0, 0, 0)
            raise refused.outcome from None
        except (KeyError, IndexError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise _Retry(f"the answer could not be read: {clean(repr(error))}") from error
        if usage is not None:
            self._settle(reservation, usage)
            bound.report(text, usage.prompt)
        return answer

    def _settle(self, reservation: int, usage: Usage) -> None:
        model, provider = self._profile.model, self._profile.provider
        cost = price(model, usage.prompt, usage.output, cached=usage.cached, provider=provider)
        self._ledger.settle(reservation, cost, usage.prompt, usage.output)

    def _in_time(self, request: Mapping[str, Any]) -> str:
        """The body of the answer within the timeout, also where it trickles in; raises what `_send` raises."""
        answers: queue.SimpleQueue[str | Exception] = queue.SimpleQueue()

        def ask() -> None:
            try:
                answers.put(self._send(request))
            except Exception as error:
                answers.put(error)

        threading.Thread(target=ask, daemon=True).start()
        try:
            answer = answers.get(timeout=self._timeout + 1.0)
        except queue.Empty:
            raise _Retry(f"no whole answer within {self._timeout:g} s") from None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _send(self, request: Mapping[str, Any]) -> str:
        """The body of the answer. Raises _Refused where the provider says no, _Retry where the outcome is unknown."""
        import openai

        raw: Any = self._client.responses if self._profile.flavour == "responses" else self._client.chat.completions
        try:
            return str(raw.with_raw_response.create(**request).http_response.text)
        except openai.APIStatusError as error:
            said = f"{error.status_code}: {clean(error.message)}"
            if error.status_code in (502, 504):
                raise _Retry(said) from error  # a proxy's word: the model may have answered
            passing = error.status_code in (408, 409, 429) or error.status_code >= 500
            if passing and error.code != "insufficient_quota":
                raise _Refused(_Retry(said, _retry_after(error.response.headers))) from error
            raise _Refused(ProviderDown(said, where=self._profile.model)) from error
        except openai.APIConnectionError as error:
            raise _Retry(f"{clean(error.message)} {clean(error.__cause__ or '')}".strip()) from error


class _Retry(Exception):
    """This attempt failed; another may not, `after` seconds later."""

    def __init__(self, message: str, after: float = 0.0) -> None:
        super().__init__(message)
        self.after = after


class _Refused(Exception):
    """The provider refused the attempt and did not charge for it."""

    def __init__(self, outcome: Exception) -> None:
        super().__init__(str(outcome))
        self.outcome = outcome


def _retry_after(headers: Mapping[str, str], most: float = 20.0) -> float:
    """Seconds a server asks to wait, at most `most`; 0 where it does not say."""
    try:
        return min(max(float(headers.get("retry-after", 0)), 0.0), most)
    except ValueError:
        return 0.0
