// The tokens that the chosen part supports most, and those it works against most.

/** Tokens beyond the fading cut, most extreme first, one of each text. */
function extremes(sign, count) {
  const found = [];
  for (let token = 0; token < tokens.text.length; token += 1) {
    const z = errors(chosen.part, token);
    const shown = chosen.probe < 0 || tokens.probe[token] === chosen.probe;
    const wanted = chosen.pattern < 0 || patterns.flags[chosen.pattern][token];
    if (shown && wanted && sign * z > Math.max(2, chosen.fade)) found.push(token);
  }
  found.sort((a, b) => sign * (psi(chosen.part, b) - psi(chosen.part, a)));
  const seen = new Set();
  return found.filter((token) => !seen.has(tokens.text[token]) && seen.add(tokens.text[token])).slice(0, count);
}

/** One line: context, token, value. */
function strongLine(token) {
  const line = element("button", "", "", { type: "button" });
  const code = element("code");
  const inner = element("bdi");
  const shown = context(token, 34);
  shown.querySelector("b").className = tint(psi(chosen.part, token), parts.spread[chosen.part].scale);
  inner.append(...shown.childNodes, "\u200e"); // the mark keeps trailing spaces at the end of the line
  code.append(inner);
  line.append(code, element("span", "", withError(psi(chosen.part, token), parts.error[chosen.part][token])));
  line.addEventListener("click", () => goTo(token));
  return line;
}

/** Draw both lists. */
function drawStrongest() {
  const list = (title, sign) => {
    const box = element("div", "panel");
    const found = extremes(sign, 8);
    box.append(element("h3", "", title), ...found.map(strongLine));
    if (!found.length) box.append(element("p", "note", "  No token beyond the cut."));
    return box;
  };
  const name = parts.short[chosen.part];
  $("strongest").replaceChildren(list(`Most expressed by ${name}`, -1), list(`Most suppressed by ${name}`, 1));
}

/** Draw now and whenever the choice changes. */
function showStrongest() {
  drawStrongest();
  on("part probe pattern fade", drawStrongest);
}
