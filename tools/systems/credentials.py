"""Credentials inside URLs: what of a URL may be written down, and what an error text about it must not say."""

from __future__ import annotations

import re
from urllib.parse import unquote, unquote_plus

HIDDEN = "[secret]"
_NAMED = r"[\w.-]*(?:password|passwd|pwd|token|secret|credential|api_?key|access[._]key|account[._]key)[\w.-]*"
_PARAMETER = re.compile(rf"(?P<before>[?&;])(?P<name>{_NAMED})=(?P<value>[^&;\s'\"]*)", re.IGNORECASE)
_USER_INFO = re.compile(r"(?<=://)(?P<user>[^/\s:@?'\"]*):(?P<password>[^/\s?'\"]+)@")
_SHORTEST = 3
"""Shorter pieces of a password are hidden only where they stand before an `@`: they are parts of any text."""


def without_credentials(url: str) -> str:
    """A URL as it may stand in a file: no password, no token; of a web address no user either."""
    scheme, separator, rest = url.partition("://")
    user_info, rest = _split(rest) if separator else ("", url)
    user = user_info.partition(":")[0]
    if user and not scheme.startswith("http"):
        rest = f"{user}@{rest}"
    kept = f"{scheme}://{rest}" if separator else rest
    left = re.sub(_PARAMETER, lambda found: "?" if found["before"] == "?" else "", kept)
    return left.replace("?&", "?").rstrip("?")


def cleaned(text: object, url: str, *others: str) -> str:
    """A text about `url` without its credentials, however its driver took them apart, and without `others`."""
    shown = hidden(str(text))
    for secret in sorted({*_secrets(url), *filter(None, others)}, key=len, reverse=True):
        shown = shown.replace(secret, HIDDEN + ("@" if secret.endswith("@") else ""))
    return shown


def hidden(text: str) -> str:
    """`text` without the credentials of the URLs in it."""
    return _PARAMETER.sub(rf"\g<before>\g<name>={HIDDEN}", _USER_INFO.sub(f"{HIDDEN}@", text))


def _split(rest: str) -> tuple[str, str]:
    """What stands before the last `@` of the authority, and what behind it; a password may hold `@` and `/` as is."""
    authority = (re.match(r"[^/?#]*", rest) or [""])[0]
    address = rest.partition("?")[0]
    if "@" in authority:
        end = authority.rindex("@")
    elif "@" in address and re.match(r"[^/:]+:(?!\d+/)", address):
        end = address.rindex("@")
    else:
        return "", rest
    return rest[:end], rest[end + 1 :]


def _secrets(url: str) -> set[str]:
    scheme, _, rest = url.partition("://")
    user, _, password = _split(rest)[0].partition(":")
    if scheme.startswith("http") and user and not password:
        password = user
    found = {unquote_plus(each["value"]) for each in _PARAMETER.finditer(url)}
    found |= {each["value"] for each in _PARAMETER.finditer(url)}
    pieces = [password, unquote(password), *re.split("[@/:]", password)]
    found |= {each for each in pieces if each}
    ends = [password[place.end() :] for place in re.finditer("@", password)]
    return {each for each in found if len(each) >= _SHORTEST} | {f"{each}@" for each in ends if each}
