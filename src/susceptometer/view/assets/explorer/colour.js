// Colours: one packed colour per token for what is chosen, and which tokens stand back.

let ink = new Uint32Array(count);
let back = new Uint8Array(count);
const theme = {};

/** "#rrggbb" as [r, g, b]. */
const rgb = (text) => [1, 3, 5].map((k) => parseInt(text.slice(k, k + 2), 16));
const pack = ([r, g, b]) => ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
const mix = (from, to, share) => from.map((value, k) => Math.round(value + (to[k] - value) * share));
const css = ([r, g, b]) => `rgb(${r} ${g} ${b})`;

/** Colours of the theme as numbers. */
function readTheme() {
  const style = getComputedStyle(document.documentElement);
  const read = (name) => rgb(style.getPropertyValue(name).trim());
  theme.dark = document.documentElement.dataset.theme === "dark";
  Object.assign(theme, { panel: read("--panel"), ink: read("--ink"), neg: read("--neg"), pos: read("--pos"), accent: read("--accent") });
  theme.middle = theme.dark ? [70, 78, 98] : [208, 205, 196];
  theme.faint = theme.dark ? [52, 58, 74] : [222, 219, 211];
}

const HUES = [
  [212, 62, 46], [28, 84, 51], [142, 50, 39], [350, 70, 45], [268, 46, 52], [186, 72, 47], [46, 84, 47], [318, 54, 52],
  [34, 34, 34], [232, 52, 32], [345, 74, 75], [100, 42, 64],
];

/** Colour of a class: twelve hues, the same lighter or darker, then round the circle. */
function hue(k) {
  const [angle, strength, light] = k < 24 ? HUES[k % 12] : [(k * 137.5) % 360, 55, 52];
  const turned = k >= 12 && k < 24 ? (light > 50 ? light - 22 : light + 24) : light;
  return hsl(angle, strength, theme.dark ? Math.max(50, Math.min(80, turned + 9)) : turned);
}

/** Hue in degrees, saturation and lightness in percent as [r, g, b]. */
function hsl(angle, strength, light) {
  const a = (strength / 100) * Math.min(light / 100, 1 - light / 100);
  return [0, 8, 4].map((n) => {
    const k = (n + angle / 30) % 12;
    return Math.round(255 * (light / 100 - a * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
  });
}

/** Colour of a susceptibility: blue expresses, orange suppresses, grey is zero. */
function psiColour(value, scale) {
  const share = Math.min(1, Math.abs(value) / scale);
  return mix(theme.middle, value < 0 ? theme.neg : theme.pos, Math.sqrt(share));
}

/** The classes of a colouring by class: names, class of each token (−1: none), name of none. */
function classes() {
  if (chosen.colour === "cluster") return { names: clusters.names.map((name, k) => `${k}: ${name}`), of: clusters.label, none: "main body", kind: "cluster" };
  if (chosen.colour === "domain") return { names: tokens.probes, of: tokens.probe, none: "", kind: "domain" };
  return { names: tokens.patterns, of: tokens.pattern, none: "", kind: "pattern" };
}

/** The part whose psi colours the map, or −1. */
const colouredPart = () => (chosen.colour.startsWith("psi:") ? Number(chosen.colour.slice(4)) : -1);

/** Work out the colour of every token. */
function colourTokens() {
  readTheme();
  back.fill(0);
  const part = colouredPart();
  if (part >= 0) colourByPsi(part);
  else if (chosen.colour === "loss") colourByLoss();
  else colourByClass();
}

function colourByPsi(part) {
  const { scale } = spread(chosen.frame, part);
  const ramp = Array.from({ length: 513 }, (_, k) => pack(psiColour(((k - 256) / 256) * scale, scale)));
  const faint = pack(theme.faint);
  for (let token = 0; token < count; token += 1) {
    const value = psi(chosen.frame, part, token);
    const weak = Number.isNaN(value) || (chosen.fade > 0 && !(Math.abs(value) >= chosen.fade * errorOf(chosen.frame, part, token)));
    back[token] = weak ? 1 : 0;
    ink[token] = weak ? faint : ramp[256 + Math.round(256 * Math.max(-1, Math.min(1, value / scale)))];
  }
}

/** Upper end of the loss colours: 95 % of the losses, nats. */
function lossTop() {
  const sorted = frames[chosen.frame].loss.filter(Number.isFinite).sort();
  return sorted[Math.floor(sorted.length * 0.95)] || 1;
}

function lossColour(share) {
  const low = theme.dark ? [58, 66, 92] : [205, 214, 226], high = theme.dark ? [250, 214, 120] : [110, 30, 80];
  return mix(low, high, Math.max(0, Math.min(1, share)));
}

function colourByLoss() {
  const top = lossTop(), loss = frames[chosen.frame].loss;
  const ramp = Array.from({ length: 257 }, (_, k) => pack(lossColour(k / 256)));
  for (let token = 0; token < count; token += 1) ink[token] = ramp[Math.round(256 * Math.max(0, Math.min(1, loss[token] / top || 0)))];
}

function colourByClass() {
  const { names, of } = classes();
  const ramp = names.map((name, k) => pack(classColour(name, k)));
  const none = pack(theme.middle);
  for (let token = 0; token < count; token += 1) {
    const k = of[token];
    ink[token] = k < 0 ? none : ramp[k];
    back[token] = k < 0 ? 1 : 0;
  }
}

/** Colour of a class; the rest pattern is grey. */
const classColour = (name, k) => (name === "other" ? theme.middle : hue(k));
