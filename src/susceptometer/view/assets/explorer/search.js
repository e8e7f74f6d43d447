// Search: tokens whose string contains the words, or all tokens that a match in the running text touches.

/** The pattern that is searched for; null if nothing is, undefined if it is no regular expression. */
function searchPattern() {
  const words = $("search").value;
  if (!words) return null;
  const source = $("search-regex").checked ? words : words.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  try {
    return new RegExp(source, $("search-case").checked ? "gu" : "giu");
  } catch {
    return undefined;
  }
}

/** Tokens that contain a match. */
function matchingTokens(pattern) {
  const known = tokens.words.map((word) => { pattern.lastIndex = 0; return pattern.test(word); });
  const found = [];
  for (let token = 0; token < count; token += 1) if (known[tokens.word[token]]) found.push(token);
  return found;
}

/** Tokens touched by matches in the text of the rows, and how many matches there are. */
function touchedTokens(pattern) {
  const found = [];
  let matches = 0;
  for (let row = 0; row < rowStart.length; row += 1) {
    const ends = [];
    let text = "";
    for (let token = rowStart[row]; token < rowEnd(row); token += 1) { text += wordOf(token); ends.push(text.length); }
    let token = 0, last = -1;
    for (const match of text.matchAll(pattern)) {
      const from = match.index, to = from + match[0].length;
      if (to === from) continue;
      matches += 1;
      while (ends[token] <= from) token += 1;
      for (let k = Math.max(token, last + 1); k < ends.length && (k ? ends[k - 1] : 0) < to; k += 1) { if (ends[k] > (k ? ends[k - 1] : 0)) found.push(rowStart[row] + k); last = k; }
    }
  }
  return { found, matches };
}

/** "1 token", "2 tokens". */
const tokensText = (n) => `${whole(n)} ${n === 1 ? "token" : "tokens"}`;

/** Search now; the tokens found become the selection. */
function search() {
  const pattern = searchPattern(), out = $("search-count");
  out.classList.toggle("bad", pattern === undefined);
  if (!pattern) {
    out.textContent = pattern === undefined ? "not a regular expression" : "";
    if (chosen.selection?.source === "search") choose("selection", null);
    return;
  }
  const across = $("search-across").checked;
  const { found, matches } = across ? touchedTokens(pattern) : { found: matchingTokens(pattern), matches: 0 };
  out.textContent = across ? `${whole(matches)} ${matches === 1 ? "match" : "matches"}, ${tokensText(found.length)}` : tokensText(found.length);
  choose("selection", tokenSet(`Search “${shown($("search").value, { spaces: false })}”`, found, { source: "search" }));
}

/** Empty the search field without touching the selection. */
function clearSearch() {
  $("search").value = "";
  $("search-count").textContent = "";
}

let searchTimer = 0;

/** Listen to the search field. */
function showSearch() {
  $("search").addEventListener("input", () => { clearTimeout(searchTimer); searchTimer = setTimeout(search, 120); });
  for (const id of ["search-case", "search-across", "search-regex"]) $(id).addEventListener("change", search);
  $("search").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || chosen.selection?.source !== "search") return;
    event.preventDefault();
    const { members } = chosen.selection, at = members.indexOf(chosen.pins.at(-1));
    if (members.length) goTo(members[(at + (event.shiftKey ? members.length - 1 : 1)) % members.length] ?? members[0]);
  });
}
