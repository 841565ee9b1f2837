// What the tests in a browser share: a small network of real daemons, which ends them all and
// removes their files however the tests end.
import { spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { mkdtempSync, mkdirSync, readFileSync, rmSync, writeFileSync, existsSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Options of Chromium: without a screen, and without connections of its own. */
export const ARGS = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage'];

/** Only guards against a hang: a slow machine needs a part of it. */
export const PATIENCE = 180_000;

export const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/** Waits until `look` returns something. */
export const eventually = async (what, look) => {
  const until = Date.now() + PATIENCE;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > until) throw new Error(`${what}: not within ${PATIENCE} ms`);
    await pause(50);
  }
};

export class Network {
  constructor(sprat, host) {
    this.sprat = sprat;
    this.folder = mkdtempSync(join(tmpdir(), 'sprat-browser-'));
    this.running = new Map();
    // An address of its own: no other program binds its ports.
    this.host = host ?? `127.${randomInt(1, 255)}.${randomInt(256)}.${randomInt(1, 255)}`;
  }

  path(...parts) { return join(this.folder, ...parts); }

  share(name, file, bytes) {
    mkdirSync(this.path(name), { recursive: true });
    writeFileSync(this.path(name, file), bytes);
  }

  /** An address with a port that was free a moment ago, for a daemon that is started again. */
  address() {
    return new Promise((done) => {
      const server = createServer().listen(0, this.host, () => {
        const { port } = server.address();
        server.close(() => done(`${this.host}:${port}`));
      });
    });
  }

  /** Starts a daemon and waits for its ready file. */
  async start(name, args) {
    const ready = this.path(`${name}.ready`);
    rmSync(ready, { force: true });
    const child = spawn(this.sprat, [...args, '--name', name, '--state', this.path(`${name}.state`),
      '--control', this.path(`${name}.sock`), '--ready-file', ready], { stdio: 'ignore' });
    this.running.set(name, child);
    return eventually(`${name} is ready`, () => {
      if (child.exitCode !== null) throw new Error(`${name} ended with ${child.exitCode}`);
      return existsSync(ready) && readFileSync(ready, 'utf8').trim() && JSON.parse(readFileSync(ready, 'utf8'));
    });
  }

  /** `kill -9`. */
  async kill(name) {
    const child = this.running.get(name);
    this.running.delete(name);
    const ended = new Promise((done) => child.once('exit', done));
    child.kill('SIGKILL');
    await ended;
  }

  /** Runs a one-shot command, which must end with one of these exit codes. */
  async run(codes, ...args) {
    const child = spawn(this.sprat, args, { stdio: 'ignore' });
    const code = await new Promise((done) => child.once('exit', done));
    if (!codes.includes(code)) throw new Error(`sprat ${args.join(' ')} ended with ${code}`);
  }

  async end() {
    await Promise.all([...this.running.keys()].map((name) => this.kill(name)));
    rmSync(this.folder, { recursive: true, force: true });
  }
}
