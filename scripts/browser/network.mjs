// A small network of real daemons for the tests of the page. It ends them all, and removes their
// files, however the tests end.
import { spawn } from 'node:child_process';
import { mkdtempSync, mkdirSync, readFileSync, rmSync, writeFileSync, existsSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/** Waits until `look` returns something. */
export const eventually = async (what, look, patience = 30_000) => {
  const until = Date.now() + patience;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > until) throw new Error(`${what}: not within ${patience} ms`);
    await pause(50);
  }
};

/** A port that was free a moment ago. */
export const freePort = () => new Promise((done) => {
  const server = createServer().listen(0, '127.0.0.1', () => {
    const { port } = server.address();
    server.close(() => done(port));
  });
});

export class Network {
  constructor(sprat) {
    this.sprat = sprat;
    this.folder = mkdtempSync(join(tmpdir(), 'sprat-browser-'));
    this.running = new Map();
  }

  path(...parts) { return join(this.folder, ...parts); }

  share(name, file, bytes) {
    mkdirSync(this.path(name), { recursive: true });
    writeFileSync(this.path(name, file), bytes);
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

  /** Runs a one-shot command; its result does not matter. */
  run(...args) {
    const child = spawn(this.sprat, args, { stdio: 'ignore' });
    return new Promise((done) => child.once('exit', done));
  }

  async end() {
    await Promise.all([...this.running.keys()].map((name) => this.kill(name)));
    rmSync(this.folder, { recursive: true, force: true });
  }
}
