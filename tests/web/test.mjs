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
  const { requests } = server.counts("primary");
  check("every request was made once, and some hedged", requests === 600 && 0 < hedges, `${requests} requests`, `${hedges} hedges`);
  check("hedges stay within the budget", hedges <= 10 + requests / 10, `${hedges} hedges`);
  check("hedges go to the other replica", server.counts("backup").requests === hedges, `${server.counts("backup").requests} seen`);
  check("some hedges win", 0 < wins && wins <= hedges, `${wins} wins`);
  check("who loses is aborted", aborted === hedges, `${aborted} aborted`);
  const seen = server.counts("primary").aborted + server.counts("backup").aborted;
  // An answer may cross the abort on its way.
  check("the server sees it", aborted / 2 <= seen && seen <= aborted, `${seen} seen`);
  check("the page says so", (await figure("seen")) === seen, `${await figure("seen")} shown`);
  check("nothing plain is aborted", server.counts("plain").aborted === 0, `${server.counts("plain").requests} requests`);

  for (const scheme of ["light", "dark"]) {
    await writeFile(join(screenshots, `${scheme}.png`), await page.screenshot(scheme));
  }

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
