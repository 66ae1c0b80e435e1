// node run.mjs SUITE.js: runs every case of the conformance suite.
import { createRequire } from "node:module";
import { resolve } from "node:path";
import { Worker, isMainThread, parentPort, workerData } from "node:worker_threads";

const PATIENCE = 20_000; // milliseconds a case
const AT_ONCE = 32;

if (isMainThread) await judge();
else await runCases();

// Runs the cases and exits, 0 if all passed.
async function judge() {
  const { names } = await batch([]);
  const onRealClock = (which) => names[which].startsWith("real");

  const failures = new Map(); // case -> what went wrong
  const left = new Set(names.keys());
  while (left.size > 0) {
    const { passed, wrong } = await batch([...left]);
    for (const which of passed) left.delete(which);
    if (wrong) {
      failures.set(wrong.which, wrong.message);
      left.delete(wrong.which);
    }
  }

  // Where the machine is busy, two timers 20 ms apart may both be late when either is looked at. What is wrong with
  // hedge is so again, and on the virtual clock.
  for (const which of [...failures.keys()].filter(onRealClock)) {
    for (let again = 0; again < 2 && failures.has(which); again++) {
      console.log(`again, alone: ${names[which]}\n  ${failures.get(which)}`);
      if (!(await batch([which])).wrong) failures.delete(which);
    }
  }
  for (const [which, message] of failures) console.log(`failed: ${names[which]}\n  ${message}`);
  console.log(`${names.length - failures.size} passed, ${failures.size} failed`);
  process.exit(failures.size === 0 ? 0 : 1);
}

// Runs `cases` in a WebAssembly instance of their own, up to the first that goes wrong: a panic traps, and an instance
// that has trapped is no good any more.
function batch(cases) {
  const worker = new Worker(new URL(import.meta.url), { workerData: { suite: resolve(process.argv[2]), cases } });
  const found = { names: [], passed: [], wrong: null };
  return new Promise((over, broken) => {
    worker.on("message", ({ names, passed, wrong }) => {
      if (names) found.names = names;
      if (passed !== undefined) found.passed.push(passed);
      found.wrong ??= wrong;
      if (found.wrong || found.passed.length === cases.length) worker.terminate();
    });
    let trap = null;
    worker.on("error", (error) => (trap = error));
    // After its last message.
    worker.on("exit", () => {
      if (found.wrong || found.passed.length === cases.length) over(found);
      else broken(trap ?? new Error("the suite ended early"));
    });
  });
}

async function runCases() {
  const tell = (message) => parentPort.postMessage(message);
  const fail = (which, message) => tell({ wrong: { which, message } });
  globalThis.hedgeCasePanicked = fail;
  const suite = createRequire(import.meta.url)(workerData.suite);
  tell({ names: suite.names() });

  const left = workerData.cases.values();
  async function next() {
    for (const which of left) {
      const late = setTimeout(() => fail(which, `did not end within ${PATIENCE / 1000} s`), PATIENCE);
      await suite.run(which);
      clearTimeout(late);
      tell({ passed: which });
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, next));
}
