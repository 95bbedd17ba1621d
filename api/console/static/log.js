// The log's page, live: events come by Server-Sent Events, each once and in order; the browser reconnects by itself.
const state = document.getElementById("state");
const events = document.getElementById("events");
const pause = document.getElementById("pause");
const SHOWN = 500;
const type = new URLSearchParams(location.search).get("type") || "";
const user = new URLSearchParams(location.search).get("user") || "";
const stream = new URLSearchParams(location.search).get("stream") || "";
let last = Number(state.dataset.after);
let source = null;

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
  cell(row, String(timestamp ?? "").slice(0, 19).replace("T", " "));
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

function follow() {
  source = new EventSource(`${state.dataset.stream}?after=${last}`);
  source.onopen = () => { state.textContent = "Live."; };
  source.onerror = () => {
    state.textContent = "Not connected; trying again.";
    // An answer that is no stream ends the browser's own attempts, as does the end of a session.
    if (source.readyState === EventSource.CLOSED) setTimeout(() => { if (!pause.dataset.paused) follow(); }, 5000);
  };
  for (const name of document.getElementById("type").options) {
    if (name.value) source.addEventListener(name.value, receive);
  }
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
      source.close();
      state.textContent = "Paused.";
    }
  });
  follow();
}
