// Toolbar, legend, theme; then everything is shown.

/** Fill a select with numbered options. */
function fill(select, names, first) {
  if (first) select.append(new Option(first, "-1"));
  names.forEach((name, k) => select.append(new Option(name, String(k))));
}

/** Tie a select to a choice, both ways. */
function tie(id, name) {
  $(id).addEventListener("change", () => choose(name, Number($(id).value)));
  on(name, () => { $(id).value = String(chosen[name]); });
}

/** The colour scale of the chosen part in words and numbers. */
function drawLegend() {
  const { scale } = parts.spread[chosen.part];
  const ramp = element("span", "ramp", "", { "aria-hidden": "true" });
  for (let level = -8; level <= 8; level += 1) ramp.append(element("i", tint(level, 8)));
  const left = element("span");
  left.append(element("b", "neg", "expression"), ` ψ ≤ −${plain(scale)}`);
  const right = element("span");
  right.append(`ψ ≥ ${plain(scale)} `, element("b", "pos", "suppression"));
  const aside = element("span", "", chosen.fade ? `uncoloured: within ${chosen.fade} errors of zero` : "");
  $("legend").replaceChildren(left, ramp, right, aside);
}

/** Light or dark: the reader's system decides until the button is pressed. */
function showTheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const set = (name) => { document.documentElement.dataset.theme = name; };
  set(dark.matches ? "dark" : "light");
  dark.addEventListener("change", () => set(dark.matches ? "dark" : "light"));
  $("theme").addEventListener("click", () => set(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
}

/** Show everything, tools first. */
function show() {
  showTheme();
  showHeader();
  fill($("part"), parts.short);
  fill($("probe"), tokens.probes, "all");
  fill($("pattern"), patterns.names, "all tokens");
  tie("part", "part");
  tie("probe", "probe");
  tie("pattern", "pattern");
  tie("fade", "fade");
  $("part").value = String(chosen.part);
  const turnPart = (by) => choose("part", (chosen.part + by + parts.names.length) % parts.names.length);
  $("part-back").addEventListener("click", () => turnPart(-1));
  $("part-next").addEventListener("click", () => turnPart(1));
  drawLegend();
  on("part fade", drawLegend);
  for (const view of [showLlc, showText, showCard, showStrongest, showSearch, showTable, showDiagnostics, showFooter]) view();
}

show();
