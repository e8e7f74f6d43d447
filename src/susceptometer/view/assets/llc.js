// Learning coefficients: bars with error bars, coloured by layer, that choose the part the text is read through.

const LLC = { wide: 1180, high: 300, left: 46, right: 10, top: 22, bottom: 62 };

/** Order of the bars. */
function llcOrder() {
  const order = parts.names.map((_, part) => part);
  return $("llc-order").value === "value" ? order.sort((a, b) => parts.llc[b] - parts.llc[a]) : order;
}

/** Draw the chart anew. */
function drawLlc() {
  const low = Math.min(0, ...parts.names.map((_, k) => parts.llc[k] - parts.llcError[k]));
  const high = Math.max(1e-9, ...parts.names.map((_, k) => parts.llc[k] + parts.llcError[k]));
  const marks = ticks(low, high);
  const span = LLC.high - LLC.top - LLC.bottom;
  const up = (value) => LLC.top + span * (1 - (value - marks[0]) / (marks.at(-1) - marks[0]));
  const wide = Math.max(LLC.wide, LLC.left + LLC.right + 26 * parts.names.length);
  const picture = shape("svg", { viewBox: `0 0 ${wide} ${LLC.high}`, role: "group", "aria-label": "Learning coefficient of each part" });
  for (const mark of marks) {
    picture.append(shape("line", { class: mark === 0 ? "base" : "grid", x1: LLC.left, x2: wide - LLC.right, y1: up(mark), y2: up(mark) }));
    picture.append(shape("text", { x: LLC.left - 8, y: up(mark) + 4, "text-anchor": "end" }, tickText(mark, marks)));
  }
  const room = (wide - LLC.left - LLC.right) / parts.names.length;
  llcOrder().forEach((part, place) => picture.append(llcBar(part, LLC.left + room * place, room, up)));
  $("llc-chart").replaceChildren(picture);
  markLlc();
}

/** A tick's number, with as many decimals as the ticks need. */
function tickText(mark, marks) {
  const digits = Math.max(0, -Math.floor(Math.log10(marks[1] - marks[0]) + 1e-9));
  return digits > 5 ? plain(mark) : fixed(mark, (marks[1] - marks[0]) % 10 ** -digits > 1e-12 ? digits + 1 : digits);
}

/** One bar with its whisker, name and value. */
function llcBar(part, x, room, up) {
  const value = parts.llc[part], error = parts.llcError[part];
  const middle = x + room / 2, half = Math.min(17, room * 0.32);
  const label = `${parts.short[part]}: λ̂ = ${withError(value, error)}`;
  const group = shape("g", { class: "part", "data-part": part });
  const status = (payload.diagnostics.find((row) => row.component === parts.names[part]) || {}).status;
  if (status === "sick") group.classList.add("sick");
  const top = Math.min(up(0), up(value));
  group.append(
    shape("rect", { x, y: LLC.top, width: room, height: LLC.high - LLC.top, fill: "transparent" }),
    shape("rect", { class: `bar-shape layer-${layer(parts.names[part]) % 4}`, x: middle - half, y: top, width: 2 * half, height: Math.max(1, Math.abs(up(value) - up(0))), rx: 4 }),
    whisker(middle, up(value - error), up(value + error)),
    shape("text", { class: "value", x: middle, y: up(value + error) - 7, "text-anchor": "middle" }, plain(value)),
    llcName(part, middle, room),
    shape("title", {}, label),
  );
  pressable(group, label, () => choose("part", part));
  return group;
}

/** A vertical error bar with end caps. */
function whisker(x, low, high) {
  return shape("path", { class: "whisker", fill: "none", d: `M${x - 4} ${low}H${x + 4}M${x} ${low}V${high}M${x - 4} ${high}H${x + 4}` });
}

/** A part's name under its bar, slanted where there is little room. */
function llcName(part, x, room) {
  const y = LLC.high - LLC.bottom + 20;
  const slant = room < 74;
  const place = slant ? { x, y, transform: `rotate(-42 ${x} ${y})`, "text-anchor": "end" } : { x, y, "text-anchor": "middle" };
  return shape("text", { class: "name", ...place }, parts.short[part]);
}

/** Mark the chosen part's bar. */
function markLlc() {
  for (const group of document.querySelectorAll("#llc-chart g.part")) {
    group.classList.toggle("chosen", Number(group.dataset.part) === chosen.part);
  }
}

/** Draw now and whenever order or choice change. */
function showLlc() {
  drawLlc();
  $("llc-order").addEventListener("change", drawLlc);
  on("part", markLlc);
}
