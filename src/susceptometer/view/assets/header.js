// Title, summary, notes and the row of facts.

/** One fact: a label, a value and an aside. */
function fact(label, value, aside, bad = false) {
  const box = element("div", bad ? "bad" : "");
  const shown = element("dd", "", value);
  shown.append(element("small", "", aside));
  box.append(element("dt", "", label), shown);
  return box;
}

/** Worst value of a diagnostic over the components. */
function worst(key, pick) {
  const values = payload.diagnostics.map((row) => row[key]).filter(Number.isFinite);
  return values.length ? pick(...values) : NaN;
}

/** Fill the top of the page. */
function showHeader() {
  $("title").textContent = payload.title;
  $("lead").textContent = payload.lead;
  for (const note of payload.notes) $("notes").append(element("p", "notice", note));
  const read = tokens.text.length;
  const sick = payload.diagnostics.filter((row) => row.status !== "healthy").length;
  const shares = parts.names.map((_, part) => share(part));
  const clear = shares.reduce((sum, value) => sum + value, 0) / (shares.length || 1);
  chosen.part = shares.indexOf(Math.max(...shares)); // begin with the part that has most to say
  $("facts").append(
    fact("Parts", String(parts.names.length), "of the model"),
    fact("Tokens read", read.toLocaleString("en"), `in ${tokens.probes.length} probes`),
    fact("Chain groups", whole(worst("groups", Math.min)), `× ${whole(worst("draws", Math.min))} draws`),
    fact("Worst R-hat", fixed(worst("rhat", Math.max), 3), "1 is agreement"),
    fact("Effective draws", whole(worst("ess", Math.min)), "in the weakest part"),
    fact("Clear tokens", `${Math.round(100 * clear)} %`, `ψ > 2 errors; chance ${Math.round(100 * payload.chance)} %`),
    fact("Chains", sick ? `${sick} doubtful` : "healthy", sick ? "see the table below" : "in every part", sick > 0),
  );
}

/** Share of a part's tokens whose psi is beyond two errors. */
function share(part) {
  let beyond = 0, all = 0;
  for (let token = 0; token < tokens.text.length; token += 1) {
    const size = Math.abs(errors(part, token));
    if (Number.isFinite(size)) { all += 1; if (size >= 2) beyond += 1; }
  }
  return all ? beyond / all : 0;
}
