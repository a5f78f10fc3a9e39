// Sorts and filters the tables of runs, and opens the cell that a link leads to. The page works without it.
"use strict";
document.documentElement.classList.add("scripted");

// A column's text as a number, or as a word if it is none: "12 of 25" is 12, "–" comes last.
const valueOf = (body, column) => {
  const text = body.rows[0].cells[column].textContent.trim();
  const number = parseFloat(text.replace(/,/g, "").replace("\u2212", "-"));
  return Number.isNaN(number) ? (text === "\u2013" ? null : text) : number;
};

const compare = (a, b) => {
  if (a === null || b === null) return (a === null) - (b === null);
  if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
  return typeof a === "number" ? a - b : a.localeCompare(b);
};

for (const table of document.querySelectorAll("table.runs")) {
  const heads = [...table.tHead.querySelectorAll("tr.sort th")];
  heads.forEach((head, column) => {
    head.firstChild.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const keyed = [...table.tBodies].map((body) => [valueOf(body, column), body]);
      keyed.sort(([a], [b]) => (down && a !== null && b !== null ? compare(b, a) : compare(a, b)));
      table.append(...keyed.map(([, body]) => body));
    });
  });

  if (table.tBodies.length < 8) continue;
  const tools = document.createElement("div");
  tools.className = "tools";
  const label = document.createElement("label");
  const input = document.createElement("input");
  input.type = "search";
  input.placeholder = "words, such as 600 qnn";
  label.append("Filter: ", input);
  const count = document.createElement("span");
  count.setAttribute("role", "status");
  tools.append(label, count);
  table.parentElement.before(tools);
  const bodies = [...table.tBodies].map((body) => {
    const cells = [...body.rows[0].cells].map((cell) => cell.textContent.toLowerCase().trim());
    return [body, cells];
  });
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const [body, cells] of bodies) {
      // A whole number is looked for as it is: 600 is not 6000.
      const has = (word) => cells.some((cell) => (/^\d+$/.test(word) ? cell === word : cell.includes(word)));
      body.hidden = !words.every(has);
      shown += !body.hidden;
    }
    count.textContent = words.length ? `${shown} of ${bodies.length} rows` : "";
  });
}

const open = () => {
  let there = null;
  try {
    there = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  } catch {
    return; // no text that was encoded as an address
  }
  if (!there) return;
  there.hidden = false;
  for (const details of there.querySelectorAll(":scope > tr > td > details")) details.open = true;
  there.scrollIntoView();
};
addEventListener("hashchange", open);
if (location.hash) open();
