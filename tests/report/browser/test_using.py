"""What a reader does: sorts, filters, hides methods, searches, follows a number, shares a link."""


def first_texts(page, table, n=3):
    rows = page.locator(f"#{table} tbody tr:not([hidden]) th .value")
    return [rows.nth(i).inner_text() for i in range(n)]


TABLE = "table-summary-listops-l-128"


def test_sorting_is_kept_in_the_address(study, open_page):
    page = open_page(study)
    step = page.locator(f"#{TABLE} thead button", has_text="Training step").first
    step.click()
    assert first_texts(page, TABLE) == ["no_attention", "mean_attention", "spion_cf@window"]
    step.press("Enter")
    assert first_texts(page, TABLE)[0] == "dense_sdpa"
    assert page.locator(f"#{TABLE} [aria-sort=descending]").count() == 1
    again = open_page(study, address=page.evaluate("location.hash"))
    assert first_texts(again, TABLE)[0] == "dense_sdpa"


def test_a_filter_leaves_rows_that_match(study, open_page):
    page = open_page(study)
    box = page.locator(".block", has=page.locator(f"#{TABLE}")).locator(".filter input")
    box.fill("sliding")
    assert page.locator(f"#{TABLE} tbody tr:visible").count() == 2
    assert page.inner_text("#said") == "2 of 12 rows"


def test_the_search_reaches_packed_tables(study, open_page):
    page = open_page(study)
    page.fill("#search", "reformer-s2")
    page.wait_for_function("document.getElementById('said').textContent.includes('match')")
    assert page.locator("#table-records tbody tr:visible").count() == 2


def test_a_number_leads_to_its_records(study, open_page):
    page = open_page(study)
    number = page.locator(f"#{TABLE} tr[data-method=spion_cf] a.traced").first
    number.hover()
    page.wait_for_selector("#record:not([hidden]) dl")
    shown = page.inner_text("#record")
    assert "From 3 records" in shown
    assert "accuracy-listops128-spion_cf-s0" in shown
    assert "0123456789 with changes" in shown
    page.keyboard.press("Escape")
    assert page.locator("#record").is_hidden()
    number.click()
    facts = page.locator("#table-records tr.target + tr.facts")
    facts.wait_for()
    text = facts.inner_text()
    assert "train.steps" in text
    assert "forced" in text
    assert page.evaluate("location.hash").startswith("#cell-accuracy-listops128-spion-cf-s0")
