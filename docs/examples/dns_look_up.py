"""Ask the DNS, and tell four outcomes apart."""

from with_resolver import run

from moxsmtp.dns.records import LookupFailed, Question, RRType


async def main(reactor, resolver):
    for name in ("example.org", "no-mail.example.org", "nowhere.example.org", "broken.example.org"):
        try:
            answer = await resolver.lookup(Question(name, RRType.MX))
        except LookupFailed as failure:
            print(f"{name}: nothing is known, {failure}")
            continue
        if answer.records:
            hosts = ", ".join(record.host for record in answer.records)
            print(f"{name}: {hosts}{' (with DNSSEC)' if answer.authentic else ''}")
        elif answer.exists:
            print(f"{name}: no such records")
        else:
            print(f"{name}: no such name")


if __name__ == "__main__":
    run(main)
