"""What tokens cost, from the price list that ships with genai-prices. Nothing is looked up on a network."""

from __future__ import annotations

from policies.errors import InputError


def price(model: str, prompt: int, output: int, *, cached: int = 0, provider: str = "openai") -> float:
    """US dollars for `prompt` tokens (`cached` of them read from the provider's cache) and `output` tokens.

    Raises InputError for a model without a price: it may not be asked, as it could not be charged.
    """
    from genai_prices import Usage, calc_price

    usage = Usage(input_tokens=prompt, cache_read_tokens=min(cached, prompt), output_tokens=output)
    try:
        return float(calc_price(usage, model, provider_id=provider).total_price)
    except (LookupError, ValueError) as error:
        raise InputError(
            f"model {model!r} of {provider} has no known price, so no budget can hold it; name a priced model",
            where="agents",
        ) from error
