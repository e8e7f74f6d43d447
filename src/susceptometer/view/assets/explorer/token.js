// One token: its text made visible, its place, what it is; the tip under the pointer and the pane of the chosen one.

const UNSEEN = /[\u0080-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\ufff9-\ufffb]/g;

/** A string with everything that cannot be seen made visible: control characters, direction marks, line ends. */
function shown(text, { spaces = true } = {}) {
  const marked = text
    .replace(/\r\n|\n|\r/g, (end) => (end === "\r" ? "␍" : "↵"))
    .replace(/\t/g, "⇥")
    .replace(/[\u0000-\u001f]/g, (letter) => String.fromCharCode(0x2400 + letter.charCodeAt(0)))
    .replace(/\u007f/g, "␡")
    .replace(UNSEEN, (letter) => `⟨${letter.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`);
  return spaces ? marked.replaceAll(" ", "␣") : marked.replace(/ {2,}/g, (run) => "␣".repeat(run.length));
}

/** A token's own string, isolated from the direction of its surroundings. */
function tokenText(token, name = "word") {
  return element("bdi", name, shown(wordOf(token)) || "∅");
}

/** A token in its row: some letters before, the token marked, some after. */
function context(token, lettersBefore, lettersAfter) {
  const box = element("span", "context"), row = rowOf[token];
  let before = "", after = "", first = token, last = token + 1;
  while (first > rowStart[row] && before.length < lettersBefore) before = wordOf(--first) + before;
  while (last < rowEnd(row) && after.length < lettersAfter) after += wordOf(last++);
  box.append(
    element("bdi", "", (first > rowStart[row] ? "…" : "") + shown(before, { spaces: false })),
    tokenText(token, "here"),
    element("bdi", "", shown(after, { spaces: false }) + (last < rowEnd(row) ? "…" : "")),
  );
  return box;
}

/** "psi of a part ± error" of the frame on show. */
const psiText = (part, token) => withError(psi(chosen.frame, part, token), errorOf(chosen.frame, part, token));

/** Number of standard errors from zero; NaN where unknown. */
const errorsAway = (part, token) => psi(chosen.frame, part, token) / errorOf(chosen.frame, part, token);

/** What psi means, with regard to its error. */
function verdict(part, token) {
  const z = errorsAway(part, token);
  if (!Number.isFinite(z)) return "no error is known";
  const away = `${fixed(Math.abs(z), 1)} errors from zero`;
  return Math.abs(z) < 2 ? `${away}: not told from chance` : `${away}: ${z < 0 ? "expression" : "suppression"}`;
}

const placeText = (token) => `${tokens.probes[tokens.probe[token]]}, row ${tokens.row[token]}, position ${tokens.position[token]}`;
const patternsOf = (token) => tokens.patterns.filter((_, k) => (tokens.flags[token] >>> k) & 1);
const clusterOf = (token) => (clusters ? clusters.label[token] : -1);
const clusterName = (k) => (k < 0 ? "main body" : `cluster ${k}: ${clusters.names[k]}`);

/** The part that words about one token speak of: the coloured one, else the one farthest from zero in errors. */
function spokenPart(token) {
  const part = colouredPart();
  if (part >= 0) return part;
  let best = 0, most = -1;
  for (let k = 0; k < parts.names.length; k += 1) {
    const z = Math.abs(errorsAway(k, token));
    if (z > most) { most = z; best = k; }
  }
  return best;
}

/** Names and values as a list. */
function facts(entries) {
  const list = element("dl", "facts-small");
  for (const [name, value] of entries) {
    const box = element("dd");
    box.append(value);
    list.append(element("dt", "", name), box);
  }
  return list;
}

/** What a token is, whatever the parts do. */
function kindFacts(token) {
  const entries = [["patterns", patternsOf(token).join(", ")]];
  if (clusters) entries.push(["cluster", clusterName(clusterOf(token))]);
  entries.push(["place", placeText(token)]);
  return [...entries, ["loss", `${fixed(frames[chosen.frame].loss[token], 3)} nats`]];
}

/** psi of the part spoken of, and what it means. */
function psiFacts(token) {
  const part = spokenPart(token);
  return [[`ψ ${parts.short[part]}`, `${psiText(part, token)} nats²`], ["", verdict(part, token)]];
}

/** The tip beside the hovered token. */
function drawTip() {
  const tip = $("tip"), token = chosen.token;
  tip.hidden = token < 0;
  if (token < 0) return;
  tip.replaceChildren(context(token, 70, 30), facts([...psiFacts(token), ...kindFacts(token)]));
  tip.dataset.token = token;
  const [x, y] = screenOf(token), wide = tip.offsetWidth, high = tip.offsetHeight;
  const left = x + 18 + wide < view.wide ? x + 18 : Math.max(4, x - 18 - wide);
  const top = y + 14 + high < view.high ? y + 14 : Math.max(4, y - 14 - high);
  tip.style.transform = `translate(${Math.max(4, Math.min(left, view.wide - wide - 4))}px, ${top}px)`;
}

/** The pane of the pinned token, or of the hovered one while none is pinned. */
function drawToken() {
  const pane = $("token"), token = chosen.pins.length ? chosen.pins.at(-1) : chosen.token;
  if (token < 0) {
    pane.replaceChildren(element("h2", "", "Token"), element("p", "empty", "Point at a token to see how every part answers it. Click pins it; Ctrl and click puts another beside it."));
    delete pane.dataset.token;
    return;
  }
  const head = element("h2");
  head.append(chosen.pins.length ? "Pinned token " : "Token ", tokenText(token));
  const table = headsTable(chosen.pins.length ? chosen.pins : [token]);
  pane.replaceChildren(head, context(token, 110, 60), facts(kindFacts(token)), table);
  pane.dataset.token = token;
  pane.setAttribute("aria-live", chosen.pins.length ? "polite" : "off");
}

/** Pin a token, beside the others or alone; a pinned one alone is let go. */
function pin(token, beside = false) {
  const has = chosen.pins.includes(token);
  if (beside) choose("pins", has ? chosen.pins.filter((other) => other !== token) : [...chosen.pins, token].slice(-3));
  else choose("pins", has && chosen.pins.length === 1 ? [] : [token]);
}
