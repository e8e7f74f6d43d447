// Recipe, provenance and the command that makes the page again.

/** A list of names and values. */
function factsList(entries) {
  const list = element("dl", "facts-list");
  for (const [name, value] of Object.entries(entries)) list.append(element("dt", "", name), element("dd", "", String(value)));
  return list;
}

/** Fill the end of the page. */
function showFooter() {
  $("recipe").replaceChildren(factsList(payload.recipe));
  $("hashes").replaceChildren(factsList(payload.provenance));
  if (!payload.command) return;
  const box = element("div", "panel again");
  const copy = element("button", "", "Copy", { type: "button" });
  copy.addEventListener("click", async () => {
    await navigator.clipboard?.writeText(payload.command);
    copy.textContent = "Copied";
  });
  box.append(element("code", "", payload.command), copy);
  $("again").replaceChildren(element("h3", "", "Make it again"), box);
}
