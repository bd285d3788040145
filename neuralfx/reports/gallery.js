"use strict";
// A click on a heading sorts its table, a second one turns it around; one sound plays at a time.
(() => {
  const valueOf = (cell) => {
    if (!("value" in cell.dataset)) return cell.textContent;
    return cell.dataset.value === "" ? Infinity : Number(cell.dataset.value);
  };

  const compare = (a, b) => (typeof a === "string" ? a.localeCompare(b) : a === b ? 0 : a < b ? -1 : 1);

  const sort = (table, column) => {
    const heads = [...table.tHead.rows[0].cells];
    const sign = heads[column].getAttribute("aria-sort") === "ascending" ? -1 : 1;
    heads.forEach((head) => head.removeAttribute("aria-sort"));
    heads[column].setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
    const rows = [...table.tBodies[0].rows];
    rows.sort((a, b) => sign * compare(valueOf(a.cells[column]), valueOf(b.cells[column])));
    table.tBodies[0].append(...rows);
  };

  document.querySelectorAll("table.sortable").forEach((table) => {
    table.querySelectorAll("thead button").forEach((button, column) => {
      button.addEventListener("click", () => sort(table, column));
    });
  });

  document.addEventListener("play", (event) => {
    document.querySelectorAll("audio").forEach((sound) => { if (sound !== event.target) sound.pause(); });
  }, true);
})();
