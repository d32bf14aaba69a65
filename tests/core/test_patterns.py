"""Host patterns and --limit over one small fleet: what each matches, in which order, and what is refused."""

from __future__ import annotations

import pytest

from ota.core.inventory import Host, Inventory, Place
from ota.core.inventory_assembly import Assembly, ChildStated, GroupStated, HostStated
from ota.core.patterns import Subscript, ordered_terms, split_pattern, split_subscript
from ota.errors import UsageError

PLACE = Place(file="inventory.yaml")


def fleet(
    groups: dict[str, tuple[str, ...]], children: dict[str, tuple[str, ...]] | None = None
) -> Inventory:
    """Assemble an inventory of groups with their hosts and child groups."""
    assembly = Assembly()
    assembly.state(GroupStated(name=group) for group in groups)
    assembly.state(
        HostStated(name=host, group=group, place=PLACE) for group, hosts in groups.items() for host in hosts
    )
    assembly.state(
        ChildStated(parent=parent, child=child, place=PLACE)
        for parent, found in (children or {}).items()
        for child in found
    )
    assert assembly.close() == ()
    return assembly.finish()


FLEET = fleet(
    {
        "pis": ("pi01", "pi02", "pi03"),
        "cams": ("cam.lan", "pi03"),
        "lab": (),
        "empty": (),
        "all": ("solo", "10.0.0.1", "2001:db8::1"),
    },
    {"lab": ("cams",)},
)

SELECTED = {
    "all": ("solo", "10.0.0.1", "2001:db8::1", "pi01", "pi02", "pi03", "cam.lan"),
    "*": ("solo", "10.0.0.1", "2001:db8::1", "pi01", "pi02", "pi03", "cam.lan"),
    "pi02": ("pi02",),
    "pis": ("pi01", "pi02", "pi03"),
    "lab": ("cam.lan", "pi03"),
    "ungrouped": ("solo", "10.0.0.1", "2001:db8::1"),
    "pi02,pi01": ("pi02", "pi01"),
    "pi02:pi01": ("pi02", "pi01"),
    "pi02 pi01": ("pi02", "pi01"),
    " pi02 , , pi01 ": ("pi02", "pi01"),
    "pis,cams": ("pi01", "pi02", "pi03", "cam.lan"),
    "cams,pis": ("cam.lan", "pi03", "pi01", "pi02"),
    "pis:&cams": ("pi03",),
    "&cams:pis": ("pi03",),
    "!pi03,pis": ("pi01", "pi02"),
    "!pis": ("solo", "10.0.0.1", "2001:db8::1", "cam.lan"),
    "&cams": ("pi03", "cam.lan"),
    "all:&pis:!pi0[12]x,pi02": None,
    "pi*": ("pi01", "pi02", "pi03"),
    "pi0?": ("pi01", "pi02", "pi03"),
    "pi0[!1]": ("pi02", "pi03"),
    "PI*": None,
    "~pi0[13]": ("pi01", "pi03"),
    "~0[13]": None,
    "~(?i)PI": ("pi01", "pi02", "pi03"),
    "pis[0]": ("pi01",),
    "pis[-1]": ("pi03",),
    "pis[0:1]": ("pi01", "pi02"),
    "pis[0-1]": ("pi01", "pi02"),
    "pis[1:]": ("pi02", "pi03"),
    "pis[5:9]": None,
    "pis[2:0]": ("pi03",),
    "pis[:1]": None,
    "pi0[1:2]": None,
    "!pis[0],pis": ("pi02", "pi03"),
    "10.0.0.1": ("10.0.0.1",),
    "2001:db8::1": ("2001:db8::1",),
    "cam.lan": ("cam.lan",),
    "empty": None,
    "localhost": ("localhost",),
    "localhost,127.0.0.1,pi01": ("localhost", "pi01"),
    "all,!localhost": ("solo", "10.0.0.1", "2001:db8::1", "pi01", "pi02", "pi03", "cam.lan"),
}


@pytest.mark.parametrize("pattern", SELECTED)
def test_a_pattern_selects(pattern: str) -> None:
    """Each pattern selects these hosts in this order, or is refused (None)."""
    try:
        found = tuple(host.name for host in FLEET.select(pattern))
    except UsageError:
        found = None
    assert found == SELECTED[pattern]


REFUSED = {
    "": "the host pattern is empty: found ''\n  write `all` where every host is meant",
    " , ": "the host pattern is empty: found ' , '\n  write `all` where every host is meant",
    "pi04": "the pattern 'pi04' matches no host and no group\n"
    "  did you mean 'pi03'? `ota inventory --graph` shows every name; --allow-unmatched passes over such terms",
    "pis,zebra": "the pattern 'zebra' matches no host and no group\n"
    "  `ota inventory --graph` shows every name; --allow-unmatched passes over such terms",
    "pis,!cam": "the pattern '!cam' matches no host and no group\n"
    "  did you mean 'cams'? `ota inventory --graph` shows every name; --allow-unmatched passes over such terms",
    "pis[:1]": "the pattern 'pis[:1]' matches no host and no group\n"
    "  write the first index too: [0:1] takes the first two hosts",
    "pis[7]": "the pattern 'pis[7]' asks for a host that is not there: found 3 hosts",
    "pis,!pis": "no host is left by 'pis,!pis'\n  `ota inventory --graph` shows every name",
    "empty": "no host is left by 'empty'\n  `ota inventory --graph` shows every name",
    "~pi(": "the pattern '~pi(' is not a regular expression: found missing ), unterminated subpattern at position 2",
    "pis,!": "the pattern term '!' names nothing\n  put a host or group behind it",
    "@file": "the host pattern names the file 'file' where no file can be read",
}


@pytest.mark.parametrize("pattern", REFUSED)
def test_a_refused_pattern_says_why(pattern: str) -> None:
    """An empty or unmatched pattern never means every host; the message says what to write."""
    with pytest.raises(UsageError) as caught:
        FLEET.select(pattern)
    assert caught.value.render() == REFUSED[pattern]


LIMITED = [
    (None, "pis", ("pi01", "pi02", "pi03")),
    ("pis", "cams", ("pi03",)),
    ("cams", "pi*,cams", ("cam.lan", "pi03")),
    (["pi01", "pi02:pi03"], "!pi02", ("pi01", "pi03")),
    ("pis", ("pi01", "cams"), ("pi01", "pi03")),
]


@pytest.mark.parametrize(("pattern", "limit", "names"), LIMITED)
def test_a_limit_keeps_some_of_a_play(
    pattern: str | list[str] | None, limit: str | tuple[str, ...], names: tuple[str, ...]
) -> None:
    """A play's hosts and --limit both apply, in the order of the play's hosts."""
    assert tuple(host.name for host in FLEET.select(pattern, limit=limit)) == names


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        ("", "--limit is empty: found ''\n  write `all` where every host is meant"),
        (",", "--limit is empty: found ','\n  write `all` where every host is meant"),
        ((), "--limit is empty: found ''\n  write `all` where every host is meant"),
        (
            "cam.lan",
            "no host is left by 'pis' with --limit 'cam.lan'\n  `ota inventory --graph` shows every name",
        ),
    ],
)
def test_an_empty_limit_is_refused(limit: str, message: str) -> None:
    """What Ansible takes for every host is an error here."""
    with pytest.raises(UsageError) as caught:
        FLEET.select("pis", limit=limit)
    assert caught.value.render() == message


def test_unmatched_terms_may_be_allowed_and_an_empty_result_may_not() -> None:
    """--allow-unmatched passes over a term that matches nothing, and over nothing else."""
    assert [host.name for host in FLEET.select("pi01,absent", allow_unmatched=True)] == ["pi01"]
    for pattern in ("absent", "", "pis,!pis"):
        with pytest.raises(UsageError):
            FLEET.select(pattern, allow_unmatched=True)
    with pytest.raises(UsageError):
        FLEET.select("pis", limit="", allow_unmatched=True)


def test_localhost_is_the_stated_one_where_there_is_one() -> None:
    """A host that is named for this machine answers to its other names too; otherwise it is reached without SSH."""
    stated = fleet({"all": ("127.0.0.1", "pi01")})
    assert [host.name for host in stated.select("localhost")] == ["127.0.0.1"]
    (implicit,) = FLEET.select("localhost")
    assert implicit == Host(name="localhost", variables={"ansible_connection": "local"})


def test_hosts_and_groups_are_found_by_name() -> None:
    """A name that is not there is an error with a guess."""
    assert FLEET.host("pi01").groups == ("pis",)
    assert FLEET.host("localhost").name == "localhost"
    assert FLEET.group("lab").members == ("cam.lan", "pi03")
    with pytest.raises(UsageError, match="did you mean 'pi03'"):
        FLEET.host("pi04")
    with pytest.raises(UsageError, match="did you mean 'cams'"):
        FLEET.group("cam")


SPLIT = [
    ("a,b[1], c[2:3] , d", ("a", "b[1]", "c[2:3]", "d")),
    ("a:b", ("a", "b")),
    ("a:22", ("a:22",)),
    ("2001:db8::1", ("2001:db8::1",)),
    ("pis[1:2]:&lab", ("pis[1:2]", "&lab")),
    ("a b", ("a", "b")),
    ("", ()),
]


@pytest.mark.parametrize(("pattern", "terms"), SPLIT)
def test_a_pattern_is_cut_into_terms(pattern: str, terms: tuple[str, ...]) -> None:
    """Commas cut; colons and blanks do where there is no comma and the text is no address."""
    assert split_pattern(pattern) == terms


def test_terms_are_applied_in_one_order() -> None:
    """Plain terms come first, then intersections, then exclusions; without a plain term `all` stands in."""
    assert ordered_terms(["!a", "&b", "c", "!d", "e"]) == ("c", "e", "&b", "!a", "!d")
    assert ordered_terms(["!a"]) == ("all", "!a")


@pytest.mark.parametrize(
    ("term", "expression", "subscript"),
    [
        ("g[0]", "g", Subscript(index=0)),
        ("g[-2]", "g", Subscript(index=-2)),
        ("g[1:]", "g", Subscript(start=1)),
        ("g[1:3]", "g", Subscript(start=1, end=3)),
        ("~g[0]", "~g[0]", None),
        ("g[a-c]", "g[a-c]", None),
        ("[0]", "[0]", None),
    ],
)
def test_a_subscript_is_read(term: str, expression: str, subscript: Subscript | None) -> None:
    """Only digits in a last pair of brackets are a subscript, and never in a regular expression."""
    assert split_subscript(term) == (expression, subscript)
