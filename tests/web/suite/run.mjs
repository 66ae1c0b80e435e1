// node run.mjs SUITE.js: runs every case of the conformance suite.
import { createRequire } from "node:module";
import { resolve } from "node:path";

const PATIENCE = 20_000; // milliseconds a case
const AT_ONCE = 32;

const panics = new Map(); // case -> what to do about it
globalThis.hedgeCasePanicked = (which, message) => panics.get(which)?.(message);

const suite = createRequire(import.meta.url)(resolve(process.argv[2]));
const names = suite.names();
// A panic also traps, in nobody's call stack.
process.on("uncaughtException", (error) => {
  if (!(error instanceof WebAssembly.RuntimeError)) throw error;
});

/// What went wrong, if anything.
function run(which) {
  return new Promise((over) => {
    const late = setTimeout(() => over(`did not end within ${PATIENCE / 1000} s`), PATIENCE);
    panics.set(which, (message) => { clearTimeout(late); over(message); });
    suite.run(which).then(() => { clearTimeout(late); over(null); });
  });
}

const failures = [];
let next = 0;
async function worker() {
  while (next < names.length) {
    const which = next++;
    const wrong = await run(which);
    if (wrong !== null) failures.push(`failed: ${names[which]}\n  ${wrong}`);
  }
}
await Promise.all(Array.from({ length: AT_ONCE }, worker));

for (const failure of failures) console.log(failure);
console.log(`${names.length - failures.length} passed, ${failures.length} failed`);
process.exit(failures.length === 0 ? 0 : 1);
