"""Names, ports and ranges of hosts, case by case."""

from __future__ import annotations

import pytest

from ota.core.addresses import HOSTS_PER_RANGE, NameFormatError, expand_name, is_ip_address, split_port

EXPANDED = {
    "pi01": (("pi01",), None),
    "pi01:2222": (("pi01",), 2222),
    "pi[1:3]": (("pi1", "pi2", "pi3"), None),
    "pi[01:03]": (("pi01", "pi02", "pi03"), None),
    "pi[008:010]": (("pi008", "pi009", "pi010"), None),
    "pi[1:10:4]": (("pi1", "pi5", "pi9"), None),
    "pi[:2]": (("pi0", "pi1", "pi2"), None),
    "pi[1:010]": (tuple(f"pi{n}" for n in range(1, 11)), None),
    "pi[a:c]": (("pia", "pib", "pic"), None),
    "pi[y:B]": (("piy", "piz", "piA", "piB"), None),
    "pi[a:e:2]": (("pia", "pic", "pie"), None),
    "n[a:c]x[1:2]": (("nax1", "nax2", "nbx1", "nbx2", "ncx1", "ncx2"), None),
    "pi[1:2]:2222": (("pi1", "pi2"), 2222),
    "10.0.0.[1:2]": (("10.0.0.1", "10.0.0.2"), None),
    "10.0.0.1:22": (("10.0.0.1",), 22),
    "2001:db8::1": (("2001:db8::1",), None),
    "[2001:db8::1]:2222": (("2001:db8::1",), 2222),
    "2001:db8::[1:2]": (("2001:db8::1", "2001:db8::2"), None),
    "x:y:z": (("x:y:z",), None),
    "_odd_:22": (("_odd_:22",), None),
    "café:22": (("café",), 22),
}


@pytest.mark.parametrize("key", EXPANDED)
def test_a_key_stands_for_names_and_a_port(key: str) -> None:
    """Ranges include both ends and multiply; a port is only one where the rest is an address."""
    assert expand_name(key) == EXPANDED[key]


WRONG = {
    "pi[1:]": "the range [1:] has no end; an end is never implied",
    "pi[3:1]": "the range [3:1] runs backwards and stands for no host",
    "pi[c:a]": "the range [c:a] runs backwards and stands for no host",
    "pi[01:3]": "the range [01:3] begins with a zero, so both ends need the same length",
    "pi[1]": "the range [1] is not [start:end] or [start:end:step]",
    "pi[1:2:3:4]": "the range [1:2:3:4] is not [start:end] or [start:end:step]",
    "pi[1:3:0]": "the step of the range [1:3:0] is not a number from 1",
    "pi[5:1:-1]": "the step of the range [5:1:-1] is not a number from 1",
    "pi[1:b]": "the ends of the range [1:b] are neither two numbers nor two single letters",
    "pi[ab:d]": "the ends of the range [ab:d] are neither two numbers nor two single letters",
    "pi[1:3": "the square brackets of 'pi[1:3' do not match",
    "pi]x[1:3]": "the square brackets of 'pi]x[1:3]' do not match",
    "pi[0:99999999999]": f"the range [0:99999999999] stands for more than {HOSTS_PER_RANGE} hosts",
    "pi[1:300][1:300]": f"'pi[1:300][1:300]' stands for more than {HOSTS_PER_RANGE} hosts",
}


@pytest.mark.parametrize("key", WRONG)
def test_a_wrong_range_is_refused(key: str) -> None:
    """A range that is malformed, empty or enormous is an error with its reason."""
    with pytest.raises(NameFormatError) as caught:
        expand_name(key)
    assert str(caught.value) == WRONG[key]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1:2:3:4:5:6:7:8", True),
        ("1:2:3:4:5:6:7", False),
        ("::", True),
        ("::1", True),
        ("1::", True),
        ("1::2:3:4:5:6:7", True),
        ("1:2::3:4:5:6:7:8", False),
        ("::ffff:192.0.2.3", True),
        ("1::2::3", False),
        ("12345::", False),
        ("192.0.2.255", True),
        ("192.0.2.256", False),
        ("pi01", False),
    ],
)
def test_ip_addresses_are_recognised(text: str, found: bool) -> None:
    """IPv4 and IPv6 in all their spellings, and nothing else."""
    assert is_ip_address(text) is found


@pytest.mark.parametrize("text", ["-odd", "odd-", "a..b", "", "a b", "pi[x", "2001:db8::1:"])
def test_what_is_no_address_has_no_port(text: str) -> None:
    """Text that is no address is left as it is."""
    assert split_port(text) is None
