"""Who has signed a message?"""

import sys
from datetime import UTC, datetime
from pathlib import Path

from with_resolver import run

from moxsmtp.dkim import verify
from moxsmtp.public_suffix import PublicSuffixes


async def report(reactor, resolver, message):
    results = await verify(
        resolver,
        message,
        now=datetime.fromtimestamp(reactor.seconds(), UTC),
        is_public_suffix=PublicSuffixes().is_public_suffix,
    )
    for signature in results.signatures:
        print(f"{signature.domain} ({signature.selector}): {signature.status} {signature.reason}")
    print("verified:", ", ".join(map(str, results.verified_domains)) or "nobody")


async def main(reactor, resolver):
    message = Path(sys.argv[1]).read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    await report(reactor, resolver, message)


if __name__ == "__main__":
    run(main)
