// node test.mjs MODULE_FOLDER SCREENSHOT_FOLDER: uses the page as a visitor would.

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { open } from "./browser.mjs";
import { serve } from "./server.mjs";

const RUN = 60; // seconds that a run may take
const [modules, screenshots] = process.argv.slice(2);

let passed = 0;
let failed = 0;
function check(what, holds, ...figures) {
  if (holds) passed += 1;
  else failed += 1;
  console.log(`${holds ? "ok" : "failed"}: ${what} (${figures.join(", ")})`);
}

const server = await serve(modules);
let page;
try {
  page = await open(server.url, { width: 1200, height: 900 });
  const settled = async (state, seconds) => {
    await page.until(`["failed", "${state}"].includes(document.body?.dataset.state)`, seconds);
    const error = await page.evaluate(`document.getElementById("error").textContent`);
    if (error) throw new Error(error);
  };
  await settled("ready", 20);

  const figure = async (id) => parseFloat(await page.evaluate(`document.getElementById("${id}").textContent`));
  const run = async () => {
    await page.click("#start");
    await settled("done", RUN);
  };

  await run();
  const [plain, hedged] = [await figure("plain-99"), await figure("hedged-99")];
  check("hedging cuts P99", hedged < plain, `${plain} ms plain`, `${hedged} ms hedged`);

  const [hedges, wins, aborted] = [await figure("hedges"), await figure("wins"), await figure("aborted")];
  const servers = ["first", "second", "third"];
  const sum = (lane, what) => servers.reduce((sum, name) => sum + server.counts(name)[lane][what], 0);
  const requests = 1000;
  // A hedge that is aborted at once may not have been sent.
  const made = sum("hedged", "requests");
  check("every request was made once, and some hedged", requests + 0.9 * hedges <= made && made <= requests + hedges && 0 < hedges, `${made} seen`, `${hedges} hedges`);
  check("hedges stay within the budget", hedges <= 10 + requests / 10, `${hedges} hedges`);
  const shares = servers.map((name) => server.counts(name).hedged.requests / (requests + hedges));
  check("the servers share the requests", shares.every((share) => 0.2 < share && share < 0.5), ...shares.map((share) => share.toFixed(2)));
  check("some hedges win", 0 < wins && wins <= hedges, `${wins} wins`);
  check("who loses is aborted", aborted === hedges, `${aborted} aborted`);
  const seen = sum("hedged", "aborted");
  // An answer may cross the abort on its way.
  check("the server sees it", aborted / 2 <= seen && seen <= aborted, `${seen} seen`);
  check("the page says so", (await figure("seen")) === seen, `${await figure("seen")} shown`);
  check("nothing plain is aborted", sum("plain", "aborted") === 0, `${sum("plain", "requests")} requests`);

  for (const scheme of ["light", "dark"]) {
    await writeFile(join(screenshots, `${scheme}.png`), await page.screenshot(scheme));
  }

  // The first server's share of the hedged requests from one to another.
  const begin = sum("hedged", "requests");
  const share = async (from, to) => {
    const count = () => [server.counts("first").hedged.requests, sum("hedged", "requests") - begin];
    const reached = async (requests) => {
      for (const end = Date.now() + RUN * 1000; count()[1] < requests && Date.now() < end; ) {
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      return count();
    };
    const [[first, all], [firstLater, allLater]] = [await reached(from), await reached(to)];
    return (firstLater - first) / (allLater - all);
  };
  await page.click("#start");
  const well = await share(100, 250);
  await page.click("#slow-first");
  const slow = await share(350, 550);
  const shown = await figure("share-first");
  await page.click("#slow-first");
  const back = await share(800, 1000);
  await settled("done", RUN);
  check("requests leave a server that is slow", well > 0.2 && slow < 0.1, well.toFixed(2), slow.toFixed(2));
  check("the page shows where they go", shown < 20, `${shown} % shown`);
  check("they come back", back > 0.2, back.toFixed(2));

  await page.evaluate(`(() => {
    const budget = document.getElementById("budget");
    budget.value = 0;
    budget.dispatchEvent(new Event("input"));
  })()`);
  await run();
  check("without a budget nothing is hedged", (await figure("hedges")) === 0, `${await figure("hedges")} hedges`);
} catch (error) {
  check("the page works", false, error.message);
} finally {
  await page?.close();
  server.close();
}
console.log(`screenshots: ${screenshots}`);
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
