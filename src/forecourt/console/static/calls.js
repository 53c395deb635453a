// Calls to the service: one stream of events, and actions. The token lives in this module's memory and nowhere else.

let token = "";
let worker = "";
let streaming = null;

const MOST_TRIES = 8;

export const known = () => token !== "";

export function remember(text) {
  const told = text.trim();
  token = /^\S+ +\S/.test(told) ? told : `Bearer ${told}`;
}

export function forget() {
  token = worker = "";
  streaming?.abort();
}

const ask = (path, options = {}) =>
  fetch(path, { credentials: "omit", cache: "no-store", referrerPolicy: "no-referrer", ...options, headers: { ...options.headers, authorization: token } });

const problem = async (answer) => {
  try {
    return await answer.json();
  } catch {
    return {};
  }
};

const isElsewhere = (answer, told) => answer.status === 409 && String(told.type).endsWith("/other-worker");

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/* Ask for an action of the worker that this page shows; what reached another is asked again, on another connection. */
export async function act(kind, given) {
  for (let tries = 1; ; tries += 1) {
    let answer;
    try {
      answer = await ask(`api/actions/${kind}`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ ...given, worker }) });
    } catch {
      throw new Error("The service did not answer; whether it was done is not known. Look before you try again.");
    }
    const told = await problem(answer);
    if (answer.ok) return told.done;
    if (!isElsewhere(answer, told) || tries >= MOST_TRIES) throw new Error(told.detail || `The service answered ${answer.status}.`);
    await pause(50 * tries);
  }
}

/* Hear events until `forget`: `heard(kind, told)`, `stands(words)` of the link, `refused(words)` where the token is of no use. */
export async function listen(heard, stands, refused) {
  let wait = 500;
  let strayed = 0;
  while (known()) {
    streaming = new AbortController();
    try {
      const wanted = worker && strayed < MOST_TRIES ? `?worker=${encodeURIComponent(worker)}` : "";
      const answer = await ask(`api/events${wanted}`, { signal: streaming.signal });
      if (answer.status === 401 || answer.status === 403) return refused(answer.status, await problem(answer));
      if (answer.status === 409) {
        strayed += 1;
        await pause(50 * strayed);
        continue;
      }
      if (!answer.ok) throw new Error(`it answers ${answer.status}`);
      strayed = 0;
      await read(answer, (kind, told) => {
        wait = 500;
        if (kind === "state") worker = told.worker.id;
        heard(kind, told);
      });
      continue;
    } catch (error) {
      if (!known()) return;
      stands(`no figures: ${error.name === "TypeError" ? "the service does not answer" : error.message}; trying again`);
    }
    await pause(wait);
    wait = Math.min(10_000, wait * 2);
  }
}

async function read(answer, heard) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    text += value;
    const events = text.split("\n\n");
    text = events.pop();
    for (const event of events) {
      const kind = /^event: (.*)$/m.exec(event)?.[1];
      const told = /^data: (.*)$/m.exec(event)?.[1];
      if (kind && told) heard(kind, JSON.parse(told));
    }
  }
}
