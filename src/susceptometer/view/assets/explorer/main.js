// Everything is shown, tools first.

/** Light or dark: the reader's system decides until the button is pressed. */
function showTheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const set = (name) => { document.documentElement.dataset.theme = name; recolour(); };
  document.documentElement.dataset.theme = dark.matches ? "dark" : "light";
  dark.addEventListener("change", () => set(dark.matches ? "dark" : "light"));
  $("theme").addEventListener("click", () => set(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
}

/** Colours again, then everything that shows them. */
function recolour() {
  colourTokens();
  drawLegend();
  drawTip();
  drawToken();
  draw();
}

/** The canvas fills its stage. */
function resize() {
  const box = $("stage").getBoundingClientRect();
  const factor = Math.min(box.width / view.wide, box.height / view.high);
  Object.assign(view, { wide: Math.max(50, box.width - 2), high: Math.max(50, box.height - 2), scale: view.scale * factor });
  draw();
}

/** Names of the axes, in the corner of the map. */
function labelAxes() {
  const free = chosen.map >= maps.length, name = (axis) => (axis < parts.names.length ? `ψ ${parts.short[axis]}` : "loss");
  $("axes").hidden = !free;
  if (free) { $("axis-label").textContent = `across: ${name(chosen.x)} · up: ${name(chosen.y)}`; return; }
  const pair = maps[chosen.map].name.match(/^pairs (\d+) and (\d+)$/);
  $("axis-label").textContent = pair ? `across: principal pair ${pair[1]} · up: pair ${pair[2]}` : maps[chosen.map].name;
}

/** Another map: new places, new view. */
function changeMap() {
  settle();
  fitView();
  labelAxes();
  drawTip();
  draw();
}

/** The words behind "About these numbers". */
function showAbout() {
  const box = $("about"), close = element("button", "", "Close", { type: "button" }), { middle, worst } = payload.rounding;
  close.addEventListener("click", () => box.close());
  const said = [
    payload.lead,
    `Every ± is one Monte-Carlo standard error between independent chain groups. With ${whole(count)} tokens many pass two errors by chance.`,
    `ψ travels in 16 bits: rounded by at most ${plain(worst)} of a token's own standard error (${plain(middle)} in the middle). Errors are rounded to about 1 %.`,
    clusters && frames.length > 1 ? "Clusters are those of the last checkpoint." : "",
    maps.some((map) => map.name.startsWith("pairs")) ? "Maps of principal pairs: scores of the z-scored ψ on the pairs of the last checkpoint, so a place means the same at every checkpoint." : "",
    maps.some((map) => map.name.startsWith("UMAP")) ? "UMAP: only nearness is meant, not distances or directions; each checkpoint started from its successor." : "",
  ].filter(Boolean);
  box.append(element("h2", "", "About these numbers"), ...said.map((text) => element("p", "", text)));
  for (const note of payload.notes) box.append(element("p", "notice", note));
  box.append(facts(Object.entries(payload.facts)));
  if (payload.command) box.append(element("h3", "", "Made by"), element("code", "", payload.command));
  box.append(close);
  $("about-open").addEventListener("click", () => box.showModal());
  const remarks = $("remarks");
  remarks.hidden = !payload.notes.length;
  remarks.textContent = `${payload.notes.length} remark${payload.notes.length > 1 ? "s" : ""}`;
  remarks.addEventListener("click", () => box.showModal());
}

/** Show everything. */
function show() {
  $("title").textContent = payload.title;
  fillSelects();
  showTheme();
  settle();
  resize();
  fitView();
  labelAxes();
  showTime();
  showSearch();
  showGestures();
  showAbout();
  on("map x y", changeMap);
  on("colour fade", recolour);
  on("colour", drawCard);
  on("frame", () => { recolour(); drawCard(); });
  on("token", () => { drawTip(); if (!chosen.pins.length) drawToken(); draw(false); });
  on("pins", () => { drawToken(); if (!chosen.selection) drawCard(); draw(false); });
  on("selection", () => { $("clear").hidden = !chosen.selection; drawLegend(); drawCard(); draw(); });
  new ResizeObserver(resize).observe($("stage"));
  recolour();
  drawCard();
}

show();
