// The card of a set of tokens, a cluster or what was selected: what it is made of and how the parts answer it.

const CONTEXTS = 8;

/** Counts of a key over tokens, largest first: [[key, count], …]. */
function counted(members, key) {
  const found = new Map();
  for (const token of members) found.set(key(token), (found.get(key(token)) || 0) + 1);
  return [...found].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
}

/** Mean psi of every part over tokens, in spreads of the part over all tokens, with its error. */
function profileOf(members) {
  const { frame } = chosen, { groups } = frames[frame];
  return parts.names.map((_, part) => {
    const { sd } = spread(frame, part);
    let sum = 0, bound = 0;
    const by = new Float64Array(groups);
    for (const token of members) {
      sum += psi(frame, part, token);
      bound += errorOf(frame, part, token);
      for (let group = 0; group < groups; group += 1) by[group] += deviation(frame, group, part, token);
    }
    const n = members.length, middle = by.reduce((a, b) => a + b, 0) / (groups || 1);
    const square = by.reduce((a, b) => a + (b - middle) ** 2, 0);
    const error = groups > 1 ? Math.sqrt(square / (groups - 1) / groups) / n : bound / n;
    return { part, value: sum / n / sd, error: error / sd };
  });
}

/** Some members from the middle of the set to its edge, in distances of standardised psi. */
function examples(members) {
  const { frame } = chosen, far = new Float64Array(members.length);
  for (let part = 0; part < parts.names.length; part += 1) {
    const { sd } = spread(frame, part);
    let mean = 0;
    for (const token of members) mean += psi(frame, part, token) / members.length;
    if (!Number.isFinite(mean)) continue;
    members.forEach((token, k) => { far[k] += ((psi(frame, part, token) - mean) / sd) ** 2; });
  }
  const order = Array.from(members.keys()).sort((a, b) => far[a] - far[b] || a - b);
  const many = Math.min(CONTEXTS, members.length);
  const picked = Array.from({ length: many }, (_, k) => order[Math.floor((k * (members.length - 1)) / Math.max(1, many - 1))]);
  return [...new Set(picked)].map((k) => members[k]);
}

/** A line of chips: name and count, at most some. */
function chips(entries, most = 10) {
  const box = element("div", "chips");
  for (const [name, value] of entries.slice(0, most)) {
    const chip = element("span");
    chip.append(element("bdi", "", name), element("b", "", ` ${value}`));
    box.append(chip);
  }
  if (entries.length > most) box.append(element("span", "more", `and ${entries.length - most} more`));
  return box;
}

/** Patterns of the set: share, and lift over all tokens. */
function patternShares(members) {
  return tokens.patterns.map((name, k) => {
    let inside = 0, all = 0;
    for (const token of members) inside += (tokens.flags[token] >>> k) & 1;
    for (let token = 0; token < count; token += 1) all += (tokens.flags[token] >>> k) & 1;
    return [name, inside / members.length, inside / members.length / (all / count)];
  }).filter(([, share]) => share > 0).sort((a, b) => b[1] - a[1])
    .map(([name, share, lift]) => [name, `${Math.round(100 * share)} % (×${fixed(lift, 1)})`]);
}

/** Conductance and stability of a cluster, where known. */
function clusterFacts(k) {
  const known = (value) => (value === null || value === undefined ? "not known" : fixed(value, 2));
  const chance = clusters.chance === null ? "" : ` (by chance ${fixed(clusters.chance, 2)})`;
  return [
    ["conductance", clusters.conductance[k] === null ? "not known" : fixed(clusters.conductance[k], 3)],
    ["stability", `${known(clusters.halves[k])} over chain halves, ${known(clusters.seeds[k])} over seeds${chance}`],
  ];
}

/** Bars of the profile, by part. */
function profileBars(profile) {
  const line = 16, wide = 360, left = 92, right = 112;
  const rows = profile.filter(({ value }) => Number.isFinite(value));
  const most = Math.max(0.5, ...rows.map(({ value, error }) => Math.abs(value) + (error || 0))) * 1.05;
  const across = (value) => left + ((wide - left - right) * (value / most + 1)) / 2;
  const picture = shape("svg", { class: "profile", viewBox: `0 0 ${wide} ${line * rows.length + 18}`, role: "img", "aria-label": "mean psi of every part" });
  picture.append(shape("line", { class: "zero", x1: across(0), x2: across(0), y1: 0, y2: line * rows.length }));
  rows.forEach(({ part, value, error }, k) => {
    const y = k * line, low = Math.min(across(0), across(value));
    const group = shape("g", { class: Math.abs(value) < 2 * error ? "weak" : "", "data-part": part });
    group.append(
      shape("text", { x: left - 6, y: y + 12, "text-anchor": "end" }, parts.short[part]),
      shape("rect", { class: value < 0 ? "neg" : "pos", x: low, y: y + 3, height: line - 6, width: Math.max(0.5, Math.abs(across(value) - across(0))), rx: 2 }),
      shape("path", { class: "whisker", d: `M${across(value - error)} ${y + line / 2}H${across(value + error)}` }),
      shape("text", { class: "number", x: wide - 2, y: y + 12, "text-anchor": "end" }, withError(value, error)),
      shape("title", {}, `Colour the map by ${parts.names[part]}`),
    );
    group.addEventListener("click", () => choose("colour", `psi:${part}`));
    picture.append(group);
  });
  const foot = line * rows.length + 13;
  picture.append(shape("text", { x: across(-most), y: foot }, "← expression"), shape("text", { x: across(most), y: foot, "text-anchor": "end" }, "suppression →"));
  return picture;
}

/** Examples that can be pressed. */
function exampleList(members) {
  const box = element("div", "examples");
  for (const token of examples(members)) {
    const button = element("button", "", "", { type: "button", "data-token": token, title: placeText(token) });
    button.append(context(token, 48, 22), element("small", "", tokens.probes[tokens.probe[token]]));
    button.addEventListener("click", () => pin(token));
    box.append(button);
  }
  return box;
}

/** Which set the card describes: the selection, else the cluster of the pinned token. */
function cardSet() {
  if (chosen.selection) return chosen.selection;
  const pinned = chosen.pins.at(-1);
  const k = pinned === undefined ? -1 : clusterOf(pinned);
  return k < 0 ? null : clusterSet(k);
}

/** Show the card. */
function drawCard() {
  const pane = $("card"), set = cardSet();
  delete pane.dataset.count;
  if (!set || !set.members.length) {
    const hint = clusters ? "Click a token to see its cluster" : "This page has no clusters";
    const words = set ? `No token: ${set.name}.` : `${hint}. Draw a lasso, search, or press a name in the legend to see what tokens have in common.`;
    pane.replaceChildren(element("h2", "", set ? "Selection" : "Cluster or selection"), element("p", "empty", words));
    return;
  }
  const { members } = set, words = counted(members, wordOf);
  pane.dataset.count = members.length;
  const list = [["tokens", `${whole(members.length)} (${fixed((100 * members.length) / count, 1)} %), ${whole(words.length)} different`]];
  if (set.cluster >= 0) list.push(...clusterFacts(set.cluster));
  const title = (text, note) => { const box = element("h3", "", text); if (note) box.append(element("small", "", note)); return box; };
  const kind = frames[chosen.frame].groups > 1 ? "errors between chain groups" : "errors: upper bound, tokens share chains";
  pane.replaceChildren(
    element("h2", "", set.name), facts(list),
    title("Commonest tokens"), chips(words.map(([word, n]) => [shown(word) || "∅", n])),
    title("Domains"), chips(counted(members, (token) => tokens.probes[tokens.probe[token]])),
    title("Patterns", "share (times the share in all tokens)"), chips(patternShares(members), 8),
    ...(clusters && set.cluster < 0 ? [title("Clusters"), chips(counted(members, (token) => clusterName(clusterOf(token))), 6)] : []),
    title("Mean ψ, in spreads of the part over tokens", kind), profileBars(profileOf(members)),
    title("Examples", "from the middle to the edge"), exampleList(members),
  );
}
