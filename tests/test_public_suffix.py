"""Organizations by the public suffix list."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.names import Domain, parse_domain
from moxsmtp.public_suffix import PublicSuffixes


class PublicSuffixTests(SynchronousTestCase):
    """The list, as it comes with the library."""

    suffixes = PublicSuffixes()

    def organizations(self, *domains: str) -> dict[str, str]:
        """The organizational domain of each."""
        return {
            one: self.suffixes.organizational_domain(parse_domain(one)).ascii for one in domains
        }

    def test_registered(self) -> None:
        """The organizational domain is the suffix and one label more."""
        cases = {
            "example.com": "example.com",
            "a.b.example.com": "example.com",
            "example.co.uk": "example.co.uk",
            "a.example.co.uk": "example.co.uk",
            "a.b.city.kawasaki.jp": "city.kawasaki.jp",
            "c.b.a.kawasaki.jp": "b.a.kawasaki.jp",
            "www.ck": "www.ck",
            "a.b.c.ck": "b.c.ck",
        }
        self.assertEqual(self.organizations(*cases), cases)

    def test_at_or_above_suffix(self) -> None:
        """A suffix, and what stands above one, is its own organization (trap 24)."""
        domains = ("com", "uk", "co.uk", "kawasaki.jp", "a.kawasaki.jp", "nordland.no", "test")
        self.assertEqual(self.organizations(*domains), {one: one for one in domains})

    def test_private_section(self) -> None:
        """Whoever lets others use names below his own domain is still one organization (I-19)."""
        self.assertEqual(
            self.organizations("user.github.io", "a.blogspot.com"),
            {"user.github.io": "github.io", "a.blogspot.com": "blogspot.com"},
        )
        self.assertFalse(self.suffixes.is_public_suffix(Domain("github.io")))

    def test_unknown_top(self) -> None:
        """A top-level domain that is not listed is a suffix."""
        self.assertEqual(
            self.organizations("a.b.unlisted-here"), {"a.b.unlisted-here": "b.unlisted-here"}
        )

    def test_internationalized(self) -> None:
        """Suffixes in other scripts are known by their A-labels."""
        self.assertEqual(
            self.organizations("a.b.\u516c\u53f8.cn", "a.b.XN--55QX5D.cn"),
            {
                "a.b.\u516c\u53f8.cn": "b.xn--55qx5d.cn",
                "a.b.XN--55QX5D.cn": "b.xn--55qx5d.cn",
            },
        )

    def test_is_public_suffix(self) -> None:
        """Suffixes are told from what is registered below them."""
        cases = {
            "com": True, "co.uk": True, "uk": True, "x.kawasaki.jp": True, "xn--55qx5d.cn": True,
            "localhost": True, "example.com": False, "city.kawasaki.jp": False, "a.co.uk": False,
            "www.ck": False,
        }  # fmt: skip
        self.assertEqual({one: self.suffixes.is_public_suffix(Domain(one)) for one in cases}, cases)

    @settings(max_examples=100, deadline=None)
    @given(
        st.lists(
            st.sampled_from(["a", "co", "uk", "com", "jp", "kawasaki", "city", "ck", "no"]),
            min_size=1,
            max_size=6,
        ).map(".".join)
    )
    def test_consistent(self, name: str) -> None:
        """It is the domain or above it, its own organization, and a suffix only if that is."""
        domain = Domain(name)
        found = self.suffixes.organizational_domain(domain)
        self.assertTrue(f".{name}".endswith(f".{found.ascii}"))
        self.assertEqual(self.suffixes.organizational_domain(found), found)
        self.assertEqual(
            self.suffixes.is_public_suffix(found), self.suffixes.is_public_suffix(domain)
        )
