"use strict";
// The page is complete without this script; it adds the theme switch, sorting, and open details in print.
(() => {
  const root = document.documentElement;
  const themes = ["auto", "light", "dark"];
  const button = document.getElementById("theme");
  let theme = "auto";
  const apply = () => {
    if (theme === "auto") delete root.dataset.theme;
    else root.dataset.theme = theme;
    button.textContent = `Theme: ${theme}`;
  };
  button.addEventListener("click", () => {
    theme = themes[(themes.indexOf(theme) + 1) % themes.length];
    apply();
  });
  button.hidden = false;
  apply();

  const keyOf = (row, column) => {
    const cell = row.cells[column];
    if (cell.dataset.value !== undefined) return Number(cell.dataset.value);
    return cell.classList.contains("number") ? NaN : cell.textContent.trim();
  };
  const compare = (a, b) => {
    if (typeof a === "string") return a.localeCompare(b);
    if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b);
    return a - b;
  };
  for (const head of document.querySelectorAll("thead th")) {
    const body = head.closest("table").tBodies[0];
    if (body.rows.length < 2) continue;
    const sorter = document.createElement("button");
    sorter.type = "button";
    sorter.textContent = head.textContent;
    sorter.addEventListener("click", () => {
      const isAscending = head.getAttribute("aria-sort") === "ascending";
      for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", isAscending ? "descending" : "ascending");
      const sign = isAscending ? -1 : 1;
      const column = head.cellIndex;
      const rows = [...body.rows].map((row) => [keyOf(row, column), row]);
      // Rows without a number stay at the end in both directions.
      rows.sort(([a], [b]) => (Number.isNaN(a) || Number.isNaN(b) ? 1 : sign) * compare(a, b));
      body.append(...rows.map(([, row]) => row));
    });
    head.replaceChildren(sorter);
  }

  addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("details")) details.open = true;
  });
})();
