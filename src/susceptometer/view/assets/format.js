// Numbers and tokens as a person reads them.

const SUPERSCRIPT = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹" };

/** 10 to a power, in superscript digits. */
const powerOfTen = (power) => "10" + String(power).split("").map((digit) => SUPERSCRIPT[digit]).join("");

/** A number with a true minus sign and fixed decimals. */
const fixed = (value, digits) => value.toFixed(digits).replace(/^-(?=[0.]*$)/, "").replace("-", "−");

/** "value ± error", with as many digits as the error allows. */
function withError(value, error) {
  if (!Number.isFinite(value)) return "not read";
  if (!Number.isFinite(error) || error <= 0) return plain(value);
  const size = Math.max(Math.abs(value), error);
  const power = Math.floor(Math.log10(size));
  if (power >= -2 && power < 5) {
    const digits = Math.max(0, Math.min(6, 1 - Math.floor(Math.log10(error))));
    return `${fixed(value, digits)} ± ${fixed(error, digits)}`;
  }
  const unit = 10 ** power;
  const digits = Math.max(0, Math.min(4, 1 - Math.floor(Math.log10(error / unit))));
  return `(${fixed(value / unit, digits)} ± ${fixed(error / unit, digits)}) × ${powerOfTen(power)}`;
}

/** One number in three digits. */
function plain(value) {
  if (!Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  const power = Math.floor(Math.log10(Math.abs(value)));
  if (power >= -3 && power < 5) return fixed(value, Math.max(0, 2 - power));
  return `${fixed(value / 10 ** power, 2)} × ${powerOfTen(power)}`;
}

/** A count with separators. */
const whole = (value) => (Number.isFinite(value) ? Math.round(value).toLocaleString("en") : "–");

/** A token with its white space made visible. */
const visible = (text) => text.replaceAll(" ", "␣").replaceAll("\n", "↵").replaceAll("\t", "⇥").replaceAll("\r", "␍") || "∅";

/** An element with a class, text and attributes. */
function element(tag, name = "", text = "", attributes = {}) {
  const made = document.createElement(tag);
  if (name) made.className = name;
  if (text !== "") made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

/** The same for SVG. */
function shape(tag, attributes = {}, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== "") made.textContent = text;
  return made;
}

/** Colour class of a value on a scale: n8 … n1, none, p1 … p8. */
function tint(value, scale) {
  const level = Math.min(8, Math.round((8 * Math.abs(value)) / scale));
  return level ? (value < 0 ? "n" : "p") + level : "";
}

/** Round numbers from 0 (or below) to at least `top`, about five of them. */
function ticks(bottom, top) {
  const rough = (top - bottom) / 5 || 1;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((k) => k * unit).find((k) => k >= rough);
  const found = [];
  for (let k = Math.floor(bottom / step); k <= Math.ceil(top / step); k += 1) found.push(k * step);
  return found;
}

/** Make an SVG group act as a button for pointer and keyboard. */
function pressable(group, label, act) {
  group.setAttribute("tabindex", "0");
  group.setAttribute("role", "button");
  group.setAttribute("aria-label", label);
  group.addEventListener("click", act);
  group.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") { event.preventDefault(); act(); }
  });
}
