// What a reader chose stands in the address: #anchor?key=value, so a link brings it back.
const state = { anchor: "", chosen: new URLSearchParams() };
const readAddress = () => {
  const [anchor, query] = location.hash.slice(1).split("?");
  state.anchor = anchor;
  if (query !== undefined) state.chosen = new URLSearchParams(query);
};
const writeAddress = () => {
  const query = state.chosen.toString();
  history.replaceState(null, "", `#${state.anchor}${query ? `?${query}` : ""}`);
};
const choose = (key, value) => {
  if (value) state.chosen.set(key, value);
  else state.chosen.delete(key);
  writeAddress();
};
const say = (text) => { document.getElementById("said").textContent = text; };

// Packed parts: base64 of gzip. What they hold was escaped when the page was made.
const unpack = async (place) => {
  const bytes = Uint8Array.from(atob(packedParts[place]), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
};
const unfold = async (details) => {
  const place = details.dataset.packed;
  if (place === undefined) return;
  delete details.dataset.packed;
  const text = await unpack(Number(place));
  const part = document.createElement("template");
  part.innerHTML = text;
  for (const old of [...details.children].slice(1)) old.remove();
  details.append(part.content);
  prepare(details);
};
