// Looks at the pages of a super peer and of a peer as their users do. Arguments: the binary, the
// folder with playwright-core, the folder for screenshots, and --pictures for those of docs/.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { ARGS, Network, PATIENCE, eventually, pause } from './network.mjs';

const [sprat, modules, shots, ...flags] = process.argv.slice(2);
const pictures = flags.includes('--pictures');
const { chromium } = createRequire(join(resolve(modules), 'x.js'))('playwright-core');
const EVIL = '<img src=x onerror=alert(1)>.txt';
const WANTED = 'wanted song.flac';

const net = new Network(sprat, pictures ? '127.0.0.2' : undefined);
let browser;
let checks = 0;
const check = (name, holds) => { assert.ok(holds, name); checks += 1; console.log(`ok  ${name}`); };
const root = (bytes) => createHash('md5').update(bytes).digest('hex');

const enter = async (options = {}) => {
  const context = await browser.newContext({ viewport: { width: 1180, height: 900 }, ...options });
  context.setDefaultTimeout(PATIENCE);
  return { context, page: await context.newPage() };
};
/** A page on which every error is kept: of the script, of the policy, of foreign requests. */
const visit = async (at, options) => {
  const { context, page } = await enter(options);
  const errors = [];
  page.on('console', (line) => { if (line.type() === 'error' || line.type() === 'warning') errors.push(line.text()); });
  page.on('pageerror', (error) => errors.push(String(error)));
  page.on('dialog', (dialog) => { errors.push(`a dialog: ${dialog.message()}`); dialog.dismiss(); });
  page.on('request', (request) => { if (new URL(request.url()).host !== new URL(at).host) errors.push(`a request to ${request.url()}`); });
  await page.goto(at);
  return { page, context, errors };
};
const testid = (page, id) => page.locator(`[data-testid="${id}"]`);
const text = (page, id) => testid(page, id).textContent();
const count = (n) => Number(n || 0).toLocaleString('en');
const snapshot = async (at) => (await fetch(`${at}api/snapshot`)).json();

/** Every figure of a page that was loaded once is that of the snapshot that it has loaded. */
const numbersEqual = async (at, role, figures) => {
  const { context, page } = await enter();
  const loaded = page.waitForResponse((response) => response.url().endsWith('/api/snapshot'));
  await page.goto(`${at}?live=0`);
  const shot = await (await loaded).json();
  await page.waitForFunction(() => document.querySelector('[data-testid="turns"], [data-testid="turn-p50"]'));
  for (const [id, value] of figures(shot)) assert.equal(await text(page, id), value, `${role}: ${id}`);
  assert.equal(await text(page, 'version'), shot.version);
  assert.equal(await text(page, 'name'), { super: 'north', peer: 'dora' }[role]);
  check(`${role}: ${figures(shot).length} figures equal the snapshot`, true);
  await context.close();
};

/** Searches for some seconds, for a picture that shows them. */
const busy = async (north) => {
  for (let n = 0; n < 60; n += 1) {
    await net.run([0, 3], 'query', '--super', north, ['song', 'notes', 'nothing', 'letter'][n % 4]);
    await pause(200 + 150 * (n % 5));
  }
  await pause(1500);
};

const run = async () => {
  const started = Date.now();
  const [north, south] = [await net.address(), await net.address()];
  const command = ['super', '--listen', north, '--neighbor', south, '--http', await net.address()];
  const at = await net.start('north', command);
  await net.start('south', ['super', '--listen', south, '--neighbor', north]);
  const wanted = randomBytes((pictures ? 96 : 3) << 20);
  for (const name of ['anna', 'ben', 'carl']) net.share(name, WANTED, wanted);
  net.share('anna', EVIL, 'text');
  net.share('dora', 'letter.txt', 'text');
  const others = ['anna', 'ben', 'carl', 'emil', 'fay'].slice(0, pictures ? 5 : 3);
  for (const [n, name] of others.entries()) {
    if (!existsSync(net.path(name))) net.share(name, `notes of ${name}.txt`, name);
    // A picture shows a download that is half done.
    const limit = pictures ? ['--upload-limit', `${4 + 2 * n}M`] : [];
    await net.start(name, ['peer', '--super', name === 'carl' ? south : north, '--share', net.path(name), '--listen', `${net.host}:0`, ...limit]);
  }
  const dora = await net.start('dora', ['peer', '--super', north, '--share', net.path('dora'), '--listen', `${net.host}:0`, '--http', `${net.host}:0`]);
  const pages = { super: `http://${at.http}/`, peer: `http://${dora.http}/` };
  const ask = ['--control', net.path('dora.sock')];
  await net.run([0], 'wait', ...ask, '--hits', '3', '--exact', WANTED);
  await net.run([0], 'wait', ...ask, '--exact', EVIL);
  await eventually('the network is complete', async () => {
    const [shot, own] = [await snapshot(pages.super), await snapshot(pages.peer)];
    return shot.links.every((link) => link.state === 'up') && shot.sessions.length === others.length &&
      own.levels.sessions_up === 1 && own.levels.files === 1;
  });
  for (const what of [WANTED, 'nothing', EVIL, 'song', 'notes']) await net.run([0, 3], 'query', '--super', north, what);
  browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ARGS, timeout: PATIENCE });
  console.log(`    the network and the browser run after ${Date.now() - started} ms`);

  await numbersEqual(pages.super, 'super', (shot) => [
    ['queries', count(shot.counters.queries)], ['queries-cut', count(shot.counters.queries_cut)],
    ['hits-sent', count(shot.counters.hits_sent)], ['flood-duplicates', count(shot.counters.flood_duplicate)],
    ['queries-forwarded', count(shot.counters.link_query_out)], ['records', count(shot.levels.records)],
    ['answer-p50', `${shot.searches.ms_p50} ms`], ['answer-p99', `${shot.searches.ms_p99} ms`],
    ['turns', count(shot.counters.turns)], ['network-line', `1 of 1 links up, ${count(shot.levels.sessions)} sessions`],
  ]);
  await numbersEqual(pages.peer, 'peer', (shot) => [
    ['files', count(shot.levels.files)], ['sessions-up', '1'], ['turns', count(shot.counters.turns)],
    ['http-requests', count(shot.counters.net_http_requests)],
    ['network-line', '1 of 1 super peers up, 0 peers in transfers'],
  ]);

  // The page of the super peer, live.
  const seen = await visit(pages.super);
  await eventually('the super peer shows its peers', async () => (await testid(seen.page, 'sessions').locator('tr').count()) >= others.length);
  const before = await text(seen.page, 'turns');
  await eventually('the figures are live', async () => (await text(seen.page, 'turns')) !== before);
  check('super: live figures, and a row for each session', true);
  check('super: no search box', !(await testid(seen.page, 'search-box').isVisible()));

  // The peer: by clicks.
  const own = await visit(pages.peer);
  await testid(own.page, 'search-box').fill(EVIL);
  await testid(own.page, 'search-button').click();
  await testid(own.page, 'hit').first().waitFor();
  check('peer: a name with markup is text', (await testid(own.page, 'hits').textContent()).includes(EVIL));
  check('peer: and makes no element', (await own.page.locator('main img').count()) === 0);
  await testid(own.page, 'search-box').fill('wanted song');
  await testid(own.page, 'search-button').click();
  await eventually('three sources', async () => (await testid(own.page, 'hits').textContent()).match(/flac3.0 MiB3|flac96.0 MiB3/));
  check('peer: the answer is complete', (await text(own.page, 'search-result')).includes('complete'));
  await testid(own.page, 'download-button').first().click();
  if (pictures) {
    await eventually('half of it is there', async () => (await testid(own.page, 'downloads').textContent()).match(/\((4|5)\d %\)/));
    await own.page.screenshot({ path: 'docs/page-peer.png' });
  }
  const got = net.path('dora', WANTED);
  await eventually('the file is there', () => existsSync(got));
  check('peer: search and download by clicks give the right bytes', root(readFileSync(got)) === root(wanted));

  // By keyboard only.
  const keys = await visit(pages.peer);
  const focused = (id) => keys.page.evaluate((wanted) => document.activeElement?.dataset.testid === wanted, id);
  const tabTo = async (id) => { for (let n = 0; n < 20 && !(await focused(id)); n += 1) await keys.page.keyboard.press('Tab'); assert.ok(await focused(id), `Tab leads to ${id}`); };
  await tabTo('search-box');
  await keys.page.keyboard.type('onerror');
  await keys.page.keyboard.press('Enter');
  await testid(keys.page, 'hit').first().waitFor();
  await tabTo('download-button');
  await keys.page.keyboard.press('Enter');
  await eventually('it is in the queue', async () => (await testid(keys.page, 'download-button').textContent()) === 'in the queue');
  check('peer: search and download by keyboard', true);

  // A phone, and both color schemes.
  for (const [role, page] of Object.entries(pages)) {
    for (const scheme of ['light', 'dark']) {
      const phone = await visit(page, { viewport: { width: 360, height: 740 }, colorScheme: scheme });
      await eventually('figures', async () => (await testid(phone.page, 'turns').count()) > 0);
      const { width, ink } = await phone.page.evaluate(() => ({
        width: document.documentElement.scrollWidth, ink: getComputedStyle(document.body).color,
      }));
      check(`${role}: ${scheme}, 360 px wide, scrolls in one direction only (${width} px)`, width <= 360);
      check(`${role}: ${scheme} text (${ink})`, (ink === 'rgb(0, 0, 0)') === (scheme === 'light'));
      await phone.page.screenshot({ path: join(shots, `${role}-phone-${scheme}.png`), fullPage: true });
      assert.deepEqual(phone.errors, [], `${role} on a phone`);
      await phone.context.close();
    }
  }
  if (pictures) await busy(north);
  await seen.page.screenshot({ path: pictures ? 'docs/page-super.png' : join(shots, 'super.png'), fullPage: !pictures });
  await own.page.screenshot({ path: join(shots, 'peer.png'), fullPage: true });
  assert.deepEqual([...seen.errors, ...own.errors, ...keys.errors], [], 'errors of the pages');
  check('no error, no violation of the policy, no foreign request', true);

  // The node is killed, and comes back. The clock of this page is ours, so that the check does not
  // depend on the speed of the machine.
  const watched = await enter();
  await watched.page.clock.install();
  await watched.page.goto(pages.super);
  await testid(watched.page, 'turns').waitFor();
  const noticed = watched.page.waitForEvent('requestfailed', (request) => request.url().endsWith('/events'));
  const isShown = () => testid(watched.page, 'badge').isVisible();
  await watched.page.clock.runFor(600);
  check('no badge while data comes', !(await isShown()));
  await net.kill('north');
  await noticed;
  await watched.page.clock.runFor(3000);
  check('the badge shows 3 s after a kill', await isShown());
  await testid(seen.page, 'badge').waitFor({ state: 'visible' });
  await seen.page.screenshot({ path: join(shots, 'super-stale.png') });
  await net.start('north', command);
  await testid(seen.page, 'badge').waitFor({ state: 'hidden' });
  check('and goes once the node is back', true);
  console.log(`${checks} checks held in ${((Date.now() - started) / 1000).toFixed(1)} s`);
};

let failure;
try { await run(); } catch (error) { failure = error; }
await browser?.close();
await net.end();
if (failure) { console.error(failure); process.exit(1); }
