// Every part against the chosen tokens: psi ± error, sortable by part or by any token.

const sorting = { column: -1, way: 1 };
const MOST_ROWS = 400;

/** Parts in the order that is asked for. */
function sortedParts(columns) {
  const places = parts.names.map((_, part) => part);
  const token = columns[sorting.column];
  if (token === undefined) return sorting.way > 0 ? places : places.reverse();
  const value = (part) => psi(chosen.frame, part, token);
  const key = places.map((part) => (Number.isNaN(value(part)) ? Infinity : sorting.way * value(part)));
  return places.sort((a, b) => key[a] - key[b]);
}

/** A heading that sorts. */
function sortHead(column, content) {
  const box = element("th", column < 0 ? "" : "number", "", { scope: "col", "aria-sort": sorting.column !== column ? "none" : sorting.way > 0 ? "ascending" : "descending" });
  const button = element("button", "", "", { type: "button", "data-column": column, title: column < 0 ? "Sort as in the model" : "Sort by ψ of this token: most expressed first" });
  button.append(content, element("span", "arrow", sorting.column !== column ? "" : sorting.way > 0 ? " ▲" : " ▼"));
  button.addEventListener("click", () => {
    sorting.way = sorting.column === column ? -sorting.way : 1;
    sorting.column = column;
    drawToken();
    document.querySelector(`#token th button[data-column="${column}"]`)?.focus();
  });
  box.append(button);
  return box;
}

/** Power of ten in which the whole table is written: that of its largest value. */
function tablePower(columns) {
  let most = 0;
  for (const token of columns) parts.names.forEach((_, part) => { most = Math.max(most, Math.abs(psi(chosen.frame, part, token)) || 0); });
  const power = most > 0 ? Math.floor(Math.log10(most)) : 0;
  return power >= -2 && power < 4 ? 0 : power;
}

/** One cell: psi ± error in a power of ten, coloured like the map; faint within two errors. */
function psiCell(part, token, power) {
  const value = psi(chosen.frame, part, token), error = errorOf(chosen.frame, part, token), unit = 10 ** power;
  const digits = Number.isFinite(error) ? Math.max(0, Math.min(6, 1 - Math.floor(Math.log10(error / unit)))) : 3;
  const text = Number.isNaN(value) ? "not read" : `${fixed(value / unit, digits)} ± ${Number.isFinite(error) ? fixed(error / unit, digits) : "?"}`;
  const box = element("td", "number", text, { "data-part": part });
  if (!Number.isFinite(value)) return box;
  const share = Math.min(1, Math.abs(value) / spread(chosen.frame, part).scale);
  const weak = !(Math.abs(errorsAway(part, token)) >= 2);
  if (weak) box.classList.add("weak");
  box.style.setProperty("--share", `${Math.round(100 * share)}%`);
  box.classList.add(value < 0 ? "neg" : "pos");
  box.title = `${parts.short[part]}: ${verdict(part, token)}`;
  return box;
}

/** The table of parts and tokens. */
function headsTable(columns) {
  const table = element("table", columns.length > 2 ? "heads tight" : "heads"), head = element("tr"), power = tablePower(columns);
  head.append(sortHead(-1, `${columns.length > 2 ? "" : "ψ, "}${power ? `${powerOfTen(power)} ` : ""}nats²`), ...columns.map((token, k) => sortHead(k, tokenText(token))));
  const body = element("tbody");
  for (const part of sortedParts(columns).slice(0, MOST_ROWS)) {
    const line = element("tr", part === colouredPart() ? "chosen" : ""), name = element("th", "", "", { scope: "row" });
    const button = element("button", "", parts.short[part], { type: "button", title: `Colour the map by ${parts.names[part]}` });
    button.addEventListener("click", () => choose("colour", `psi:${part}`));
    name.append(button);
    line.append(name, ...columns.map((token) => psiCell(part, token, power)));
    body.append(line);
  }
  table.append(element("thead"), body);
  table.tHead.append(head);
  return table;
}
