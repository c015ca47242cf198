"""Which domains belong together?"""

from moxsmtp.names import parse_domain
from moxsmtp.public_suffix import PublicSuffixes


def main():
    suffixes = PublicSuffixes()
    for name in ("mail.example.co.uk", "example.co.uk", "co.uk", "bücher.example"):
        domain = parse_domain(name)
        if suffixes.is_public_suffix(domain):
            print(f"{domain} is a public suffix")
        else:
            print(f"{domain} is of {suffixes.organizational_domain(domain)}")


if __name__ == "__main__":
    main()
