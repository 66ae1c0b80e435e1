// Headless Chromium, driven through a pipe: the DevTools protocol without a library.

import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const FLAGS = [
  "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
  "--remote-debugging-pipe",
];
const PATIENCE = 30_000; // milliseconds for an answer

/// Opens `url`. Whatever is opened has to be closed.
export async function open(url, { width, height }) {
  const profile = await mkdtemp(join(tmpdir(), "hedge-web-"));
  const chromium = spawn("chromium", [...FLAGS, `--user-data-dir=${profile}`], {
    stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"],
    // A group of its own, to end with all its children.
    detached: true,
    env: { ...process.env, TMPDIR: profile },
  });
  const gone = new Promise((resolve) => chromium.once("exit", resolve).once("error", resolve));
  const close = async () => {
    try {
      process.kill(-chromium.pid, "SIGKILL");
    } catch {
      // It is gone.
    }
    await gone;
    await rm(profile, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  };
  for (const signal of ["SIGHUP", "SIGINT", "SIGTERM"]) {
    process.once(signal, () => close().then(() => process.exit(1)));
  }
  try {
    const send = connect(chromium, gone);
    const { targetId } = await send("Target.createTarget", { url: "about:blank" });
    const { sessionId } = await send("Target.attachToTarget", { targetId, flatten: true });
    const page = new Page((method, parameters) => send(method, parameters, sessionId), close);
    await page.send("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: 1, mobile: false });
    await page.send("Page.navigate", { url });
    return page;
  } catch (error) {
    await close();
    throw error;
  }
}

/// A function that sends a command and gives its answer. Messages end with a zero byte.
function connect(chromium, gone) {
  const [, , , input, output] = chromium.stdio;
  const waiting = new Map();
  let last = 0;
  let received = "";
  output.setEncoding("utf8").on("data", (data) => {
    const messages = (received + data).split("\0");
    received = messages.pop();
    for (const { id, result, error } of messages.map((message) => JSON.parse(message))) {
      waiting.get(id)?.(error ? Promise.reject(new Error(error.message)) : result);
      waiting.delete(id);
    }
  });
  const fail = (why) => Promise.reject(new Error(why));
  input.on("error", () => {});
  gone.then(() => waiting.forEach((answer) => answer(fail("Chromium has ended"))));
  return (method, params, sessionId) =>
    new Promise((resolve) => {
      const id = (last += 1);
      const late = setTimeout(() => resolve(fail(`${method}: no answer`)), PATIENCE);
      waiting.set(id, (answer) => {
        clearTimeout(late);
        resolve(answer);
      });
      input.write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    });
}

class Page {
  constructor(send, close) {
    this.send = send;
    this.close = close;
  }

  /// The value of a JavaScript expression.
  async evaluate(expression) {
    const { result, exceptionDetails } = await this.send("Runtime.evaluate", {
      expression,
      awaitPromise: true,
      returnByValue: true,
    });
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  }

  /// Waits until an expression is true.
  async until(expression, seconds) {
    const end = Date.now() + seconds * 1000;
    while (!(await this.evaluate(expression))) {
      if (Date.now() > end) throw new Error(`${expression}: not within ${seconds} s`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  /// Clicks at the middle of an element, as a mouse does.
  async click(selector) {
    const [x, y] = await this.evaluate(`(() => {
      const box = document.querySelector("${selector}").getBoundingClientRect();
      return [box.x + box.width / 2, box.y + box.height / 2];
    })()`);
    for (const type of ["mousePressed", "mouseReleased"]) {
      await this.send("Input.dispatchMouseEvent", { type, x, y, button: "left", clickCount: 1 });
    }
  }

  /// As someone sees it who prefers a light or a dark page. PNG.
  async screenshot(scheme) {
    const features = [{ name: "prefers-color-scheme", value: scheme }];
    await this.send("Emulation.setEmulatedMedia", { features });
    const { data } = await this.send("Page.captureScreenshot", { format: "png" });
    return Buffer.from(data, "base64");
  }
}
