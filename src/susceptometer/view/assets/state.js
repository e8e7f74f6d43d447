"use strict";
// Data of the page and the few things a reader can choose. Every file below adds views of the two.

const payload = JSON.parse(document.getElementById("payload").textContent);
const $ = (id) => document.getElementById(id);

/** A packed array as {data, shape}. */
function unpack(packed) {
  const bytes = Uint8Array.from(atob(packed.bytes), (letter) => letter.charCodeAt(0));
  const kinds = { f4: Float32Array, i4: Int32Array, u1: Uint8Array };
  return { data: new kinds[packed.kind](bytes.buffer), shape: packed.shape };
}

/** Rows of a packed matrix as views, without copies. */
function rows(packed) {
  const { data, shape } = unpack(packed);
  const wide = data.length / (shape[0] || 1);
  return Array.from({ length: shape[0] }, (_, k) => data.subarray(k * wide, (k + 1) * wide));
}

const tokens = {
  text: payload.tokens.text,
  probes: payload.tokens.probes,
  probe: unpack(payload.tokens.probe).data,
  row: unpack(payload.tokens.row).data,
  position: unpack(payload.tokens.position).data,
  loss: unpack(payload.tokens.loss).data,
};
const parts = {
  names: payload.components,
  short: payload.components.map(shortName),
  llc: unpack(payload.llc).data,
  llcError: unpack(payload.llcError).data,
  chi: rows(payload.chi),
  error: rows(payload.chiError),
};
const patterns = {
  names: payload.patterns.names,
  rules: payload.patterns.rules,
  flags: rows(payload.patterns.flags),
  psi: rows(payload.patterns.psi),
  error: rows(payload.patterns.error),
};

/** "blocks.1.attn.head.3" reads "L1 head 3". */
function shortName(name) {
  const head = name.match(/^blocks\.(\d+)\.attn\.head\.(\d+)$/);
  if (head) return `L${head[1]} head ${head[2]}`;
  const inner = name.match(/^blocks\.(\d+)\.(.+)$/);
  return inner ? `L${inner[1]} ${inner[2].replaceAll(".", " ")}` : name;
}

/** Layer of a component by its name; parts outside the blocks come last. */
function layer(name) {
  const found = name.match(/^blocks\.(\d+)\./);
  return found ? Number(found[1]) : 3;
}

/** Mean, standard deviation and colour scale of one component's chi over its tokens. */
function spread(chi) {
  const values = Array.from(chi).filter(Number.isFinite);
  const mean = values.reduce((sum, value) => sum + value, 0) / (values.length || 1);
  const size = values.map((value) => Math.abs(value - mean)).sort((a, b) => a - b);
  const square = size.reduce((sum, value) => sum + value * value, 0) / (size.length || 1);
  return { mean, sd: Math.sqrt(square), scale: size[Math.floor(size.length * 0.95)] || 1e-30 };
}
parts.spread = parts.chi.map(spread);

/** Centred susceptibility of one token. */
const psi = (part, token) => parts.chi[part][token] - parts.spread[part].mean;
const errors = (part, token) => psi(part, token) / parts.error[part][token];

const chosen = { part: 0, probe: -1, pattern: -1, fade: 2, token: -1, pinned: false };
