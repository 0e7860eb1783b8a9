"""The HTML report: complete, self-contained, escaped, and drawn by a real browser."""

import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest
from google.protobuf import json_format
from linnet.v1 import run_pb2, training_service_pb2
from linnet_evaluator.report import render

from tests.support.report_sample import CLASSES, sample


@pytest.fixture(scope="module")
def parts():
    return sample()


@pytest.fixture(scope="module")
def page(parts):
    return render(*parts)


class _Reader(HTMLParser):
    """Collects tags with their attributes, and text outside scripts and styles."""

    def __init__(self):
        super().__init__()
        self.tags, self.text, self._silent = [], [], False

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._silent = tag in {"script", "style"}

    def handle_endtag(self, tag):
        if tag in {"script", "style"}:
            self._silent = False

    def handle_data(self, data):
        if not self._silent and data.strip():
            self.text.append(data.strip())


@pytest.fixture(scope="module")
def read(page):
    reader = _Reader()
    reader.feed(page)
    return reader


def test_every_part_is_there(read):
    """Settings, curves, matrices, classes, thresholds, explorer, failures, folds, device."""
    ids = {attrs["id"] for _, attrs in read.tags if "id" in attrs}
    assert {
        "settings", "curves", "confusion", "classes", "thresholds", "failures", "folds", "device",
        "explorer", "loss", "accuracy", "thresholds-int8", "operators-int8", "recommendation",
    } <= ids  # fmt: skip
    assert "Rows: actual class. Columns: predicted class." in " ".join(read.text)


def test_matrices_of_both_variants_have_named_rows(read, parts):
    """Each matrix has the classes as row heads, and its counts are the evaluation's."""
    text = "\n".join(read.text)
    assert "float32, test set" in text
    assert "int8, test set" in text
    heads = [attrs for tag, attrs in read.tags if tag == "th" and attrs.get("scope") == "row"]
    assert len(heads) >= 2 * len(CLASSES)


def test_the_page_asks_for_nothing(read, page):
    """No address is loaded, and the content policy forbids every request."""
    for tag, attrs in read.tags:
        assert not {"src", "href", "action", "srcset"} & attrs.keys(), tag
    policy = next(a["content"] for t, a in read.tags if a.get("http-equiv"))
    assert "default-src 'none'" in policy
    css = page[page.index("<style>") : page.index("</style>")]
    assert "url(" not in css
    assert "@import" not in css


def test_names_are_escaped(page):
    """Angle brackets of titles and classes are text, in the page and in the figures."""
    assert "dense &lt;20, 10&gt;" in page
    assert "inner <rotation>" not in page
    data = re.search(r'id="figures">(.*?)</script>', page, re.DOTALL)
    assert data is not None
    assert "<" not in data[1]


def test_a_report_of_nothing_still_renders():
    """A run that failed before its first epoch gives a page that says so."""
    run = run_pb2.Run(name="projects/p/runs/r", state=run_pb2.RUN_STATE_FAILED)
    run.failure.message = "The dataset has one class only."
    page = render(training_service_pb2.Report(run=run))
    assert "The dataset has one class only." in page
    assert "There is no evaluation." in page
    assert "plotly" not in page.lower().replace("plotly.js", "")


def test_the_json_mapping_gives_the_same_page(parts, page):
    """What `linnet report --json` prints can be rendered too."""
    report, explorer = parts
    told = json_format.MessageToDict(report, preserving_proto_field_name=True)
    assert render(told, explorer) == page


def _browse(path, *flags):
    return subprocess.run(
        [
            "chromium",
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--enable-logging=stderr",
            "--virtual-time-budget=20000",
            "--dump-dom",
            *flags,
            path.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=110,
        check=True,
    )


_FRAME = """<!doctype html><iframe src="report.html" style="width:390px;height:6000px;border:0">
</iframe><script>
const frame = document.querySelector("iframe");
const look = () => {
  const page = frame.contentDocument;
  if (page.documentElement.dataset.drawn !== "true") return setTimeout(look, 100);
  const outside = [...page.querySelectorAll("body *")].filter((element) =>
    element.getBoundingClientRect().right > 391 && !element.closest(".scroll, svg, .plot"));
  const plots = [...page.querySelectorAll(".plot .cartesianlayer .bglayer, .plot .plot-container")];
  document.title = `width ${page.documentElement.scrollWidth} outside ${outside.length}`
    + ` wide ${plots.filter((plot) => plot.getBoundingClientRect().right > 391).length}`;
};
frame.onload = look;
</script>"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
def test_a_phone_scrolls_in_one_direction_only(page, tmp_path):
    """At 390 pixels nothing but tables' own scroll areas is wider than the screen."""
    (tmp_path / "report.html").write_text(page, encoding="utf-8")
    frame = tmp_path / "frame.html"
    frame.write_text(_FRAME, encoding="utf-8")
    found = _browse(frame, "--allow-file-access-from-files", "--window-size=500,6000")
    assert "<title>width 390 outside 0 wide 0</title>" in found.stdout


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
def test_chromium_draws_every_figure(page, tmp_path):
    """A real browser draws each figure under the policy that forbids all requests."""
    path = tmp_path / "report.html"
    path.write_text(page, encoding="utf-8")
    found = _browse(path)
    assert 'data-drawn="true"' in found.stdout
    assert found.stdout.count('class="main-svg"') >= 7
    assert not [line for line in found.stderr.splitlines() if ":CONSOLE" in line]
