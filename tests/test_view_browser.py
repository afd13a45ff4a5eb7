"""The page in a browser: its bodies are ours, it complains of nothing, it obeys its controls."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from browser import VARIABLE, Tab, browser_tab, find_browser
from PIL import Image
from viewer_results import CAMERA, COUNT, FPS, HOSTILE, grey_of, image_folder, two_walkers

from temporal_hmr.body.load import load_body
from temporal_hmr.body.model import BodyModel
from temporal_hmr.output.viewer.page import build_page, write_page
from temporal_hmr.output.viewer.result import Result, open_result
from temporal_hmr.rasterize import Surface
from temporal_hmr.video import open_clip

PROGRAM = find_browser()
pytestmark = pytest.mark.skipif(
    PROGRAM is None, reason=f"no Chromium on the PATH; {VARIABLE} may name one"
)
FRAME = 15


@pytest.fixture(scope="module")
def body() -> BodyModel:
    return load_body(dtype=torch.float64)


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory, body: BodyModel) -> Result:
    return open_result(two_walkers(tmp_path_factory.mktemp("view") / "walk", body, HOSTILE))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, result: Result) -> Path:
    folder = tmp_path_factory.mktemp("page")
    clip = open_clip(image_folder(folder / "walk"), fps=FPS)
    write_page(build_page(result, clip, ""), folder / "view.html")
    return folder / "view.html"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory):
    assert PROGRAM is not None
    with browser_tab(PROGRAM, tmp_path_factory.mktemp("profile")) as tab:
        yield tab


@pytest.fixture(scope="module")
def opened(browser: Tab, page: Path) -> Tab:
    """Small, since a processor that plays graphics card is slow."""
    browser.resize(480, 560)
    browser.open(page)
    return browser


@pytest.fixture
def tab(opened: Tab) -> Tab:
    """As freshly opened."""
    opened.run(
        "document.querySelectorAll('input[type=checkbox]').forEach((box) => "
        "{ if (box.checked !== box.defaultChecked) box.click(); })"
    )
    return opened


def seen(tab: Tab) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(tab.screenshot())).convert("RGB")).astype(int)


def test_it_complains_of_nothing_and_asks_for_nothing(tab: Tab, page: Path) -> None:
    tab.run("document.querySelectorAll('.stage input').forEach((box) => box.click())")
    tab.settle()
    assert tab.complaints == []
    assert [url for url in tab.requests if not url.startswith("blob:")] == [page.as_uri()]
    assert tab.run("document.getElementById('title').textContent") == HOSTILE
    assert tab.run("document.getElementById('trouble').hidden")


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (375, 560)])
def test_nothing_overflows(tab: Tab, width: int, height: int) -> None:
    tab.resize(width, height)
    try:
        root = "document.documentElement"
        assert tab.run(f"{root}.scrollWidth <= {root}.clientWidth")
        bottom = tab.run("document.getElementById('curves').getBoundingClientRect().bottom")
        assert width < 1000 or bottom < height
    finally:
        tab.resize(480, 560)


def test_joints_and_vertices_are_the_body_model_s(
    tab: Tab, result: Result, body: BodyModel
) -> None:
    """Without the pose's corrections of the surface, which a page leaves out."""
    told = tab.run(
        """(() => {
          const person = viewer.data.people[1], row = 5, body = viewer.data.body;
          const joints = new Float32Array(72), bones = new Float32Array(16 * 24);
          posed(person, row, body.parents, joints, bones);
          const vertices = [];
          for (let v = 0; v < person.template.length / 3; v += 13) {
            const sum = [0, 0, 0], rest = person.template.subarray(3 * v, 3 * v + 3);
            for (let k = 8 * v; k < 8 * v + 8; k++) {
              const bone = bones.subarray(16 * body.skinJoints[k], 16 * body.skinJoints[k] + 16);
              moved(bone, rest).forEach((x, i) => { sum[i] += x * body.skinWeights[k] / 65535; });
            }
            vertices.push(sum);
          }
          return [Array.from(joints), vertices];
        })()"""
    )
    person = result.people[1]
    smpl = person.smpl[5:6]
    assert np.abs(np.reshape(told[0], (24, 3)) - person.joints[5]).max() < 2e-4
    skin = torch.einsum("vj,jab->vab", body.weights, body._skinning(smpl)[0])
    plain = (skin[..., :3] @ body.v_template[..., None]).squeeze(-1) + skin[..., 3]
    assert np.abs(np.array(told[1]) - plain[::13].numpy()).max() < 3e-4


def test_bodies_drawn_over_the_video_are_where_our_own_drawing_has_them(
    tab: Tab, result: Result, body: BodyModel
) -> None:
    """Of the second person alone, on the right: a mirrored picture would not do."""
    tab.run(f"viewer.go({FRAME}); document.getElementById('show-bodies').click()")
    tab.run("document.querySelector('#people input').click()")
    tab.run("for (const n of ['keypoints', 'boxes']) document.getElementById(`show-${n}`).click()")
    tab.settle()
    left, top, width, height = tab.run(
        """(() => {
          const box = document.getElementById("picture").getBoundingClientRect();
          const [x, y, w, h] = within(box.width, box.height, 160 / 120);
          return [box.x + x, box.y + y, w, h];
        })()"""
    )
    rows, columns = slice(round(top), round(top + height)), slice(round(left), round(left + width))
    window = seen(tab)[rows, columns]
    assert abs(np.median(window) - grey_of(FRAME)) <= 3
    drawn = np.ptp(window, axis=2) > 20
    expected = np.zeros((CAMERA.height, CAMERA.width), bool)
    surface = Surface(body.faces.numpy(), len(body.v_template))
    for person in result.people[1:]:
        row = int(np.searchsorted(person.motion.frames, FRAME))
        vertices = body.vertices(person.smpl[row : row + 1])[0].float().numpy()
        drawing = surface.draw(vertices, np.ones_like(vertices), CAMERA)
        assert drawing is not None
        expected[drawing.window.slices] |= np.isfinite(drawing.depth)
    size = (window.shape[1], window.shape[0])
    expected = cv2.resize(expected.astype(np.uint8), size, interpolation=cv2.INTER_LINEAR) > 0
    assert (drawn & expected).sum() / (drawn | expected).sum() > 0.88


def test_bodies_stand_upright_and_are_hidden_when_told(tab: Tab) -> None:
    tab.run("viewer.scene.look('front'); viewer.go(15)")
    tab.settle()
    left, top, width, height = tab.run(
        "(({x, y, width, height}) => [x, y, width, height])"
        "(document.getElementById('scene').getBoundingClientRect())"
    )

    def colored() -> np.ndarray:
        view = seen(tab)[round(top) + 40 : round(top + height), round(left) : round(left + width)]
        return np.ptp(view, axis=2) > 40

    rows = np.nonzero(colored())[0]
    assert len(rows) > 2000
    assert np.ptp(rows) > 0.3 * height
    count = len(rows)
    tab.run("document.querySelector('#people input').click()")
    tab.settle()
    assert 0 < colored().sum() < 0.75 * count


def test_keys_and_pictures_follow_the_time(tab: Tab) -> None:
    def press(key: str, **more: bool) -> None:
        options = "".join(f", {name}: true" for name in more)
        tab.run(f"document.body.dispatchEvent(new KeyboardEvent('keydown', "
                f"{{key: '{key}', bubbles: true{options}}}))")  # fmt: skip

    press("Home")
    press("ArrowRight", shiftKey=True)
    press("ArrowRight")
    press("ArrowLeft")
    tab.settle()
    assert tab.run("document.getElementById('now').textContent") == f"{10 / FPS:.2f} s\nframe 10"
    middle = "(() => { const c = document.getElementById('picture'); return [...c.getContext('2d')"
    middle += ".getImageData(c.width / 2, 4, 1, 1).data]; })()"
    assert abs(tab.run(middle)[0] - grey_of(10)) <= 3
    press("End")
    tab.settle()
    assert tab.run("viewer.frame") == COUNT - 1
    press(" ")
    tab.run("new Promise((done) => setTimeout(done, 350))")
    press(" ")
    assert 1 <= tab.run("viewer.frame") < COUNT - 1 and not tab.run("viewer.playing")


def test_an_address_opens_a_moment(tab: Tab) -> None:
    tab.run("location.hash = '#frame=7&view=camera'")
    tab.settle()
    assert tab.run("[viewer.frame, viewer.scene.throughCamera]") == [7, True]


def test_what_fails_is_said_on_the_page(tab: Tab) -> None:
    tab.run("setTimeout(() => { throw new Error('a test'); })")
    tab.settle()
    assert "a test" in tab.run("document.getElementById('trouble').textContent")
    assert tab.complaints


def test_a_page_cut_short_says_so(browser: Tab, page: Path, tmp_path: Path) -> None:
    text = page.read_text(encoding="utf-8")
    begin = text.index('id="arrays">') + len('id="arrays">')
    cut = tmp_path / "cut.html"
    cut.write_text(text[: begin + 4000] + text[text.index("</script>", begin) :], encoding="utf-8")
    browser.open(cut)
    assert "cut short" in browser.run("document.getElementById('trouble').textContent")


def test_without_webgl_the_rest_works(browser: Tab, page: Path) -> None:
    offered = "HTMLCanvasElement.prototype.getContext"
    script = f"const all = {offered}; {offered} = function (kind, options) "
    script += "{ return kind === 'webgl2' ? null : all.call(this, kind, options); };"
    added = browser.before_scripts(script)
    browser.open(page)
    browser.call("Page.removeScriptToEvaluateOnNewDocument", identifier=added)
    assert "no WebGL 2" in browser.run("document.getElementById('scene-message').textContent")
    browser.run("viewer.go(9); document.getElementById('show-bodies').click()")
    browser.settle()
    assert browser.run("document.getElementById('now').textContent").endswith("frame 9")
    assert "no WebGL 2" in browser.run("document.getElementById('trouble').textContent")
    assert browser.complaints == []
