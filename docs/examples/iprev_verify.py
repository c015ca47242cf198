"""Does the name of an address lead back to it?"""

from ipaddress import ip_address

from with_resolver import run

from moxsmtp.iprev import verify


async def main(reactor, resolver):
    result = await verify(resolver, ip_address("192.0.2.1"))
    print(f"{result.status}: {result.name or 'no name'}")


if __name__ == "__main__":
    run(main)
