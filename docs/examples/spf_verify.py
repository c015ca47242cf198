"""May this client send in that name?"""

from ipaddress import ip_address

from with_resolver import run

from moxsmtp.names import parse_domain
from moxsmtp.smtp.address import parse_mailbox
from moxsmtp.spf import Identity, Status, verify


async def main(reactor, resolver):
    identity = Identity(
        address=ip_address("192.0.2.1"),
        reverse_path=parse_mailbox("alice@example.org"),
        hello=parse_domain("mail.example.org"),
        hostname=parse_domain("mx.example.net"),
    )
    result = await verify(resolver, identity, clock=reactor)
    print(f"{result.domain}: {result.status}")
    if result.status is Status.FAIL:
        print(f"refused by {result.mechanism}")


if __name__ == "__main__":
    run(main)
