"use strict";
// Sorting, filters, search and columns. Without this file everything is still there to read.
(() => {
  const tools = document.getElementById("tools");
  if (!tools) return;
  const $ = (id) => document.getElementById(id);
  const inputs = { q: $("q"), family: $("family"), model: $("model"), status: $("status") };
  const sections = [...document.querySelectorAll("section.model")];
  const tables = [...document.querySelectorAll("table.board")];
  const hidden = new Set();
  const labels = new Map();
  let sort = { column: "", direction: "" };
  // The order in which the rows were written is the board's own.
  for (const table of tables) [...table.tBodies[0].rows].forEach((row, place) => { row.place = place; });

  const cellOf = (row, column) =>
    [...row.cells].find((cell) => cell.dataset.col === column);

  function compare(column, sign) {
    return (first, second) => {
      const [a, b] = [first, second].map((row) => cellOf(row, column)?.dataset.v ?? "");
      // What has no number stands last, whichever way.
      if (a === "" || b === "") return (a === "") - (b === "") || first.place - second.place;
      const numbers = [Number(a), Number(b)];
      const order = numbers.some(Number.isNaN) ? a.localeCompare(b, "en") : numbers[0] - numbers[1];
      return sign * order || first.place - second.place;
    };
  }

  function sortTables() {
    for (const table of tables) {
      const heads = [...table.tHead.rows[0].cells];
      const known = heads.some((head) => head.dataset.col === sort.column);
      const rows = [...table.tBodies[0].rows];
      const own = known
        ? compare(sort.column, sort.direction === "down" ? -1 : 1)
        : (first, second) => first.place - second.place;
      table.tBodies[0].append(...rows.sort(own));
      table.classList.toggle("shuffled", known && !(["rank", "tie"].includes(sort.column) && sort.direction === "up"));
      for (const head of heads) {
        if (known && head.dataset.col === sort.column)
          head.setAttribute("aria-sort", sort.direction === "down" ? "descending" : "ascending");
        else head.removeAttribute("aria-sort");
      }
    }
  }

  function fits(row) {
    const words = inputs.q.value.trim().toLowerCase().split(/\s+/);
    const wanted = inputs.status.value;
    const status = row.dataset.status ?? row.closest("[data-status]").dataset.status;
    return (
      words.every((word) => row.dataset.search.includes(word)) &&
      (!inputs.family.value || row.dataset.family === inputs.family.value) &&
      (!wanted || wanted === status || wanted === `verdict ${row.dataset.verdict}`)
    );
  }

  function filterRows() {
    let shown = 0;
    for (const section of sections) {
      section.hidden = Boolean(inputs.model.value) && section.dataset.model !== inputs.model.value;
      let here = 0;
      for (const row of section.querySelectorAll("table.board > tbody > tr")) row.hidden = !fits(row);
      for (const list of section.querySelectorAll(".listing")) {
        const left = list.querySelectorAll("tbody > tr:not([hidden])").length;
        list.hidden = left === 0;
        here += left;
      }
      section.querySelector(".nothing").hidden = here > 0;
      if (!section.hidden) shown += here;
    }
    return shown;
  }

  function showColumns() {
    for (const table of tables)
      for (const cell of table.querySelectorAll("[data-col]")) cell.hidden = hidden.has(cell.dataset.col);
  }

  function tell(shown) {
    const how = { up: "ascending", down: "descending" }[sort.direction];
    const order = sort.column && labels.has(sort.column) ? `, sorted by ${labels.get(sort.column)}, ${how}` : "";
    $("told").textContent = `${shown} ${shown === 1 ? "row" : "rows"}${order}.`;
  }

  function keep() {
    const state = new URLSearchParams();
    for (const [name, input] of Object.entries(inputs)) if (input.value) state.set(name, input.value);
    if (sort.column) state.set("sort", `${sort.column}.${sort.direction}`);
    if (hidden.size) state.set("hide", [...hidden].join(","));
    const text = state.toString();
    const before = location.hash.slice(1);
    if (text === before || (!text && !before.includes("="))) return;
    history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
  }

  function apply(remember = true) {
    sortTables();
    showColumns();
    tell(filterRows());
    if (remember) keep();
  }

  function restore() {
    const hash = location.hash.slice(1);
    if (!hash.includes("=")) return;
    const state = new URLSearchParams(hash);
    for (const [name, input] of Object.entries(inputs)) {
      input.value = state.get(name) ?? "";
      if (input.selectedIndex === -1) input.value = "";
    }
    const [, column, direction] = /^(.+)\.(up|down)$/.exec(state.get("sort") ?? "") ?? [];
    sort = labels.has(column) ? { column, direction } : { column: "", direction: "" };
    hidden.clear();
    for (const one of (state.get("hide") ?? "").split(",")) if (labels.has(one) && one !== "method") hidden.add(one);
    for (const box of tools.querySelectorAll("input[type=checkbox]")) box.checked = !hidden.has(box.value);
  }

  function addButton(head) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const column = head.dataset.col;
      const first = head.dataset.first;
      const other = first === "up" ? "down" : "up";
      // Once one way, once the other, then back to the order of the board.
      if (sort.column !== column) sort = { column, direction: first };
      else sort = sort.direction === first ? { column, direction: other } : { column: "", direction: "" };
      apply();
    });
  }

  for (const head of document.querySelectorAll("table.board thead th")) {
    if (!labels.has(head.dataset.col)) labels.set(head.dataset.col, head.dataset.label);
    addButton(head);
  }
  for (const [column, label] of labels) {
    if (column === "method") continue;
    const box = document.createElement("input");
    Object.assign(box, { type: "checkbox", checked: true, value: column });
    box.addEventListener("change", () => {
      if (box.checked) hidden.delete(column);
      else hidden.add(column);
      apply();
    });
    const line = document.createElement("label");
    line.append(box, label);
    $("columns").querySelector("fieldset").append(line);
  }
  for (const input of Object.values(inputs)) input.addEventListener("input", () => apply());
  $("reset").addEventListener("click", () => {
    for (const input of Object.values(inputs)) input.value = "";
    sort = { column: "", direction: "" };
    hidden.clear();
    for (const box of tools.querySelectorAll("input[type=checkbox]")) box.checked = true;
    apply();
  });
  window.addEventListener("hashchange", () => { restore(); apply(false); });
  tools.hidden = false;
  restore();
  apply(false);
})();
