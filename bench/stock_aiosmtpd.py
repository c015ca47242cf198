"""
A peer to measure against: aiosmtpd, a Maildir behind it.

C{python -m bench.stock_aiosmtpd PORT MAILDIR}
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session

from bench.maildir import store


class Maildir:
    """Writes each message as the other peer does."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        content = envelope.content
        store(self._folder, content if isinstance(content, bytes) else b"")
        return "250 OK"


async def serve(port: int, folder: Path) -> None:
    """Until ended."""
    for name in ("tmp", "new", "cur"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    loop = asyncio.get_running_loop()

    def session() -> SMTP:
        return SMTP(Maildir(folder), hostname="bench.test", loop=loop, timeout=600)

    server = await loop.create_server(session, "127.0.0.1", port, backlog=511)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), Path(sys.argv[2])))
