"""Is an address on a list, and is the list itself in order?"""

from ipaddress import ip_address

from with_resolver import run

from moxsmtp.dnsbl import Health, look_up
from moxsmtp.names import parse_domain


async def main(reactor, resolver):
    zone = parse_domain("dnsbl.example.org")
    if not await Health(resolver, reactor).is_healthy(zone):
        print(f"{zone} is not in order")
        return
    listing = await look_up(resolver, zone, ip_address("192.0.2.1"))
    print(f"listed: {listing.listed}", listing.explanation or listing.problem)


if __name__ == "__main__":
    run(main)
