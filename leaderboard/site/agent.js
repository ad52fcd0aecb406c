"use strict";
// Filters the list of episodes; without this script all of them are listed.
(() => {
  const filters = document.getElementById("filters");
  const entries = [...document.querySelectorAll(".episodes > li")];
  const more = document.getElementById("more");
  const found = document.getElementById("found");
  const filter = () => {
    const { environment, split, mark } = filters.elements;
    let shown = 0;
    for (const entry of entries) {
      const { dataset } = entry;
      const held = (!environment.value || dataset.environment === environment.value)
        && (!split.value || dataset.split === split.value)
        && (!mark.value || dataset.marks.split(" ").includes(mark.value));
      entry.hidden = !held;
      shown += held;
    }
    if (more && (environment.value || split.value || mark.value)) more.open = true;
    found.textContent = `${shown} episodes`;
  };
  filters.addEventListener("input", filter);
  filters.addEventListener("submit", (event) => event.preventDefault());
  filters.hidden = entries.length === 0;
  filter();
})();
