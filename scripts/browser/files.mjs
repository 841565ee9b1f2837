// Fetches a file as the user of a browser does: from the page of a folder and from the result of a
// search, by clicks. Arguments: the folder with playwright-core, where the file goes, its name, and
// the page that links it.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { ARGS } from './network.mjs';

const [modules, out, name, at] = process.argv.slice(2);
const { chromium } = createRequire(join(resolve(modules), 'x.js'))('playwright-core');
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ARGS });
let failure;
try {
  const page = await browser.newPage();
  const errors = [];
  page.on('console', (line) => { if (['error', 'warning'].includes(line.type())) errors.push(line.text()); });
  page.on('pageerror', (error) => errors.push(String(error)));
  await page.goto(at);
  const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('link', { name, exact: true }).click()]);
  assert.equal(download.suggestedFilename(), name);
  await download.saveAs(out);
  assert.deepEqual(errors, []);
} catch (error) { failure = error; }
await browser.close();
if (failure) { console.error(failure); process.exit(1); }
