"""Parts of messages, by offset."""

from __future__ import annotations

import mmap
import tempfile

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.message.structure import (
    MAXIMUM_DEPTH,
    MAXIMUM_PARTS,
    Part,
    is_dsn,
    parse_structure,
    part_header,
)

NESTED = (
    b"From: a@b.example\r\n"
    b'Content-Type: multipart/mixed; boundary="outer"\r\n'
    b"\r\n"
    b"preamble\r\n"
    b"--outer\r\n"
    b"Content-Type: multipart/alternative; boundary=outer-2\r\n"
    b"\r\n"
    b"--outer-2\r\n"
    b"\r\n"
    b"plain\r\n"
    b"\r\n"
    b"--outer-2  \r\n"
    b"Content-Type: Text/HTML; charset=utf-8\r\n"
    b"Content-Transfer-Encoding: BASE64\r\n"
    b"\r\n"
    b"PGI+\r\n"
    b"--outer-2--\r\n"
    b"epilogue\r\n"
    b"--outer\r\n"
    b"Content-Type: application/pdf; name=other\r\n"
    b"Content-Disposition: ATTACHMENT; filename*=utf-8''h%C3%A4.pdf\r\n"
    b"Content-ID: <x@y>\r\n"
    b"\r\n"
    b"%PDF\r\n"
    b"--outer--\r\n"
    b"--outer\r\n"
    b"no part\r\n"
)


def shape(part: Part) -> object:
    """Types, nested as the parts are."""
    inner = [shape(one) for one in part.parts]
    return {part.content_type: inner} if inner else part.content_type


def bodies(content: bytes, part: Part) -> list[bytes]:
    """The bodies of all parts without parts, in order."""
    if part.parts:
        return [body for inner in part.parts for body in bodies(content, inner)]
    return [content[part.body : part.end]]


def multipart(*lines: bytes) -> bytes:
    """A multipart/mixed message with boundary C{b} and these lines as its body."""
    head = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
    return head + b"".join(line + b"\r\n" for line in lines)


class StructureTests(SynchronousTestCase):
    """RFC 2046 section 5.1."""

    def test_nested(self) -> None:
        """Parts are found inside of parts, between what is no part."""
        self.assertEqual(
            shape(parse_structure(NESTED)),
            {
                "multipart/mixed": [
                    {"multipart/alternative": ["text/plain", "text/html"]},
                    "application/pdf",
                ]
            },
        )
        self.assertEqual(bodies(NESTED, parse_structure(NESTED)), [b"plain\r\n", b"PGI+", b"%PDF"])

    def test_description(self) -> None:
        """What a part says of itself is read: type, encoding, disposition, name, identifier."""
        first, pdf = parse_structure(NESTED).parts
        html = first.parts[1]
        self.assertEqual(
            (html.content_type, html.parameters, html.encoding),
            ("text/html", {"charset": "utf-8"}, "base64"),
        )
        self.assertEqual(
            (pdf.disposition, pdf.filename, pdf.content_id), ("attachment", "hä.pdf", "<x@y>")
        )
        self.assertEqual(part_header(NESTED, pdf).first("Content-ID"), "<x@y>")

    def test_single(self) -> None:
        """A message without parts is one part: its body is all behind the empty line."""
        for content, expected in (
            (b"A: b\r\n\r\nx\r\n--b\r\n", b"x\r\n--b\r\n"),
            (b"A: b\n\nx", b"x"),
            (b"\r\nx", b"x"),
            (b"A: b\r\n", b""),
            (b"", b""),
        ):
            part = parse_structure(content)
            self.assertEqual((part.content_type, part.parts), ("text/plain", ()))
            self.assertEqual(content[part.body : part.end], expected)

    def test_line_end_before_a_boundary(self) -> None:
        """The line end before a boundary belongs to the boundary, with CRLF and with LF."""
        content = multipart(b"--b", b"", b"x", b"", b"--b", b"", b"--b--")
        self.assertEqual(bodies(content, parse_structure(content)), [b"x\r\n", b""])
        content = content.replace(b"\r\n", b"\n")
        self.assertEqual(bodies(content, parse_structure(content)), [b"x\n", b""])

    def test_part_without_body(self) -> None:
        """A part may end within its header, and one may have no header at all."""
        content = multipart(b"--b", b"Content-Type: a/b", b"--b", b"--b", b"", b"x", b"--b--")
        found = parse_structure(content)
        self.assertEqual([one.content_type for one in found.parts], ["a/b"] + ["text/plain"] * 2)
        self.assertEqual(bodies(content, found), [b"", b"", b"x"])

    def test_outer_boundary_ends_inner(self) -> None:
        """An inner multipart that is never closed ends with the outer part."""
        content = multipart(
            b"--b", b"Content-Type: multipart/mixed; boundary=c", b"", b"--c", b"", b"x",
            b"--b", b"Content-Type: a/b", b"", b"--c", b"--b--",
        )  # fmt: skip
        found = parse_structure(content)
        self.assertEqual(
            shape(found), {"multipart/mixed": [{"multipart/mixed": ["text/plain"]}, "a/b"]}
        )
        self.assertEqual(bodies(content, found), [b"x", b"--c"])

    def test_boundaries_that_begin_alike(self) -> None:
        """Whole lines are compared: of prefixes, none takes the other's lines."""
        content = multipart(
            b"--b", b"Content-Type: multipart/mixed; boundary=bb", b"", b"--bb", b"", b"x",
            b"--bbb", b"--bb--", b"--b", b"", b"y", b"--bb", b"--b-", b"--b--",
        )  # fmt: skip
        self.assertEqual(
            bodies(content, parse_structure(content)), [b"x\r\n--bbb", b"y\r\n--bb\r\n--b-"]
        )

    def test_closed_is_closed(self) -> None:
        """Behind the last boundary of a multipart its boundary means nothing."""
        content = multipart(b"--b", b"", b"x", b"--b--", b"--b", b"", b"y")
        self.assertEqual(bodies(content, parse_structure(content)), [b"x"])

    def test_never_begun(self) -> None:
        """A multipart whose boundary never comes, or that names none, has no parts."""
        for content in (
            multipart(b"x"),
            b"Content-Type: multipart/mixed\r\n\r\n--\r\n\r\nx\r\n----\r\n",
            b'Content-Type: multipart/mixed; boundary=""\r\n\r\n--\r\n\r\nx\r\n',
            b"Content-Type: multipart/mixed; boundary=" + b"b" * 201 + b"\r\n\r\n--" + b"b" * 201,
        ):
            self.assertEqual(parse_structure(content).parts, ())

    def test_digest(self) -> None:
        """The parts of a digest are messages by default (RFC 2046 section 5.1.5)."""
        content = multipart(b"--b", b"", b"Subject: x", b"", b"--b--").replace(b"mixed", b"digest")
        self.assertEqual(shape(parse_structure(content)), {"multipart/digest": ["message/rfc822"]})

    def test_wherever_the_octets_are(self) -> None:
        """Bytes, a view of them and a map of a file have the same structure."""
        expected = parse_structure(NESTED)
        self.assertEqual(parse_structure(memoryview(NESTED)), expected)
        with tempfile.TemporaryFile() as file:
            file.write(NESTED)
            file.flush()
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                self.assertEqual(parse_structure(content), expected)

    def test_search_in_pieces(self) -> None:
        """A boundary is found wherever it lies to the pieces that are searched."""
        for size in range((1 << 20) - 60, (1 << 20) + 8):
            content = multipart(b"--b", b"", b"x" * size, b"--b", b"", b"y", b"--b--")
            self.assertEqual(bodies(content, parse_structure(content))[1:], [b"y"], size)


class DsnTests(SynchronousTestCase):
    """Which messages report on others."""

    def report(self, first: bytes, second: bytes) -> bytes:
        """A message with parts of two types."""
        content = multipart(
            b"--b", b"", b"x", b"--b", b"Content-Type: " + second, b"", b"y", b"--b--"
        )
        return content.replace(b"multipart/mixed", first)

    def test_dsn(self) -> None:
        """I-9: a multipart/report whose second part is a delivery status, plain or global."""
        for second in (b"message/delivery-status", b"Message/Global-Delivery-Status"):
            self.assertTrue(is_dsn(parse_structure(self.report(b"multipart/report", second))))

    def test_no_dsn(self) -> None:
        """I-9: other reports, other multiparts and other orders are none."""
        for content in (
            self.report(b"multipart/report", b"message/disposition-notification"),
            self.report(b"multipart/mixed", b"message/delivery-status"),
            b"Content-Type: multipart/report\r\n\r\n",
            b"Content-Type: message/delivery-status\r\n\r\n",
        ):
            self.assertFalse(is_dsn(parse_structure(content)))


class HostileTests(SynchronousTestCase):
    """Time is linear and what is kept is bounded."""

    def test_deep(self) -> None:
        """A multipart that stands too deep is not looked into."""
        content = b"Content-Type: multipart/mixed; boundary=b0\r\n\r\n" + b"".join(
            b"--b%d\r\nContent-Type: multipart/mixed; boundary=b%d\r\n\r\n" % (number, number + 1)
            for number in range(5000)
        )
        depth, part = 0, parse_structure(content)
        while part.parts:
            depth, part = depth + 1, part.parts[0]
        self.assertEqual(depth, MAXIMUM_DEPTH)

    def test_many(self) -> None:
        """Behind the last part that is counted the rest is its body."""
        content = multipart(*([b"--b"] * 100_000))
        found = parse_structure(content)
        self.assertEqual(len(found.parts), MAXIMUM_PARTS - 1)
        self.assertEqual(found.parts[-1].end, len(content))

    def test_same_boundary_inside(self) -> None:
        """A part that names the boundary of an outer one gets none of its lines."""
        line = b"--b\r\nContent-Type: multipart/mixed; boundary=b\r\n"
        found = parse_structure(multipart(*([line] * 500), b"--b--"))
        self.assertEqual({one.parts for one in found.parts}, {()})
        self.assertEqual(len(found.parts), 500)

    def test_almost_boundaries(self) -> None:
        """A megabyte of lines that are nearly boundaries is passed over once."""
        for line in (b"--bb", b"--", b"--b-", b"-", b"--" + b"b" * 300):
            content = multipart(b"--b", b"", *([line] * (1_000_000 // len(line))), b"--b--")
            self.assertEqual(len(parse_structure(content).parts), 1)

    def test_endless_header(self) -> None:
        """A part's header without end is looked at up to a bound."""
        content = multipart(b"--b", b"X: y\r\n" * 200_000 + b"Content-Type: a/b", b"", b"x")
        self.assertEqual(shape(parse_structure(content)), {"multipart/mixed": ["text/plain"]})


LINES = st.sampled_from(
    [b"--b", b"--b--", b"--c", b"--c--", b"", b"x", b"Content-Type: multipart/mixed; boundary=c",
     b"Content-Type: multipart/digest; boundary=bb", b"--bb", b"--b \t", b"\0", b"--"]
)  # fmt: skip


class PropertyTests(SynchronousTestCase):
    """Whatever the lines."""

    def assert_sound(self, part: Part, start: int, end: int) -> None:
        """Offsets are in order, and parts lie one behind the other within theirs."""
        self.assertTrue(start <= part.start <= part.body <= part.end <= end)
        position = part.body
        for inner in part.parts:
            self.assert_sound(inner, position, part.end)
            position = inner.end

    def test_empty_innermost(self) -> None:
        """A part that ends where its body would begin ends within those around it."""
        content = multipart(
            b"--b", b"Content-Type: multipart/mixed; boundary=c", b"", b"--c", b"--b"
        )
        for cut in range(len(content) + 1):
            self.assert_sound(parse_structure(content[:cut]), 0, cut)

    @settings(max_examples=150, deadline=None)
    @given(st.lists(LINES, max_size=25), st.sampled_from([b"\r\n", b"\n"]))
    def test_sound(self, lines: list[bytes], end: bytes) -> None:
        """The parts of any message, and of any beginning of it, lie within it in order."""
        content = b"Content-Type: multipart/mixed; boundary=b" + end * 2 + end.join(lines)
        for cut in range(len(content) + 1):
            self.assert_sound(parse_structure(content[:cut]), 0, cut)

    @settings(max_examples=100, deadline=None)
    @given(st.lists(st.lists(LINES.filter(lambda line: b"b" not in line), max_size=5), max_size=5))
    def test_as_written(self, parts: list[list[bytes]]) -> None:
        """Bodies come out as they were put in."""
        expected = [b"\r\n".join(lines) for lines in parts]
        written = b"".join(b"\r\n--b\r\n\r\n" + body for body in expected) + b"\r\n--b--\r\n"
        content = multipart() + written.removeprefix(b"\r\n")
        self.assertEqual(
            [content[one.body : one.end] for one in parse_structure(content).parts], expected
        )
