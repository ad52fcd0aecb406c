"use strict";
// Sorting, filtering, and choosing two agents. Without this script the table is whole and in the order of ranks.
(() => {
  const table = document.getElementById("table");
  if (!table) return;
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const filters = document.getElementById("filters");
  const found = document.getElementById("found");
  const none = document.getElementById("none");
  const compare = document.getElementById("compare");
  const words = new Set(["name", "level", "date"]);
  const values = new Map(rows.map((row) => [row, row.dataset]));

  const keyed = (name) => (row) => {
    const text = values.get(row)[name];
    if (words.has(name)) return text;
    return text === "" || text === "None" ? null : Number(text);
  };

  const sort = (head, down) => {
    const key = keyed(head.dataset.sort);
    const sign = down ? -1 : 1;
    const order = rows.map((row) => [key(row), Number(row.dataset.rank), row]);
    order.sort(([one, rank], [other, otherRank]) => {
      if (one === other) return rank - otherRank;
      if (one === null || one === "") return 1;
      if (other === null || other === "") return -1;
      return (one < other ? -1 : 1) * sign;
    });
    body.append(...order.map(([, , row]) => row));
    for (const each of table.tHead.rows[0].cells) each.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
  };

  for (const head of table.tHead.rows[0].cells) {
    if (!head.dataset.sort) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const now = head.getAttribute("aria-sort");
      sort(head, now ? now === "ascending" : "down" in head.dataset);
    });
  }

  const filter = () => {
    const wanted = filters.elements.search.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
    const { kind, level } = filters.elements;
    let shown = 0;
    for (const row of rows) {
      const data = values.get(row);
      const held = (!kind.value || data.kind === kind.value) && (!level.value || data.level === level.value)
        && wanted.every((word) => data.search.includes(word));
      if (row.hidden === held) row.hidden = !held;
      shown += held;
    }
    found.textContent = shown === rows.length ? "" : `${shown} of ${rows.length} agents`;
    none.hidden = shown > 0;
  };

  let picked = [];
  body.addEventListener("change", (event) => {
    const box = event.target;
    picked = picked.filter((each) => each !== box);
    if (box.checked) picked.push(box);
    for (const each of picked.splice(0, picked.length - 2)) each.checked = false;
    const slugs = picked.map((each) => each.closest("tr").dataset.slug);
    compare.href = slugs.length ? `compare.html#${slugs.join(",")}` : "compare.html";
    const names = picked.map((each) => each.closest("tr").querySelector("a").textContent);
    compare.textContent = names.length === 2 ? `Compare ${names.join(" and ")}`
      : names.length ? `Compare ${names[0]} with another` : "Compare two agents";
  });

  filters.addEventListener("input", filter);
  filters.addEventListener("submit", (event) => event.preventDefault());
  filters.hidden = false;
  filter();
})();
