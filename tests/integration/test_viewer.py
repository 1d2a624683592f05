# SPDX-License-Identifier: Apache-2.0
"""OHIF, the viewer in which a tumour board opens our reports, with the images and reports of a PACS."""

import functools
import shutil
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from pydicom import dcmread
from selenium.common.exceptions import JavascriptException, StaleElementReferenceException
from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from model.domain import Assessment, ImageReference, PlanarMeasurement, derived_uid

STUDY = derived_uid("viewer")
FINDINGS, RADIOMICS, SEGMENTATION = "S:9101", "S:9102", "S:9103"
"""Our series, as the viewer's list names them."""

VIEWER = Path(__file__).with_name("ohif")
BUILT = VIEWER / "node_modules" / "@ohif" / "app" / "dist"

SOFTWARE_RENDERING = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
NO_INTERNET = "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"

SHOWN = (
    "services.cornerstoneViewportService.getCornerstoneViewport("
    "services.viewportGridService.getActiveViewportId())"
)
"""What shows the images, in the page's JavaScript."""

LINES = (
    "[...document.querySelectorAll('svg.svg-layer line')].map("
    "line => ['x1', 'y1', 'x2', 'y2'].map(name => Number(line.getAttribute(name))))"
)
"""Every line that is drawn on the image, in pixels of the screen."""

OUTLINES = """cornerstoneTools.annotation.state.getAllAnnotations()
    .filter(each => each.metadata.toolName === 'DICOMSRDisplay')
    .map(each => ({uid: each.annotationUID, image: each.metadata.referencedImageId,
        points: each.data.renderableData.POLYLINE[0],
        labels: Object.fromEntries(each.data.labels.map(label => [label.label, label.value]))}))"""
"""What the viewer draws of an SR before its groups are made measurements."""

TRACKED = """services.measurementService.getMeasurements().map(each => ({uid: each.uid, label: each.label,
    tool: each.toolName, image: each.SOPInstanceUID, points: each.points}))"""

VOLUMES = """(segments => segments.length && segments.every(each => each.cachedStats?.namedStats?.volume)
    && Object.fromEntries(segments.map(each => [each.label, each.cachedStats.namedStats.volume.value])))(
    services.segmentationService.getSegmentations().flatMap(each => Object.values(each.segments)))"""

pytestmark = [pytest.mark.peer("orthanc"), pytest.mark.peer("chromium"), pytest.mark.timeout(300)]


class _OneOrigin(SimpleHTTPRequestHandler):
    """The viewer and the DICOMweb of Orthanc from one address, as a hospital's web server has them."""

    def __init__(self, *arguments: Any, orthanc: str, **named: Any) -> None:
        self.orthanc = orthanc
        super().__init__(*arguments, directory=str(BUILT), **named)

    def log_message(self, *_: Any) -> None:
        pass

    def translate_path(self, path: str) -> str:
        name = path.partition("?")[0]
        found = VIEWER / "app-config.js" if name == "/app-config.js" else Path(super().translate_path(name))
        # Every other address is a page of the viewer, which finds its way by itself.
        return str(found if found.is_file() else BUILT / "index.html")

    def end_headers(self) -> None:
        # Without these two a browser withholds the memory that the viewer's workers share.
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()

    def do_GET(self) -> None:
        if not self.path.startswith("/dicom-web/"):
            super().do_GET()
            return
        # By the name of the host Orthanc makes the addresses in its answers, which are to be ours.
        passed_on = {name: self.headers[name] for name in ("Accept", "Host") if name in self.headers}
        request = urllib.request.Request(self.orthanc + self.path, headers=passed_on)
        try:
            answer = urllib.request.urlopen(request, timeout=30)
        except urllib.error.HTTPError as refused:
            answer = refused
        with answer:
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.headers["Content-Type"])
            self.end_headers()
            shutil.copyfileobj(answer, self.wfile)


@pytest.fixture
def serve_viewer(missing: Callable[[str], NoReturn]) -> Iterator[Callable[[int], str]]:
    """Return a function that serves the viewer with the DICOMweb at a port; it returns the address."""
    if not BUILT.is_dir():
        missing("the OHIF viewer")
    running: list[tuple[ThreadingHTTPServer, threading.Thread]] = []

    def serve(port: int) -> str:
        handler = functools.partial(_OneOrigin, orthanc=f"http://127.0.0.1:{port}")
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        running.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}"

    yield serve
    for server, thread in running:
        server.shutdown()
        server.server_close()
        thread.join(20)


class Reader:
    """Somebody at the viewer, who opens series of the list, answers the viewer's questions and looks."""

    def __init__(self, browser: Chrome, pictures: Path) -> None:
        self.browser = browser
        self.pictures = pictures
        # While the viewer builds its page anew, elements vanish and services are not there.
        passing = (StaleElementReferenceException, JavascriptException)
        self.patience = WebDriverWait(browser, 60, poll_frequency=0.1, ignored_exceptions=passing)

    def value(self, expression: str, *arguments: Any) -> Any:
        """Return the value of JavaScript in the page, which has the viewer's `services`."""
        return self.browser.execute_script(f"return {expression}", *arguments)

    def wait(self, condition: Callable[[], Any], what: str) -> Any:
        return self.patience.until(lambda _: condition(), what)

    def element(self, css: str, text: str = "") -> Any:
        """Return the element that `css` names and that shows `text`, as soon as it is there."""

        def found() -> Any:
            there = self.browser.find_elements(By.CSS_SELECTOR, css)
            return next((each for each in there if text in each.text), None)

        return self.wait(found, f"{css} {text}")

    def open(self, series: str) -> None:
        row = self.element("[data-cy=study-browser-thumbnail-no-image]", series)
        ActionChains(self.browser).double_click(row).perform()

    def answer_yes(self) -> None:
        self.element("[data-cy=yes-hydrate-btn]").click()

    def wait_for_image(self, sop_instance_uid: str) -> None:
        image = f"/instances/{sop_instance_uid}/"
        self.wait(lambda: image in self.value(f"{SHOWN}.getCurrentImageId()"), "the slice of the lesion")

    def wait_for_axes(self, ends_mm: np.ndarray) -> None:
        """Wait until both axes, by their ends in space, are lines on the image that is shown."""

        def drawn() -> bool:
            ends = np.array(
                [self.value(f"{SHOWN}.worldToCanvas(arguments[0])", end.tolist()) for end in ends_mm]
            )
            lines = np.array(self.value(LINES) or np.empty((0, 4)))
            # A line may run either way.
            axes = [np.stack([axis, np.roll(axis, 2)]) for axis in ends.reshape(2, 4)]
            return all((np.abs(lines[:, None] - axis).max(axis=2) < 0.5).any() for axis in axes)

        self.wait(drawn, "both axes on the screen")

    def keep_picture(self, name: str) -> None:
        assert self.browser.save_screenshot(str(self.pictures / f"{name}.png"))


def in_space(points: Sequence[tuple[float, float]], image: ImageReference, files: list[Path]) -> np.ndarray:
    """Return image coordinates (column, row) as (x, y, z) in millimetres (PS3.3 C.7.6.2.1.1)."""
    (header,) = (
        each
        for each in (dcmread(path, stop_before_pixels=True) for path in files)
        if each.SOPInstanceUID == image.sop_instance_uid
    )
    along_row, along_column = np.reshape(header.ImageOrientationPatient, (2, 3)).astype(float)
    row_mm, column_mm = map(float, header.PixelSpacing)
    # Image coordinates of the centre of the first pixel, whose place the header tells, are (0.5, 0.5).
    column, row = np.array(points).T - 0.5
    position = np.array(header.ImagePositionPatient, float)
    return position + np.outer(column * column_mm, along_row) + np.outer(row * row_mm, along_column)


def ends_of_axes(planar: PlanarMeasurement) -> list[tuple[float, float]]:
    return [end for axis in (planar.long_axis, planar.short_axis) for end in (axis.start, axis.end)]


@pytest.fixture
def reported(
    installation: Callable, start_orthanc, dicom_web, phantom_study: Callable, send_all, tmp_path: Path
) -> tuple[int, Assessment, list[Path]]:
    """A study outlined by RTSTRUCT in the PACS with our three objects: its port, what was measured, files."""
    orthanc = start_orthanc(dicom_web)
    site = installation(pacs=orthanc)
    site.start_all()
    *images, outline = phantom_study(tmp_path / "study", STUDY, outline="RTSTRUCT")
    orthanc.add([*images, outline])
    send_all(site.dicom_port, [*images, outline])
    site.wait_for("report_delivered", count=3)
    assessment = site.shared().store.assessments.outcome(STUDY)
    assert isinstance(assessment, Assessment)
    return orthanc.http_port, assessment, images


def test_ohif_draws_and_tracks_each_lesion_where_it_was_measured_and_opens_our_other_objects(
    serve_viewer: Callable[[int], str], start_chromium, reported, tmp_path: Path
) -> None:
    port, assessment, images = reported
    lesions = {each.tracking_identifier: each for each in assessment.lesions}
    browser = start_chromium(*SOFTWARE_RENDERING, NO_INTERNET, "--window-size=1600,1000")
    reader = Reader(browser, tmp_path)
    browser.get(f"{serve_viewer(port)}/viewer?StudyInstanceUIDs={STUDY}")
    # A series that is opened before the first image shows is opened in vain.
    reader.wait(lambda: reader.value(f"{SHOWN}?.viewportStatus") == "rendered", "the first image")

    # SR-A: the outline of each lesion with its numbers, at first on the slice of the index lesion.
    reader.open(FINDINGS)
    reader.element("[data-cy=yes-hydrate-btn]")
    reader.wait_for_image(assessment.index_lesion.planar.image.sop_instance_uid)
    outlines = {each["uid"]: each for each in reader.value(OUTLINES)}
    assert outlines.keys() == {each.tracking_uid for each in assessment.lesions}
    for lesion in assessment.lesions:
        planar, drawn = lesion.planar, outlines[lesion.tracking_uid]
        corners = in_space([*planar.outline, planar.outline[0]], planar.image, images)
        assert f"/instances/{planar.image.sop_instance_uid}/" in drawn["image"]
        np.testing.assert_allclose(drawn["points"], corners, atol=0.01)
        for name, value in (
            ("Long Axis", planar.long_axis.length_mm),
            ("Short Axis", planar.short_axis.length_mm),
            ("Volume", lesion.volume_mm3),
        ):
            assert float(drawn["labels"][name].split()[0]) == pytest.approx(value, abs=0.006)
    reader.keep_picture("findings")

    # Made measurements of the viewer itself: both axes, under the name of the lesion.
    reader.answer_yes()
    reader.wait(lambda: len(reader.value(TRACKED)) == len(lesions), "tracked measurements")
    for measured in reader.value(TRACKED):
        planar = lesions.pop(measured["label"]).planar
        ends = in_space(ends_of_axes(planar), planar.image, images)
        assert (measured["tool"], measured["image"]) == ("Bidirectional", planar.image.sop_instance_uid)
        np.testing.assert_allclose(measured["points"], ends, atol=0.01)
        reader.value(
            "services.measurementService.jumpToMeasurement('default', arguments[0])", measured["uid"]
        )
        reader.wait_for_image(planar.image.sop_instance_uid)
        reader.wait_for_axes(ends)
        reader.keep_picture(f"tracked {measured['label']}")
    assert not lesions

    # SR-B: nothing can be drawn of it, so it is text.
    reader.open(RADIOMICS)
    text = reader.element("body", "Oncology Measurement Report").text
    assert "DEMONSTRATION MODEL - NO CLINICAL MEANING" in text
    assert "Not for diagnosis or treatment selection." in text
    reader.keep_picture("radiomics")

    # SEG: the viewer counts the same voxels.
    reader.open(SEGMENTATION)
    reader.answer_yes()
    volumes = reader.wait(lambda: reader.value(VOLUMES), "the volume of every segment")
    assert volumes == pytest.approx(
        {each.tracking_identifier: each.volume_mm3 for each in assessment.lesions}
    )
    reader.keep_picture("segmentation")
