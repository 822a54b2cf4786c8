(() => {
  const panel = document.querySelector("#texts");
  const list = panel.querySelector("ol.texts");
  const status = panel.querySelector("[role=status]");
  const fields = Object.fromEntries([...panel.querySelectorAll("select, input")].map((field) => [field.name, field]));
  const entries = [...list.children].map((item) => ({
    item,
    label: item.dataset.label,
    read: item.dataset.read.split(" "),
    ranks: new Map(item.dataset.ranks.split(" ").map((pair) => pair.split(":").map(Number))),
    words: item.querySelector(".text").textContent.toLowerCase(),
    answers: [...item.querySelector(".answers").children],
  }));
  const show = () => {
    const method = Number(fields.method.value);
    const chosen = fields.kind.value === "" ? method : Number(fields.kind.value);
    const words = fields.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const listed = entries.filter((entry) => entry.ranks.has(chosen));
    const kept = listed.filter((entry) =>
      (fields.label.value === "" || entry.label === fields.label.value) &&
      (fields.read.value === "" || entry.read[method] === fields.read.value) &&
      words.every((word) => entry.words.includes(word)));
    kept.sort((a, b) => a.ranks.get(chosen) - b.ranks.get(chosen));
    const visible = new Set(kept);
    for (const entry of entries) {
      entry.item.hidden = !visible.has(entry);
      entry.answers.forEach((answer, place) => answer.classList.toggle("chosen", place === method));
    }
    list.append(...kept.map((entry) => entry.item));
    for (const finding of panel.querySelectorAll("[data-list]")) finding.hidden = Number(finding.dataset.list) !== chosen;
    status.textContent = listed.length ? `${kept.length} of ${listed.length} on this page are shown.` : "No text is in this list.";
  };
  panel.querySelector(".filters").hidden = false;
  for (const field of Object.values(fields)) field.addEventListener("input", show);
  show();
})();
