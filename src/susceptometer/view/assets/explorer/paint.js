// Drawing: every token is a small disc blended straight into the pixels, which is fast enough for 10^5 on any machine.

const order = shuffled(count);
const lasso = { points: [] };
let waiting = 0;
let drawn = 0;

/** 0 … n − 1 in a fixed mixed order, so that no probe lies on top of the others. */
function shuffled(n) {
  const found = Uint32Array.from({ length: n }, (_, k) => k);
  let state = 12345;
  for (let k = n - 1; k > 0; k -= 1) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const other = state % (k + 1);
    [found[k], found[other]] = [found[other], found[k]];
  }
  return found;
}

/** Pixels of a disc: offsets and coverage (0 … 256). */
function disc(radius) {
  const box = Math.ceil(radius + 0.5), found = [];
  for (let y = -box; y <= box; y += 1) {
    for (let x = -box; x <= box; x += 1) {
      const cover = Math.max(0, Math.min(1, radius + 0.5 - Math.hypot(x, y)));
      if (cover > 0.04) found.push([x, y, Math.round(256 * cover)]);
    }
  }
  return { box, x: found.map((p) => p[0]), y: found.map((p) => p[1]), cover: found.map((p) => p[2]) };
}

/** Radius of a token in CSS pixels: by how many there are, growing slowly as one zooms in. */
function radius() {
  const base = Math.max(1.15, Math.min(3.6, 0.3 * Math.sqrt((view.wide * view.high) / count)));
  return Math.min(7, base * Math.max(1, (view.scale / Math.min(view.wide, view.high)) ** 0.3));
}

/** Blend the tokens for which `takes` is true. `strength`: 0 … 1; `colour`: one for all, or each token's own. */
function blend(pixels, wide, high, { takes, size, strength, colour }) {
  const ratio = wide / view.wide, shape = disc(size * ratio), n = shape.x.length;
  const jump = shape.y.map((y, k) => y * wide + shape.x[k]), cover = shape.cover.map((c) => Math.round(c * strength));
  const zoom = view.scale * ratio, cx = wide / 2 - view.x * zoom, cy = high / 2 + view.y * zoom;
  for (let k = 0; k < count; k += 1) {
    const token = order[k];
    if (!takes(token)) continue;
    const x = Math.round(cx + places[2 * token] * zoom), y = Math.round(cy - places[2 * token + 1] * zoom);
    if (!(x >= shape.box && x < wide - shape.box && y >= shape.box && y < high - shape.box)) continue;
    const source = colour === null ? ink[token] : colour, middle = y * wide + x;
    const r = source & 255, g = (source >> 8) & 255, b = (source >> 16) & 255;
    for (let s = 0; s < n; s += 1) {
      const at = middle + jump[s], a = cover[s];
      if (a >= 256) { pixels[at] = source; continue; }
      const old = pixels[at], or = old & 255, og = (old >> 8) & 255, ob = (old >> 16) & 255;
      pixels[at] = ((255 << 24) | ((ob + (((b - ob) * a) >> 8)) << 16) | ((og + (((g - og) * a) >> 8)) << 8) | (or + (((r - or) * a) >> 8))) >>> 0;
    }
  }
}

/** Paint all tokens: those that stand back, the rest, the selection on top. */
function paintPoints() {
  const canvas = $("points"), ratio = window.devicePixelRatio || 1;
  const wide = Math.max(1, Math.round(view.wide * ratio)), high = Math.max(1, Math.round(view.high * ratio));
  if (canvas.width !== wide || canvas.height !== high) { canvas.width = wide; canvas.height = high; }
  const image = new ImageData(wide, high), pixels = new Uint32Array(image.data.buffer);
  pixels.fill(pack(theme.panel));
  const size = radius(), mask = chosen.selection && chosen.selection.mask;
  if (mask) {
    blend(pixels, wide, high, { takes: (t) => !mask[t], size, strength: 0.5, colour: pack(theme.faint) });
    blend(pixels, wide, high, { takes: (t) => mask[t] === 1 && back[t] === 1, size: size * 1.15 + 0.3, strength: 0.9, colour: pack(theme.middle) });
    blend(pixels, wide, high, { takes: (t) => mask[t] === 1 && back[t] === 0, size: size * 1.15 + 0.3, strength: 1, colour: null });
  } else {
    blend(pixels, wide, high, { takes: (t) => back[t] === 1, size, strength: 0.55, colour: null });
    blend(pixels, wide, high, { takes: (t) => back[t] === 0, size, strength: 0.88, colour: null });
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

/** Rings round the hovered and pinned tokens, and the lasso. */
function paintOver() {
  const canvas = $("over"), ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(view.wide * ratio);
  canvas.height = Math.round(view.high * ratio);
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  const ring = (token, colour, width) => {
    const [x, y] = screenOf(token);
    for (const [style, line] of [[css(theme.panel), width + 2], [colour, width]]) {
      pen.strokeStyle = style;
      pen.lineWidth = line;
      pen.beginPath();
      pen.arc(x, y, radius() + 3.5, 0, 7);
      pen.stroke();
    }
  };
  chosen.pins.forEach((token) => ring(token, css(theme.accent), 2.2));
  if (chosen.token >= 0) ring(chosen.token, css(theme.ink), 1.6);
  if (lasso.points.length > 1) {
    pen.beginPath();
    lasso.points.forEach(([x, y]) => pen.lineTo(x, y));
    pen.closePath();
    pen.fillStyle = `rgb(${theme.accent.join(" ")} / .12)`;
    pen.fill();
    pen.strokeStyle = css(theme.accent);
    pen.lineWidth = 1.5;
    pen.stroke();
  }
}

let stale = false;

/** Draw at the next frame of the screen; `all`: points too, not only rings and lasso. */
function draw(all = true) {
  stale ||= all;
  if (waiting) return;
  waiting = requestAnimationFrame(() => {
    waiting = 0;
    if (stale) paintPoints();
    stale = false;
    paintOver();
    drawn += 1;
    $("stage").dataset.drawn = drawn;
  });
}
