// Heat map of parts and token patterns: mean psi in standard deviations of the part over tokens.

const cells = [];

/** Number of tokens of a pattern. */
const countOf = (pattern) => patterns.flags[pattern].reduce((sum, flag) => sum + flag, 0);

/** What a cell says in words. */
function cellWords(part, pattern) {
  const value = withError(patterns.psi[part][pattern], patterns.error[part][pattern]);
  const unit = patterns.psi[part][pattern] / parts.spread[part].sd;
  return `${parts.short[part]} on ${patterns.names[pattern]} (${countOf(pattern).toLocaleString("en")} tokens: ${patterns.rules[pattern]}): ψ = ${value} nats², ${fixed(unit, 2)} standard deviations.`;
}

/** One cell as a button. */
function cell(part, pattern, scale) {
  const value = patterns.psi[part][pattern] / parts.spread[part].sd;
  const weak = !(Math.abs(patterns.psi[part][pattern]) >= 2 * patterns.error[part][pattern]);
  const button = element("button", weak ? "weak" : tint(value, scale) || (value < 0 ? "n1" : "p1"), Number.isFinite(value) ? fixed(value, 2) : "–",
    { type: "button", title: cellWords(part, pattern), "data-part": part, "data-pattern": pattern });
  const tell = () => { $("pattern-note").textContent = cellWords(part, pattern); };
  button.addEventListener("pointerenter", tell);
  button.addEventListener("focus", tell);
  button.addEventListener("click", () => pickCell(part, pattern));
  cells.push(button);
  const holder = element("td");
  holder.append(button);
  return holder;
}

/** Choose a part and a pattern; the same cell again lets go of the pattern. */
function pickCell(part, pattern) {
  const same = chosen.part === part && chosen.pattern === pattern;
  choose("part", part);
  choose("pattern", same ? -1 : pattern);
}

/** Build the table. */
function showTable() {
  const shown = patterns.names.map((_, k) => k).filter((k) => countOf(k));
  const units = parts.names.flatMap((_, part) => shown.map((k) => Math.abs(patterns.psi[part][k] / parts.spread[part].sd)));
  const scale = Math.max(1e-9, ...units.filter(Number.isFinite));
  const table = element("table", "heat");
  const head = element("tr");
  head.append(element("th", "", "part", { scope: "col" }));
  for (const pattern of shown) {
    const name = element("th", "", patterns.names[pattern], { scope: "col", title: patterns.rules[pattern] });
    name.append(element("small", "", countOf(pattern).toLocaleString("en")));
    head.append(name);
  }
  const body = element("tbody");
  parts.names.forEach((_, part) => body.append(tableRow(part, shown, scale)));
  table.append(element("thead"), body);
  table.tHead.append(head);
  $("pattern-table").replaceChildren(table);
  markTable();
  on("part pattern", markTable);
}

/** One part's row. */
function tableRow(part, shown, scale) {
  const row = element("tr", "", "", { "data-part": part });
  const name = element("th", "", "", { scope: "row" });
  const button = element("button", "", parts.short[part], { type: "button", title: parts.names[part] });
  button.addEventListener("click", () => choose("part", part));
  name.append(button);
  row.append(name, ...shown.map((pattern) => cell(part, pattern, scale)));
  return row;
}

/** Mark the chosen row and cell. */
function markTable() {
  for (const row of document.querySelectorAll("#pattern-table tbody tr")) row.classList.toggle("chosen", Number(row.dataset.part) === chosen.part);
  for (const button of cells) {
    const mine = Number(button.dataset.part) === chosen.part && Number(button.dataset.pattern) === chosen.pattern;
    button.classList.toggle("chosen", mine);
  }
}
