// The card of one token: its loss, chi with error, patterns, and how every part answers it.

/** The words that say what a value means. */
function verdict(part, token) {
  const z = errors(part, token);
  if (!Number.isFinite(z)) return "The first token of a row is read, not predicted: it has no loss.";
  const size = `${fixed(Math.abs(z), 1)} standard errors from zero`;
  if (Math.abs(z) < 2) return `${size}: not told apart from chance.`;
  return z < 0 ? `Expression: this part works for the token. ${size}.` : `Suppression: this part works against the token. ${size}.`;
}

/** Show the current token. */
function drawCard() {
  const token = chosen.token, card = $("card");
  if (token < 0) {
    card.replaceChildren(element("p", "empty", "Point at a token to see its loss, its χ with error, and how every part answers it."));
    return;
  }
  const part = chosen.part, error = parts.error[part][token];
  const list = element("dl");
  const entry = (name, value) => list.append(element("dt", "", name), element("dd", "", value));
  entry("loss", Number.isFinite(tokens.loss[token]) ? `${fixed(tokens.loss[token], 3)} nats` : "–");
  entry("χ", withError(parts.chi[part][token], error));
  entry("ψ", withError(psi(part, token), error));
  entry("place", `${tokens.probes[tokens.probe[token]]}, row ${tokens.row[token]}, ${tokens.position[token]}`);
  const chips = element("div", "chips");
  patterns.names.forEach((name, k) => patterns.flags[k][token] && chips.append(element("span", "", name)));
  const head = element("div");
  head.append(element("span", "token", visible(tokens.text[token])));
  card.replaceChildren(head, context(token, 60), chips, element("h3", "", parts.short[part]), list,
    element("p", "verdict", verdict(part, token)), element("h3", "", "ψ of every part, in its own units"), profile(token));
  card.dataset.shown = token;
}

/** A token with the text before it. */
function context(token, letters) {
  const box = element("div", "context");
  const { first } = rowsOfText[rowOf(token)];
  let before = "";
  for (let k = token - 1; k >= first && before.length < letters; k -= 1) before = tokens.text[k] + before;
  box.append("…" + before.replaceAll("\n", "↵"), element("b", "", visible(tokens.text[token]).replaceAll("␣", " ")));
  return box;
}

/** Bars of psi over all parts, each in standard deviations of that part over tokens. */
function profile(token) {
  const line = 15, wide = 312, left = 96, right = 6;
  const unit = parts.names.map((_, part) => psi(part, token) / parts.spread[part].sd);
  const most = Math.max(1, ...unit.map(Math.abs).filter(Number.isFinite)) * 1.15;
  const across = (value) => left + ((wide - left - right) * (Math.max(-most, Math.min(most, value)) / most + 1)) / 2;
  const picture = shape("svg", { class: "profile", viewBox: `0 0 ${wide} ${line * parts.names.length + 16}`, width: "100%" });
  picture.append(shape("line", { class: "zero", x1: across(0), x2: across(0), y1: 0, y2: line * parts.names.length }));
  parts.names.forEach((_, part) => picture.append(profileBar(part, token, unit[part], across, line * part, line)));
  picture.append(shape("text", { x: across(-most * 0.98), y: line * parts.names.length + 12 }, "← expression"));
  picture.append(shape("text", { x: across(most * 0.98), y: line * parts.names.length + 12, "text-anchor": "end" }, "suppression →"));
  return picture;
}

/** One part's bar in the profile. */
function profileBar(part, token, value, across, y, line) {
  const error = parts.error[part][token] / parts.spread[part].sd;
  const group = shape("g", { class: Math.abs(value) < 2 * error ? "weak" : "" });
  const low = Math.min(across(0), across(value));
  group.append(shape("text", { x: 90, y: y + 11, "text-anchor": "end", class: part === chosen.part ? "chosen" : "" }, parts.short[part]));
  if (Number.isFinite(value)) {
    group.append(
      shape("rect", { class: value < 0 ? "neg" : "pos", x: low, y: y + 3, height: line - 6, width: Math.max(0.5, Math.abs(across(value) - across(0))), rx: 2 }),
      shape("path", { class: "whisker", d: `M${across(value - error)} ${y + line / 2}H${across(value + error)}` }),
    );
  }
  group.append(shape("title", {}, `${parts.short[part]}: ψ = ${withError(psi(part, token), parts.error[part][token])}`));
  group.addEventListener("click", () => choose("part", part));
  return group;
}

/** Draw now and whenever token or part change. */
function showCard() {
  drawCard();
  on("token part", drawCard);
}
