"""Fields with parameters."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.message.header import parse_header
from moxsmtp.message.parameters import Parametrized, content_type, media_type, parse_parametrized


class ParameterTests(SynchronousTestCase):
    """RFC 2045 section 5.1, RFC 2231."""

    def test_forms(self) -> None:
        """Case, quotes, spaces, comments and what senders forget are understood."""
        expected = {
            "text/plain": Parametrized("text/plain"),
            'TEXT/Plain ; Charset="UTF-8"': Parametrized("text/plain", {"charset": "UTF-8"}),
            "text/plain;charset=us-ascii (Plain text)": Parametrized(
                "text/plain", {"charset": "us-ascii"}
            ),
            'a/b; n="x \\"y\\"; z=1"; z=2': Parametrized("a/b", {"n": 'x "y"; z=1', "z": "2"}),
            "a/b; boundary=----=_Part/1:2": Parametrized("a/b", {"boundary": "----=_Part/1:2"}),
            "a/b; x=1; X=2": Parametrized("a/b", {"x": "1"}),
            "a/b;; ;x=1;": Parametrized("a/b", {"x": "1"}),
            "a/b; junk; =; x=1": Parametrized("a/b", {"x": "1"}),
            'a/b; x="open': Parametrized("a/b", {"x": "open"}),
            "attachment; filename=a.txt": Parametrized("attachment", {"filename": "a.txt"}),
            "attachment": Parametrized("attachment"),
            "": Parametrized(""),
            "/plain": Parametrized(""),
            "; x=1": Parametrized(""),
        }
        self.assertEqual({text: parse_parametrized(text) for text in expected}, expected)

    def test_rfc_2231(self) -> None:
        """Continuations and charsets are put together, as in the RFC's sections 3 and 4."""
        expected = {
            'message/external-body; URL*0="ftp://";\r\n URL*1="cs.utk.edu/moore"': {
                "url": "ftp://cs.utk.edu/moore"
            },
            "application/x-stuff; title*=us-ascii'en-us'This%20is%20%2A%2A%2Afun%2A%2A%2A": {
                "title": "This is ***fun***"
            },
            "a/b; title*0*=us-ascii'en'This%20is%20even%20more%20;"
            ' title*1*=%2A%2A%2Afun%2A%2A%2A%20; title*2="isn\'t it!"': {
                "title": "This is even more ***fun*** isn't it!"
            },
            "a/b; n*=iso-8859-1''%E4; n=a": {"n": "ä"},
            "a/b; n*1=b; n*0=a; n*3=d": {"n": "ab"},
            "a/b; n*=utf-7''+ADw-": {"n": "+ADw-"},
            "a/b; n*=utf-8''%C3%": {"n": "\ufffd%"},
        }
        found = {text: dict(parse_parametrized(text).parameters) for text in expected}
        self.assertEqual(found, expected)

    def test_default(self) -> None:
        """Without a valid type a body is text/plain, or what its container says (RFC 2045 5.2)."""
        for field in (b"", b"Content-Type: text\r\n", b"Content-Type: ;x=y\r\n"):
            header = parse_header(field + b"\r\n")
            self.assertEqual(content_type(header).value, "text/plain")
            self.assertEqual(content_type(header, "message/rfc822").value, "message/rfc822")

    def test_hostile(self) -> None:
        """A hundred parameters are read, of however many, in linear time."""
        many = "a/b" + "".join(f"; p{number}=x" for number in range(100_000))
        self.assertEqual(len(parse_parametrized(many).parameters), 100)
        for mark in (";", '"', "\\", " ", "a", "=", ';a="'):
            self.assertLessEqual(len(parse_parametrized("a/b" + mark * 100_000).parameters), 100)

    @settings(max_examples=200, deadline=None)
    @given(st.text(alphabet="ab/;=*'\"\\%0 1\r\nä(", max_size=40))
    def test_always_an_answer(self, text: str) -> None:
        """No text makes the reader stumble; names are lower case and no value is lost half."""
        found = parse_parametrized(text)
        for name in found.parameters:
            self.assertEqual(name, name.lower())
            self.assertNotIn("=", name)

    @settings(max_examples=100, deadline=None)
    @given(st.text(alphabet="ab/;=*'\"\\%0 (", max_size=20))
    def test_type_alone(self, text: str) -> None:
        """The type without its parameters is the same."""
        for field in (f"Content-Type: {text}\r\n\r\n", "Subject: x\r\n\r\n"):
            header = parse_header(field.encode())
            self.assertEqual(media_type(header), content_type(header).value)
