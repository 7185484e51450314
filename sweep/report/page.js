// Draws the plots of the embedded data from their specifications. Text of the data is inserted by textContent.
function apologise(why) {
  document.getElementById("plots").textContent = `The plots cannot be drawn here: ${why}. All numbers are in results.parquet and tables/ beside this page.`;
}
addEventListener("error", (event) => apologise(event.message));
addEventListener("unhandledrejection", (event) => apologise(event.reason));
const page = JSON.parse(await unpack("data"));
document.head.append(element("script", { textContent: await unpack("vega") }));
const FILTERS = ["machine", "workload", "policy"];
const MOST = 500; // rows of a table
const off = { machine: new Set(), workload: new Set(), policy: new Set() };
const tables = page.tables.map((columns) => {
  const names = Object.keys(columns);
  return (columns[names[0]] ?? []).map((_, at) => Object.fromEntries(names.map((name) => [name, columns[name][at]])));
});

async function unpack(id) { // output of `packed` in page.py: deflated, in base 64
  const packed = Uint8Array.from(atob(document.getElementById(id).textContent), (digit) => digit.charCodeAt(0));
  return new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"))).text();
}
function element(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const unique = (values) => [...new Set(values)];
const ordered = (values) => unique(values).sort((a, b) => typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true }));
const varies = (plot, name) => unique(tables[plot.table].map((row) => row[name])).length > 1;
const series = (plot) => plot.kind === "table" ? "" : plot.series;

function number(value) {
  if (typeof value !== "number") return value === null || value === undefined ? "–" : value === "inf" ? "∞" : String(value);
  if (value === 0 || Number.isInteger(value) && Math.abs(value) < 1e6) return String(value);
  return Math.abs(value) >= 1e6 || Math.abs(value) < 1e-3 ? value.toExponential(3) : String(Number(value.toPrecision(5)));
}

// Plots of lines or of a front dim policies that are not ticked; other plots leave them out.
const dims = (plot) => plot.lit.length > 0 && plot.series === "policy";
const filtered = (plot) => tables[plot.table].filter((row) => FILTERS.every((name) => row[name] === undefined || !off[name].has(row[name]) || name === "policy" && dims(plot)));
const inSetting = (plot, rows) => plot.fixed.reduce((kept, name) => kept.filter((row) => row[name] === plot.chosen[name]), rows);

function settle(plot, rows, first) { // values of all fixed columns that occur in some row, with preference for those of `first`
  let kept = rows;
  for (const name of [...first, ...plot.fixed.filter((each) => !first.includes(each))]) {
    const there = unique(kept.map((row) => row[name]));
    if (there.length && !there.includes(plot.chosen[name])) plot.chosen[name] = there[0];
    kept = kept.filter((row) => row[name] === plot.chosen[name]);
  }
  return kept;
}

function drawn(plot) { // the rows to draw, with the specification's column names
  const rows = settle(plot, filtered(plot), plot.moved ?? []), place = (name, row) => row[name] === "inf" ? plot.axes[name].never : row[name];
  const value = plot.kind === "dots" ? plot.x : plot.y, least = plot.axes[value]?.scale.type === "log" ? 0 : -Infinity;
  const low = (row) => row[value + "_lo"] === null || row[value + "_lo"] > least ? row[value + "_lo"] : row[value] / 10; // the end of a logarithmic axis
  return rows.map((row) => ({ ...row, x: place(plot.x, row), y: place(plot.y, row), lo: low(row) ?? null, hi: row[value + "_hi"] ?? null,
    series: row[plot.series], lit: dims(plot) ? !off.policy.has(row.policy) : true }));
}

async function draw(plot) {
  if (plot.kind === "table") { plot.fill(); return; }
  const rows = drawn(plot), place = document.getElementById(`plot-${plot.name}`);
  plot.controls();
  place.classList.toggle("empty", !rows.length);
  if (!rows.length) { place.textContent = "The filters leave nothing here."; plot.fill(); return; }
  const text = Object.entries(page.theme).reduce((all, [name, hex]) => all.replaceAll(hex, css(`--${name}`)), JSON.stringify(plot.spec));
  const spec = JSON.parse(text), narrow = place.clientWidth < 560, names = unique(rows.filter((row) => row.lit).map((row) => row.series));
  Object.assign(spec, { datasets: { rows }, width: "container", background: "transparent" });
  spec.height = spec.height ? spec.height.step * unique(rows.map((row) => row.y)).length : narrow ? 300 : 400;
  for (const at of ["x", "y"]) if (plot.choices[at]) { const { title, scale, axis } = plot.axes[plot[at]]; Object.assign(spec.encoding[at], { title, scale, axis }); }
  for (const param of spec.params ?? []) if (param.name === "beyond") param.value = plot.axes[plot.x].beyond ?? null;
  for (const { domain, range } of scales(spec)) for (let at = domain.length; at--;) if (!names.includes(domain[at])) { domain.splice(at, 1); range.splice(at, 1); }
  spec.config.legend.columns = Math.max(1, Math.floor(place.clientWidth / 170));
  if (narrow) spec.config.axis.labelLimit = 130;
  if (plot.share) spec.encoding.x.stack = "normalize";
  const { view } = await vegaEmbed(place, spec, { ast: true, actions: false, renderer: "svg", logLevel: 1, defaultStyle: false, tooltip: { disableDefaultStyle: true } });
  place.view = view;
  plot.fill();
}
const drawAll = () => Promise.all(page.plots.map(draw));

function scales(spec) { // the scales of series, in all layers of a specification
  return [spec, ...(spec.layer ?? [])].flatMap((layer) => Object.values(layer.encoding ?? {})).filter((channel) => channel.field === "series" && channel.scale).map((channel) => channel.scale);
}

function control(words, values, now, onchange) {
  const select = element("select", {}, ...values.map((value) => element("option", { value: JSON.stringify(value), textContent: number(value), selected: value === now })));
  select.onchange = () => onchange(JSON.parse(select.value));
  select.setAttribute("aria-label", words);
  return element("label", { className: "control" }, words, select);
}

function controls(plot, place) { // choices of both axes and of the fixed values
  const again = (moved) => { plot.moved = moved; draw(plot); };
  const made = ["y", "x"].filter((at) => Object.keys(plot.choices[at] ?? {}).length > 1)
    .map((at) => control(at === "y" ? "show" : "against", Object.keys(plot.choices[at]), plot[at], (name) => {
      plot[at] = name;
      if (at === "x") plot.fixed = plot.choices.x[name];
      plot.columns = unique([plot.series, ...plot.fixed, plot.x, plot.y, `${plot.y}_lo`, `${plot.y}_hi`]).filter((each) => each in page.tables[plot.table]);
      again([]);
    }));
  for (const name of plot.fixed) if (varies(plot, name))
    made.push(control(name, ordered(tables[plot.table].map((row) => row[name])), plot.chosen[name], (value) => { plot.chosen[name] = value; again([name]); }));
  if (plot.kind === "stack") made.push(control("unit", ["seconds", "share of each bar"], plot.share ? "share of each bar" : "seconds", (unit) => { plot.share = unit !== "seconds"; draw(plot); }));
  place.replaceChildren(...made);
}

function table(plot) { // sorted by a click on a column's head, and filtered by words in a row
  const columns = plot.columns.filter((name) => name !== "what"), numeric = (name) => tables[plot.table].some((row) => typeof row[name] === "number");
  const words = (plot.words ?? "").toLowerCase().split(/\s+/).filter(Boolean), cells = (row) => columns.map((name) => number(row[name]));
  let rows = inSetting(plot, filtered(plot)).filter((row) => words.every((word) => cells(row).some((cell) => cell.toLowerCase().includes(word))));
  const found = rows.length, { by, down } = plot.sorted ?? {};
  if (by) rows = rows.toSorted((a, b) => (down ? -1 : 1) * (typeof a[by] === "number" && typeof b[by] === "number" ? a[by] - b[by] : number(a[by]).localeCompare(number(b[by]), "en", { numeric: true })));
  const head = columns.map((name) => {
    const sort = () => { plot.sorted = { by: name, down: by === name && !down }; plot.fill(); };
    const th = element("th", { scope: "col", className: numeric(name) ? "number" : "" }, element("button", { type: "button", textContent: name, onclick: sort }));
    th.setAttribute("aria-sort", by === name ? (down ? "descending" : "ascending") : "none");
    return th;
  });
  const body = rows.slice(0, MOST).map((row) => element("tr", {}, ...cells(row).map((text, at) => element("td", { className: numeric(columns[at]) ? "number" : "", textContent: text }))));
  const scroll = element("div", { className: "scroll", tabIndex: 0 }, element("table", { className: "data" }, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...body)));
  scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-label", `Data: ${plot.title}`);
  return [scroll, element("p", { className: "note", textContent: found > MOST ? `${MOST} of ${found} rows.` : "" })];
}

function csv(plot) {
  const text = (value) => typeof value === "string" && /^[=+\-@\t\r]/.test(value) && !/^[+-]?inf$/.test(value) ? `'${value}` : value; // no formula
  const quoted = (value) => value === null || value === undefined ? "" : /[",\n\r]/.test(value) ? `"${String(value).replace(/"/g, '""')}"` : String(value);
  const lines = [plot.columns, ...inSetting(plot, tables[plot.table]).map((row) => plot.columns.map((name) => row[name]))];
  return "data:text/csv;charset=utf-8," + encodeURIComponent(lines.map((line) => line.map(text).map(quoted).join(",")).join("\n") + "\n");
}

function build(plot) {
  const section = element("section", { id: `section-${plot.name}` }, element("h2", { textContent: plot.title }), element("p", { className: "note", textContent: plot.note }));
  const place = element("div", { id: `table-${plot.name}` }), words = element("input", { type: "search", placeholder: "rows with …", oninput: () => { plot.words = words.value; plot.fill(); } });
  words.setAttribute("aria-label", `Filter the rows of: ${plot.title}`);
  const link = element("a", { className: "button csv", href: "#", download: `${plot.name}.csv`, textContent: "Data as CSV", onclick: () => { link.href = csv(plot); } });
  const tools = element("div", { className: "tools" }, link);
  plot.fill = () => place.replaceChildren(...table(plot));
  if (plot.kind === "table") { section.append(words, place, tools); return section; }
  const panel = element("div", { className: "controls" }), picture = element("div", { id: `plot-${plot.name}`, className: "plot" });
  plot.controls = () => controls(plot, panel);
  picture.setAttribute("role", "img");
  picture.setAttribute("aria-label", `${plot.title}. ${plot.note} The numbers are in the table below.`);
  const details = element("details", { open: plot.name === "measured", ontoggle: () => plot.fill() }, element("summary", { textContent: "Data as a table" }), words, place);
  plot.fill = () => { if (details.open) place.replaceChildren(...table(plot)); };
  tools.append(details);
  section.append(panel, picture, tools);
  return section;
}

function filters() {
  const form = document.getElementById("filters"), lit = page.plots.find((plot) => dims(plot))?.lit;
  form.onsubmit = (event) => event.preventDefault();
  for (const name of FILTERS) {
    const values = unique(tables.flatMap((rows) => rows.map((row) => row[name]))).filter(Boolean);
    if (values.length < 2) continue;
    const chips = values.map((value) => {
      if (name === "policy" && lit && values.length > lit.length && !lit.includes(value)) off.policy.add(value);
      const box = element("input", { type: "checkbox", checked: !off[name].has(value), name, value, onchange: () => { box.checked ? off[name].delete(value) : off[name].add(value); drawAll(); } });
      const chip = element("label", { className: "chip" }, box);
      if (name === "policy" && page.plots.some((plot) => series(plot) === "policy")) {
        const dot = element("span", { className: "swatch" });
        dot.style.background = page.colours[value] === page.theme.ink ? "var(--ink)" : page.colours[value];
        chip.append(dot);
      }
      chip.append(value);
      return chip;
    });
    form.append(element("fieldset", {}, element("legend", { textContent: name }), ...chips));
  }
  form.parentElement.hidden = !form.children.length;
  form.parentElement.open = innerWidth >= 640;
}

const root = document.documentElement, toggle = document.getElementById("theme"), media = matchMedia("(prefers-color-scheme: dark)");
const dark = () => (root.dataset.theme ?? (media.matches ? "dark" : "light")) === "dark";
const named = () => { toggle.textContent = dark() ? "Light theme" : "Dark theme"; };
toggle.onclick = () => { root.dataset.theme = dark() ? "light" : "dark"; named(); drawAll(); };
media.addEventListener("change", () => { named(); drawAll(); });
let before;
addEventListener("beforeprint", () => { before = root.dataset.theme; root.dataset.theme = "light"; drawAll(); });
addEventListener("afterprint", () => { before === undefined ? delete root.dataset.theme : root.dataset.theme = before; drawAll(); });

named();
filters();
document.getElementById("plots").replaceChildren(...page.plots.map(build));
await drawAll();
root.dataset.drawn = "yes";
