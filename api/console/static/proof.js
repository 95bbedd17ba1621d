// Verifies, with nothing but the browser's own cryptography, that an event is in a signed log, and that one log goes on
// from another. Formats: https://c2sp.org/tlog-proof, https://c2sp.org/tlog-checkpoint, https://c2sp.org/signed-note;
// trees: RFC 6962, section 2.1. Whatever does not hold is thrown as a Refusal that says which step failed.

export class Refusal extends Error {}

// What the browser lacks to verify anything at all.
export class Unable extends Error {}

const encoder = new TextEncoder();
const HASH = 32, ED25519 = 1;

function refuseUnless(holds, why) {
  if (!holds) throw new Refusal(why);
}

function fromBase64(text) {
  let binary;
  try { binary = atob(text); } catch { throw new Refusal("something is not base64"); }
  const bytes = Uint8Array.from(binary, (character) => character.charCodeAt(0));
  refuseUnless(toBase64(bytes) === text, "something is not base64 in its canonical form");
  return bytes;
}

export function toBase64(bytes) {
  return btoa(String.fromCharCode(...bytes));
}

export function toHex(bytes) {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function concat(...parts) {
  const whole = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  parts.reduce((at, part) => (whole.set(part, at), at + part.length), 0);
  return whole;
}

const same = (one, other) => one.length === other.length && one.every((byte, at) => byte === other[at]);
const sha256 = async (bytes) => new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
export const leafHash = (text) => sha256(concat(Uint8Array.of(0), encoder.encode(text)));
const nodeHash = (left, right) => sha256(concat(Uint8Array.of(1), left, right));

// Raises Unable where there is no WebCrypto, or none with Ed25519.
export async function requireCryptography() {
  if (!globalThis.crypto?.subtle) {
    throw new Unable("it keeps its cryptography for pages that come over https, or from localhost; " +
      "open the page over https, or verify offline");
  }
  try {
    await importEd25519(new Uint8Array(HASH));
  } catch (error) {
    if (error.name !== "NotSupportedError") throw error;
    throw new Unable("it does not know Ed25519; open the page in a newer browser, or verify offline");
  }
}

const importEd25519 = (key) => crypto.subtle.importKey("raw", key, { name: "Ed25519" }, false, ["verify"]);

function number(text) {
  refuseUnless(/^(0|[1-9][0-9]{0,15})$/.test(text), "a size or an index is not a number");
  return Number(text);
}

// A verifier key: NAME+ID+BASE64, where the id is the beginning of a hash of name and key.
export async function parseKey(text) {
  const found = /^([^+\s]+)\+([0-9a-f]{8})\+(\S+)$/.exec(text.trim());
  refuseUnless(found, "this is not a verifier key: NAME+ID+KEY");
  const [, name, id, encoded] = found;
  const key = fromBase64(encoded);
  refuseUnless(key.length === HASH + 1 && key[0] === ED25519, "the key is not an Ed25519 key of a log");
  const expected = (await sha256(concat(encoder.encode(`${name}\n`), key))).slice(0, 4);
  refuseUnless(toHex(expected) === id, "the key's id is not that of its name and key");
  return { name, id: expected, verifier: await importEd25519(key.slice(1)) };
}

// A signed note: a text, an empty line, and a line for each signature.
export function parseNote(note) {
  const end = note.lastIndexOf("\n\n");
  refuseUnless(end > 0 && note.endsWith("\n"), "the checkpoint is not a signed note");
  const text = note.slice(0, end + 1);
  const signatures = note.slice(end + 2, -1).split("\n").map((line) => {
    const found = /^\u2014 ([^+\s]+) (\S+)$/.exec(line);
    refuseUnless(found, "a signature of the checkpoint is not written as one");
    const bytes = fromBase64(found[2]);
    return { name: found[1], id: bytes.slice(0, 4), value: bytes.slice(4) };
  });
  const [origin, size, root, ...extensions] = text.slice(0, -1).split("\n");
  refuseUnless(root, "the checkpoint lacks its origin, size or root");
  return { text, signatures, origin, size: number(size), root: fromBase64(root), extensions };
}

// A checkpoint that the key has signed.
export async function openCheckpoint(note, key) {
  const checkpoint = parseNote(note);
  refuseUnless(checkpoint.root.length === HASH, "the root of the checkpoint can't be one");
  const ours = checkpoint.signatures.filter((each) => each.name === key.name && same(each.id, key.id));
  const others = checkpoint.signatures.filter((each) => each.name === key.name);
  refuseUnless(ours.length, others.length ? `the checkpoint is not signed by this key of ${key.name}, with the id ` +
    `${toHex(key.id)}, but by ${others.map((each) => toHex(each.id)).join(", ")}` :
    `the checkpoint is not signed by ${key.name}`);
  for (const { value } of ours) {
    const holds = await crypto.subtle.verify("Ed25519", key.verifier, value, encoder.encode(checkpoint.text));
    refuseUnless(holds, `the signature of ${key.name} is not valid`);
  }
  return checkpoint;
}

// A tlog-proof: where the leaf stands, its neighbours on the way up, and the checkpoint that it leads to.
export function parseProof(text) {
  const end = text.indexOf("\n\n");
  refuseUnless(end > 0, "this is not a tlog-proof");
  const [header, ...lines] = text.slice(0, end).split("\n");
  refuseUnless(header === "c2sp.org/tlog-proof@v1", "this is not a tlog-proof");
  if (lines[0]?.startsWith("extra ")) lines.shift();
  refuseUnless(lines[0]?.startsWith("index "), "the proof does not say the index of its leaf");
  const hashes = lines.slice(1).map(fromBase64);
  refuseUnless(hashes.every((hash) => hash.length === HASH), "the proof has a line that is not a hash");
  return { index: number(lines[0].slice(6)), hashes, checkpoint: text.slice(end + 2) };
}

const odd = (value) => value % 2 === 1;
const half = (value) => Math.floor(value / 2);

// On the right border of a tree a node has no sibling on some levels: they are skipped.
function pastBorder(at, last) {
  while (at && !odd(at)) [at, last] = [half(at), half(last)];
  return [at, last];
}

// From a leaf to the root, step by step: what was hashed with what.
export async function climb(leaf, index, size, hashes) {
  refuseUnless(index < size, `there is no leaf ${index} in a tree of ${size}`);
  let [at, last, node] = [index, size - 1, leaf];
  const steps = [];
  for (const sibling of hashes) {
    refuseUnless(last > 0, "the proof is too long");
    const left = odd(at) || at === last;
    node = left ? await nodeHash(sibling, node) : await nodeHash(node, sibling);
    steps.push({ sibling, left, node });
    if (left) [at, last] = pastBorder(at, last);
    [at, last] = [half(at), half(last)];
  }
  refuseUnless(last === 0, "the proof is too short");
  return { root: node, steps };
}

// What a leaf says of its event (docs/audit.md): position, stream, version and type, a line each, and then the body.
function readLeaf(text) {
  const [position, stream, version, type, ...body] = text.split("\n");
  refuseUnless(body.length && stream && type, "the text is not that of an event");
  return { position: number(position), stream, version: number(version), type };
}

// That an event, as it is hashed, is in the log that the key signs; says which event it is. `told` is called with each
// step that holds.
export async function verifyEvent(leafText, position, proofText, key, told = () => {}) {
  const proof = parseProof(proofText);
  const leaf = await leafHash(leafText);
  told(`The event hashes to ${toHex(leaf)}.`);
  refuseUnless(proof.index === position - 1, `the proof is of position ${proof.index + 1}, and not of ${position}`);
  const event = readLeaf(leafText);
  refuseUnless(event.position === position, "the text is not that of an event at this position");
  const checkpoint = await openCheckpoint(proof.checkpoint, key);
  told(`The checkpoint of ${checkpoint.size.toLocaleString("en")} events is signed by ${key.name}.`);
  const { root, steps } = await climb(leaf, proof.index, checkpoint.size, proof.hashes);
  refuseUnless(same(root, checkpoint.root), "the event does not lead to the root that was signed: it is another one");
  told(`${steps.length} hashes lead from the event to the root that was signed.`);
  return { event, leaf, steps, checkpoint };
}

// That a verified event is the one with this place among an order's events: its version tells of gaps and others'.
export function requirePlace(event, stream, version) {
  refuseUnless(event.stream === stream, `this is an event of ${event.stream}, and not of ${stream}`);
  refuseUnless(event.version === version, `version ${event.version} of ${stream} stands here, and version ` +
    `${version} belongs here: events were left out, doubled or moved`);
}

// That the later tree begins with the earlier one.
export async function verifyConsistency(older, newer, hashes) {
  refuseUnless(older.origin === newer.origin, "the checkpoints are of two logs: their origins differ");
  refuseUnless(older.size <= newer.size, "the checkpoints are the wrong way round");
  if (older.size === newer.size) {
    refuseUnless(same(older.root, newer.root), "a fork: two roots were signed for one size");
    return;
  }
  if (older.size === 0) return;
  const whole = Number.isInteger(Math.log2(older.size));  // then its root is the first node of the path
  const path = whole ? [older.root, ...hashes] : [...hashes];
  let [at, last] = [older.size - 1, newer.size - 1];
  while (odd(at)) [at, last] = [half(at), half(last)];
  refuseUnless(path.length, "the proof is too short");
  let [before, after] = [path[0], path[0]];
  for (const sibling of path.slice(1)) {
    refuseUnless(last > 0, "the proof is too long");
    if (odd(at) || at === last) {
      [before, after] = [await nodeHash(sibling, before), await nodeHash(sibling, after)];
      [at, last] = pastBorder(at, last);
    } else {
      after = await nodeHash(after, sibling);
    }
    [at, last] = [half(at), half(last)];
  }
  const holds = last === 0 && same(before, older.root) && same(after, newer.root);
  refuseUnless(holds, "a fork, or a wrong proof: the later log does not go on from the earlier one");
}

