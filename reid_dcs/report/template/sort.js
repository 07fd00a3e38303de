// Clicking a column title sorts the table by that column; clicking again reverses the order.
const compare = (a, b) =>
  a !== "" && b !== "" && !isNaN(a) && !isNaN(b) ? a - b : a.localeCompare(b);

for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const title = button.closest("th");
    const body = title.closest("table").tBodies[0];
    const sign = title.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    const value = (row) => row.cells[title.cellIndex].dataset.value;
    const rows = [...body.rows].sort((a, b) => sign * compare(value(a), value(b)));
    for (const other of title.parentElement.cells) other.removeAttribute("aria-sort");
    title.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
    body.append(...rows);
  });
}
