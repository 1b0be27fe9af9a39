"""What a reader sees: the first screen, every width, both themes, paper."""

import pytest

# Every text on the page with its size in pixels as shown, SVG scaled.
SMALL_TEXT = """() => {
  const found = [];
  const walker = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const text = walker.currentNode.textContent.trim();
    if (!text || !element.checkVisibility()) continue;
    let size = parseFloat(getComputedStyle(element).fontSize);
    if (element.ownerSVGElement) size *= element.ownerSVGElement.getScreenCTM().a;
    if (size < 10.95) found.push([text.slice(0, 40), size]);
  }
  return found;
}"""
CLIPPED = """() => [...document.querySelectorAll("main table, main svg")]
  .map((part) => [part.id, part.getBoundingClientRect().right])
  .filter(([, right]) => right > document.documentElement.clientWidth + 1)"""
A4_WIDTH = 703  # pixels between margins of 12 mm


def test_the_first_screen_answers_and_shows_the_picture(study, open_page):
    page = open_page(study)
    assert "of 9 claims" in page.inner_text(".answer")
    assert page.locator(".claims li").count() == 9
    box = page.locator("#claims figure svg").bounding_box()
    assert box["y"] + box["height"] <= 900


def test_nothing_scrolls_sideways(study, open_page):
    page = open_page(study)
    for width in (360, 380, 640, 768, 1024, 1279, 1280, 1600):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width, width


def test_no_text_is_small(study, open_page):
    page = open_page(study)
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    page.wait_for_selector("#table-numbers")
    assert page.evaluate(SMALL_TEXT) == []


@pytest.mark.parametrize(
    ("report", "width", "scheme"),
    [
        *(("study", *how) for how in ((1280, "light"), (1280, "dark"), (380, "dark"))),
        ("comparison", 380, "dark"),
    ],
)
def test_axe_finds_nothing_serious(request, open_page, report, width, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    page = open_page(request.getfixturevalue(report), width=width, color_scheme=scheme)
    for claim in page.locator(".claim summary").all()[:1]:
        claim.click()
    found = axe.Axe().run(page).response["violations"]
    grave = [each for each in found if each["impact"] in ("moderate", "serious", "critical")]
    assert [(each["id"], each["nodes"][0]["html"][:200]) for each in grave] == []


def test_a_comparison_fits_the_first_screen_and_leads_to_both_records(comparison, open_page):
    page = open_page(comparison)
    assert "A and B measured alike, 5 differ clearly" in page.inner_text(".answer")
    box = page.locator("#differences figure svg").bounding_box()
    assert box["y"] + box["height"] <= 900
    for width in (360, 640, 1280, 1600):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width, width
    step = page.locator("#table-sets-train-step-ms tr[data-method=spion_cf]")
    step.locator("a.traced").last.hover()
    page.wait_for_selector("#record:not([hidden]) dl")
    assert "From 2 records" in page.inner_text("#record")
    page.locator("#record a").last.click()
    page.locator("#table-records tr.target + tr.facts").wait_for()
    assert page.evaluate("location.hash").startswith("#cell-b-speed-listops128-spion-cf")


def test_paper_cuts_nothing(study, open_page):
    page = open_page(study, width=A4_WIDTH)
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.wait_for_timeout(300)
    assert page.evaluate(CLIPPED) == []
    assert page.pdf(format="A4").startswith(b"%PDF")


def test_hostile_text_stays_text(hostile, open_page):
    page = open_page(hostile)
    page.fill("#search", "onerror")
    page.wait_for_function("document.getElementById('said').textContent.includes('match')")
    assert page.locator("main img[src=x], nav img").count() == 0
    assert page.locator("tr[data-method*=onerror]").count() > 3
    page.locator("tr[data-method*=onerror] a.traced").first.hover()
    page.wait_for_selector("#record:not([hidden]) dl")
    assert "onerror=alert(1)" in page.inner_text("#record")
