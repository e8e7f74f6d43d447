// Pointer and keyboard on the map: hover, click, drag, wheel, lasso, arrow keys.

const drag = { active: false, moved: false, lasso: false, x: 0, y: 0 };

/** Pin a token and bring it into view. */
function goTo(token) {
  const [x, y] = screenOf(token);
  if (x < 20 || y < 20 || x > view.wide - 20 || y > view.high - 20) { view.x = places[2 * token]; view.y = places[2 * token + 1]; }
  choose("pins", [token]);
  draw();
}

/** The pointer's place on the canvas. */
function pointer(event) {
  const box = $("over").getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
}

/** Begin to move the map or to draw a lasso. */
function begin(event) {
  if (event.button) return;
  const [x, y] = pointer(event);
  Object.assign(drag, { active: true, moved: false, lasso: chosen.tool === "lasso" || event.shiftKey, x, y });
  lasso.points = drag.lasso ? [[x, y]] : [];
  $("over").setPointerCapture(event.pointerId);
}

/** Hover, move, or go on with the lasso. */
function move(event) {
  const [x, y] = pointer(event);
  if (!drag.active) { choose("token", tokenAt(x, y)); return; }
  if (Math.hypot(x - drag.x, y - drag.y) > 3) drag.moved = true;
  if (!drag.moved) return;
  choose("token", -1);
  if (drag.lasso) {
    const last = lasso.points.at(-1);
    if (Math.hypot(x - last[0], y - last[1]) > 2) lasso.points.push([x, y]);
    draw(false);
    return;
  }
  view.x -= (x - drag.x) / view.scale;
  view.y += (y - drag.y) / view.scale;
  drag.x = x;
  drag.y = y;
  draw();
}

/** End of a drag or a click. */
function end(event) {
  if (!drag.active) return;
  drag.active = false;
  const [x, y] = pointer(event);
  if (drag.lasso && lasso.points.length > 2) {
    const polygon = lasso.points.map(([px, py]) => placeAt(px, py));
    select(tokenSet("Lasso", tokensInside(polygon), { source: "lasso", polygon }));
  } else if (!drag.moved) {
    const token = tokenAt(x, y);
    if (token >= 0) pin(token, event.ctrlKey || event.metaKey);
    else choose("pins", []);
  }
  lasso.points = [];
  draw(false);
}

/** Keys: arrows go through the text, Enter pins, + and − zoom, Escape clears. */
function key(event) {
  const from = chosen.pins.length ? chosen.pins.at(-1) : chosen.token;
  const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step) goTo(from < 0 ? 0 : Math.max(0, Math.min(count - 1, from + step)));
  else if (event.key === "Enter" && chosen.token >= 0) pin(chosen.token);
  else if (event.key === "+" || event.key === "=") zoom(1.4);
  else if (event.key === "-") zoom(1 / 1.4);
  else if (event.key === "0") { fitView(); draw(); }
  else if (event.key === "Escape") { choose("pins", []); choose("token", -1); select(null); }
  else return;
  event.preventDefault();
}

/** Zoom about the middle. */
function zoom(factor) {
  zoomAt(view.wide / 2, view.high / 2, factor);
  draw();
}

/** Listen to pointer, wheel, keys and tools. */
function showGestures() {
  const area = $("over");
  area.addEventListener("pointerdown", begin);
  area.addEventListener("pointermove", move);
  area.addEventListener("pointerup", end);
  area.addEventListener("pointercancel", () => { drag.active = false; lasso.points = []; draw(false); });
  area.addEventListener("pointerleave", () => { if (!drag.active) choose("token", -1); });
  area.addEventListener("wheel", (event) => {
    event.preventDefault();
    const [x, y] = pointer(event);
    zoomAt(x, y, Math.exp(-event.deltaY * (event.deltaMode ? 0.03 : 0.0016)));
    draw();
    drawTip();
  }, { passive: false });
  area.addEventListener("keydown", key);
  $("zoom-in").addEventListener("click", () => zoom(1.4));
  $("zoom-out").addEventListener("click", () => zoom(1 / 1.4));
  $("fit").addEventListener("click", () => { fitView(); draw(); });
  $("clear").addEventListener("click", () => select(null));
  for (const tool of ["move", "lasso"]) $(`tool-${tool}`).addEventListener("click", () => choose("tool", tool));
  on("tool", () => {
    for (const tool of ["move", "lasso"]) $(`tool-${tool}`).setAttribute("aria-pressed", chosen.tool === tool);
    area.dataset.tool = chosen.tool;
  });
}
