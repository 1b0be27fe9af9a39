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


def test_a_hidden_method_leaves_tables_and_figures(study, open_page):
    page = open_page(study)
    drawn = "#claims svg [data-method='spion_cf@window']"
    assert page.locator(drawn).count() > page.locator(f"{drawn}.off").count() == 0
    page.click("#methods-shown summary")
    page.uncheck("#methods-shown input[value='spion_cf@window']")
    assert page.locator(f"{drawn}:not(.off)").count() == 0
    rows = page.locator("tr[data-method='spion_cf@window']:visible")
    assert rows.count() == 0
    again = open_page(study, address=page.evaluate("location.hash"))
    assert not again.is_checked("#methods-shown input[value='spion_cf@window']")
    again.click("#methods-shown summary")
    again.click("#all-methods")
    assert again.locator(f"#{TABLE} tr[data-method='spion_cf@window']").is_visible()


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


def test_a_tap_shows_the_records_first(study, open_page):
    page = open_page(study, width=380, has_touch=True, is_mobile=True)
    page.locator(f"#{TABLE} tr[data-method=spion_cf] a.traced").first.tap()
    page.wait_for_selector("#record:not([hidden]) dl")
    assert page.evaluate("location.hash") in ("", "#")
    page.locator("#record a").first.tap()
    page.wait_for_selector("#table-records tr.facts")


def test_every_caveat_stands_at_its_number(study, open_page):
    page = open_page(study)
    accuracy = page.locator(f"#{TABLE} tr[data-method=spion_cf] td .caveats").first
    assert accuracy.inner_text().endswith("forced transition (1 of 3)")
    image = page.inner_text("#table-summary-image-l-128 tr[data-method=spion_cf]")
    for caveat in ("stand-in data", "does not measure attention", "other processes used 0.4"):
        assert caveat in image


def test_rows_and_claims_have_links_of_their_own(study, open_page):
    page = open_page(study, address="#summary-listops-l-128-bigbird")
    assert page.locator("tr.target[data-method=bigbird]").count() == 1
    page.click("tr.target .permalink", force=True)
    links = page.eval_on_selector_all(
        "a[href^='#']", "(all) => all.map((a) => a.getAttribute('href').slice(1))"
    )
    page.evaluate("search('e')")
    page.wait_for_selector("#table-numbers")
    ids = set(page.eval_on_selector_all("[id]", "(all) => all.map((each) => each.id)"))
    assert [link for link in links if link not in ids] == []
