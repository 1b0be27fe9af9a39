// The page is complete without these scripts, but for what is packed; that is in files beside it.
const themes = ["auto", "light", "dark"];
const themeButton = document.getElementById("theme");
const applyTheme = () => {
  const theme = state.chosen.get("theme") ?? "auto";
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  themeButton.textContent = `Theme: ${theme}`;
};
themeButton.addEventListener("click", () => {
  const next = themes[(themes.indexOf(state.chosen.get("theme") ?? "auto") + 1) % themes.length];
  choose("theme", next === "auto" ? "" : next);
  applyTheme();
});
const searchBox = document.getElementById("search");
let typed = 0;
searchBox.addEventListener("input", () => {
  clearTimeout(typed);
  typed = setTimeout(() => search(searchBox.value.trim()), 150);
});
document.getElementById("methods-shown")?.addEventListener("change", () => {
  const boxes = [...document.querySelectorAll("#methods-shown input")];
  choose("hide", boxes.filter((box) => !box.checked).map((box) => box.value).join("\n"));
  showAll();
  say(`${boxes.filter((box) => box.checked).length} of ${boxes.length} methods shown`);
});
document.getElementById("all-methods")?.addEventListener("click", () => {
  choose("hide", "");
  showAll();
  say("All methods shown");
});
for (const details of document.querySelectorAll("details[data-packed]")) {
  details.addEventListener("toggle", () => { if (details.open) unfold(details); });
}
document.addEventListener("click", (event) => {
  const row = event.target.closest("#fold-records tbody tr[id]");
  if (row && !event.target.closest("a")) openRecord(row);
});

// An anchor may stand in a folded or packed part.
const goTo = async () => {
  if (!state.anchor) return;
  if (state.anchor.startsWith("cell-")) {
    const table = document.getElementById("fold-records");
    if (table) { await unfold(table); table.open = true; }
  }
  let target = document.getElementById(state.anchor);
  if (!target) {
    for (const details of document.querySelectorAll("details[data-packed]")) {
      await unfold(details);
      target = document.getElementById(state.anchor);
      if (target) break;
    }
  }
  for (let outer = target?.closest("details"); outer; outer = outer.parentElement.closest("details")) outer.open = true;
  for (const old of document.querySelectorAll(".target")) old.classList.remove("target");
  target?.classList.add("target");
  if (target?.closest("#fold-records")) await openRecord(target);
  target?.scrollIntoView();
};
addEventListener("hashchange", () => {
  readAddress();
  writeAddress();
  goTo();
});
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("main details")) details.open = true;
});
readAddress();
document.getElementById("tools").hidden = false;
applyTheme();
prepare(document);
searchBox.value = state.chosen.get("search") ?? "";
if (searchBox.value) search(searchBox.value);
goTo();
document.documentElement.dataset.ready = "";
