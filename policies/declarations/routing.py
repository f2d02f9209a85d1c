"""`systems.traffic`: what routes a model's requests where the gateway alone does not."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, field_validator

from policies.declarations.base import Declared

SEATS = ("blue", "green")


def _check_address(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536 or any(c.isspace() for c in host):
        raise ValueError(f"{text!r} is not an address: write HOST:PORT, for example 10.0.0.1:8080")
    return text


def _check_socket(text: str) -> str:
    if text.startswith("/"):
        return text
    host = _check_address(text).rpartition(":")[0]
    if host not in ("localhost", "127.0.0.1", "[::1]"):
        raise ValueError(f"{text!r}: the runtime API has no password, it must be a unix socket or on the loopback")
    return text


def _check_ip(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError(f"{text!r} is not an IP address") from None


def _check_server(text: str) -> str:
    host = _check_address(text).rpartition(":")[0]
    _check_ip(host.strip("[]"))
    return text


def _check_domain(text: str) -> str:
    if any(not label or len(label) > 63 for label in text.rstrip(".").split(".")) or " " in text:
        raise ValueError(f"{text!r} is not a domain name")
    return text.rstrip(".").lower() + "."


Address = Annotated[str, AfterValidator(_check_address)]
Domain = Annotated[str, AfterValidator(_check_domain)]
Path = Annotated[str, Field(pattern=r"^/[^\s\"'\\]*$")]


class HAProxyRouting(Declared):
    """A model's requests go through HAProxy, to the machines of two pools; each pool runs one version.

    `socket` is its runtime API (a unix socket, or HOST:PORT on the loopback), `map` the map file as HAProxy's
    configuration names it, `version_path` where a machine says which version it serves: `{"version": "3"}`.
    `deadline_ms` is how long a challenger may take before the champion answers in its place.
    """

    type: Literal["haproxy"]
    socket: Annotated[str, AfterValidator(_check_socket)]
    map: Path
    blue: list[Address] = Field(min_length=1)
    green: list[Address] = Field(min_length=1)
    version_path: Path = "/version"
    deadline_ms: int = Field(default=200, gt=0, le=10_000)

    def machines(self, pool: str) -> list[str]:
        """The addresses of `blue` or `green`."""
        return self.blue if pool == "blue" else self.green


class NameServerRouting(Declared):
    """A model's name points to one of two environments; a dynamic update (RFC 2136) moves it.

    The TSIG key is in the environment, as GUARDIAN_DNS_KEY=algorithm:name:secret. `blue` and `green` are IP addresses,
    at whose `port` and `version_path` each says which version it serves.
    """

    type: Literal["dns"]
    server: Annotated[str, AfterValidator(_check_server)]
    zone: Domain
    record: Domain
    ttl: int = Field(default=5, ge=0, le=3600)
    blue: Annotated[str, AfterValidator(_check_ip)]
    green: Annotated[str, AfterValidator(_check_ip)]
    port: int = Field(default=80, gt=0, lt=65536)
    version_path: Path = "/version"

    def machines(self, pool: str) -> list[str]:
        """The one address of `blue` or `green`, with its port."""
        ip = self.blue if pool == "blue" else self.green
        return [f"[{ip}]:{self.port}" if ":" in ip else f"{ip}:{self.port}"]


class KServeRouting(Declared):
    """A model is a KServe InferenceService; its `canaryTrafficPercent` is patched.

    `storage_uri` is where KServe finds a version: `{version}` stands for its number. `api` is the Kubernetes API; its
    bearer token is GUARDIAN_KUBERNETES_TOKEN, or the service account's own in a pod.
    """

    type: Literal["kserve"]
    namespace: str = Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)
    service: str = Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)
    storage_uri: str
    api: str = "https://kubernetes.default.svc"
    wait_seconds: float = Field(default=120, gt=0, le=3600)

    @field_validator("storage_uri")
    @classmethod
    def _names_the_version(cls, text: str) -> str:
        if text.count("{version}") != 1 or "{" in text.replace("{version}", ""):
            raise ValueError(f"{text!r} must hold {{version}} once, for example s3://models/churn/{{version}}")
        return text

    @field_validator("api")
    @classmethod
    def _is_safe(cls, text: str) -> str:
        parts = urlsplit(text)
        local = parts.hostname in ("127.0.0.1", "localhost", "::1")
        if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and local)):
            raise ValueError(f"{text!r} is no https:// URL; http:// is for the loopback (kubectl proxy) only")
        return text.rstrip("/")


Routing = Annotated[HAProxyRouting | NameServerRouting | KServeRouting, Field(discriminator="type")]
