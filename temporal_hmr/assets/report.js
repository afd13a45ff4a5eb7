"use strict";
// Click on a heading sorts the table by that column; without this script it stays as it is.
for (const table of document.querySelectorAll("table.sortable")) {
  const headings = Array.from(table.tHead.rows[0].cells);
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.title = "sort by this column";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const downwards = heading.getAttribute("aria-sort") === "descending";
      const sign = downwards ? 1 : -1;
      for (const other of headings) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", downwards ? "ascending" : "descending");
      const rows = Array.from(table.tBodies[0].rows);
      rows.sort((a, b) => sign * compare(a.cells[column].dataset.sort, b.cells[column].dataset.sort));
      table.tBodies[0].append(...rows);
    });
  });
}

// Numbers by size, what is not a number beyond all of them, text by the alphabet.
function compare(a, b) {
  const x = Number(a), y = Number(b);
  if (a === "nan" || b === "nan") return (a === "nan") - (b === "nan");
  if (Number.isNaN(x) || Number.isNaN(y)) return a.localeCompare(b, undefined, { numeric: true });
  return x - y;
}
