// Sorting, filtering and the scale of the small timelines.
{
  const table = document.querySelector("table");
  const rows = [...table.tBodies[0].rows];
  const heads = [...table.querySelectorAll("th[data-key]")];
  const collator = new Intl.Collator(document.documentElement.lang, { numeric: true, sensitivity: "base" });
  const byId = (id) => document.getElementById(id);

  // Rows without a value come last in both directions; equal ones keep their first order.
  function compare(key, kind, sign) {
    return (first, second) => {
      const [a, b] = [first.dataset[key], second.dataset[key]];
      if (a === "" || b === "") return (a === "") - (b === "");
      return sign * (kind === "number" ? Number(a) - Number(b) : collator.compare(a, b));
    };
  }

  function sort(head) {
    const next = { ascending: "descending", descending: "none" }[head.getAttribute("aria-sort")] ?? "ascending";
    for (const other of heads) other.setAttribute("aria-sort", other === head ? next : "none");
    const { key, kind } = head.dataset;
    const sorted = next === "none" ? rows : rows.toSorted(compare(key, kind, next === "ascending" ? 1 : -1));
    table.tBodies[0].append(...sorted);
  }

  function filter() {
    const words = byId("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    }
    const shown = rows.filter((row) => !row.hidden).length;
    byId("count").textContent = byId("count").dataset.text.replace("{shown}", shown).replace("{all}", rows.length);
  }

  function scale() {
    for (const strip of document.querySelectorAll(".strip")) strip.style.width = byId("scale").checked ? `${100 * strip.dataset.share}%` : "";
  }

  for (const head of heads) {
    head.setAttribute("aria-sort", "none");
    head.querySelector("button").disabled = false;
    head.querySelector("button").addEventListener("click", () => sort(head));
  }
  byId("filter").addEventListener("input", filter);
  document.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
  byId("scale")?.addEventListener("change", scale);
  if (byId("scale")) scale();
  document.body.classList.add("live");
  filter();
}
