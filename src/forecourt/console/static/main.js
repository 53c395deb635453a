// The page: signing in, listening, and the one sentence that says how the service stands.

import { doing, say, sure } from "./acting.js";
import * as calls from "./calls.js";
import { $, el, mark, show, write } from "./dom.js";
import * as endpoints from "./endpoints.js";
import * as sections from "./sections.js";
import { OF } from "./words.js";

const link = $("#link");
let last = 0;

function signIn(wrong = "") {
  calls.forget();
  show($("#board"), false);
  show($("#sign-out"), false);
  show($("#sign-in"), true);
  mark(link, "data-stands", "off");
  write($("#token-wrong"), wrong);
  $("#token").focus();
}

const WRONG = {
  401: "The token is not accepted: it may have expired, or come from an issuer that this service does not believe. Get another and paste it.",
  403: "The token lacks the role that the console asks for: see security.roles of its endpoints, and get a token that has it.",
};

$("#sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  calls.remember($("#token").value);
  $("#token").value = "";
  write($("#token-wrong"), "");
  calls.listen(heard, lost, (status, told) => signIn(WRONG[status] ?? told.detail));
});

$("#sign-out").addEventListener("click", () => signIn());

function heard(kind, told) {
  if (kind === "policies") return endpoints.learn(told.policies);
  if ($("#board").hidden) opened();
  last = Date.now();
  $("#board").classList.remove("stale");
  mark(link, "data-stands", "live");
  write(link, `live · worker ${told.worker.id}`);
  verdict(told);
  endpoints.draw(told);
  sections.draw(told);
}

function opened() {
  show($("#sign-in"), false);
  show($("#board"), true);
  show($("#sign-out"), true);
  $("#main").focus();
}

function lost(words) {
  if ($("#board").hidden) write($("#token-wrong"), `There are ${words}.`);
  mark(link, "data-stands", "lost");
  write(link, last ? `${words}; these are ${Math.round((Date.now() - last) / 1000)} s old` : words);
  $("#board").classList.add("stale");
}

function verdict(state) {
  const named = (word) => state.endpoints.filter((each) => each.word === word);
  const [failing, troubled] = [named("failing"), named("troubled")];
  const place = $("#verdict");
  const [word, found] = failing.length ? ["failing", failing] : troubled.length ? ["troubled", troubled] : [state.store.stands === "answers" ? "well" : "troubled", []];
  const calm = state.endpoints.some((each) => each.word === "well") ? "All endpoints stand well." : "No calls in the last minute.";
  const store = state.store.stands === "answers" ? "" : " The store does not answer.";
  const rest = found.length > 3 ? ` And ${found.length - 3} more.` : "";
  const text = (found.length ? found.slice(0, 3).map((each) => `${each.name}: ${each.why}.`).join(" ") + rest : calm) + store;
  mark(place, "data-word", word);
  write($("#heard"), found.length ? `${found.map((each) => each.name).join(", ")} ${word}` : calm + store); // read out when that changes, not with each figure
  if (place.textContent === text) return;
  const parts = found.slice(0, 3).flatMap((each, at) => [at ? " " : "", el("a", { href: `#e-${each.name}` }, each.name), `: ${each.why}.`]);
  place.replaceChildren(...(parts.length ? [...parts, rest] : [calm]), store);
}

document.addEventListener("keydown", (event) => {
  if (event.key === "/" && !event.target.closest("input, select, dialog") && !$("#board").hidden) {
    event.preventDefault();
    $("#filter").focus();
  } else if (event.key === "Escape" && event.target.id === "filter") {
    event.target.value = "";
    endpoints.redraw();
  }
});
$("#filter").addEventListener("input", endpoints.redraw);

const form = $("#credits form");
const fresh = () => Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
let grant = fresh();
form.addEventListener("input", () => (grant = fresh()));
form.elements.kind.addEventListener("change", () => {
  for (const row of form.querySelectorAll("[data-kind]")) show(row, row.dataset.kind === form.elements.kind.value);
});
const account = () => Object.fromEntries(["kind", ...[...$(`[data-kind="${form.elements.kind.value}"]`, form).querySelectorAll("input")].map((each) => each.name)].map((name) => [name, form.elements[name].value.trim()]));
form.elements.look.addEventListener("click", (event) => doing(event.currentTarget, "credits.look", account()));
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const amount = form.elements.amount.value.trim();
  if (!/^-?\d+$/.test(amount)) return say("Amount must be a whole number of credits; below 0 takes them away.", true);
  const told = account();
  const whose = Object.entries(told).filter(([name]) => name !== "kind").map(([, value]) => value).join(" ");
  if ((await sure(`Grant ${amount} credits?`, `To ${told.kind} ${whose || "(nobody is named)"}.`, "Grant")) === null) return;
  await doing(event.submitter ?? form.querySelector("[type=submit]"), "credits.grant", { ...told, amount: Number(amount), id: `console-${grant}` });
});

for (const each of document.querySelectorAll(".of[data-of]")) write(each, OF[each.dataset.of]);
signIn();
