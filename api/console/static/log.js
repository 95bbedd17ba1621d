// The log's page, live: events come by Server-Sent Events, each once and in order; the browser reconnects by itself.
const state = document.getElementById("state");
const events = document.getElementById("events");
const pause = document.getElementById("pause");
const SHOWN = 500;
const AGAIN = 5000;  // milliseconds
const WAITS = "Not connected; trying again.";
const type = new URLSearchParams(location.search).get("type") || "";
const user = new URLSearchParams(location.search).get("user") || "";
const stream = new URLSearchParams(location.search).get("stream") || "";
let last = Number(state.dataset.after);
let source = null;
let timer = 0;

function cell(row, text, className) {
  const made = row.insertCell();
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

function show(event) {
  const { actor, cause, timestamp } = event.body;  // any of which somebody may have written over
  const row = document.createElement("tr");
  row.className = "new";
  const link = document.createElement("a");
  link.href = `${location.pathname}/${event.position}`;
  link.textContent = event.position;
  cell(row, "", "number").append(link);
  const time = document.createElement("time");
  for (const part of String(timestamp ?? "").slice(0, 19).split("T")) {
    const span = document.createElement("span");
    span.textContent = part;
    if (time.hasChildNodes()) time.append(" ");
    time.append(span);
  }
  cell(row, "").append(time);
  cell(row, event.stream);
  cell(row, event.version, "number");
  cell(row, event.type);
  cell(row, [actor?.role, actor?.user].filter((part) => part != null).join(" "));
  cell(row, cause?.reason ?? cause?.stripe_event_id ?? cause?.request_id ?? "", "why");
  events.prepend(row);
  while (events.rows.length > SHOWN) events.rows[SHOWN].remove();
}

function isWanted(event) {
  return (!type || event.type === type) && (!stream || event.stream === stream) &&
    (!user || String(event.body.actor?.user) === user);
}

function receive(message) {
  const event = JSON.parse(message.data);
  if (event.position <= last) return;  // seen already
  last = event.position;
  if (isWanted(event)) show(event);
  state.textContent = `Live. ${last.toLocaleString("en")} events in the log.`;
}

// Asks once more, as an EventSource does not say why it was refused. Returns what is so, and whether to try again.
async function ask(address) {
  try {
    const answer = await fetch(address, { redirect: "manual", signal: AbortSignal.timeout(AGAIN) });
    if (answer.type === "opaqueredirect") return ["Your session has ended: load the page again to sign in.", false];
    if (answer.headers.get("Content-Type") === "application/problem+json") {
      return [`${(await answer.json()).detail} Trying again.`, true];
    }
    answer.body?.cancel();
    return [answer.ok ? WAITS : `The server answered ${answer.status}; trying again.`, true];
  } catch {
    return [WAITS, true];  // nobody answers
  }
}

async function refused(from) {
  const [why, again] = await ask(from.url);
  if (from !== source) return;  // paused meanwhile, or resumed
  state.textContent = why;
  if (again) timer = setTimeout(follow, AGAIN);
}

function stop() {
  clearTimeout(timer);
  source?.close();
  source = null;
}

function follow() {
  stop();
  const opened = source = new EventSource(`${state.dataset.stream}?after=${last}`);
  source.onopen = () => { state.textContent = "Live."; };
  source.onmessage = receive;
  source.onerror = () => {
    state.textContent = WAITS;
    // The browser tries again by itself, unless the answer was no stream.
    if (opened.readyState === EventSource.CLOSED) refused(opened);
  };
}

if (state.dataset.live === "yes") {
  pause.hidden = false;
  pause.addEventListener("click", () => {
    if (pause.dataset.paused) {
      delete pause.dataset.paused;
      pause.textContent = "Pause";
      follow();
    } else {
      pause.dataset.paused = "yes";
      pause.textContent = "Resume";
      stop();
      state.textContent = "Paused.";
    }
  });
  follow();
}
