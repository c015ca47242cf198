"""Make a key, say what the DNS has to hold, and sign a message."""

from datetime import UTC, datetime

from moxsmtp.dkim import Signer, generate_key, load_private_key, public_record, sign
from moxsmtp.names import parse_domain

MESSAGE = b"From: alice@example.org\r\nSubject: hello\r\n\r\nHello!\r\n"


def signed(key, now):
    signer = Signer(parse_domain("example.org"), "2026", key)
    return sign(MESSAGE, [signer], now=now)


if __name__ == "__main__":
    key = load_private_key(generate_key("ed25519"))
    print("2026._domainkey.example.org TXT", public_record(key))
    print(signed(key, datetime.now(UTC)).decode())
