// Where every token is: places of the chosen map and frame, the view on them, and who is near a point.

let places = new Float32Array(2 * count);
const view = { x: 0.5, y: 0.5, scale: 500, wide: 800, high: 500 };
const grid = { cells: 160, start: null, tokens: null, left: 0, bottom: 0, unit: 1 };

/** Places of a map in a frame, within the unit square: pairs of across and up. */
function placesOf(map, frame) {
  const found = new Float32Array(2 * count);
  if (map < maps.length) {
    const { codes } = maps[map];
    for (let k = 0, from = 2 * count * frame; k < 2 * count; k += 1) found[k] = codes[from + k] / 65535;
    return found;
  }
  [chosen.x, chosen.y].forEach((axis, side) => {
    const [low, high] = axisRange(axis);
    for (let token = 0; token < count; token += 1) {
      const value = axisValue(axis, frame, token);
      found[2 * token + side] = Number.isFinite(value) ? (value - low) / (high - low) : 0.5;
    }
  });
  return found;
}

/** Value of a token on a free axis: psi of a part, or the loss behind the last part. */
const axisValue = (axis, frame, token) => (axis < parts.names.length ? psi(frame, axis, token) : frames[frame].loss[token]);

/** Ends of a free axis over all frames. */
function axisRange(axis) {
  let low = Infinity, high = -Infinity;
  for (let frame = 0; frame < frames.length; frame += 1) {
    for (let token = 0; token < count; token += 1) {
      const value = axisValue(axis, frame, token);
      if (value < low) low = value;
      if (value > high) high = value;
    }
  }
  return high > low ? [low, high] : [low - 1, low + 1];
}

/** Place of a token on the canvas, in CSS pixels. */
function screenOf(token) {
  return [view.wide / 2 + (places[2 * token] - view.x) * view.scale, view.high / 2 - (places[2 * token + 1] - view.y) * view.scale];
}

/** The map's place under a point of the canvas. */
const placeAt = (x, y) => [view.x + (x - view.wide / 2) / view.scale, view.y - (y - view.high / 2) / view.scale];

/** Show all but the farthest tokens. */
function fitView() {
  const ends = [0, 1].map((side) => {
    const sorted = new Float32Array(count);
    for (let token = 0; token < count; token += 1) sorted[token] = places[2 * token + side];
    sorted.sort();
    const tail = Math.floor(0.002 * (count - 1));
    return [sorted[tail], sorted[count - 1 - tail]];
  });
  view.x = (ends[0][0] + ends[0][1]) / 2;
  view.y = (ends[1][0] + ends[1][1]) / 2;
  const across = ends[0][1] - ends[0][0] || 1e-3, up = ends[1][1] - ends[1][0] || 1e-3;
  view.scale = 0.9 * Math.min(view.wide / across, view.high / up);
}

/** Zoom about a point of the canvas. */
function zoomAt(x, y, factor) {
  const [mx, my] = placeAt(x, y);
  view.scale = Math.max(20, Math.min(2e6, view.scale * factor));
  view.x = mx - (x - view.wide / 2) / view.scale;
  view.y = my + (y - view.high / 2) / view.scale;
}

/** Sort tokens into square cells, so that neighbours of a point are found at once. */
function buildGrid() {
  let left = Infinity, right = -Infinity, bottom = Infinity, top = -Infinity;
  for (let k = 0; k < 2 * count; k += 2) {
    left = Math.min(left, places[k]);
    right = Math.max(right, places[k]);
    bottom = Math.min(bottom, places[k + 1]);
    top = Math.max(top, places[k + 1]);
  }
  const { cells } = grid;
  Object.assign(grid, { left, bottom, unit: Math.max(right - left, top - bottom, 1e-9) / cells });
  grid.start = new Uint32Array(cells * cells + 1);
  const cell = new Uint32Array(count);
  for (let token = 0; token < count; token += 1) {
    cell[token] = cellOf(places[2 * token], places[2 * token + 1]);
    grid.start[cell[token] + 1] += 1;
  }
  for (let k = 0; k < cells * cells; k += 1) grid.start[k + 1] += grid.start[k];
  const free = grid.start.slice();
  grid.tokens = new Uint32Array(count);
  for (let token = 0; token < count; token += 1) grid.tokens[free[cell[token]]++] = token;
}

const clampCell = (k) => Math.max(0, Math.min(grid.cells - 1, Math.floor(k)));
const cellOf = (x, y) => clampCell((y - grid.bottom) / grid.unit) * grid.cells + clampCell((x - grid.left) / grid.unit);

/** The token nearest to a point of the canvas, within some pixels; −1 if none. Selected ones come first. */
function tokenAt(x, y, pixels = 9) {
  const [mx, my] = placeAt(x, y), reach = pixels / view.scale;
  const firstX = clampCell((mx - reach - grid.left) / grid.unit), lastX = clampCell((mx + reach - grid.left) / grid.unit);
  const firstY = clampCell((my - reach - grid.bottom) / grid.unit), lastY = clampCell((my + reach - grid.bottom) / grid.unit);
  const marked = chosen.selection && chosen.selection.mask;
  let best = -1, least = reach * reach, bestMarked = false;
  for (let row = firstY; row <= lastY; row += 1) {
    for (let k = grid.start[row * grid.cells + firstX]; k < grid.start[row * grid.cells + lastX + 1]; k += 1) {
      const token = grid.tokens[k];
      const far = (places[2 * token] - mx) ** 2 + (places[2 * token + 1] - my) ** 2;
      const mine = Boolean(marked && marked[token]);
      if (far > reach * reach || (bestMarked && !mine)) continue;
      if (far < least || (mine && !bestMarked)) { best = token; least = far; bestMarked = mine; }
    }
  }
  return best;
}

/** Tokens inside a polygon of map places (even-odd rule). */
function tokensInside(polygon) {
  const xs = polygon.map(([x]) => x), ys = polygon.map(([, y]) => y);
  const left = Math.min(...xs), right = Math.max(...xs), bottom = Math.min(...ys), top = Math.max(...ys);
  const found = [];
  for (let token = 0; token < count; token += 1) {
    const x = places[2 * token], y = places[2 * token + 1];
    if (x < left || x > right || y < bottom || y > top) continue;
    let inside = false;
    for (let k = 0, before = polygon.length - 1; k < polygon.length; before = k, k += 1) {
      if ((ys[k] > y) !== (ys[before] > y) && x < xs[k] + ((xs[before] - xs[k]) * (y - ys[k])) / (ys[before] - ys[k])) inside = !inside;
    }
    if (inside) found.push(token);
  }
  return found;
}
