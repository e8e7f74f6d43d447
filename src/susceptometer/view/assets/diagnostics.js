// How well the chains did: a table in numbers, words and small traces.

const traces = payload.traces ? { shape: payload.traces.shape, rows: rows(payload.traces) } : null;

/** Loss of every group over the draws, as a small picture. */
function spark(part) {
  const [, groups, draws] = traces.shape;
  const values = traces.rows[part];
  const finite = Array.from(values).filter(Number.isFinite);
  const low = Math.min(...finite), high = Math.max(...finite);
  const picture = shape("svg", { class: "spark", viewBox: "0 0 190 34", role: "img", "aria-label": "loss over the draws, one line per chain group" });
  for (let group = 0; group < groups; group += 1) {
    let path = "";
    for (let draw = 0; draw < draws; draw += 1) {
      const value = values[group * draws + draw];
      if (Number.isFinite(value)) path += `${path ? "L" : "M"}${((190 * draw) / Math.max(1, draws - 1)).toFixed(1)} ${(32 - (30 * (value - low)) / (high - low || 1)).toFixed(1)}`;
    }
    picture.append(shape("path", { d: path, stroke: `hsl(${(205 + (group * 360) / groups) % 360} 55% 52%)` }));
  }
  return picture;
}

/** One row of the table. */
function chainRow(entry) {
  const line = element("tr");
  const part = parts.names.indexOf(entry.component);
  const add = (content, name = "") => {
    const box = element("td", name);
    box.append(content);
    line.append(box);
  };
  add(part >= 0 ? parts.short[part] : entry.component);
  add(element("span", `status ${entry.status}`, entry.status));
  add(Number.isFinite(entry.rhat) ? fixed(entry.rhat, 3) : "–", "number");
  add(whole(entry.ess), "number");
  add(`${entry.groups} × ${entry.draws}`, "number");
  if (traces) add(part >= 0 ? spark(part) : "");
  add(entry.words, "words");
  return line;
}

/** Build the table. */
function showDiagnostics() {
  const table = element("table", "chains");
  const head = element("tr");
  const names = [["part"], ["status"], ["R-hat", "number"], ["effective draws", "number"], ["groups × draws", "number"], ...(traces ? [["loss over the draws"]] : []), ["in words"]];
  head.append(...names.map(([text, name = ""]) => element("th", name, text, { scope: "col" })));
  const body = element("tbody");
  body.append(...payload.diagnostics.map(chainRow));
  table.append(element("thead"), body);
  table.tHead.append(head);
  $("chain-table").replaceChildren(table);
}
