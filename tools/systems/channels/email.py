"""E-mail over SMTP. A letter that calls people is a mail of its own, in one thread; a mere change of words is none.

SMTP promises no more than delivery at least once. The Message-ID is the letter's token, the same in every attempt:
servers and mail programs drop a second one where they look at it.

`SMTP_URL`: smtp://user:password@host:587 or smtps://host:465, with ?from=guardian@company.com. A password is sent
over TLS only, or on this machine.
"""

from __future__ import annotations

import smtplib
import ssl
from email.message import EmailMessage
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from policies.alerting import AlertStatus
from policies.errors import InputError
from tools.systems.channels.channel import TIMEOUT_SECONDS, Letter, Undelivered, footer, headline

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class EmailChannel:
    """Sends by the server of `url`."""

    def __init__(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), None
        if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
            raise InputError("is not of the form smtp://user:password@host:587?from=me@company.com", where="SMTP_URL")
        self._host = parts.hostname
        self._secure = parts.scheme == "smtps"
        self._port = port or (465 if self._secure else 587 if parts.username else 25)
        self._user, self._password = unquote(parts.username or ""), unquote(parts.password or "")
        by_user = self._user if "@" in self._user else f"guardian@{self._host}"
        self._sender = parse_qs(parts.query).get("from", [by_user])[0]

    def send(self, letter: Letter) -> dict[str, Any] | None:
        """Mails the letter where it calls people or tells of the end. Raises Undelivered."""
        over, place = letter.alert.status is AlertStatus.resolved, letter.place or {"ended_after": 0}
        calls = letter.calls_sent < letter.alert.calls
        if not calls and not (over and place["ended_after"] < letter.calls_sent):
            return letter.place
        mail = self._mail(letter, over)
        try:
            with self._connected() as server:
                server.send_message(mail)
        except smtplib.SMTPResponseException as error:
            raise Undelivered(f"refused with SMTP code {error.smtp_code}", "email") from None
        except smtplib.SMTPRecipientsRefused as error:
            codes = ", ".join(str(code) for code, _ in error.recipients.values())
            raise Undelivered(f"refused {letter.address} with SMTP code {codes}", "email") from None
        except (smtplib.SMTPException, OSError) as error:
            raise Undelivered(f"did not answer: {type(error).__name__}", "email", doubtful=True) from None
        ended_after = letter.alert.calls if over else place["ended_after"]
        return {"message_id": str(mail["Message-ID"]), **place, "ended_after": ended_after}

    def _mail(self, letter: Letter, over: bool) -> EmailMessage:
        alert = letter.alert
        mail = EmailMessage()
        mail["From"], mail["To"] = self._sender, letter.address
        mail["Subject"] = " ".join(headline(alert).split())[:200]
        domain = self._sender.rpartition("@")[2] or "guardian"
        mail["Message-ID"] = f"<{letter.call_token}{'-over' if over else ''}@{domain}>"
        if letter.place is not None:
            mail["In-Reply-To"] = mail["References"] = letter.place["message_id"]
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content("\n\n".join(part for part in (headline(alert), alert.text, footer(alert)) if part) + "\n")
        return mail

    def _connected(self) -> smtplib.SMTP:
        context = ssl.create_default_context()
        if self._secure:
            server: smtplib.SMTP = smtplib.SMTP_SSL(self._host, self._port, timeout=TIMEOUT_SECONDS, context=context)
        else:
            server = smtplib.SMTP(self._host, self._port, timeout=TIMEOUT_SECONDS)
        try:
            server.ehlo()
            if not self._secure and server.has_extn("starttls"):
                server.starttls(context=context)
                server.ehlo()
            elif self._user and not self._secure and self._host not in _LOOPBACK:
                raise Undelivered("offers no TLS, and a password is not sent without", "email")
            if self._user:
                server.login(self._user, self._password)
        except BaseException:
            server.close()
            raise
        return server
