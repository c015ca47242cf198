"""Is the author of a message who it says, and what does its domain ask for if not?"""

from with_resolver import run

from moxsmtp import dkim, spf
from moxsmtp.dmarc import verify
from moxsmtp.names import parse_domain


async def main(reactor, resolver):
    # What SPF and DKIM have said of the message:
    sender = spf.Result(spf.Status.PASS, spf.Scope.MAIL_FROM, parse_domain("lists.example.org"))
    signature = dkim.Result(
        dkim.Status.FAIL, parse_domain("example.org"), reason="body hash differs"
    )
    result = await verify(
        resolver, [parse_domain("news.example.org")], spf=sender, dkim=[signature]
    )
    print(f"{result.author}: {result.status}, alignment {result.alignment}")
    print(f"policy {result.policy} of {result.policy_domain}, to be refused: {result.rejects}")
    for step in result.walk:
        print(f"  {step.name}: {step.outcome}")


if __name__ == "__main__":
    run(main)
