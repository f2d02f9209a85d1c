"""A machine that serves one version: `python machine.py VERSION [HOST [PORT]]` prints its port and answers anything."""

from __future__ import annotations

import asyncio
import json
import sys


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Every request with the version and what HAProxy said of it."""
    try:
        while head := (await reader.readuntil(b"\r\n\r\n")).decode("latin-1"):
            lines = [line.partition(":") for line in head.split("\r\n")[1:]]
            headers = {name.lower(): value.strip() for name, _, value in lines}
            await reader.readexactly(int(headers.get("content-length", 0)))
            body = json.dumps({"version": sys.argv[1], "variant": headers.get("x-guardian-variant")}).encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main() -> None:
    """Answers until it is stopped."""
    host, port = [*sys.argv[2:], "127.0.0.1", "0"][:2] if len(sys.argv) < 4 else sys.argv[2:4]
    server = await asyncio.start_server(answer, host, int(port) if port.isdigit() else 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
