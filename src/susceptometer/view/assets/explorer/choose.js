// Selects and legend: what the map shows and colours, and sets of tokens that come from pressing names.

/** A set of tokens with a name and a mask. */
function tokenSet(name, members, more = {}) {
  const mask = new Uint8Array(count);
  for (const token of members) mask[token] = 1;
  return { name, members, mask, cluster: -1, source: "", ...more };
}

/** The tokens of a class of the current colouring. */
function classSet(kind, k, name, of) {
  const members = [];
  for (let token = 0; token < count; token += 1) if (of[token] === k) members.push(token);
  return tokenSet(name, members, { source: `${kind}:${k}`, cluster: kind === "cluster" ? k : -1 });
}

const clusterSet = (k) => classSet("cluster", k, clusterName(k), clusters.label);

/** Select tokens, or nothing; whatever made the last selection is emptied. */
function select(set) {
  if (!set || set.source !== "search") clearSearch();
  choose("selection", set);
}

/** Options of a select, in named groups. */
function fill(select, groups) {
  for (const [label, options] of groups) {
    const home = label ? document.createElement("optgroup") : select;
    if (label) { home.label = label; select.append(home); }
    for (const [value, text] of options) home.append(new Option(text, value));
  }
}

/** Tie a select to a choice, both ways. */
function tie(id, name, read = String) {
  $(id).addEventListener("change", () => choose(name, read($(id).value)));
  on(name, () => { $(id).value = String(chosen[name]); });
  $(id).value = String(chosen[name]);
}

/** Fill all selects. */
function fillSelects() {
  const each = parts.short.map((name, k) => [k, `ψ ${name}`]), loss = [parts.names.length, "loss"];
  fill($("map"), [["", [...maps.map((map, k) => [k, map.name]), [maps.length, "two parts…"]]]]);
  fill($("axis-x"), [["", [...each, loss]]]);
  fill($("axis-y"), [["", [...each, loss]]]);
  const kinds = [["pattern", "token pattern"], ...(clusters ? [["cluster", "cluster"]] : []), ["domain", "domain (probe)"], ["loss", "loss"]];
  fill($("colour"), [["What the token is", kinds], ["How a part answers it", parts.short.map((name, k) => [`psi:${k}`, `ψ ${name}`])]]);
  chosen.y = parts.names.length > 1 ? 1 : parts.names.length;
  tie("map", "map", Number);
  tie("axis-x", "x", Number);
  tie("axis-y", "y", Number);
  tie("colour", "colour");
  tie("fade", "fade", Number);
  const turn = (by) => {
    const all = [...$("colour").options].map((option) => option.value);
    choose("colour", all[(all.indexOf(chosen.colour) + by + all.length) % all.length]);
  };
  $("colour-back").addEventListener("click", () => turn(-1));
  $("colour-next").addEventListener("click", () => turn(1));
}

/** A ramp of colours. */
function ramp(colourAt) {
  const box = element("span", "ramp", "", { "aria-hidden": "true" });
  for (let k = 0; k < 25; k += 1) {
    const step = element("i");
    step.style.background = css(colourAt(k / 24));
    box.append(step);
  }
  return box;
}

/** The scale of psi in numbers and words. */
function psiLegend(part) {
  const { scale } = spread(chosen.frame, part);
  const low = element("span", "", `≤ −${plain(scale)}`), high = element("span", "", `≥ ${plain(scale)} nats²`);
  return [element("b", "neg", "expression"), low, ramp((share) => psiColour((2 * share - 1) * scale, scale)), high, element("b", "pos", "suppression"),
    element("span", "note", chosen.fade ? `grey: within ${chosen.fade} errors of zero` : "")];
}

/** Names of the classes as buttons that select. */
function classLegend() {
  const { names, of, none, kind } = classes(), size = new Uint32Array(names.length + 1);
  for (let token = 0; token < count; token += 1) size[of[token] + 1] += 1;
  const item = (k, name) => {
    const source = `${kind}:${k}`, pressed = chosen.selection?.source === source;
    const button = element("button", "", "", { type: "button", "aria-pressed": pressed, "data-class": k });
    const dot = element("i");
    dot.style.background = css(k < 0 ? theme.middle : classColour(names[k], k));
    button.append(dot, element("bdi", "", name), element("small", "", whole(size[k + 1])));
    if (kind === "pattern") button.title = tokens.rules[k];
    button.addEventListener("click", () => select(pressed ? null : kind === "cluster" ? clusterSet(k) : classSet(kind, k, `${kind} ${name}`, of)));
    return button;
  };
  const found = names.map((name, k) => (size[k + 1] ? item(k, name) : null)).filter(Boolean);
  return none && size[0] ? [item(-1, none), ...found] : found;
}

/** Draw the legend of the colouring. */
function drawLegend() {
  const part = colouredPart();
  $("fade-label").hidden = part < 0;
  $("legend").classList.toggle("classes", part < 0 && chosen.colour !== "loss");
  if (part >= 0) $("legend").replaceChildren(...psiLegend(part));
  else if (chosen.colour === "loss") $("legend").replaceChildren(element("span", "", "0"), ramp(lossColour), element("span", "", `≥ ${plain(lossTop())} nats`), element("span", "note", "loss at the trained weights"));
  else $("legend").replaceChildren(...classLegend());
}
