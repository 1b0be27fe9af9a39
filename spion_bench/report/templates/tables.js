// Sorting, filters, hidden methods and the search; every choice goes through the address.
const keyOf = (row, column) => {
  const cell = row.cells[column];
  if (cell.dataset.value !== undefined) return Number(cell.dataset.value);
  return cell.classList.contains("number") ? NaN : cell.querySelector(".value").textContent.trim();
};
const compare = (a, b) => {
  if (typeof a === "string" && typeof b === "string") return a.localeCompare(b);
  if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b);
  return a - b;
};
const sortTable = (table, column, direction) => {
  const heads = table.tHead.rows[0].cells, body = table.tBodies[0];
  if (!heads[column]) return;
  for (const other of heads) other.removeAttribute("aria-sort");
  heads[column].setAttribute("aria-sort", direction);
  const sign = direction === "descending" ? -1 : 1;
  for (const opened of body.querySelectorAll("tr.facts")) opened.remove();
  const rows = [...body.rows].map((row) => [keyOf(row, column), row]);
  // Rows without a number stay at the end in both directions.
  rows.sort(([a], [b]) => (Number.isNaN(a) || Number.isNaN(b) ? 1 : sign) * compare(a, b));
  body.append(...rows.map(([, row]) => row));
};
const addSorters = (table) => {
  const body = table.tBodies[0];
  if (body.rows.length < 2) return;
  for (const head of table.tHead.rows[0].cells) {
    const sorter = document.createElement("button");
    sorter.type = "button";
    sorter.textContent = head.textContent;
    sorter.addEventListener("click", () => {
      const direction = head.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
      sortTable(table, head.cellIndex, direction);
      choose(`sort.${table.id}`, `${head.cellIndex}.${direction}`);
      say(`Sorted by ${sorter.textContent}, ${direction}`);
    });
    head.replaceChildren(sorter);
  }
  const saved = (state.chosen.get(`sort.${table.id}`) ?? "").match(/^(\d+)\.(ascending|descending)$/);
  if (saved) sortTable(table, Number(saved[1]), saved[2]);
};
const addFilter = (table) => {
  if (table.tBodies[0].rows.length < 8) return;
  const label = document.createElement("label"), input = document.createElement("input");
  label.className = "filter";
  input.type = "search";
  input.value = state.chosen.get(`filter.${table.id}`) ?? "";
  label.append("Filter rows ", input);
  input.addEventListener("input", () => {
    choose(`filter.${table.id}`, input.value);
    const shown = showRows(table);
    say(`${shown} of ${table.tBodies[0].rows.length} rows`);
  });
  table.closest(".scroll").before(label);
};
const hidden = () => new Set((state.chosen.get("hide") ?? "").split("\n").filter(Boolean));
const wanted = () => (state.chosen.get("search") ?? "").toLowerCase();
const showRows = (table) => {
  const off = hidden(), search = wanted();
  const filter = (state.chosen.get(`filter.${table.id}`) ?? "").toLowerCase();
  let shown = 0;
  for (const row of table.tBodies[0].rows) {
    const text = search || filter ? row.textContent.toLowerCase() : "";
    row.hidden = off.has(row.dataset.method) || !text.includes(filter) || !text.includes(search);
    shown += !row.hidden;
  }
  return shown;
};
const showAll = () => {
  const off = hidden(), search = wanted();
  let shown = 0;
  for (const part of document.querySelectorAll("svg [data-method]")) {
    part.classList.toggle("off", off.has(part.dataset.method));
  }
  for (const table of document.querySelectorAll("main table")) {
    const rows = showRows(table), block = table.closest(".block, section details");
    shown += rows;
    if (block) block.hidden = Boolean(search) && rows === 0;
    if (block?.tagName === "DETAILS" && search && rows) block.open = true;
  }
  for (const box of document.querySelectorAll("#methods-shown input")) box.checked = !off.has(box.value);
  return shown;
};
const search = async (text) => {
  choose("search", text);
  if (text) await Promise.all([...document.querySelectorAll("details[data-packed]")].map(unfold));
  const shown = showAll();
  say(text ? `${shown} rows match` : "");
};
const prepare = (part) => {
  for (const table of part.querySelectorAll("table")) {
    addFilter(table);
    addSorters(table);
  }
  showAll();
};
