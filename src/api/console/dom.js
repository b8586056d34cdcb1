// Elements from values. Text is always text: nothing here parses HTML.

/** An element with properties (`class`, `for` and `aria-…` as in HTML; `on…` as handlers) and children. */
export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value != null) made.setAttribute(key, value);
  }
  made.append(...children.flat().filter((child) => child != null));
  return made;
}

/** A table. `columns`: [head, cell(row), class?]. */
export function table(caption, columns, rows, nothing) {
  if (rows.length === 0) return element("p", { class: "soft" }, nothing);
  const head = columns.map(([name, , kind]) => element("th", { scope: "col", class: kind }, name));
  const line = (row) => element("tr", {}, columns.map(([, cell, kind]) => element("td", { class: kind }, cell(row) ?? "–")));
  return element("div", { class: "scroll" }, element("table", { "aria-label": caption },
    element("thead", {}, element("tr", {}, head)), element("tbody", {}, rows.map(line))));
}

/** A field with its label. */
export function field(label, input) {
  return element("label", {}, label, input);
}

export function choice(values, chosen, onchange) {
  const options = values.map((value) => element("option", { value, selected: value === chosen }, value));
  return element("select", { onchange: (event) => onchange(event.target.value) }, options);
}

export function time(text) {
  return text ? new Date(text).toLocaleString() : "–";
}

export function seconds(number) {
  if (number == null) return "–";
  return number < 1 ? `${(number * 1000).toFixed(2)} ms` : `${number.toFixed(1)} s`;
}

export function bytes(number) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let at = 0;
  while (number >= 1000 && at < units.length - 1) { number /= 1000; at += 1; }
  return `${number.toFixed(at === 0 ? 0 : 1)} ${units[at]}`;
}

/** Says something to everybody, whoever reads the page. */
export function tell(text) {
  const told = document.getElementById("told");
  told.textContent = text;
  clearTimeout(tell.later);
  tell.later = setTimeout(() => { told.textContent = ""; }, 6000);
}
