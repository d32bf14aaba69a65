"""The selection report in a real headless Chromium: it fits a telephone, asks for nothing, and prints."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from ota.report.html import page
from tests.report.boards import a_log, a_selection

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
)
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--host-resolver-rules=MAP * ~NOTFOUND",
)  # fmt: skip
PROBE = """<script>addEventListener("load", () => {document.title = [document.documentElement.scrollWidth, innerWidth,
[...document.querySelectorAll("svg")].filter(one => one.getBBox().width > 50 && one.getBBox().height > 50).length, performance.getEntriesByType("resource").length].join(" ")})</script>"""
FRAME = """<!DOCTYPE html><title></title><script>addEventListener("load", () => {document.title = frames[0].document.title})</script>
<iframe src="page.html" width="400" height="800" style="border:0"></iframe>"""

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="needs chromium")


def chromium(tmp_path: Path, *args: str) -> str:
    """Run Chromium with a profile of its own and return its stdout."""
    profile = tmp_path / "profile"
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", *args]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


def logged(tmp_path: Path, page_file: Path) -> str:
    """Return what Chromium logs while it loads a file."""
    profile = tmp_path / "profile"
    command = [
        CHROMIUM,
        *FLAGS,
        f"--user-data-dir={profile}",
        "--enable-logging=stderr",
        "--dump-dom",
        page_file.as_uri(),
    ]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stderr


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """Return the file of a report."""
    path = tmp_path / "report.html"
    path.write_text(page(a_selection(), a_log()), encoding="utf-8")
    return path


def test_a_telephone_scrolls_only_down(written: Path, tmp_path: Path) -> None:
    """At 400 pixels the page is no wider than the window, all its figures are there, and it has fetched nothing."""
    probed = written.read_text(encoding="utf-8").replace("</body>", PROBE + "</body>")
    (tmp_path / "page.html").write_text(probed, encoding="utf-8")
    frame = tmp_path / "frame.html"
    frame.write_text(FRAME, encoding="utf-8")
    dom = chromium(
        tmp_path, "--allow-file-access-from-files", "--dump-dom", "--window-size=1000,1000", frame.as_uri()
    )
    title = re.search(r"<title>(\d+) (\d+) (\d+) (\d+)</title>", dom)
    assert title is not None, dom[:500]
    width, window, figures, fetched = map(int, title.groups())
    assert window == 400
    assert width <= window
    assert figures == 10
    assert fetched == 0


def test_the_browser_has_nothing_to_complain_of(written: Path, tmp_path: Path) -> None:
    """Loading the page writes no line to the browser's console, where a script that fails does."""
    failing = tmp_path / "failing.html"
    failing.write_text(written.read_text(encoding="utf-8") + "<script>absent()</script>", encoding="utf-8")
    assert "CONSOLE" in logged(tmp_path, failing)
    assert "CONSOLE" not in logged(tmp_path, written)


def test_the_page_prints(written: Path, tmp_path: Path) -> None:
    """Printing gives a PDF of several A4 pages, lying."""
    target = tmp_path / "report.pdf"
    chromium(tmp_path, f"--print-to-pdf={target}", "--no-pdf-header-footer", written.as_uri())
    content = target.read_bytes()
    assert content.startswith(b"%PDF-")
    boxes = re.findall(rb"/MediaBox \[0 0 ([0-9.]+) ([0-9.]+)\]", content)
    assert 3 < len(boxes) < 16
    assert {(round(float(width)), round(float(height))) for width, height in boxes} == {(842, 595)}
