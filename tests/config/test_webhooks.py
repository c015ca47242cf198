"""Secrets of webhooks in the configuration."""

from __future__ import annotations

from moxsmtp.config import Mistake
from moxsmtp.config.load import load
from tests.config.test_load import LEAST, ConfigTestCase

ONE = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
TWO = "whsec_" + "A" * 32

#: In line 12 and below.
HOOK = LEAST + '[account.alice.{}_webhook]\nurl = "https://example.com/"\n'


class SecretTests(ConfigTestCase):
    """What calls are signed with."""

    def keys(self, text: str) -> list[tuple[bytes, ...]]:
        """Of the outgoing webhook and the incoming one."""
        account = self.loaded(text).directory().account("alice")
        assert account is not None
        targets = (account.outgoing_webhook, account.incoming_webhook)
        return [target.secrets for target in targets if target is not None]

    def test_none(self) -> None:
        """Q-92: calls are not signed by default."""
        self.assertEqual(self.keys(HOOK.format("incoming")), [()])

    def test_both_places(self) -> None:
        """Q-92: secrets stand in the table or in files, several of them, each counted once."""
        (self.folder / "next").write_text(f"{TWO}\nnot this\n")
        (self.folder / "next").chmod(0o600)
        for kind in ("outgoing", "incoming"):
            text = HOOK.format(kind) + f'secrets = ["{ONE}", "{ONE}"]\nsecret_files = ["next"]\n'
            ((one, two),) = self.keys(text)
            self.assertEqual((len(one), two), (24, bytes(24)))

    def test_readable_file(self) -> None:
        """Q-92: a file that others may read is told of, as others that hold secrets are."""
        (self.folder / "next").write_text(TWO)
        (self.folder / "next").chmod(0o644)
        warnings: list[Mistake] = []
        text = HOOK.format("incoming") + 'secret_files = ["next"]\n'
        load(self.write(text), warnings.append)
        self.assertIn("chmod 600", str([warning.text for warning in warnings]))

    def test_mistakes(self) -> None:
        """Q-92: what is no secret is told, with how to make one, and is not repeated."""
        (self.folder / "bad").write_text("hush\n")
        (self.folder / "bad").chmod(0o600)
        base = HOOK.format("outgoing")
        many = ", ".join(f'"whsec_{number:032}"' for number in range(11))
        for line, key, word in (
            ('secrets = ["hush"]', "secrets[0]", "openssl"),
            (f'secrets = ["{ONE}", "whsec_hush"]', "secrets[1]", "openssl"),
            ('secret_files = ["bad"]', "secret_files[0]", "openssl"),
            ('secret_files = ["none"]', "secret_files[0]", "cannot read"),
            (f"secrets = [{many}]", "secrets", "at most 10"),
        ):
            where = f"account.alice.outgoing_webhook.{key}"
            self.assertMistake(f"{base}{line}\n", 13, where, word)
            self.assertNotIn("hush", str(self.mistakes(f"{base}{line}\n")))

    def test_not_shown(self) -> None:
        """Q-92: settings may be printed, and no secret shows."""
        text = HOOK.format("outgoing") + f'secrets = ["{ONE}"]\n'
        ((key,),) = self.keys(text)
        shown = repr(self.loaded(text)) + repr(self.loaded(text).directory().account("alice"))
        self.assertNotIn(ONE, shown)
        self.assertNotIn(repr(key), shown)
