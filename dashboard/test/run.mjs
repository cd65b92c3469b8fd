/** Bundles what is written in TypeScript below `test` and runs it: node itself reads none before version 22. */

import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
process.chdir(root);
const out = 'node_modules/.cache/test';
const tests = (folder) =>
  readdirSync(`test/${folder}`)
    .filter((name) => name.endsWith('.test.ts'))
    .map((name) => `test/${folder}/${name}`);

const COMMANDS = {
  dev: { files: ['test/fixture/dev.ts'], flags: [] },
  unit: { files: tests('unit'), flags: ['--test', '--test-reporter=spec'] },
  browser: { files: tests('browser'), flags: ['--test', '--test-reporter=spec'] },
  screenshots: { files: ['test/browser/screenshots.ts'], flags: [] },
};

const command = COMMANDS[process.argv[2] ?? ''];
if (!command) {
  console.error(`usage: node test/run.mjs ${Object.keys(COMMANDS).join('|')}`);
  process.exit(2);
}
await build({
  entryPoints: command.files,
  outdir: out,
  outbase: 'test',
  outExtension: { '.js': '.mjs' },
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node18',
  external: ['playwright-core', 'typescript', 'vite'],
  sourcemap: 'inline',
  logLevel: 'warning',
});
/** For tests: only those whose names have one of the words that follow. */
const isTest = command.flags.includes('--test');
const words = isTest ? process.argv.slice(3) : [];
const chosen = command.files.filter((file) => words.length === 0 || words.some((word) => file.includes(word)));
const files = chosen.map((file) => join(out, file.replace(/^test\//, '').replace(/\.ts$/, '.mjs')));
const done = spawnSync(process.execPath, ['--enable-source-maps', ...command.flags, ...files, ...(isTest ? [] : process.argv.slice(3))], { stdio: 'inherit' });
process.exit(done.status ?? 1);
