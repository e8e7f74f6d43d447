"use strict";
// Data of the page and the few things a reader chooses. Every file below adds views of the two.

const payload = JSON.parse(document.getElementById("payload").textContent);
const $ = (id) => document.getElementById(id);

/** Bytes of a base64 string. */
function bytesOf(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const letters = atob(text), bytes = new Uint8Array(letters.length);
  for (let k = 0; k < letters.length; k += 1) bytes[k] = letters.charCodeAt(k);
  return bytes;
}

/** A packed array as a typed array. */
function unpack(packed) {
  const kinds = { u1: Uint8Array, i1: Int8Array, u2: Uint16Array, i2: Int16Array, u4: Uint32Array, f4: Float32Array };
  const made = new kinds[packed.kind](bytesOf(packed.bytes).buffer);
  packed.bytes = "";
  return made;
}

const tokens = {
  words: payload.tokens.words,
  word: unpack(payload.tokens.word),
  probes: payload.tokens.probes,
  probe: unpack(payload.tokens.probe),
  row: unpack(payload.tokens.row),
  position: unpack(payload.tokens.position),
  patterns: payload.tokens.patterns,
  rules: payload.tokens.rules,
  flags: unpack(payload.tokens.flags),
  pattern: unpack(payload.tokens.pattern),
};
const count = tokens.word.length;
const parts = { names: payload.components, short: payload.components.map(shortName) };
const frames = payload.frames.map((frame) => ({
  label: frame.label,
  codes: unpack(frame.psi),
  scale: frame.scale,
  errors: unpack(frame.error),
  ends: frame.ends,
  loss: unpack(frame.loss),
  groups: frame.replicates ? frame.replicates.shape[0] : 0,
  deviations: frame.replicates ? unpack(frame.replicates) : null,
  unit: frame.replicates ? frame.replicates.scale : [],
  spread: [],
}));
const maps = payload.maps.map((map) => ({ name: map.name, codes: unpack(map.places) }));
const clusters = payload.clusters && { ...payload.clusters, label: unpack(payload.clusters.label) };

/** "blocks.1.attn.head.3" reads "L1 head 3". */
function shortName(name) {
  const head = name.match(/^blocks\.(\d+)\.attn\.head\.(\d+)$/);
  if (head) return `L${head[1]} head ${head[2]}`;
  const inner = name.match(/^blocks\.(\d+)\.(.+)$/);
  return inner ? `L${inner[1]} ${inner[2].replaceAll(".", " ")}` : name;
}

const NOTHING = -32768;

/** Centred susceptibility, nats²; NaN where the part was not read. */
function psi(frame, part, token) {
  const code = frames[frame].codes[part * count + token];
  return code === NOTHING ? NaN : Math.abs(code) * code * frames[frame].scale[part];
}

/** Its standard error, nats²; NaN where none is known. */
function errorOf(frame, part, token) {
  const code = frames[frame].errors[part * count + token];
  const [low, high] = frames[frame].ends[part];
  return code ? Math.exp(low + ((code - 1) * (high - low)) / 253) : NaN;
}

/** Deviation of one chain group from the mean psi, nats². */
function deviation(frame, group, part, token) {
  const code = frames[frame].deviations[(group * parts.names.length + part) * count + token];
  return Math.sign(code) * code * code * frames[frame].unit[part];
}

/** Spread of a part over tokens and its colour scale (95 % of |psi|), worked out once. */
function spread(frame, part) {
  const known = frames[frame].spread;
  if (known[part]) return known[part];
  const size = new Float32Array(count);
  let used = 0, sum = 0, square = 0;
  for (let token = 0; token < count; token += 1) {
    const value = psi(frame, part, token);
    if (Number.isNaN(value)) continue;
    size[used] = Math.abs(value);
    used += 1;
    sum += value;
    square += value * value;
  }
  const sorted = size.subarray(0, used).sort();
  const mean = sum / (used || 1);
  known[part] = { sd: Math.sqrt(Math.max(0, square / (used || 1) - mean * mean)), scale: sorted[Math.floor(used * 0.95)] || 1e-30 };
  return known[part];
}

// Rows of text: first token of each, and the row of every token.
const rowStart = [];
const rowOf = new Uint32Array(count);
for (let token = 0; token < count; token += 1) {
  const before = token - 1;
  if (!token || tokens.probe[token] !== tokens.probe[before] || tokens.row[token] !== tokens.row[before]) rowStart.push(token);
  rowOf[token] = rowStart.length - 1;
}
const rowEnd = (row) => (row + 1 < rowStart.length ? rowStart[row + 1] : count);
const wordOf = (token) => tokens.words[tokens.word[token]];

const chosen = { frame: frames.length - 1, map: 0, x: 0, y: 0, colour: "pattern", fade: 0, tool: "move", token: -1, pins: [], selection: null };
