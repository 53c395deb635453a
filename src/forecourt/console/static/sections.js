// The sections below the endpoints, each patched from the state.

import { button } from "./acting.js";
import { $, cells, el, emptied, mark, rows, show, write } from "./dom.js";
import { reason } from "./endpoints.js";
import { ago, OF, percent, rate, took, whole } from "./words.js";

const body = (id) => $(`#${id} tbody`);
const both = (cell, first, second) => {
  if (!cell.two) cell.append(...(cell.two = [el("span"), el("span", { class: "sub" })]));
  write(cell.two[0], first);
  write(cell.two[1], second);
  return cell.two[0];
};
const actions = (cell, ...buttons) => cell.append(el("span", { class: "buttons" }, ...buttons));
const whose = (id, of) => write($(`#${id} .of`), OF[of]);

export function draw(state) {
  tiles(state);
  breakers(state);
  refusals(state);
  limited(state);
  layers(state);
  jobs(state);
  whose("credits", state.credits.of);
  store(state);
  config(state);
}

function tiles(state) {
  const sum = (name) => state.endpoints.reduce((all, each) => all + each[name], 0);
  const calls = sum("calls");
  const slow = Math.max(0, ...state.endpoints.map((each) => each.p95 ?? 0));
  const open = state.breakers.filter((each) => each.state !== "closed").length;
  const dead = state.jobs.queues.reduce((all, each) => all + (each.depth.dead ?? 0), 0);
  const waiting = state.jobs.queues.reduce((all, each) => all + (each.depth.waiting ?? 0), 0);
  const shown = [
    ["Calls/s", rate(sum("rate")), ""],
    ["Failed, 5 min", percent(sum("errors"), calls), sum("errors") ? "bad" : ""],
    ["Refused, 5 min", percent(sum("refused"), calls), ""],
    ["Slowest p95", took(slow || null), ""],
    ["Cache hits", percent(sum("hits"), sum("hits") + sum("misses")), ""],
    ["Breakers open", `${open} of ${state.breakers.length}`, open ? "bad" : ""],
    ["Jobs waiting", whole(waiting), ""],
    ["Jobs dead", whole(dead), dead ? "warn" : ""],
    ["Store", state.store.stands, state.store.stands === "answers" ? "" : "bad"],
  ];
  const list = $("#tiles");
  if (!list.children.length) list.append(...shown.map(([name]) => el("div", {}, el("dt", {}, name), el("dd"))));
  shown.forEach(([, figure, kind], place) => {
    const tile = list.children[place];
    mark(tile, "class", kind);
    write(tile.lastChild, figure);
  });
}

function breakers(state) {
  const make = (row) => {
    cells(row, "", "", "mid", "");
    const open = button(row, "Open", "breaker.open", (each, seconds) => ({ breaker: each.name, ...(seconds ? { seconds: Number(seconds) } : {}) }), (each) => [
      `Open ${each.name}?`, `Calls that need it are refused with 503 until it is closed or probes succeed. It holds for ${OF[each.of]}.`, "Open", "For seconds (empty: as after a first failure)",
    ]);
    const close = button(row, "Close", "breaker.close", (each) => ({ breaker: each.name }), (each) => [
      `Close ${each.name}?`, `Calls go through at once, whether or not what is behind it is back. It holds for ${OF[each.of]}.`, "Close",
    ]);
    row.close = close;
    actions(row.cells_[3], open, close);
    return row;
  };
  const fill = (row, each) => {
    const [name, stands, of] = row.cells_;
    both(name, each.name, each.endpoints.join(", "));
    const state_ = both(stands, each.state, each.left === null ? (each.mode === "on" ? "" : each.mode.replaceAll("_", " ")) : `${each.left.toFixed(0)} s left`);
    mark(state_, "class", "state");
    mark(state_, "data-state", each.state);
    write(of, OF[each.of]);
  };
  const order = { open: 0, "half-open": 1, closed: 2 };
  const found = [...state.breakers].sort((one, other) => order[one.state] - order[other.state] || (one.name < other.name ? -1 : 1));
  rows(body("breakers"), found, (each) => each.name, make, fill);
  emptied($("#breakers"), found);
}

function refusals(state) {
  const fill = (row, each) => {
    const [why, endpoint, status, calls] = row.cells_;
    write(why, reason(each));
    write(endpoint, each.endpoint);
    write(status, each.status);
    mark(status, "class", each.status >= 500 ? "n mid bad" : "n mid");
    write(calls, whole(each.calls));
  };
  rows(body("refusals"), state.refusals, (each) => [each.endpoint, each.layer, each.outcome, each.detail, each.status].join(" "), (row) => cells(row, "", "", "n mid", "n"), fill);
  emptied($("#refusals"), state.refusals);
}

function limited(state) {
  const make = (row) => {
    cells(row, "", "", "n", "");
    const reset = button(row, "Reset", "limit.reset", ({ endpoint, limit, caller }) => ({ endpoint, limit, caller }), (each) => [
      `Let ${each.caller} begin anew?`, `What ${each.limit} of ${each.endpoint} counted for this caller is forgotten, for ${OF[state.limits.of]}.`, "Reset",
    ]);
    actions(row.cells_[3], reset);
  };
  const fill = (row, each) => {
    const [caller, limit, refused] = row.cells_;
    mark(both(caller, each.caller, `by ${each.by}`), "class", "code");
    both(limit, each.limit, each.endpoint);
    write(refused, whole(each.refused));
  };
  rows(body("limited"), state.limited, (each) => [each.endpoint, each.limit, each.caller].join(" "), make, fill);
  emptied($("#limited"), state.limited);
}

function layers(state) {
  const found = state.layers.filter((each) => each.endpoint === "").sort((one, other) => (other.p95 ?? 0) - (one.p95 ?? 0));
  const fill = (row, each) => {
    const [layer, p50, p95, calls] = row.cells_;
    write(layer, each.layer.replaceAll("_", " "));
    write(p50, took(each.p50));
    write(p95, took(each.p95));
    write(calls, whole(each.calls));
  };
  rows(body("layers"), found, (each) => each.layer, (row) => cells(row, "", "n", "n", "n mid"), fill);
  emptied($("#layers"), found);
}

function jobs(state) {
  const queues = state.jobs.queues;
  const list = $("#jobs .queues");
  const words = queues.map((each) => {
    const depth = Object.entries(each.depth).map(([name, count]) => `${whole(count)} ${name}`).join(", ");
    const age = each.age ? `, oldest waits ${ago(each.age)}` : "";
    return [`${each.name}: ${each.why ?? `${depth}${age}`} · ${OF[each.of]}`, Boolean(each.why)];
  });
  while (list.children.length > words.length) list.lastChild.remove();
  words.forEach(([text, bad], place) => {
    const line = list.children[place] ?? list.appendChild(el("li"));
    write(line, text);
    mark(line, "class", bad ? "why" : "");
  });
  const make = (row) => {
    cells(row, "", "", "n mid", "");
    const told = (each) => ({ queue: each.queue, job: each.id });
    row.retry = button(row, "Retry", "job.retry", told);
    row.cancel = button(row, "Cancel", "job.cancel", told, (each) => [
      `Cancel ${each.id}?`, `This job of ${each.endpoint} ends at once; a handler at work is not interrupted, but its result counts for nothing.`, "Cancel the job",
    ]);
    actions(row.cells_[3], row.retry, row.cancel);
  };
  const fill = (row, each) => {
    const [job, stands, attempts] = row.cells_;
    both(job, each.endpoint, each.id);
    const progress = each.progress === null ? "" : `${Math.round(100 * each.progress)} % · `;
    const status = both(stands, each.status, each.reason || `${progress}for ${ago(state.at - each.changed)}`);
    mark(status, "class", "state");
    mark(status, "data-state", each.status);
    write(attempts, each.attempts);
    show(row.retry, each.status === "dead");
    show(row.cancel, each.status !== "dead");
  };
  const found = queues.flatMap((queue) => queue.jobs.map((each) => ({ ...each, queue: queue.name })));
  rows(body("jobs"), found, (each) => each.id, make, fill);
  emptied($("#jobs"), found, queues.length ? "No job is dead, at work or waiting." : "No queues: give an endpoint offload, and its calls become jobs.");
}

const STORE = {
  answers: "answers",
  degraded: "does not answer: each policy’s on_store_error decides without it",
  down: "does not answer: check its address, network and memory; forecourt tries again by itself",
};

function store(state) {
  const { store: found } = state;
  whose("store", found.of);
  const ends = Object.entries(found.ends).filter(([end]) => end !== "ok").map(([end, count]) => `${whole(count)} ${end}`).join(", ");
  const memory = found.address.startsWith("memory:");
  const facts = [
    ["Address", found.address],
    ["Now", `${STORE[found.stands]} (${took(found.took)})`],
    ["Trips, 5 min", memory ? "none: it is this process’s memory" : `${whole(found.trips)} by this process, p50 ${took(found.p50)}, p95 ${took(found.p95)}`],
    ["Of them failed", memory ? "–" : ends || "none"],
  ];
  const list = $("#store .facts");
  if (!list.children.length) for (const [name] of facts) list.append(el("dt", {}, name), el("dd"));
  facts.forEach(([, text], place) => write(list.children[2 * place + 1], text));
  mark(list.children[3], "class", found.stands === "answers" ? "" : "bad");
}

const CONFIG = {
  "no file": () => "It was made in Python, not read from a file: there is nothing to compare it with.",
  same: (each) => `Runs as ${each.file} says.`,
  differs: (each) => `${each.file} says otherwise than what runs here.`,
  refused: (each) => `${each.file} would be refused at a start. Mend it first: ${each.why.join(" · ")}`,
  unreadable: (each) => `${each.file} cannot be read: ${each.why.join(" · ")}`,
};

function config(state) {
  const { config: found } = state;
  const words = $("#config .stands");
  mark(words, "title", found.file ?? "");
  write(words, CONFIG[found.stands]({ ...found, file: found.file?.split(/[\\/]/).pop() }) + (found.more ? ` ${found.more} more differences: forecourt diff shows all.` : ""));
  mark(words, "class", ["refused", "unreadable"].includes(found.stands) ? "stands bad" : found.stands === "differs" ? "stands warn" : "stands");
  const fill = (row, each) => {
    const [place, running, file] = row.cells_;
    const looser = each.looser.length ? `looser: ${each.looser.join("; ")}` : "";
    both(place, each.place.replace(/^endpoints\./, "").replaceAll('"', ""), looser);
    mark(place.two[1], "class", "sub warn");
    write(running, each.running);
    write(file, each.running === each.file ? "other values, not shown" : each.file);
  };
  rows(body("config"), found.changes, (each) => each.place, (row) => cells(row, "", "", ""), fill);
  show($("#config table"), found.changes.length > 0);
}
