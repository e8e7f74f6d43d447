// The text, token by token. Rows are built when they come near the view, so that tens of thousands stay smooth.

const rowsOfText = [];
const built = new Map();
let watcher = null;

/** Runs of tokens that share a probe and a row: [{probe, row, first, last}]. */
function findRows() {
  for (let token = 0; token < tokens.text.length; token += 1) {
    const current = rowsOfText.at(-1);
    if (current && current.probe === tokens.probe[token] && current.row === tokens.row[token]) current.last = token;
    else rowsOfText.push({ probe: tokens.probe[token], row: tokens.row[token], first: token, last: token });
  }
}

/** The row that holds a token, by bisection. */
function rowOf(token) {
  let low = 0, high = rowsOfText.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (rowsOfText[middle].first <= token) low = middle; else high = middle - 1;
  }
  return low;
}

/** Classes of a token for what is chosen now. */
function tokenClass(token) {
  const value = psi(chosen.part, token);
  if (!Number.isFinite(value)) return "t faint";
  const names = ["t"];
  if (Math.abs(errors(chosen.part, token)) >= chosen.fade) names.push(tint(value, parts.spread[chosen.part].scale));
  else names.push("faint");
  if (chosen.pattern >= 0 && !patterns.flags[chosen.pattern][token]) names.push("dim");
  if (matches.set.has(token)) names.push("found");
  if (token === chosen.token) names.push(chosen.pinned ? "pinned" : "here");
  return names.filter(Boolean).join(" ");
}

/** A token's span; line breaks and tabs get a visible mark. */
function tokenSpan(token) {
  const text = tokens.text[token];
  const span = element("span", tokenClass(token), "", { "data-token": token });
  for (const piece of text.split(/(\r?\n|\t)/)) {
    if (/^(\r?\n|\t)$/.test(piece)) span.append(element("span", "mark", piece === "\t" ? "⇥" : "↵"), piece);
    else if (piece) span.append(piece);
  }
  return span;
}

/** Fill a row's paragraph with its tokens. */
function build(place) {
  if (built.has(place)) return;
  const { first, last } = rowsOfText[place];
  const spans = [];
  for (let token = first; token <= last; token += 1) spans.push(tokenSpan(token));
  const paragraph = $("tokens").querySelector(`[data-place="${place}"]`);
  paragraph.replaceChildren(...spans);
  paragraph.style.minHeight = "";
  built.set(place, spans);
}

/** Lay out the rows of the chosen probe, unbuilt. */
function layRows() {
  built.clear();
  watcher?.disconnect();
  watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) build(Number(entry.target.dataset.place));
  }, { root: $("tokens"), rootMargin: "900px" });
  const laid = [];
  rowsOfText.forEach((row, place) => {
    if (chosen.probe >= 0 && row.probe !== chosen.probe) return;
    if (!place || rowsOfText[place - 1].probe !== row.probe) laid.push(element("h3", "", tokens.probes[row.probe]));
    const letters = tokens.text.slice(row.first, row.last + 1).reduce((sum, text) => sum + text.length + 24 * (text === "\n"), 0);
    const paragraph = element("p", "row", "", { "data-place": place, "data-row": row.row });
    paragraph.style.minHeight = `${18 + 25 * Math.ceil(letters / 80)}px`;
    laid.push(paragraph);
    watcher.observe(paragraph);
  });
  $("tokens").replaceChildren(...laid);
  $("tokens").scrollTop = 0;
}

/** Recolour every row that is built. */
function recolour() {
  for (const spans of built.values()) for (const span of spans) span.className = tokenClass(Number(span.dataset.token));
}

/** The span of a token, built if needed; null when its probe is hidden. */
function spanOf(token) {
  const place = rowOf(token);
  if (!$("tokens").querySelector(`[data-place="${place}"]`)) return null;
  build(place);
  return built.get(place)[token - rowsOfText[place].first];
}

/** Make a token current and bring it into view. */
function goTo(token, pin = true) {
  if (chosen.probe >= 0 && tokens.probe[token] !== chosen.probe) { $("probe").value = "-1"; choose("probe", -1); }
  point(token, pin);
  spanOf(token)?.scrollIntoView({ block: "center" });
}

/** Make a token current. */
function point(token, pin) {
  const before = chosen.token;
  chosen.pinned = pin;
  chosen.token = -2;
  choose("token", token);
  for (const place of [before, token]) if (place >= 0) { const span = spanOf(place); if (span) span.className = tokenClass(place); }
}

/** Move by keyboard. */
function step(event) {
  const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (by) {
    event.preventDefault();
    const next = Math.min(tokens.text.length - 1, Math.max(0, chosen.token + by));
    point(next, true);
    spanOf(next)?.scrollIntoView({ block: "nearest" });
  }
  if (event.key === "Escape") point(-1, false);
}

/** Fill the text and listen. */
function showText() {
  findRows();
  layRows();
  const area = $("tokens");
  const under = (event) => event.target.closest?.("[data-token]");
  area.addEventListener("pointerover", (event) => {
    const span = under(event);
    if (span && !chosen.pinned) point(Number(span.dataset.token), false);
  });
  area.addEventListener("click", (event) => {
    const span = under(event);
    if (!span) return;
    const token = Number(span.dataset.token);
    point(token, !(chosen.pinned && chosen.token === token));
  });
  area.addEventListener("keydown", step);
  on("part pattern fade", recolour);
  on("probe", layRows);
}
