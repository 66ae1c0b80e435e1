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

/// How much slower a server is that was made slow.
const SLOWER = 10;

/// Lognormal around 25 ms; 3 % of the requests meet a pause of 250 to 600 ms more.
function latency(draw) {
  const normal = Math.sqrt(-2 * Math.log(1 - draw())) * Math.cos(2 * Math.PI * draw());
  const pause = draw() < 0.03 ? 250 + 350 * draw() : 0;
  return 25 * Math.exp(0.25 * normal) + pause;
}

/// A replica on a separate port, for browsers open six connections to each. It counts by the first part of the path,
/// which says who asks.
async function replica(seed) {
  const count = () => ({ requests: 0, answered: 0, aborted: 0 });
  const replica = { counts: { plain: count(), hedged: count() }, slow: false };
  const draw = draws(seed);
  replica.server = await listen((request, response) => {
    const counts = replica.counts[request.url.slice(1)];
    if (!counts) return response.writeHead(404).end();
    counts.requests += 1;
    const work = setTimeout(() => {
      response.setHeader("access-control-allow-origin", "*");
      response.setHeader("cache-control", "no-store");
      response.end("answer");
    }, latency(draw) * (replica.slow ? SLOWER : 1));
    response.on("finish", () => (counts.answered += 1));
    response.on("close", () => {
      clearTimeout(work);
      if (!response.writableFinished) counts.aborted += 1;
    });
  });
  replica.url = address(replica.server);
  return replica;
}

/// Serves all of it on free ports of this machine alone.
export async function serve(modules) {
  const replicas = { first: await replica(1), second: await replica(2), third: await replica(3) };
  const tell = (response, what) => {
    const told = Object.entries(replicas).map(([name, replica]) => [name, replica[what]]);
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify(Object.fromEntries(told)));
  };
  const site = await listen(async ({ url }, response) => {
    const { pathname, searchParams } = new URL(url, "http://localhost");
    const path = normalize(pathname);
    response.setHeader("cache-control", "no-store");
    if (path === "/replicas") return tell(response, "url");
    if (path === "/counts") return tell(response, "counts");
    if (path === "/slow") {
      const replica = replicas[searchParams.get("server")];
      if (replica) replica.slow = searchParams.get("slow") === "true";
      return tell(response, "slow");
    }
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
