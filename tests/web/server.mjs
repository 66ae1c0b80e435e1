// The page, and three replicas of an endpoint with a heavy tail. `node server.mjs MODULE_FOLDER` serves them.

import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { dirname, extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

const PAGE = join(dirname(fileURLToPath(import.meta.url)), "page");
const TYPES = {
  ".css": "text/css",
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".wasm": "application/wasm",
};

const listen = (handle) =>
  new Promise((resolve) => {
    const server = createServer(handle);
    server.listen(0, "127.0.0.1", () => resolve(server));
  });
const address = (server) => `http://127.0.0.1:${server.address().port}`;

/// Numbers in [0, 1), the same for the same seed (SplitMix32).
function draws(seed) {
  return () => {
    seed = (seed + 0x9e3779b9) | 0;
    let z = Math.imul(seed ^ (seed >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return ((z ^ (z >>> 15)) >>> 0) / 2 ** 32;
  };
}

/// Lognormal around 25 ms; 3 % of the requests meet a pause of 250 to 600 ms more.
function latency(draw) {
  const normal = Math.sqrt(-2 * Math.log(1 - draw())) * Math.cos(2 * Math.PI * draw());
  const pause = draw() < 0.03 ? 250 + 350 * draw() : 0;
  return 25 * Math.exp(0.25 * normal) + pause;
}

/// A replica on a port of its own, for browsers open six connections to each.
async function replica(seed) {
  const counts = { requests: 0, answered: 0, aborted: 0 };
  const draw = draws(seed);
  const server = await listen((request, response) => {
    counts.requests += 1;
    const work = setTimeout(() => {
      response.setHeader("access-control-allow-origin", "*");
      response.setHeader("cache-control", "no-store");
      response.end("answer");
    }, latency(draw));
    response.on("finish", () => (counts.answered += 1));
    response.on("close", () => {
      clearTimeout(work);
      if (!response.writableFinished) counts.aborted += 1;
    });
  });
  return { counts, server, url: address(server) };
}

/// Serves all of it on free ports of this machine alone.
export async function serve(modules) {
  const replicas = { plain: await replica(1), primary: await replica(2), backup: await replica(3) };
  const tell = (response, what) => {
    const told = Object.entries(replicas).map(([name, replica]) => [name, replica[what]]);
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify(Object.fromEntries(told)));
  };
  const site = await listen(async ({ url }, response) => {
    const path = normalize(new URL(url, "http://localhost").pathname);
    response.setHeader("cache-control", "no-store");
    if (path === "/replicas") return tell(response, "url");
    if (path === "/counts") return tell(response, "counts");
    const file = path.startsWith("/module/")
      ? join(modules, path.slice("/module/".length))
      : join(PAGE, path === "/" ? "index.html" : path);
    try {
      const content = await readFile(file);
      response.setHeader("content-type", TYPES[extname(file)] ?? "text/plain");
      response.end(content);
    } catch {
      response.statusCode = 404;
      response.end("not found");
    }
  });
  const servers = [site, ...Object.values(replicas).map((replica) => replica.server)];
  const close = () => {
    for (const server of servers) {
      server.close();
      server.closeAllConnections();
    }
  };
  return { url: address(site), counts: (name) => replicas[name].counts, close };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { url } = await serve(process.argv[2]);
  console.log(`${url} (end it with Ctrl-C)`);
}
