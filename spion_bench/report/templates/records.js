// A number shows the records that it comes from, and leads to their entries.
let catalogue = null;
const records = async () => {
  if (catalogue || typeof recordsPart === "undefined") return catalogue ?? new Map();
  const found = JSON.parse(await unpack(recordsPart));
  catalogue = new Map();
  for (const [anchor, facts, settings, environment] of found.records) {
    catalogue.set(anchor, { facts, settings: found.shared[settings], environment: found.shared[environment] });
  }
  return catalogue;
};
const element = (name, text, className) => {
  const made = document.createElement(name);
  if (text) made.textContent = text;
  if (className) made.className = className;
  return made;
};
const listOf = (pairs) => {
  const list = element("dl");
  for (const [name, text] of pairs) {
    const pair = element("div");
    pair.append(element("dt", name), element("dd", text));
    list.append(pair);
  }
  return list;
};
const linkTo = (anchor, text) => {
  const link = element("a", text);
  link.href = `#${anchor}`;
  return link;
};
const panel = document.getElementById("record");
const MOST_LISTED = 5;
let asked = null;
const showRecords = async (link) => {
  asked = link;
  const anchors = (link.dataset.records ?? link.hash.slice(1)).split(" "), all = await records();
  if (asked !== link) return;
  const parts = [element("p", anchors.length > 1 ? `From ${anchors.length} records:` : "From one record:", "title")];
  const first = all.get(anchors[0]);
  if (first) {
    parts.push(listOf(first.facts.slice(0, 9)));
    parts.push(listOf(first.environment.slice(0, 2)));
    parts.push(element("p", first.settings.slice(0, 8).map(([n, t]) => `${n} ${t}`).join(", "), "settings"));
  }
  const links = element("p");
  for (const anchor of anchors.slice(0, MOST_LISTED)) links.append(linkTo(anchor, all.get(anchor)?.facts[0][1] ?? anchor), " ");
  if (anchors.length > MOST_LISTED) links.append(`and ${anchors.length - MOST_LISTED} more`);
  panel.replaceChildren(...parts, links);
  panel.hidden = false;
  const box = link.getBoundingClientRect(), size = panel.getBoundingClientRect();
  const left = Math.max(8, Math.min(box.left, document.documentElement.clientWidth - size.width - 8));
  const below = box.bottom + size.height + 8 < innerHeight;
  panel.style.left = `${left}px`;
  panel.style.top = `${below ? box.bottom + 4 : Math.max(8, box.top - size.height - 4)}px`;
};
const hideRecords = () => { asked = null; panel.hidden = true; };
const traced = (event) => event.target.closest?.("a.traced");
let leaving = 0;
document.addEventListener("pointerover", (event) => {
  if (event.pointerType === "touch") return;
  if (event.target.closest("#record")) clearTimeout(leaving);
  const link = traced(event);
  if (link) { clearTimeout(leaving); showRecords(link); }
});
document.addEventListener("pointerout", (event) => {
  if (event.pointerType === "touch") return; // a finger that is lifted has not left
  if (traced(event) || event.target.closest("#record")) leaving = setTimeout(hideRecords, 250);
});
document.addEventListener("focusin", (event) => { if (traced(event)) showRecords(traced(event)); });
document.addEventListener("keydown", (event) => { if (event.key === "Escape") hideRecords(); });
let byTouch = false;
document.addEventListener("pointerdown", (event) => {
  byTouch = event.pointerType === "touch";
  if (!event.target.closest("#record") && !traced(event)) hideRecords();
});
document.addEventListener("click", (event) => {
  const link = traced(event);
  // A tap shows the records, whose links lead on; a click and Enter lead there at once.
  if (link && byTouch) { event.preventDefault(); showRecords(link); } else if (event.target.closest("a")) hideRecords();
});
addEventListener("scroll", () => { if (!panel.hidden && !panel.contains(document.activeElement)) hideRecords(); }, { passive: true });

const openRecord = async (row) => {
  if (!row || row.nextElementSibling?.classList.contains("facts")) return;
  const found = (await records()).get(row.id);
  if (!found) return;
  const facts = element("tr", "", "facts"), cell = element("td");
  cell.colSpan = row.cells.length;
  cell.append(listOf(found.facts), element("p", "Where", "title"), listOf(found.environment), element("p", "Settings", "title"), listOf(found.settings));
  facts.append(cell);
  row.after(facts);
};
