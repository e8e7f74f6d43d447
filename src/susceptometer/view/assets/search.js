// Search over the text of the probes, across token borders.

const matches = { set: new Set(), starts: [], at: -1 };

/** Tokens touched by each occurrence of the words in a row. */
function searchRow(row, words) {
  const offsets = [];
  let text = "";
  for (let token = row.first; token <= row.last; token += 1) { offsets.push(text.length); text += tokens.text[token]; }
  const lower = text.toLowerCase();
  for (let place = lower.indexOf(words); place >= 0; place = lower.indexOf(words, place + words.length)) {
    const touched = offsets.map((start, k) => [start, start + tokens.text[row.first + k].length, row.first + k])
      .filter(([start, end]) => start < place + words.length && end > place).map(([, , token]) => token);
    if (touched.length) { matches.starts.push(touched.at(-1)); touched.forEach((token) => matches.set.add(token)); }
  }
}

/** Find all occurrences and go to the first. */
function search() {
  const words = $("search").value.toLowerCase();
  matches.set.clear();
  matches.starts = [];
  matches.at = -1;
  if (words.length) for (const row of rowsOfText) if (chosen.probe < 0 || row.probe === chosen.probe) searchRow(row, words);
  recolour();
  if (matches.starts.length) turn(1); else $("search-count").textContent = words ? "no match" : "";
}

/** Go to the next or previous occurrence. */
function turn(by) {
  const count = matches.starts.length;
  if (!count) return;
  matches.at = (matches.at + by + count) % count;
  $("search-count").textContent = `${matches.at + 1} of ${count}`;
  goTo(matches.starts[matches.at]);
}

/** Listen to the search field. */
function showSearch() {
  let waiting = 0;
  $("search").addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(search, 120); });
  $("search").addEventListener("keydown", (event) => {
    if (event.key === "Enter") { event.preventDefault(); turn(event.shiftKey ? -1 : 1); }
  });
  $("search-next").addEventListener("click", () => turn(1));
  $("search-back").addEventListener("click", () => turn(-1));
  on("probe", () => { if ($("search").value) search(); });
}
