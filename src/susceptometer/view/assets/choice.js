// What is chosen on a page, and who wants to know. The page's own script defines `chosen`.
const listeners = {};

/** Call `react` whenever one of `names` changes. */
function on(names, react) {
  for (const name of names.split(" ")) (listeners[name] ||= []).push(react);
}

/** Change what is chosen and tell whoever shows it. */
function choose(name, value) {
  if (chosen[name] === value) return;
  chosen[name] = value;
  for (const react of listeners[name] || []) react();
}
