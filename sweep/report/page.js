// Draws the plots of the embedded data. Text from the data enters by textContent, or escaped where Plotly reads tags.
function apologise(why) {
  document.getElementById("plots").textContent = `The plots cannot be drawn here: ${why}. All numbers are in results.parquet and tables/ beside this page.`;
}
if (!("DecompressionStream" in globalThis)) {
  apologise("this browser is too old (it has no DecompressionStream)");
  throw new Error("no DecompressionStream");
}
addEventListener("error", (event) => apologise(event.message));
addEventListener("unhandledrejection", (event) => apologise(event.reason));
const page = JSON.parse(await unpack("data"));
document.head.append(element("script", { textContent: await unpack("plotly") }));
const FILTERS = ["machine", "workload", "policy"];
const { coloured: COLOURED, palette: PALETTE, ink: INK_NAMES, first: FIRST, others_from: OTHERS_FROM, tones: TONES, tone: TONE } = page.colours; // colours.json
const DASHES = ["solid", "dash", "dot", "dashdot"];
const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "x"];
const off = { machine: new Set(), workload: new Set(), policy: new Set() };
const chosen = {}; // setting shown, by plot

async function unpack(id) { // what `packed` of page.py made: deflated, in base 85 with "," for "<"
  const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;,=>?@^_`{|}~";
  const value = new Uint8Array(128), text = document.getElementById(id).textContent, groups = Math.ceil(text.length / 5);
  for (let at = 0; at < 85; at++) value[digits.charCodeAt(at)] = at;
  const bytes = new DataView(new ArrayBuffer(4 * groups)), padded = text.padEnd(5 * groups, "~");
  for (let group = 0; group < groups; group++) {
    let word = 0;
    for (let at = 5 * group; at < 5 * group + 5; at++) word = 85 * word + value[padded.charCodeAt(at)];
    bytes.setUint32(4 * group, word);
  }
  const packed = new Uint8Array(bytes.buffer, 0, bytes.byteLength - (padded.length - text.length));
  return new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"))).text();
}
function element(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}
const escaped = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
const narrow = () => innerWidth < 640;
const broken = (text) => narrow() ? escaped(text).replace(/(: |, | on )/g, "$1<br>") : escaped(text); // for the label of an axis
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const unique = (values) => [...new Set(values)];
const rowsOf = (plot) => plot.rows ??= plot.columns[0].values.map((_, i) => Object.fromEntries(plot.columns.map((c) => [c.name, c.values[i]])));
const has = (names, name) => Object.hasOwn(names, name); // a policy may be called constructor
const shown = (plot) => rowsOf(plot).filter((row) => FILTERS.every((name) => row[name] === undefined || !off[name].has(row[name])));
const label = (plot, name) => has(plot.labels, name) ? plot.labels[name] : name;
const infinite = (value) => value === "inf";

function number(value) {
  if (typeof value !== "number") return value === null ? "–" : infinite(value) ? "∞" : String(value);
  if (value === 0 || Number.isInteger(value) && Math.abs(value) < 1e6) return String(value);
  return Math.abs(value) >= 1e6 || Math.abs(value) < 1e-3 ? value.toExponential(3) : String(Number(value.toPrecision(5)));
}

const mixed = (share) => "#" + [1, 3, 5].map((at) => { // ink on the card, as it looks in this theme
  const [ink, card] = ["--ink", "--card"].map((name) => parseInt(css(name).slice(at, at + 2), 16));
  return Math.round(share * ink + (1 - share) * card).toString(16).padStart(2, "0");
}).join("");

function style(name, names, series = "policy") { // the same look for a name in every plot
  if (INK_NAMES.includes(name)) return { color: css("--ink"), dash: "dot", symbol: name === "measured" ? "line-ns-open" : "cross" };
  if (!COLOURED.includes(series)) { // a tone of the ink, so that a colour is always the same policy
    const nth = names.filter((each) => !INK_NAMES.includes(each)).indexOf(name);
    return { color: mixed(has(TONES, name) ? TONES[name] : TONE), dash: DASHES[nth % DASHES.length], symbol: SYMBOLS[nth % SYMBOLS.length] };
  }
  const others = names.filter((each) => !has(FIRST, each) && !INK_NAMES.includes(each)).sort();
  const at = has(FIRST, name) ? FIRST[name] : OTHERS_FROM + others.indexOf(name);
  const turn = Math.floor(at / PALETTE.length);
  return { color: PALETTE[at % PALETTE.length], dash: DASHES[turn % DASHES.length], symbol: SYMBOLS[(at + turn) % SYMBOLS.length] };
}
const everyName = (plot) => plot.series === "policy" ? page.policies : unique(rowsOf(plot).map((row) => row[plot.series]));

function ticks(values) { // 1, 2, 5 times powers of ten that span the values; round numbers in a narrow range
  const low = Math.min(...values), high = Math.max(...values), out = [];
  if (low === high) return [low];
  if (high / low < 4) {
    const rough = (high - low) / 5, power = 10 ** Math.floor(Math.log10(rough)), step = power * [1, 2, 5, 10].find((d) => d * power >= rough);
    for (let at = Math.ceil(low / step); at * step <= high * 1.05; at++) out.push(Number((at * step).toPrecision(4)));
    return out;
  }
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++)
    for (const digit of high / low > 300 ? [1] : [1, 2, 5]) out.push(Number((digit * 10 ** power).toPrecision(3)));
  return out;
}
const tickText = (value) => value === 0 ? "0" : value >= 1e6 || value < 1e-3 ? value.toExponential(0).replace("e+", "e") : value.toLocaleString("en").replace(/,/g, " ");
const duration = (ns) => ns >= 1e9 ? `${tickText(ns / 1e9)} s` : ns >= 1e6 ? `${ns / 1e6} ms` : ns >= 1e3 ? `${ns / 1e3} µs` : `${ns} ns`;
const tickOf = (name) => name.endsWith("_ns") && name.includes("window") ? duration : tickText;

function axis(plot, name, values, exact) {
  const made = { title: { text: escaped(label(plot, name)), standoff: 12, font: { size: 13 } }, gridcolor: css("--grid"), linecolor: css("--line"),
    zerolinecolor: css("--line"), automargin: true, exponentformat: "none", ticks: "outside", tickcolor: css("--line") };
  const positive = values.filter((value) => value > 0);
  if (plot.log.includes(name) && positive.length) {
    const pad = Math.max(0.04, 0.04 * Math.log10(Math.max(...positive) / Math.min(...positive)));
    const range = [Math.log10(Math.min(...positive)) - pad, Math.log10(Math.max(...positive)) + pad];
    const at = exact && unique(positive).length <= 14 ? unique(positive).sort((a, b) => a - b) : ticks(range.map((power) => 10 ** power));
    Object.assign(made, { type: "log", tickvals: at, ticktext: at.map(tickOf(name)), minor: { ticks: "" }, range });
  }
  return made;
}

function layout(height, x, y, more = {}) {
  return { height, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", margin: { l: 64, r: 16, t: 34, b: 48 },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: css("--soft"), activecolor: css("--accent") },
    font: { color: css("--ink"), family: getComputedStyle(document.body).fontFamily, size: 13 }, xaxis: x, yaxis: y,
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0, font: { size: 13 } }, hovermode: "closest", separators: ". ",
    hoverlabel: { bgcolor: css("--card"), bordercolor: css("--line"), font: { color: css("--ink"), size: 13 }, align: "left" }, ...more };
}
const hover = (plot, row) => plot.columns.filter((c) => row[c.name] !== "" && row[c.name] !== null && c.name !== "what")
  .map((c) => `${escaped(c.name)}: <b>${escaped(number(row[c.name]))}</b>`).join("<br>") + "<extra></extra>";
const inBand = (row, y) => [row[y], ...[row[y + "_lo"], row[y + "_hi"]].filter((v) => typeof v === "number").map((v) => Math.min(Math.max(v, row[y] / 1.5), row[y] * 1.5))];

const panelOf = (plot, row) => plot.panel.map((name) => row[name]).filter(Boolean).join(", "); // what is chosen from a list
const inPanel = (plot, rows) => chosen[plot.name] === undefined ? rows : rows.filter((row) => panelOf(plot, row) === chosen[plot.name]);

function lines(plot, rows) {
  const kept = inPanel(plot, rows), differs = ["machine", "workload"].filter((name) => unique(kept.map((row) => row[name])).length > 1);
  const placeOf = (row) => differs.map((name) => row[name]).join(" · "), places = unique(kept.map(placeOf));
  const keys = unique(kept.map((row) => [row[plot.series], row.machine, row.workload].join("\u0000")));
  const bands = [], marks = [];
  for (const key of keys) {
    const [policy, machine, workload] = key.split("\u0000");
    const mine = kept.filter((row) => row[plot.series] === policy && row.machine === machine && row.workload === workload);
    const look = style(policy, everyName(plot), plot.series), place = placeOf({ machine, workload });
    const lo = mine.map((row) => row[plot.y + "_lo"]), hi = mine.map((row) => row[plot.y + "_hi"]), x = mine.map((row) => row[plot.x]);
    if (lo.every((value) => typeof value === "number"))
      bands.push({ x: [...x, ...[...x].reverse()], y: [...hi, ...lo.map((v) => plot.log.includes(plot.y) ? Math.max(v, 1e-9) : v).reverse()], fill: "toself",
        fillcolor: look.color + (look.color.length === 7 ? "38" : ""), line: { width: 0 }, mode: "lines", hoverinfo: "skip", showlegend: false, legendgroup: key, meta: "band" });
    marks.push({ x, y: mine.map((row) => row[plot.y]), mode: "lines+markers", name: escaped(places.length > 1 ? `${policy}, ${place}` : policy), legendgroup: key,
      line: { color: look.color, width: 2.25, dash: DASHES[Math.max(places.indexOf(place), DASHES.indexOf(look.dash)) % 4] },
      marker: { color: look.color, symbol: look.symbol, size: 7 }, hovertemplate: mine.map((row) => hover(plot, row)), meta: policy });
  }
  const places_x = kept.map((row) => row[plot.x]), least = Math.min(...places_x.filter((v) => v > 0));
  const x = axis(plot, plot.x, places_x, true);
  if (places_x.includes(0) && Math.max(...places_x) / least >= 8) { // a zero has no place on a logarithmic axis: equal steps
    Object.assign(x, { type: "category", categoryorder: "array", categoryarray: unique(places_x).sort((a, b) => a - b), title: { ...x.title, text: x.title.text + " (not to scale)" } });
  }
  const y = axis(plot, plot.y, kept.flatMap((row) => inBand(row, plot.y)));
  const shapes = plot.beyond === null || x.type === "category" ? [] : [{ type: "rect", xref: "x", yref: "paper", x0: plot.beyond,
    x1: Math.max(...places_x), y0: 0, y1: 1, fillcolor: css("--soft"), opacity: 0.13, line: { width: 0 }, layer: "below" }];
  return [[...bands, ...marks], layout(430, x, y, { shapes })];
}

function dots(plot, rows) {
  const names = everyName(plot), whats = unique(rows.map((row) => row.what)).reverse();
  const traces = names.filter((name) => rows.some((row) => row[plot.series] === name)).map((name) => {
    const mine = rows.filter((row) => row[plot.series] === name), look = style(name, names, plot.series);
    const hi = mine.map((row) => row[plot.x + "_hi"]), bar = hi.some((value) => typeof value === "number");
    return { x: mine.map((row) => row[plot.x]), y: mine.map((row) => broken(row.what)), mode: "markers", name: escaped(name), meta: name,
      marker: { color: look.color, symbol: look.symbol, size: name === "measured" ? 20 : 11, line: { width: name === "measured" ? 3 : 0, color: look.color } },
      error_x: bar ? { type: "data", symmetric: false, array: mine.map((row) => row[plot.x + "_hi"] - row[plot.x]),
        arrayminus: mine.map((row) => row[plot.x] - row[plot.x + "_lo"]), color: look.color, thickness: 2, width: 5 } : undefined,
      hovertemplate: mine.map((row) => hover(plot, row)) };
  });
  const y = { ...axis(plot, "what", []), title: "", type: "category", categoryorder: "array", categoryarray: whats.map(broken), tickson: "labels" };
  return [traces, layout(110 + (narrow() ? 76 : 44) * whats.length, axis(plot, plot.x, rows.flatMap((row) => [row[plot.x], row[plot.x + "_lo"], row[plot.x + "_hi"]].filter((v) => typeof v === "number"))), y)];
}

function stack(plot, rows) {
  const names = everyName(plot), whats = unique(rows.map((row) => row.what)).reverse();
  const traces = names.map((name) => {
    const mine = rows.filter((row) => row[plot.series] === name);
    return { type: "bar", orientation: "h", x: mine.map((row) => row[plot.x]), y: mine.map((row) => broken(row.what)), name: escaped(name), meta: name,
      marker: { color: style(name, names, plot.series).color, line: { color: css("--card"), width: 1 } }, hovertemplate: mine.map((row) => hover(plot, row)) };
  });
  const y = { ...axis(plot, "what", []), title: "", type: "category", categoryorder: "array", categoryarray: whats.map(broken) };
  const x = axis(plot, plot.x, []), share = chosen[plot.name] === "percent";
  if (share) x.title.text = "share of the added system time, %";
  return [traces, layout(110 + (narrow() ? 76 : 40) * whats.length, x, y, { barmode: "relative", barnorm: share ? "percent" : "", bargap: 0.35, legend: { orientation: "h", traceorder: "normal", y: 1.02, yanchor: "bottom", x: 0 } })];
}

function heat(plot, rows) {
  const kept = inPanel(plot, rows);
  const xs = unique(kept.map((row) => row[plot.x])).sort((a, b) => a - b), ys = unique(kept.map((row) => row[plot.y])).sort((a, b) => a - b);
  const at = new Map(kept.map((row) => [`${row[plot.x]} ${row[plot.y]}`, row]));
  const cell = (x, y) => at.get(`${x} ${y}`), best = kept.filter((row) => row.best);
  const text = (value) => tickText(value);
  return [[
    { type: "heatmap", x: xs.map(text), y: ys.map(text), z: ys.map((y) => xs.map((x) => cell(x, y)?.[plot.z] ?? null)), colorscale: "Cividis", xgap: 1, ygap: 1,
      hovertemplate: ys.map((y) => xs.map((x) => cell(x, y) ? hover(plot, cell(x, y)) : "")), colorbar: { title: { text: escaped(label(plot, plot.z)), side: "right", font: { size: 13 } }, outlinewidth: 0, thickness: 14 } },
    { x: best.map((row) => text(row[plot.x])), y: best.map((row) => text(row[plot.y])), mode: "markers", name: "best ceiling", hoverinfo: "skip",
      marker: { symbol: "circle-open", size: 15, line: { width: 3, color: "#ffffff" }, color: "#ffffff" }, showlegend: false, meta: "best" },
    { x: best.map((row) => text(row[plot.x])), y: best.map((row) => text(row[plot.y])), mode: "markers", hoverinfo: "skip",
      marker: { symbol: "circle-open", size: 19, line: { width: 1.5, color: "#000000" }, color: "#000000" }, showlegend: false, meta: "best" },
  ], layout(Math.max(320, 110 + 26 * ys.length), { ...axis(plot, plot.x, []), type: "category", showgrid: false }, { ...axis(plot, plot.y, []), type: "category", showgrid: false })];
}
function scatter(plot, every) {
  const rows = inPanel(plot, every), finite = rows.map((row) => row[plot.x]).filter((value) => typeof value === "number" && value > 0);
  const never = finite.length ? Math.max(...finite) * 10 : 1, place = (row) => infinite(row[plot.x]) ? never : row[plot.x];
  const usable = rows.filter((row) => place(row) > 0 && row[plot.y] > 0);
  const traces = everyName(plot).filter((name) => usable.some((row) => row[plot.series] === name)).map((name) => {
    const mine = usable.filter((row) => row[plot.series] === name), look = style(name, everyName(plot), plot.series);
    const hi = mine.map((row) => row[plot.y + "_hi"]), bar = hi.some((value) => typeof value === "number");
    return { error_y: bar ? { type: "data", symmetric: false, array: mine.map((row) => row[plot.y + "_hi"] - row[plot.y]),
      arrayminus: mine.map((row) => row[plot.y] - row[plot.y + "_lo"]), color: look.color, thickness: 1, width: 2 } : undefined, x: mine.map(place), y: mine.map((row) => row[plot.y]), mode: "markers", name: escaped(name), meta: name,
      marker: { color: look.color, symbol: look.symbol, size: 10, line: { color: css("--card"), width: 1 } }, hovertemplate: mine.map((row) => hover(plot, row)) };
  });
  if (usable.length && usable[0].front === undefined) { // one measure against another: equal on the line
    const ends = [Math.min(...finite), Math.max(...finite)];
    traces.unshift({ x: ends, y: ends, mode: "lines", line: { color: css("--soft"), width: 1.5, dash: "dash" }, name: "equal", hoverinfo: "skip", meta: "front" });
  } else {
    const front = [];
    for (const row of usable.sort((a, b) => place(a) - place(b) || a[plot.y] - b[plot.y])) if (!front.length || row[plot.y] < front.at(-1)[plot.y]) front.push(row);
    traces.unshift({ x: front.map(place), y: front.map((row) => row[plot.y]), mode: "lines", line: { shape: "hv", color: css("--soft"), width: 1.5, dash: "dash" },
      name: "Pareto front", hoverinfo: "skip", meta: "front" });
  }
  const x = axis(plot, plot.x, usable.map(place)), y = axis(plot, plot.y, usable.map((row) => row[plot.y]));
  if (usable.some((row) => infinite(row[plot.x]))) { x.tickvals = [...x.tickvals.filter((v) => v < never / 2), never]; x.ticktext = [...x.tickvals.slice(0, -1).map(duration), "for ever"]; }
  return [traces, layout(460, x, y)];
}

const DRAW = { lines, dots, stack, heat, scatter };

function table(plot, rows, most) {
  const columns = plot.columns.filter((c) => c.name !== "what");
  const numeric = new Set(plot.columns.filter((c) => c.values.some((v) => typeof v === "number")).map((c) => c.name));
  const head = element("tr", {}, ...columns.map((c) => element("th", { scope: "col", className: numeric.has(c.name) ? "number" : "", textContent: c.name })));
  const body = rows.slice(0, most).map((row) => element("tr", {}, ...columns.map((c) => element("td", { className: numeric.has(c.name) ? "number" : "", textContent: number(row[c.name]) }))));
  const scroll = element("div", { className: "scroll", tabIndex: 0 }, element("table", { className: "data" }, element("thead", {}, head), element("tbody", {}, ...body)));
  scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-label", `Data: ${plot.title}`);
  return scroll;
}

function csv(plot) {
  const text = (value) => typeof value === "string" && /^[=+\-@\t\r]/.test(value) && !infinite(value.slice(1)) ? `'${value}` : value; // no formula
  const quoted = (value) => value === null ? "" : /[",\n\r]/.test(value) ? `"${String(value).replace(/"/g, '""')}"` : String(value);
  const lines = [plot.columns.map((c) => c.name), ...rowsOf(plot).map((row) => plot.columns.map((c) => row[c.name]))];
  return "data:text/csv;charset=utf-8," + encodeURIComponent(lines.map((line) => line.map(text).map(quoted).join(",")).join("\n") + "\n");
}

function build(plot) {
  const section = element("section", { id: `section-${plot.name}` }, element("h2", { textContent: plot.title }), element("p", { className: "note", textContent: plot.note }));
  const tools = element("div", { className: "tools" });
  if (plot.panel.length) {
    const settings = unique(rowsOf(plot).map((row) => panelOf(plot, row))).sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
    chosen[plot.name] = plot.chosen;
    if (settings.length > 1) {
      const select = plot.select = element("select", { onchange: () => { chosen[plot.name] = select.value; draw(plot); } }, ...settings.map((text) => element("option", { value: text, textContent: text || "–", selected: text === chosen[plot.name] })));
      select.setAttribute("aria-label", `Setting of: ${plot.title}`);
      section.append(element("p", {}, select));
    }
  }
  if (plot.kind === "stack") {
    const select = element("select", { onchange: () => { chosen[plot.name] = select.value; draw(plot); } },
      element("option", { value: "", textContent: "seconds" }), element("option", { value: "percent", textContent: "share of each bar, %" }));
    select.setAttribute("aria-label", `Unit of: ${plot.title}`);
    section.append(element("p", {}, select));
  }
  if (plot.kind !== "table") {
    const place = element("div", { id: `plot-${plot.name}`, className: "plot" });
    place.setAttribute("role", "img");
    place.setAttribute("aria-label", `${plot.title}. ${plot.note} The numbers are in the table below.`);
    section.append(place);
  }
  tools.append(element("a", { className: "button csv", href: csv(plot), download: `${plot.name}.csv`, textContent: "Data as CSV" }));
  if (plot.kind === "table") { section.append(element("div", { id: `table-${plot.name}` }), tools); }
  else {
    const details = element("details", { ontoggle: () => { if (details.open) fill(); } }, element("summary", { textContent: "Data as a table" }));
    details.open = plot.name === "measured";
    const fill = () => { while (details.children.length > 1) details.lastChild.remove(); details.append(table(plot, shown(plot), 500)); };
    plot.refill = () => { if (details.open) fill(); };
    tools.append(details);
    section.append(tools);
  }
  return section;
}

function choose(plot, panel) {
  chosen[plot.name] = panel;
  if (plot.select) plot.select.value = panel;
}

function draw(plot) {
  const rows = shown(plot);
  if (plot.kind === "table") { document.getElementById(`table-${plot.name}`).replaceChildren(table(plot, rows, 1000)); return; }
  if (plot.panel.length && rows.length && !inPanel(plot, rows).length) choose(plot, panelOf(plot, rows[0]));
  const place = document.getElementById(`plot-${plot.name}`);
  const [traces, form] = DRAW[plot.kind](plot, rows);
  const named = traces.filter((trace) => trace.showlegend !== false && trace.name).length;
  form.height += 19 * Math.max(0, narrow() ? named : Math.ceil(named / 5) - 1); // what the legend takes
  form.legend.maxheight = form.height;
  if (!rows.length) form.annotations = [{ text: "The filters leave nothing here.", showarrow: false, xref: "paper", yref: "paper", x: 0.5, y: 0.5, font: { size: 15, color: css("--soft") } }];
  Plotly.react(place, traces, form, { responsive: true, displaylogo: false, displayModeBar: narrow() ? false : "hover", modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d"] });
  plot.refill?.();
}
const drawAll = () => page.plots.forEach(draw);

function filters() {
  const form = document.getElementById("filters");
  form.onsubmit = (event) => event.preventDefault();
  for (const name of FILTERS) {
    const values = unique(page.plots.flatMap((plot) => plot.columns.find((c) => c.name === name)?.values ?? [])).filter(Boolean);
    if (values.length < 2) continue;
    const chips = values.map((value) => {
      const box = element("input", { type: "checkbox", checked: true, name, value, onchange: () => { box.checked ? off[name].delete(value) : off[name].add(value); drawAll(); } });
      const chip = element("label", { className: "chip" }, box);
      if (name === "policy" && page.plots.some((plot) => plot.series === "policy" && plot.kind !== "table")) { const dot = element("span", { className: "swatch" }); dot.style.background = value === "vanilla" ? "var(--ink)" : style(value, page.policies).color; chip.append(dot); }
      chip.append(value);
      return chip;
    });
    form.append(element("fieldset", {}, element("legend", { textContent: name }), ...chips));
  }
  form.parentElement.hidden = !form.children.length;
  form.parentElement.open = !narrow();
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
drawAll();
root.dataset.drawn = "yes";
