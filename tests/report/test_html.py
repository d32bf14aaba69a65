"""The selection report as a page: complete, escaped, self-contained, legible and the same each time."""

from __future__ import annotations

import re
import warnings
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser

import pytest

from ota.core.conditions import Conditions
from ota.core.measurement import Failure, FailureKind
from ota.core.objective import Formula, Limits
from ota.core.release import Digest
from ota.core.samples import SampleLog
from ota.core.selection import Confusion, Selection
from ota.report.html import page
from ota.report.selection_text import markdown_of
from tests.analysis.sessions import FACTS as SILENT
from tests.report import selections
from tests.report.boards import VOID, a_log, a_selection

EVIL = "<script>alert(1)</script>$x_1$&\"'|`"
VOID_ELEMENTS = {"meta", "br", "hr", "link", "img", "input"}


class Elements(HTMLParser):
    """Collects tags, identifiers and references of a page, and what was closed in the wrong order."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.labels: list[str] = []
        self.open: list[str] = []
        self.misplaced: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element that is opened."""
        self.handle_startendtag(tag, attrs)
        if tag not in VOID_ELEMENTS:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.tags.append(tag)
        held = {name: value or "" for name, value in attrs}
        self.ids += [held["id"]] if "id" in held else []
        self.references += [held[name] for name in ("href", "src", "xlink:href") if name in held]
        self.references += re.findall(r"url\(([^)]*)\)", " ".join(held.values()))
        if tag == "figure":
            self.labels.append(held.get("aria-label", ""))

    def handle_endtag(self, tag: str) -> None:
        """Note an element that is closed."""
        if not self.open or self.open.pop() != tag:
            self.misplaced.append(tag)


def read(text: str) -> Elements:
    """Return the elements of a page."""
    elements = Elements()
    elements.feed(text)
    elements.close()
    return elements


def winner() -> tuple[Selection, SampleLog]:
    """Return a selection with one winner."""
    return a_selection(), a_log()


def tie() -> tuple[Selection, SampleLog]:
    """Return a selection of which two are not apart."""
    return a_selection(tie=True), a_log(tie=True)


def unreliable() -> tuple[Selection, SampleLog]:
    """Return a selection of which one host cannot be trusted."""
    log = a_log(unreliable="its clock is capped")
    return a_selection(log), log


def none() -> tuple[Selection, SampleLog]:
    """Return a selection in which nothing keeps the limits."""
    return a_selection(limits=Limits(size_bytes=1)), a_log()


def small() -> tuple[Selection, SampleLog]:
    """Return a selection without times, clock or temperature."""
    return selections.a_selection(), selections.a_log()


def regression() -> tuple[Selection, SampleLog]:
    """Return a selection by an error, for which there is nothing to count."""
    log = replace(a_log(), metric="mse")
    made = a_selection(log)
    return replace(made, confusions=()), log


def two_scopes() -> tuple[Selection, SampleLog]:
    """Return a selection with a winner for each class."""
    log = replace(a_log(), scopes=(("fast", ("pi-1", "pi-2")), ("slow", ("zero-1",))))
    return a_selection(log), log


def unmeasured() -> tuple[Selection, SampleLog]:
    """Return a selection of hosts that lost every block."""
    log = a_log()
    return a_selection(log), replace(log, hosts=tuple(replace(host, blocks=()) for host in log.hosts))


VERDICTS = {
    "a winner": (winner, "Winner: int8 with L"),
    "a tie": (tie, "Tie, proposed: dynamic_range with L"),
    "unreliable": (unreliable, "Unreliable measurements, no winner: pi-1: its clock is capped."),
    "nothing feasible": (none, "No feasible candidate: no candidate is known to keep the limits"),
    "nothing known of the device": (small, "Winner: int8 with L"),
    "an error metric": (regression, "under ai-edge-litert 2.3.0, 4 threads"),
    "two scopes": (two_scopes, "Winner for slow: int8 with L"),
    "no block": (unmeasured, "Winner: int8 with L"),
}


@pytest.mark.parametrize(("make", "said"), VERDICTS.values(), ids=VERDICTS.keys())
def test_every_verdict_has_a_page(make, said: str) -> None:
    """Each kind of verdict gives a well-formed page that says it and what to do next."""
    selection, log = make()
    text = page(selection, log)
    elements = read(text)
    assert said in text
    assert text.count("<p>Next: ") == len(selection.verdicts)
    assert not elements.misplaced
    assert not elements.open
    assert len(elements.ids) == len(set(elements.ids))


def test_the_page_needs_nothing_else() -> None:
    """No script, no stylesheet, no bitmap and no address: every reference is to an identifier of the page, of which none is there twice."""
    text = page(*winner())
    elements = read(text)
    assert not {"script", "link", "img", "iframe", "image"} & set(elements.tags)
    assert not re.search(r"https?:|//[a-z]|@import|data:", text)
    assert elements.references
    assert {reference.removeprefix("#") for reference in elements.references} <= set(elements.ids)
    assert len(elements.ids) == len(set(elements.ids))


def test_every_plot_is_there() -> None:
    """Terms, front, latencies and timeline of each device, and both confusions are figures with a label and a caption."""
    text = page(*winner())
    elements = read(text)
    wanted = [
        "L of each scheme by term",
        "Size against latency",
        "Confusion matrix of float32",
        "Confusion matrix of int8",
    ]
    wanted += [f"{host}, {kind}:" for host in ("pi-1", "pi-2", "zero-1") for kind in ("latency", "timeline")]
    for label in wanted:
        assert sum(one.startswith(label) for one in elements.labels) == 1, label
    assert elements.tags.count("svg") == elements.tags.count("figcaption") == len(wanted)


def test_the_page_says_what_the_decision_rests_on() -> None:
    """Void blocks with their reason, why a candidate is slow, changes, failures, digests, seed and versions are all there."""
    selection, log = winner()
    text = page(selection, log)
    for said in (
        VOID, "3 void", "int16x8 is slower than float32 here", "28 filters became int8", "the converter has no kernel for it",
        selection.id, str(selection.log), str(selection.inputs.model), "2.20.0", "ondemand", "1300 to 1500", "185/200", "dominated by float16",
        "28 of 31", "for latency or less, dynamic_range comes first", "accuracy_drop 0.05",
    ):  # fmt: skip
        assert said in text, said


PROVENANCE = (
    "c03111", str(Digest.of(b"serial")), "03dc7742 (clean) (release) (start)", "600000 to 1500000 kHz", "processors 0, 1, 2, 3",
    "clock_gettime(CLOCK_MONOTONIC), arch_sys_counter", "least free memory before a block", "wheel of ai-edge-litert 2.3.0",
    str(Digest.of(b"wheel")), "asimd crc32 fp", "TFLITE_BUILTINS_INT8", "CONV_2D version 3, 28 nodes; SOFTMAX version 2, 3 nodes",
)  # fmt: skip


def test_the_page_says_on_what_boards_and_files_it_rests() -> None:
    """Page and Markdown name each board, the wheels of its runtimes and the recipes; a board that told nothing gets no line."""
    selection, log = winner()
    text, markdown = unescape(page(selection, log)), markdown_of(selection, log).replace("\\", "")
    for said in PROVENANCE:
        assert said in text, said
        assert said in markdown, said
    assert "wheel of tflite-runtime" not in text
    silent = replace(log, hosts=tuple(replace(host, facts=SILENT, blocks=()) for host in log.hosts))
    assert "<h3>Boards</h3>" not in page(selection, silent)


def test_the_same_selection_gives_the_same_bytes() -> None:
    """Two pages of the same selection are equal, whatever was drawn in between."""
    first = page(*winner())
    page(*small())
    assert page(*winner()) == first


def evil() -> tuple[Selection, SampleLog]:
    """Return a selection whose hosts, classes, reasons, labels and conditions all try to be markup."""
    made = a_log(hosts=(EVIL, EVIL + "2", EVIL + "3"), unreliable="")
    blocks = tuple(
        replace(
            block,
            void=EVIL if block.void else "",
            at=EVIL,
            watch=replace(block.watch, before=Conditions(governor=EVIL)),
        )
        for block in made.hosts[0].blocks
    )
    log = replace(
        made,
        hosts=(replace(made.hosts[0], blocks=blocks), *made.hosts[1:]),
        classes=tuple(replace(group, name=group.name + EVIL) for group in made.classes),
        failures=tuple(replace(failure, reason=EVIL) for failure in made.failures),
    )
    selection = replace(
        a_selection(log),
        play=EVIL,
        model=EVIL,
        changes=((EVIL, (EVIL,)),),
        confusions=(Confusion(host=EVIL, scheme=EVIL, labels=(EVIL, "b"), counts=((1, 0), (0, 1))),),
    )
    return selection, log


def test_what_devices_and_files_say_is_escaped() -> None:
    """Markup in a name, a reason, a label or a governor is shown, not obeyed; nor is a dollar sign taken for mathematics."""
    selection, log = evil()
    text = page(selection, log)
    elements = read(text)
    assert "script" not in elements.tags
    assert not elements.misplaced
    assert "&lt;script&gt;alert(1)" in text
    assert "$x_1$" in text


def test_the_published_formula_is_warned_of() -> None:
    """A page of a selection by the published formula says what is wrong with it."""
    selection, log = winner()
    published = replace(selection, objective=replace(selection.objective, formula=Formula.PUBLISHED))
    assert "not to choose with" in page(published, log)


def test_of_many_classes_the_most_mistaken_are_drawn() -> None:
    """A confusion of 100 classes shows the 30 with the most wrong answers, and names them."""
    selection, log = winner()
    counts = tuple(
        tuple(9 if true == taken else int(true >= 70) for taken in range(100)) for true in range(100)
    )
    labels = tuple(f"class-{at}-" for at in range(100))
    text = page(
        replace(selection, confusions=(Confusion(host="a", scheme="int8", labels=labels, counts=counts),)),
        log,
    )
    assert all((label in text) == (at >= 70) for at, label in enumerate(labels))
    assert "the 30 of 100 classes with the most wrong answers" in text


def crowd() -> tuple[Selection, SampleLog]:
    """Return a selection of 20 schemes under two runtimes with one and four threads, on four hosts."""
    selection, log = winner()
    hosts = [replace(host, host=f"{host.host}-{at}") for at in (1, 2) for host in log.hosts[:2]]
    crowded = [
        replace(
            block,
            turns=tuple(
                replace(turn, contender=replace(turn.contender, scheme=f"{turn.contender.scheme}_{at}"))
                for at in range(4)
                for turn in block.turns
            ),
        )
        for block in log.hosts[0].blocks
    ]
    (verdict,) = selection.verdicts
    many = replace(verdict, rows=verdict.rows * 4, estimates=verdict.estimates * 6)
    return (
        replace(selection, verdicts=(many,)),
        replace(log, hosts=tuple(replace(host, blocks=tuple(crowded)) for host in hosts)),
    )


def test_a_page_of_many_is_small_and_legible() -> None:
    """80 contenders on four hosts make less than 1.5 MB, and no figure of latencies holds more than can be read."""
    text = page(*crowd())
    assert len(text.encode()) < 1_500_000
    labels = read(text).labels
    assert sum("latency (3 of 3)" in label for label in labels) == 4
    assert len(re.findall(r">int8_0 · ", text)) == 4 * 4


def test_failures_that_hosts_share_are_one_line() -> None:
    """What went wrong on three hosts for one reason is said once, with the hosts."""
    selection, log = winner()
    failures = tuple(
        Failure(scheme="int8", kind=FailureKind.LOAD, reason="no kernel", host=host, runtime="r 1")
        for host in ("pi-1", "pi-2", "zero-1")
    )
    (verdict,) = selection.verdicts
    rows = tuple(replace(row, failures=failures if row.scheme == "int8" else ()) for row in verdict.rows)
    text = page(replace(selection, verdicts=(replace(verdict, rows=rows),)), log)
    assert text.count("no kernel</td>") == 1
    assert "pi-1, pi-2, zero-1</td>" in text


def test_the_limit_stands_beside_what_it_limits() -> None:
    """The bound of the loss of accuracy is shown with its limit, and without one where there is none."""
    assert "loss at most (limit 5.00%)" in page(*winner())
    assert "loss at most</th>" in page(a_selection(limits=Limits()), a_log())


def test_a_far_loser_does_not_hide_the_others() -> None:
    """A scheme 20 times slower ends at the edge of its figure with its L; where all are near no bar is cut."""
    selection, log = winner()
    assert "→" not in page(selection, log)
    (verdict,) = selection.verdicts
    rows = tuple(
        row
        if row.scheme != "int16x8" or row.total is None
        else replace(
            row,
            total=replace(row.total, value=20.5),
            estimates=tuple(
                replace(one, terms=tuple(replace(term, delta=7.0) for term in one.terms))
                for one in row.estimates
            ),
        )
        for row in verdict.rows
    )
    assert "L +20.5 →" in page(replace(selection, verdicts=(replace(verdict, rows=rows),)), log)


def test_a_session_that_went_on_later_has_no_empty_hours() -> None:
    """Where blocks are hours apart the timeline leaves the pauses out and says so."""
    selection, log = winner()
    assert "pauses left out" not in page(selection, log)
    later = [
        replace(block, number=block.number + 6, at=block.at.replace("T10:", "T19:"))
        for block in log.hosts[0].blocks
    ]
    host = replace(log.hosts[0], blocks=(*log.hosts[0].blocks, *later))
    assert "minutes of measurement, pauses left out" in page(selection, replace(log, hosts=(host,)))


def test_labels_in_any_script_are_drawn_without_complaint() -> None:
    """Class names that the drawing library's own font lacks are left to the browser, without a warning."""
    selection, log = winner()
    named = replace(selection.confusions[0], labels=("易拉罐", "塑料瓶", "纸", "玻璃"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        text = page(replace(selection, confusions=(named,)), log)
    assert "易拉罐" in text
