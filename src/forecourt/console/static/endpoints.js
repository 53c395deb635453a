// The endpoints: how each stands, those in trouble first, and what protects it.

import { $, cells, el, emptied, mark, rows, show, write } from "./dom.js";
import { percent, rate, took, whole } from "./words.js";

const RANK = { failing: 0, troubled: 1, well: 2, idle: 2 };
const SVG = "http://www.w3.org/2000/svg";

let policies = new Map();
let fields = [];
let told = null;

export function learn(found) {
  policies = new Map(found.map((each) => [each.endpoint, each]));
  fields = [...new Set(found.flatMap((each) => each.fields.map((field) => field.field)))];
  matrix(found);
}

export function draw(state) {
  told = state;
  const section = $("#endpoints");
  const wanted = $("#filter").value.trim().toLowerCase();
  const shown = state.endpoints
    .filter((each) => !wanted || `${each.name} ${policies.get(each.name)?.path ?? ""}`.toLowerCase().includes(wanted))
    .sort((one, other) => RANK[one.word] - RANK[other.word] || (one.name < other.name ? -1 : 1));
  rows($("tbody", section), shown, (each) => each.name, make, fill);
  emptied(section, shown, wanted ? `No endpoint has “${wanted}” in its name or path.` : "The app has no endpoints but the console’s.");
}

export const redraw = () => told && draw(told);

function make(row, item) {
  const toggle = el("button", { type: "button", class: "open", "aria-expanded": "false", onclick: () => unfold(row) }, item.name);
  const word = el("span", { class: "word" });
  const path = el("span", { class: "sub" });
  const why = el("span", { class: "sub bad" });
  row.append(el("th", { scope: "row", id: `e-${item.name}` }, toggle, word, why, path));
  row.parts = { toggle, word, path, why };
  const [, series] = cells(row, "n", "wide", "n", "n mid", "n wide", "n", "n mid", "n wide");
  const spark = document.createElementNS(SVG, "svg");
  spark.setAttribute("class", "spark");
  spark.setAttribute("viewBox", "0 0 60 20");
  spark.setAttribute("preserveAspectRatio", "none");
  spark.setAttribute("aria-hidden", "true");
  row.lines = ["calls", "errors"].map((kind) => {
    const line = document.createElementNS(SVG, "path");
    line.setAttribute("class", kind);
    spark.append(line);
    return line;
  });
  series.append(spark);
}

function fill(row, item) {
  const { word, path, why } = row.parts;
  mark(row, "data-word", item.word);
  mark(word, "data-word", item.word);
  write(word, item.word);
  const policy = policies.get(item.name);
  write(path, policy ? `${policy.methods.join(", ")} ${policy.path}` : "what no route matches");
  write(why, item.word === "failing" ? item.why : "");
  const [calls, , failed, refused, p50, p95, hits, running] = row.cells_;
  write(calls, rate(item.rate));
  spark(row.lines, item);
  share(failed, item.errors, item.calls, item.word === "failing" ? "n bad" : item.errors ? "n warn" : "n dim");
  share(refused, item.refused, item.calls, item.refused * 5 > item.calls ? "n mid warn" : item.refused ? "n mid" : "n mid dim");
  write(p50, took(item.p50));
  write(p95, took(item.p95));
  write(hits, percent(item.hits, item.hits + item.misses));
  write(running, whole(item.running));
  if (row.beside && !row.beside.hidden) detail(row, item);
}

function share(cell, part, all, kind) {
  mark(cell, "class", kind);
  if (!cell.firstChild) cell.append(el("span"), el("span", { class: "count" }));
  write(cell.firstChild, percent(part, all));
  write(cell.lastChild, part ? ` (${whole(part)})` : "");
}

function spark([calls, errors], item) {
  const most = Math.max(1, ...item.calls_series);
  const y = (count) => (19 - (18 * count) / most).toFixed(1);
  mark(calls, "d", `M${item.calls_series.map((count, x) => `${x} ${y(count)}`).join("L")}`);
  mark(errors, "d", item.errors_series.map((count, x) => (count ? `M${x} 19V${y(count)}H${x + 1}V19Z` : "")).join("") || "M0 19");
}

function unfold(row) {
  const opened = row.parts.toggle.getAttribute("aria-expanded") === "true";
  row.parts.toggle.setAttribute("aria-expanded", String(!opened));
  if (!row.beside) {
    row.beside = el("tr", { class: "detail" }, el("td", { colspan: 9 }, el("div", { class: "parts" })));
    row.after(row.beside);
  }
  show(row.beside, !opened);
  if (!opened) detail(row, row.item);
}

/* Written anew only where it differs, so that it can be read and copied while figures come in. */
function detail(row, item) {
  mark(row.beside.firstChild, "colspan", String([...row.children].filter((cell) => cell.offsetParent).length)); // those that are shown
  const policy = policies.get(item.name);
  const why = told.refusals.filter((each) => each.endpoint === item.name);
  const layers = told.layers.filter((each) => each.endpoint === item.name).sort((one, other) => (other.p95 ?? 0) - (one.p95 ?? 0));
  const now = JSON.stringify([policy, why, layers, item.calls, item.client_errors, item.cancelled, item.credits]);
  if (row.told === now) return;
  row.told = now;
  const parts = [
    part("Policies", ["Field", "Policy", "From"], (policy?.fields ?? []).map((each) => [each.field.replaceAll("_", " "), code(each.policy), source(each)]), "No policy: it is seen and measured, nothing is refused."),
    part("Time by layer", ["Layer", "p50", "p95"], layers.map((each) => [each.layer.replaceAll("_", " "), took(each.p50), took(each.p95)]), "No calls in the last 5 minutes."),
    part("Refusals", ["Reason", "Status", "Calls"], why.map((each) => [reason(each), each.status, whole(each.calls)]), "None in the last 5 minutes."),
  ];
  const credits = item.credits ? ` · ${whole(item.credits)} credits settled` : "";
  const counts = `${whole(item.calls)} calls in 5 minutes · ${whole(item.client_errors)} answered 4xx by the handler · ${whole(item.cancelled)} given up by callers${credits}`;
  const skipped = (policy?.skipped ?? []).map((each) => el("p", { class: "small" }, `Skipped: ${each}`));
  $(".parts", row.beside).replaceChildren(...parts, el("p", { class: "small" }, counts), ...skipped);
}

function part(title, heads, lines, none) {
  const body = lines.length
    ? el("table", {}, el("thead", {}, el("tr", {}, ...heads.map((each) => el("th", { scope: "col" }, each)))), el("tbody", {}, ...lines.map((line) => el("tr", {}, ...line.map((each) => el("td", each.nodeType ? {} : { class: "keep" }, each))))))
    : el("p", { class: "small" }, none);
  return el("div", {}, el("h3", {}, title), body);
}

const code = (text) => el("code", {}, text);

export const reason = (each) => [each.layer.replaceAll("_", " "), each.outcome.replaceAll("_", " "), each.detail && `(${each.detail})`].filter(Boolean).join(" ");

function matrix(found) {
  const table = $("#policies table");
  $("thead tr", table).replaceChildren(el("th", { scope: "col" }, "Endpoint"), ...fields.map((each) => el("th", { scope: "col" }, each.replaceAll("_", " "))));
  const lines = found.map((each) => {
    const said = new Map(each.fields.map((field) => [field.field, field]));
    return el("tr", {}, el("th", { scope: "row" }, each.endpoint), ...fields.map((name) => from(said.get(name))));
  });
  $("tbody", table).replaceChildren(...lines);
}

/* Who said so: the endpoint's own policy, a glob, or the default. */
const source = (said) => (said.source.startsWith("endpoint") ? "own" : said.source.replace(/^glob "(.*)"$/, "$1"));

function from(said) {
  if (!said) return el("td", { class: "dim" }, "–");
  const words = source(said);
  return el("td", { title: said.policy, class: words === "default" ? "dim" : null }, words);
}
