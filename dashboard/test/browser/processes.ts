/** A pool and miners, as processes of their own. */

import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { LIMIT_MS } from './browser';

const PROGRAM = resolve(process.env['STRATUM'] ?? '../target/debug/stratum');

/** A program that runs, and the lines of its log. */
class Running {
  readonly #child: ChildProcess;
  readonly #lines: string[] = [];
  #waiting: (() => void)[] = [];
  #ended = false;

  constructor(args: string[]) {
    this.#child = spawn(PROGRAM, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      if (stream) createInterface(stream).on('line', (line) => this.#take(line));
    }
    this.#child.on('error', (error) => this.#take(`${PROGRAM}: ${error.message}`));
    this.#child.on('close', () => {
      this.#ended = true;
      this.#wake();
    });
  }

  #take(line: string): void {
    this.#lines.push(line);
    this.#wake();
  }

  #wake(): void {
    for (const wake of this.#waiting.splice(0)) wake();
  }

  /** Waits for the first line of the log that `find` makes something of. */
  async until<T>(what: string, find: (line: string) => T | undefined): Promise<T> {
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      this.#wake();
    }, LIMIT_MS);
    try {
      for (let at = 0; ; ) {
        for (; at < this.#lines.length; at += 1) {
          const found = find(this.#lines[at] as string);
          if (found !== undefined) return found;
        }
        if (this.#ended || late) throw new Error(`${what} did not come, but:\n${this.#lines.join('\n')}`);
        await new Promise<void>((wake) => this.#waiting.push(wake));
      }
    } finally {
      clearTimeout(timer);
    }
  }

  /** Ends it, at once or as asked, and waits until it has ended. */
  async end(signal: 'SIGKILL' | 'SIGTERM' = 'SIGKILL'): Promise<void> {
    if (this.#ended) return;
    const ended = new Promise<void>((done) => this.#child.once('close', () => done()));
    this.#child.kill(signal);
    await ended;
  }
}

/** A pool on a devnet, whose blocks take some 17 million hashes: a few seconds for a CPU. */
export class Pool {
  readonly #folder = mkdtempSync(join(tmpdir(), 'dashboard-'));
  #process: Running | null = null;
  readonly #addresses = { miners: '127.0.0.1:0', operator: '127.0.0.1:0', public: '127.0.0.1:0' };

  /** Starts it; a second time, on the same ports and the same data. */
  async start(): Promise<void> {
    const { miners, operator, public: shown } = this.#addresses;
    const config = join(this.#folder, 'pool.toml');
    writeFileSync(
      config,
      `network = 'regtest'
       payout = 'raw(0014751e76e8199196d454941c45d1b3a323f1433bd6)'
       coinbase_tag = '/dashboard/'
       data_dir = '${this.#folder}/data'
       authority_key_file = '${this.#folder}/authority.key'
       listen = [{ address = '${miners}' }]
       source = [{ kind = 'devnet', nbits = 0x1e00ffff }]
       [shares]
       per_minute = 120.0
       [limits]
       drain_seconds = 0
       [http]
       operator = '${operator}'
       public = '${shown}'`,
    );
    if (this.#process === null) {
      const keygen = new Running(['keygen', '--out', join(this.#folder, 'authority.key')]);
      await keygen.until('the key', (line) => /^[1-9A-HJ-NP-Za-km-z]{40,}$/.exec(line)?.[0]);
    }
    const started = new Running(['pool', '--config', config, '--log-json']);
    this.#process = started;
    const address = (text: string) => (line: string) => (line.includes(text) ? /"address":"([^"]+)"/.exec(line)?.[1] : undefined);
    this.#addresses.operator = await started.until('the operator’s view', address('"view":"operator"'));
    this.#addresses.public = await started.until('the public view', address('"view":"public"'));
    this.#addresses.miners = await started.until('the address for miners', address('listening for miners'));
  }

  get operator(): string {
    return `http://${this.#addresses.operator}/`;
  }

  get public(): string {
    return `http://${this.#addresses.public}/`;
  }

  async stop(): Promise<void> {
    await this.#process?.end('SIGTERM');
  }

  async remove(): Promise<void> {
    await this.#process?.end();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** A CPU that mines. */
export type Miner = Running;

export function mine(url: string, user: string, channel: 'standard' | 'extended'): Miner {
  return new Running(['mining-device', '--url', url, '--user', user, '--channel', channel, '--threads', '1']);
}
